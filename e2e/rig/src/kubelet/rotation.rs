//! Rotation, by file names only: the container goes on writing into the renamed file until it is told to reopen.
//!
//! [`rotate_kubelet`] follows pkg/kubelet/logs/container_log_manager.go, [`rotate_docker`] follows
//! daemon/logger/loggerutils/logfile.go of moby.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

use super::clock::{parse_rotation_suffix, rotation_suffix};

/// What the kubelet does with a log that has grown too large, up to the renaming: removes rotated files so that with the
/// new ones `keep` are left, compresses the others, renames the log. `local_s` is the time in seconds since 1970 plus
/// the zone's distance from UTC; a name that is taken or not later than the newest is avoided by going on a second.
///
/// # Errors
/// Those of the file system.
pub fn rotate_kubelet(log: &Path, keep: usize, local_s: i64) -> io::Result<PathBuf> {
    let rotated = rotated_files(log)?;
    let newest = rotated.last().and_then(|path| rotated_at(log, path));
    let excess = rotated.len().saturating_sub(keep.max(2) - 2);
    for path in &rotated[..excess] {
        fs::remove_file(path)?;
    }
    for path in &rotated[excess..] {
        if path.extension().is_none_or(|extension| extension != "gz") {
            compress_renamed(path)?;
        }
    }
    let local_s = newest.map_or(local_s, |newest| local_s.max(newest + 1));
    let name = with_suffix(log, &rotation_suffix(local_s));
    fs::rename(log, &name)?;
    Ok(name)
}

/// As [`rotate_kubelet`] but with the name for `local_s` even where it runs backwards, as it does when daylight saving
/// ends. Nothing is removed or compressed.
///
/// # Errors
/// Those of the file system; also when the name is taken.
pub fn rename_at(log: &Path, local_s: i64) -> io::Result<PathBuf> {
    let name = with_suffix(log, &rotation_suffix(local_s));
    if name.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(log, &name)?;
    Ok(name)
}

/// What dockerd does between closing a log that has grown too large and opening the next: `.1` becomes `.2` and so on,
/// `keep` files in all. Gives the newly rotated file, which [`compress_docker`] may take.
///
/// # Errors
/// Those of the file system.
pub fn rotate_docker(log: &Path, keep: usize, compressed: bool) -> io::Result<Option<PathBuf>> {
    if keep < 2 {
        OpenOptions::new().write(true).truncate(true).open(log)?;
        return Ok(None);
    }
    let extension = if compressed { ".gz" } else { "" };
    let numbered = |n: usize| with_suffix(log, &format!("{n}{extension}"));
    ignore_absence(fs::remove_file(numbered(keep - 1)))?;
    for n in (1..keep - 1).rev() {
        ignore_absence(fs::rename(numbered(n), numbered(n + 1)))?;
    }
    let first = with_suffix(log, "1");
    fs::rename(log, &first)?;
    Ok(Some(first))
}

/// dockerd's compression: straight into `….gz`, which therefore is there before it is whole.
///
/// # Errors
/// Those of the file system.
pub fn compress_docker(rotated: &Path) -> io::Result<()> {
    compress(rotated, &with_suffix(rotated, "gz"))?;
    fs::remove_file(rotated)
}

/// The rotated files of a log by age, the oldest first. Files that are being compressed (`.tmp`) are none.
///
/// # Errors
/// Those of the file system.
pub fn rotated_files(log: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(log.parent().unwrap_or(Path::new(".")))? {
        let path = entry?.path();
        if let Some(at) = rotated_at(log, &path) {
            files.push((at, path));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// The rotated files of docker's log by age, the oldest first.
///
/// # Errors
/// Those of the file system.
pub fn rotated_docker_files(log: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(log.parent().unwrap_or(Path::new(".")))? {
        let path = entry?.path();
        if let Some(number) = docker_number(log, &path) {
            files.push((std::cmp::Reverse(number), path));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// The number of `path`, if it is a rotated file of docker's `log`.
fn docker_number(log: &Path, path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?.strip_prefix(log.file_name()?.to_str()?)?.strip_prefix('.')?;
    name.strip_suffix(".gz").unwrap_or(name).parse().ok()
}

/// When `path` was rotated, if it is a rotated file of `log`.
fn rotated_at(log: &Path, path: &Path) -> Option<i64> {
    let name = path.file_name()?.to_str()?.strip_prefix(log.file_name()?.to_str()?)?.strip_prefix('.')?;
    parse_rotation_suffix(name.strip_suffix(".gz").unwrap_or(name))
}

/// The kubelet's compression: into `….tmp`, which is then renamed to `….gz`.
fn compress_renamed(path: &Path) -> io::Result<()> {
    let temporary = with_suffix(path, "tmp");
    compress(path, &temporary)?;
    fs::rename(&temporary, with_suffix(path, "gz"))?;
    fs::remove_file(path)
}

fn compress(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mode = from.metadata()?.permissions().mode();
    let to = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(to)?;
    // The kubelet and dockerd compress better; a test has other things to do with its time.
    let mut encoder = GzEncoder::new(to, Compression::fast());
    io::copy(&mut from, &mut encoder)?;
    encoder.finish()?;
    Ok(())
}

fn ignore_absence(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}
