//! The log files of one container, as they lie in its folder at one moment.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{FileType, Stat};

use super::log_name::{Age, LogName};
use crate::{
    model::{FileKey, modified_ns},
    tail::local::Folder,
};

/// One log file in a listing.
#[derive(Clone, Debug)]
pub struct ListedFile {
    /// Where it lies, symbolic links resolved as far as Docker's.
    pub path: PathBuf,
    /// What its name says.
    pub name: LogName,
    /// Which file it is.
    pub key: FileKey,
    /// Bytes on the disk.
    pub len: u64,
    /// When it was last written to, nanoseconds since 1970.
    pub modified_ns: i64,
}

/// A link that leads elsewhere than to Docker's logs.
pub const OUTSIDE: &str = "outside_roots";

/// All log files of one container.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The log files, in no order.
    pub files: Vec<ListedFile>,
    /// Names that were passed over, with the reason (a word of snake case).
    pub skipped: Vec<(PathBuf, &'static str)>,
}

/// Lists the log files of the container whose folder is `folder`. `watch` is called for each folder outside of it in which
/// its files lie (Docker's), before that is listed: a rotation that is under way can hide a file from a listing, and only who
/// watches learns of it.
///
/// # Errors
/// Where the folder cannot be read; `NotFound` where it is gone; whatever keeps this thread from it, see [`Folder`].
pub fn list(folder: &Folder, mut watch: impl FnMut(&Path)) -> io::Result<Listing> {
    let mut listing = Listing::default();
    folder.each(|file_name, kind| {
        let path = folder.path().join(file_name);
        let Some(name) = file_name.to_str().and_then(LogName::parse) else {
            if !is_being_compressed(&path) {
                listing.skipped.push((path, "unknown_name"));
            }
            return Ok(());
        };
        let is_link = kind == FileType::Symlink;
        if is_link && name.age == Age::Live {
            folder.allow_paths()?;
            list_docker(&path, name.restart, &mut listing, &mut watch);
        } else if is_link {
            listing.skipped.push((path, OUTSIDE));
        } else {
            let found = folder.stat(file_name);
            if found.is_err() {
                folder.allow_paths()?;
            }
            add(path, name, found, &mut listing);
        }
        Ok(())
    })?;
    Ok(listing)
}

/// Docker's files lie beside the target of the link.
fn list_docker(link: &Path, restart: u32, listing: &mut Listing, watch: &mut impl FnMut(&Path)) {
    let Some(target) = target_of(link) else {
        listing.skipped.push((link.into(), "broken_link"));
        return;
    };
    let (Some(folder), Some(live)) = (target.parent(), target.file_name().and_then(|name| name.to_str())) else {
        listing.skipped.push((link.into(), "broken_link"));
        return;
    };
    if !is_dockers(folder, live) {
        listing.skipped.push((link.into(), OUTSIDE));
        return;
    }
    watch(folder);
    let Ok(entries) = fs::read_dir(folder) else {
        let found = stat_of(&target);
        add(target, LogName { restart, age: Age::Live, gzip: false }, found, listing);
        return;
    };
    for entry in entries.flatten() {
        if let Some(name) = entry.file_name().to_str().and_then(|name| LogName::parse_docker(name, live, restart)) {
            let path = entry.path();
            let found = stat_of(&path);
            add(path, name, found, listing);
        }
    }
}

/// Whether a link leads to what Docker makes, `ID/ID-json.log`: a link to anything else would have the collector, which may read
/// all files of the node, send a file that is no log.
fn is_dockers(folder: &Path, live: &str) -> bool {
    let id = folder.file_name().and_then(|id| id.to_str());
    id.is_some_and(|id| live.strip_prefix(id) == Some("-json.log"))
}

/// Where Docker's link leads to. The log itself is not there for a moment in each rotation.
fn target_of(link: &Path) -> Option<PathBuf> {
    if let Ok(target) = fs::canonicalize(link) {
        return Some(target);
    }
    let target = fs::read_link(link).ok()?;
    let folder = fs::canonicalize(link.parent()?.join(target.parent()?)).ok()?;
    // A link that leads nowhere in its own folder, or to itself, is not Docker's.
    (folder != fs::canonicalize(link.parent()?).ok()?).then(|| Some(folder.join(target.file_name()?)))?
}

fn stat_of(path: &Path) -> io::Result<Stat> {
    Ok(rustix::fs::lstat(path)?)
}

