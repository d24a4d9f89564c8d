//! Which file a log file is, over renames, compression and restarts, and up to where it was acknowledged.
//!
//! Inode numbers are used again, and a compressed file has a new one: the first bytes, decompressed, tell which file it is.

use serde::{Deserialize, Serialize};

/// How many first bytes the fingerprint covers at most.
pub const FINGERPRINT_BYTES: usize = 1024;
/// The most that is read of a file to tell it from others: a docker record has 16 KiB of text, escaped.
pub const HEAD_BYTES_MAX: usize = 32 << 10;

/// A file as the file system knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileKey {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

impl FileKey {
    /// No file has it.
    pub const NONE: Self = Self { device: 0, inode: 0 };

    /// The key of the file with this status.
    pub fn of(stat: &rustix::fs::Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// When the file with this status was last written to, nanoseconds since 1970.
pub fn modified_ns(stat: &rustix::fs::Stat) -> i64 {
    stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64)
}

/// A hash of a file's first bytes; of fewer where the file was shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Bytes covered, [`FINGERPRINT_BYTES`] or docker's first record; 0: the file was empty and cannot be told from others.
    pub len: u16,
    /// FNV-1a, 64 bits: stable over versions of this program.
    pub hash: u64,
}

impl Fingerprint {
    /// The fingerprint of a file that begins with `head`.
    pub fn of(head: &[u8]) -> Self {
        let head = &head[..distinguishing_bytes(head)];
        Self { len: head.len() as u16, hash: hash_on(HASH_OF_NOTHING, head) }
    }

    /// Whether a file that begins with `head` is the one that this was taken of, grown since or not.
    pub fn matches(&self, head: &[u8]) -> bool {
        let covered = head.get(..usize::from(self.len)).filter(|covered| !covered.is_empty());
        covered.is_some_and(|covered| hash_on(HASH_OF_NOTHING, covered) == self.hash)
    }

    /// Whether it covers all that a fingerprint can.
    pub fn is_full(&self) -> bool {
        usize::from(self.len) >= FINGERPRINT_BYTES
    }
}

/// Whether a file's beginning has to be read on, up to [`HEAD_BYTES_MAX`]: docker writes a record's time at its end, and until there
/// two files may be equal whose first line is long.
pub fn is_long_docker_record(head: &[u8]) -> bool {
    head.len() >= FINGERPRINT_BYTES && head[0] == b'{' && memchr::memchr(b'\n', &head[..FINGERPRINT_BYTES]).is_none()
}

/// How many bytes tell a file from others. After a power cut files may begin with NULs, which tell nothing.
fn distinguishing_bytes(head: &[u8]) -> usize {
    let short = head.len().min(FINGERPRINT_BYTES);
    if is_long_docker_record(head) {
        let long = &head[..head.len().min(HEAD_BYTES_MAX)];
        return memchr::memchr(b'\n', long).map_or(short, |newline| newline + 1);
    }
    if head[..short].iter().all(|&byte| byte == 0) { 0 } else { short }
}

/// FNV-1a's offset basis.
const HASH_OF_NOTHING: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: the hash of some bytes and `more` after them.
fn hash_on(hash: u64, more: &[u8]) -> u64 {
    #[cfg(test)]
    work::count(|work| work.hashed_bytes += more.len());
    more.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// For each of these lengths, which must rise, the hash that a fingerprint of that length has where the file begins with `head`;
/// ends at the first length that `head` does not reach. Every byte is read once, however many lengths there are.
pub fn prefix_hashes(head: &[u8], lengths: impl Iterator<Item = usize>) -> impl Iterator<Item = u64> {
    let (mut hash, mut hashed) = (HASH_OF_NOTHING, 0);
    lengths.map_while(move |length| {
        hash = hash_on(hash, head.get(hashed..length)?);
        hashed = length;
        Some(hash)
    })
}

/// What looking at files costs, counted for tests.
#[cfg(test)]
pub mod work {
    use std::cell::Cell;

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Work {
        /// Files opened to look how they begin.
        pub opened: usize,
        /// Bytes that went into fingerprints.
        pub hashed_bytes: usize,
        /// Calls to the file system that another thread made for this one.
        pub handed_over: usize,
    }

    thread_local! {
        static WORK: Cell<Work> = Cell::default();
    }

    pub fn count(add: impl FnOnce(&mut Work)) {
        let mut work = WORK.get();
        add(&mut work);
        WORK.set(work);
    }

    /// What this thread did since the last call.
    pub fn take() -> Work {
        WORK.take()
    }
}

/// Up to which offset each channel of a file is acknowledged, by [`super::Stream`].
pub type Offsets = super::PerStream<u64>;

/// What is saved of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFile {
    /// Which file it was.
    #[serde(flatten)]
    pub key: FileKey,
    /// How it began.
    pub fingerprint: Fingerprint,
    /// Every byte before this one was acknowledged.
    pub offset: u64,
    /// It was read and acknowledged to its end.
    pub finished: bool,
    /// As `offset` for standard output and standard error, where the two differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Offsets>,
    /// How long it was, where that is more than `offset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub len: Option<u64>,
}

impl SavedFile {
    /// What is saved where each channel is acknowledged up to its offset.
    pub fn new(key: FileKey, fingerprint: Fingerprint, offsets: Offsets, finished: bool, len: u64) -> Self {
        let offset = offsets[0].min(offsets[1]);
        let channels = (offsets[0] != offsets[1]).then_some(offsets);
        Self { key, fingerprint, offset, finished, channels, len: (len > offset).then_some(len) }
    }

    /// Bytes that were not acknowledged, as far as the file was seen.
    pub fn unacknowledged_bytes(&self) -> u64 {
        if self.finished { 0 } else { self.len.unwrap_or(self.offset).saturating_sub(self.offset) }
    }
}
