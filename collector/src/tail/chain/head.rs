//! A file's identity: device, inode and a fingerprint of its first bytes.
//!
//! Inode numbers are used again, and a compressed file has a new one: the first bytes, decompressed, tell which file
//! it is.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
    time::{Duration, SystemTime},
};

use flate2::read::MultiGzDecoder;
use rustix::fs::{FileType, OFlags, Stat};

#[cfg(test)]
use crate::model::work;
use crate::{
    model::{FINGERPRINT_BYTES, FileKey, HEAD_BYTES_MAX, is_long_docker_record, modified_ns},
    tail::{apart, local},
};

/// An opened log file and how it begins.
#[derive(Debug)]
pub struct Inspected {
    /// Open for reading, at its beginning; none where descriptors are few.
    pub file: Option<File>,
    /// Which file it is.
    pub key: FileKey,
    /// Bytes in the file as it lies on the disk.
    pub len: u64,
    /// When it was last written to, nanoseconds since 1970.
    pub modified_ns: i64,
    /// Its first bytes, decompressed: those that a fingerprint covers, or more.
    pub head: Vec<u8>,
}

impl Inspected {
    fn of(found: &Stat, head: Vec<u8>) -> Self {
        let (key, len, modified_ns) = (FileKey::of(found), found.st_size as u64, modified_ns(found));
        Self { file: None, key, len, modified_ns, head }
    }
}

/// Opens a log file and reads how it begins. Follows symbolic links, does not block on a FIFO.
///
/// # Errors
/// Whatever opening or reading says; `InvalidInput` where it is no regular file, or a `.gz` file of which nothing can be
/// decompressed; `UnexpectedEof` where a `.gz` file is not whole yet; [`apart::Left::error`] where its file system does not answer.
pub fn inspect(path: &Path, gzip: bool) -> Result<Inspected, Uninspected> {
    inspect_open(path, gzip, None)
}

/// As [`inspect`], of a file that may be open already.
///
/// # Errors
/// As there.
pub fn inspect_open(path: &Path, gzip: bool, open: Option<&File>) -> Result<Inspected, Uninspected> {
    #[cfg(test)]
    work::count(|work| work.opened += 1);
    if open.is_none()
        && !gzip
        && let Ok(file) = local::open(path, OFlags::RDONLY | FLAGS)
    {
        return inspect_local(file.into());
    }
    let open = open.map(File::try_clone).transpose()?;
    let path = path.to_owned();
    let inspecting = move || {
        let file = match open {
            Some(file) => file,
            None => open_log(&path)?,
        };
        Ok(match inspect_here(&file, gzip) {
            Ok((inspected, file_system)) => Ok((Inspected { file: Some(file), ..inspected }, file_system)),
            Err(error) => Err((error, file)),
        })
    };
    match apart::run(inspecting)? {
        Ok((inspected, file_system)) => {
            if local::is_local(file_system) {
                apart::note_local(inspected.key.device);
            }
            Ok(inspected)
        }
        Err((error, file)) => Err(Uninspected::new(error, file)),
    }
}

/// On this thread, but for reading what is not cached.
fn inspect_local(file: File) -> Result<Inspected, Uninspected> {
    let found = rustix::fs::fstat(&file).map_err(io::Error::from)?;
    check_regular(&found)?;
    apart::note_local(found.st_dev);
    match plain_head(file.as_fd()) {
        Ok(head) => Ok(Inspected { file: Some(file), ..Inspected::of(&found, head) }),
        Err(error) => Err(Uninspected::new(error, file)),
    }
}

/// Why a file could not be looked into.
#[derive(Debug)]
pub struct Uninspected {
    pub error: io::Error,
    /// The file, where it could be opened and not read.
    pub file: Option<File>,
}

impl Uninspected {
    /// One that is no log, or is damaged, gets no better by being held.
    fn new(error: io::Error, file: File) -> Self {
        let file = error.raw_os_error().is_some().then_some(file);
        Self { error, file }
    }
}