fn add(path: PathBuf, name: LogName, found: io::Result<Stat>, listing: &mut Listing) {
    match found.map(|found| (FileType::from_raw_mode(found.st_mode), found)) {
        Ok((FileType::RegularFile, found)) => {
            let (key, len, modified_ns) = (FileKey::of(&found), found.st_size as u64, modified_ns(&found));
            listing.files.push(ListedFile { path, name, key, len, modified_ns });
        }
        Ok((FileType::Symlink, _)) => listing.skipped.push((path, OUTSIDE)),
        Ok(_) => listing.skipped.push((path, "not_a_file")),
        // Renamed or removed since the folder was read: the next listing will tell.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => listing.skipped.push((path, "unreadable")),
    }
}

/// The kubelet compresses into `….tmp` and renames it when it is whole.
fn is_being_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tmp")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn open(folder: &Path) -> Folder {
        Folder::open(folder).unwrap()
    }

    fn names(listing: &Listing) -> Vec<String> {
        let mut names: Vec<_> =
            listing.files.iter().map(|f| f.path.file_name().unwrap().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn rotated_files_and_the_live_one_are_listed_and_others_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0.log", "0.log.20260102-030405", "0.log.20260102-020405.gz", "0.log.20260102-020405.tmp", "notes"]
        {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        fs::create_dir(dir.path().join("1.log")).unwrap();
        let listing = list(&open(dir.path()), |_| {}).unwrap();
        assert_eq!(names(&listing), ["0.log", "0.log.20260102-020405.gz", "0.log.20260102-030405"]);
        let mut reasons: Vec<_> = listing.skipped.iter().map(|(_, reason)| *reason).collect();
        reasons.sort_unstable();
        assert_eq!(reasons, ["not_a_file", "unknown_name"]);
    }

    #[test]
    fn dockers_rotated_files_are_found_beside_the_links_target() {
        let dir = tempfile::tempdir().unwrap();
        let (pod, docker) = (dir.path().join("pod"), dir.path().join("containers/ab12"));
        fs::create_dir_all(&pod).unwrap();
        fs::create_dir_all(&docker).unwrap();
        for name in ["ab12-json.log", "ab12-json.log.1", "ab12-json.log.2.gz", "config.v2.json"] {
            fs::write(docker.join(name), "x").unwrap();
        }
        symlink(docker.join("ab12-json.log"), pod.join("0.log")).unwrap();
        let listing = list(&open(&pod), |_| {}).unwrap();
        assert_eq!(names(&listing), ["ab12-json.log", "ab12-json.log.1", "ab12-json.log.2.gz"]);
    }

    /// Found by `cargo xtask chaos --seed 1`: a rotation between listing and watching hid a file, and a newer one was read
    /// first.
    #[test]
    fn dockers_folder_is_watched_before_it_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        let (pod, docker) = (dir.path().join("pod"), dir.path().join("containers/ab12"));
        fs::create_dir_all(&pod).unwrap();
        fs::create_dir_all(&docker).unwrap();
        fs::write(docker.join("ab12-json.log"), "x").unwrap();
        symlink(docker.join("ab12-json.log"), pod.join("0.log")).unwrap();
        let mut watched = Vec::new();
        let listing = list(&open(&pod), |folder| {
            watched.push(folder.to_owned());
            fs::write(folder.join("ab12-json.log.1"), "rotated just now").unwrap();
        });
        assert_eq!(names(&listing.unwrap()), ["ab12-json.log", "ab12-json.log.1"]);
        assert_eq!(watched, [fs::canonicalize(&docker).unwrap()]);
    }

    /// Found by `cargo xtask chaos`: where that was the first look, nobody watched the folder for the next minute.
    #[test]
    fn dockers_rotated_files_are_found_while_the_log_itself_is_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let (pod, docker) = (dir.path().join("pod"), dir.path().join("containers/ab12"));
        fs::create_dir_all(&pod).unwrap();
        fs::create_dir_all(&docker).unwrap();
        fs::write(docker.join("ab12-json.log.1"), "x").unwrap();
        symlink(docker.join("ab12-json.log"), pod.join("0.log")).unwrap();
        let mut watched = 0;
        let listing = list(&open(&pod), |_| watched += 1).unwrap();
        assert_eq!((names(&listing), watched), (vec!["ab12-json.log.1".to_owned()], 1));
        assert!(listing.skipped.is_empty());
    }

    #[test]
    fn a_link_that_leads_nowhere_or_in_a_circle_is_skipped() {
        let dir = tempfile::tempdir().unwrap();
        symlink(dir.path().join("nowhere"), dir.path().join("0.log")).unwrap();
        symlink(dir.path().join("1.log"), dir.path().join("1.log")).unwrap();
        let listing = list(&open(dir.path()), |_| {}).unwrap();
        assert!(listing.files.is_empty());
        assert_eq!(listing.skipped.len(), 2);
    }
}