impl From<io::Error> for Uninspected {
    fn from(error: io::Error) -> Self {
        Self { error, file: None }
    }
}

/// The listing has resolved links: one that stands here now was put in the place of the log since.
const FLAGS: OFlags = OFlags::NONBLOCK.union(OFlags::NOFOLLOW);

fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(FLAGS.bits() as i32).open(path)
}

fn check_regular(found: &Stat) -> io::Result<()> {
    if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
}

/// On this thread, without the file; also returns the type of the file system.
fn inspect_here(file: &File, gzip: bool) -> io::Result<(Inspected, u64)> {
    let found = rustix::fs::fstat(file)?;
    check_regular(&found)?;
    let file_system = rustix::fs::fstatfs(file)?.f_type;
    if KERNELS_OWN.contains(&(file_system as i64)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the kernel's own file, not a log"));
    }
    if gzip && found.st_size == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "nothing is written to it yet"));
    }
    let head =
        if gzip { gzip_head(file, modified_ns(&found))? } else { head_of(|len| apart::read_range_here(file, 0, len))? };
    Ok((Inspected::of(&found, head), file_system as u64))
}

/// File systems whose files are made up by the kernel and may block or never end: proc, sysfs, debugfs, tracefs, securityfs,
/// cgroup2 (include/uapi/linux/magic.h).
const KERNELS_OWN: [i64; 6] = [0x9fa0, 0x6265_6572, 0x6462_6720, 0x7472_6163, 0x7363_6673, 0x6367_7270];

/// The first bytes of an open file.
///
/// # Errors
/// Where it cannot be read; [`apart::Left::error`] where reading does not return.
pub fn plain_head(file: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    head_of(|len| apart::read_range(file, 0, len))
}

/// Where the content is damaged, what can be decompressed before that: the file has to be in the chain for its good lines to be
/// sent and its damage to be counted.
fn gzip_head(file: &File, modified_ns: i64) -> io::Result<Vec<u8>> {
    head_of(|len| {
        let mut head = Vec::with_capacity(len);
        let read = MultiGzDecoder::new(file).take(len as u64).read_to_end(&mut head);
        io::Seek::rewind(&mut &*file)?;
        match read {
            Err(error) if error.raw_os_error().is_some() || head.is_empty() => Err(error),
            // A part of the beginning would not be recognised as that of the file that is being compressed.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && may_grow(modified_ns) => Err(error),
            _ => Ok(head),
        }
    })
}

/// A compressed file that breaks off and was not written to for this long will not be whole any more.
const COMPRESSION_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Whether a compressed file may not be whole yet that was last written to at this time, nanoseconds since 1970.
pub fn may_grow(modified_ns: i64) -> bool {
    let modified = SystemTime::UNIX_EPOCH + Duration::from_nanos(modified_ns.max(0) as u64);
    SystemTime::now().duration_since(modified).is_ok_and(|age| age < COMPRESSION_PAUSE_MAX)
}

/// What tells a file from others; `read` gives this many of its first bytes.
fn head_of(read: impl Fn(usize) -> io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    let head = read(FINGERPRINT_BYTES)?;
    if is_long_docker_record(&head) { read(HEAD_BYTES_MAX) } else { Ok(head) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::model::Fingerprint;

    #[test]
    fn a_fingerprint_matches_the_file_when_it_has_grown_and_no_other() {
        let short = Fingerprint::of(b"2026-01-02T03:04:05Z stdout F a");
        assert!(short.matches(b"2026-01-02T03:04:05Z stdout F a\n2026-01-02T03:04:06Z stdout F b\n"));
        assert!(!short.matches(b"2026-01-02T03:04:05Z stdout F b"));
        assert!(!short.matches(b"2026"), "shorter than what the fingerprint covers");
        assert!(!Fingerprint::of(b"").matches(b"anything"), "an empty file cannot be recognised");
    }

    #[test]
    fn dockers_long_first_lines_differ_by_the_time_at_their_end_and_nuls_are_no_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let head = |name: &str, content: &[u8]| {
            std::fs::write(dir.path().join(name), content).unwrap();
            inspect(&dir.path().join(name), false).unwrap().head
        };
        let record = |second: u32| {
            let line = "Exception in thread main ".repeat(200);
            format!("{{\"log\":\"{line}\\n\",\"stream\":\"stderr\",\"time\":\"2026-01-02T03:04:0{second}Z\"}}\n")
        };
        let (first, second) = (head("0.log", record(1).as_bytes()), head("1.log", record(2).as_bytes()));
        assert!(!Fingerprint::of(&first).matches(&second), "equal but for the time");
        let grown = head("0.log", [record(1), record(2)].concat().as_bytes());
        assert!(Fingerprint::of(&first).matches(&grown) && Fingerprint::of(&first) == Fingerprint::of(&grown));
        assert_eq!(crate::decode::first_timestamp_ns(&first).map(|ns| ns / 1_000_000_000 % 60), Some(1));
        let nuls = head("2.log", &[&[0; 4096][..], b"2026-01-02T03:04:05Z stdout F a\n"].concat());
        assert!(!Fingerprint::of(&nuls).matches(&nuls));
    }

    #[test]
    fn a_compressed_file_begins_as_the_plain_one_did() {
        let dir = tempfile::tempdir().unwrap();
        let text = "2026-01-02T03:04:05.000000001Z stdout F line\n".repeat(100);
        let (plain, compressed) = (dir.path().join("a"), dir.path().join("a.gz"));
        std::fs::write(&plain, &text).unwrap();
        let mut encoder =
            flate2::write::GzEncoder::new(File::create(&compressed).unwrap(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap();
        let (plain, compressed) = (inspect(&plain, false).unwrap(), inspect(&compressed, true).unwrap());
        assert_eq!(plain.head, compressed.head);
        assert_eq!(plain.head.len(), FINGERPRINT_BYTES);
        assert_ne!(plain.key, compressed.key);
    }

    #[test]
    fn a_damaged_compressed_file_begins_with_what_came_out_of_it_unless_it_is_still_being_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.gz");
        let text = "2026-01-02T03:04:05.000000001Z stdout F line\n".repeat(10);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        let whole = encoder.finish().unwrap();
        let (body, trailer) = whole.split_at(whole.len() - 8);
        let head = |content: &[u8], age: Duration| {
            std::fs::write(&path, content).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            inspect(&path, true).map(|inspected| inspected.head).map_err(|failed| failed.error.kind())
        };
        let old = 2 * COMPRESSION_PAUSE_MAX;
        let zeroed_crc = [body, &[0; 4], &trailer[4..]].concat();
        let with_nuls = [&whole[..], &[0; 256]].concat();
        let with_garbage = [&whole[..], b"trailing garbage"].concat();
        for damaged in [body, &zeroed_crc, &with_nuls, &with_garbage] {
            assert_eq!(head(damaged, old).as_deref(), Ok(text.as_bytes()));
        }
        assert_eq!(head(body, Duration::ZERO), Err(io::ErrorKind::UnexpectedEof), "more may come");
        for nothing in [&whole[..0], &whole[..9]] {
            assert_eq!(head(nothing, old), Err(io::ErrorKind::UnexpectedEof));
        }
    }

    #[test]
    fn a_directory_or_a_fifo_is_refused_without_blocking() {
        let dir = tempfile::tempdir().unwrap();
        assert!(inspect(dir.path(), false).is_err());
        let fifo = dir.path().join("0.log");
        crate::config::make_fifo(&fifo);
        assert_eq!(inspect(&fifo, false).unwrap_err().error.kind(), io::ErrorKind::InvalidInput);
    }
}
