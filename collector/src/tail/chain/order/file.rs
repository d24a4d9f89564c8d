//! One file of a container's chain: which it is, how its bytes are read and how far.

mod identity;
mod sequence;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use self::identity::Copy;
pub(super) use self::sequence::began_anew;
use super::{UnknownFile, progress::Progress};
use crate::{
    model::{FileKey, Fingerprint, SavedFile},
    tail::chain::{
        head::{self, Inspected},
        listing::ListedFile,
        log_name::{Age, LogName},
    },
    tail::notify::Slot,
    tail::read::GzipReader,
};

/// How a file's bytes are read.
#[derive(Debug)]
pub enum Source {
    /// Not available: finished, remembered from an earlier run and not seen yet, or gone.
    Closed,
    /// Not open, as descriptors are few: [`ChainFile::open`] opens it by its path when it is to be read.
    Listed,
    /// Opened and not yet taken over by the reader side.
    Opened(File),
    /// Open in this slot of the reader.
    Slot(Slot),
    /// Compressed and open; read as a stream.
    Gzip(Box<GzipReader>),
}

/// One file of the chain.
#[derive(Debug)]
pub struct ChainFile {
    /// The number that acknowledgements carry; unique while the program runs, and in the chain's order.
    id: u64,
    /// Where it lay when it was last listed.
    path: PathBuf,
    /// What its name said then.
    name: LogName,
    /// How its bytes are read.
    source: Source,
    /// How far it is read.
    progress: Progress,
    /// Its bytes on the disk when they were last asked for.
    len: u64,
    /// When it was last written to, as of the last look at its length.
    written_ns: i64,
    /// Since when its end is reached and nothing came.
    at_end_since: Option<Instant>,
    /// Since when every read of it has failed.
    failing_since: Option<Instant>,
    /// A line does not go on after its end: what follows was given up, or belongs to another run of the container.
    ends_lines: bool,
    /// Since when no name leads to it any more, so that only its being open keeps it on the disk.
    deleted_since: Option<Instant>,
    key: FileKey,
    /// A listed file with the same beginning: its compressed form, or the copy that is made before it is truncated.
    copy: Option<Box<Copy>>,
    fingerprint: Fingerprint,
    first_timestamp_ns: Option<i64>,
    modified_ns: i64,
    missing_since: Option<Instant>,
}

impl ChainFile {
    /// A file of an earlier run, missing until it is listed.
    pub(super) fn from_saved(id: u64, saved: &SavedFile, now: Instant) -> Self {
        Self {
            id,
            path: PathBuf::new(),
            name: LogName { restart: 0, age: Age::RotatedByTime, gzip: false },
            source: Source::Closed,
            progress: Progress::from_saved(saved.channels.unwrap_or([saved.offset; 2]), saved.finished),
            len: saved.len.unwrap_or(saved.offset),
            written_ns: 0,
            at_end_since: None,
            failing_since: None,
            ends_lines: false,
            deleted_since: None,
            key: saved.key,
            copy: None,
            fingerprint: saved.fingerprint,
            first_timestamp_ns: None,
            modified_ns: 0,
            missing_since: Some(now),
        }
    }

    /// A file that is not known. Its number is given when it joins the chain.
    pub(super) fn new(listed: &ListedFile, inspected: Inspected, unknown: UnknownFile) -> Self {
        let skipped = unknown == UnknownFile::End;
        let start = if skipped && !listed.name.gzip { inspected.len } else { 0 };
        let mut file = Self {
            id: 0,
            path: listed.path.clone(),
            name: listed.name,
            source: Source::Closed,
            progress: Progress::from_saved([start; 2], skipped && listed.name.gzip),
            len: inspected.len,
            written_ns: inspected.modified_ns,
            at_end_since: None,
            failing_since: None,
            ends_lines: false,
            deleted_since: None,
            key: inspected.key,
            copy: None,
            fingerprint: Fingerprint::of(&inspected.head),
            first_timestamp_ns: crate::decode::first_timestamp_ns(&inspected.head),
            modified_ns: inspected.modified_ns,
            missing_since: None,
        };
        if !file.progress.has_ended() {
            file.source = source(listed.name, inspected.file, start);
        }
        file
    }

    /// The number that acknowledgements carry; unique while the program runs, and in the chain's order.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where it lay when it was last listed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its name said when it was last listed.
    pub fn name(&self) -> LogName {
        self.name
    }

    /// How its bytes are read.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The reader's slot that has it open.
    pub fn slot(&self) -> Option<Slot> {
        if let Source::Slot(slot) = self.source { Some(slot) } else { None }
    }

    /// It is read by other means from now on. Returns those of before.
    pub fn replace_source(&mut self, source: Source) -> Source {
        std::mem::replace(&mut self.source, source)
    }

    /// How far it is read.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// For the moves of the cursor and of its end.
    pub fn progress_mut(&mut self) -> &mut Progress {
        &mut self.progress
    }

    /// The bytes before `parsed` are parsed; the file was seen to reach to `seen`.
    pub fn advance(&mut self, parsed: u64, seen: u64) {
        if parsed > self.progress.parsed() {
            self.at_end_since = None;
        }
        self.progress.advance(parsed, seen);
    }

    /// It is read again from where its cursor stands.
    pub fn read_again(&mut self) {
        self.at_end_since = None;
        match &mut self.source {
            Source::Gzip(gzip) => gzip.begin_again(self.progress.parsed()),
            // Its name may still lead to it; where not, it is found missing.
            Source::Closed if self.missing_since.is_none() => self.source = Source::Listed,
            Source::Closed | Source::Listed | Source::Opened(_) | Source::Slot(_) => {}
        }
    }

    /// Its bytes on the disk when they were last asked for.
    pub fn bytes_on_disk(&self) -> u64 {
        self.len
    }

    /// Notes its bytes on the disk.
    pub fn note_len(&mut self, len: u64) {
        self.len = len;
    }

    /// Whether it has another length or time of writing than at the last look. The time tells of a file that was truncated and
    /// written to its old length since.
    pub fn note_written(&mut self, len: u64, written_ns: i64) -> bool {
        std::mem::replace(&mut self.written_ns, written_ns) != written_ns || len != self.len
    }

    /// Notes whether a name leads to it.
    pub fn note_named(&mut self, named: bool, now: Instant) {
        if named {
            self.deleted_since = None;
        } else {
            self.deleted_since.get_or_insert(now);
        }
    }

    /// Since when no name leads to it any more, so that only its being open keeps it on the disk.
    pub fn deleted_since(&self) -> Option<Instant> {
        self.deleted_since
    }

    /// Its end is reached, now or as before. Returns since when nothing came.
    pub fn note_end(&mut self, now: Instant) -> Instant {
        *self.at_end_since.get_or_insert(now)
    }

    /// A read of it failed. Returns since when every one has.
    pub fn note_failure(&mut self, now: Instant) -> Instant {
        *self.failing_since.get_or_insert(now)
    }

    /// Whether its last read failed.
    pub fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }

    /// It could be read, or what could not be is passed over.
    pub fn note_no_failure(&mut self) {
        self.failing_since = None;
    }

    /// Whether a line may go on after its end: not where what follows was given up, or belongs to another run of the container.
    pub fn set_ends_lines(&mut self, ends_lines: bool) {
        self.ends_lines = ends_lines;
    }

    /// Whether a line that is held must be given out at its end. True once.
    pub fn take_ends_lines(&mut self) -> bool {
        std::mem::take(&mut self.ends_lines)
    }

    /// Whether it was listed in this run.
    pub fn has_name(&self) -> bool {
        !self.path.as_os_str().is_empty()
    }

    /// What can be said of which file it is: where it lay, or its inode, which is all that an earlier run has saved.
    pub fn label(&self) -> String {
        if self.has_name() { self.path.display().to_string() } else { format!("inode {}", self.key.inode) }
    }

    /// The time of its first record, nanoseconds since 1970; `None` where it is empty or begins with none.
    pub fn first_timestamp_ns(&self) -> Option<i64> {
        self.first_timestamp_ns
    }

    /// When it was last written to, nanoseconds since 1970, as of when it was last looked into.
    pub fn modified_ns(&self) -> i64 {
        self.modified_ns
    }

    /// Whether a descriptor of it is held.
    pub fn is_open(&self) -> bool {
        !matches!(self.source, Source::Closed | Source::Listed)
    }

    /// Whether its bytes are available, now or by opening it.
    pub fn is_at_hand(&self) -> bool {
        match self.source {
            Source::Closed => false,
            Source::Listed => self.missing_since.is_none(),
            Source::Opened(_) | Source::Slot(_) | Source::Gzip(_) => true,
        }
    }

    /// Whether its name, or that of its compressed form, was in the last listing.
    pub fn is_listed(&self) -> bool {
        self.missing_since.is_none()
    }

    /// The key of the file that its name leads to: its own, or that of its compressed form.
    pub fn listed_key(&self) -> FileKey {
        match &self.copy {
            Some(copy) if copy.path == self.path => copy.key,
            _ => self.key,
        }
    }

    /// Which file it is: while it is open, that which is read.
    pub(super) fn key(&self) -> FileKey {
        self.key
    }

    /// Its first bytes.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The number of the device that it lies on.
    pub fn device(&self) -> u64 {
        self.key.device
    }

    /// Whether it is read as it was written, while what its name leads to now is its compressed form.
    pub fn has_compressed_form(&self) -> bool {
        self.name.gzip && self.is_listed() && matches!(self.source, Source::Slot(_) | Source::Opened(_))
    }

    /// Whether it has ended, and lies there under the name of a log that is written to: that of an earlier restart count, which may
    /// begin again at 0.
    pub fn may_be_written_again(&self) -> bool {
        self.name.age == Age::Live && self.is_listed()
    }

    /// It joins the chain, under this number.
    pub(super) fn join(&mut self, id: u64) {
        self.id = id;
    }

    /// What its name said tells no order any more.
    pub(super) fn lose_place(&mut self) {
        self.name.age = Age::RotatedByTime;
    }

    /// The last listing had its name, or that of its compressed form.
    pub(super) fn note_listed(&mut self) {
        self.missing_since = None;
    }

    /// It does not lie any more where it was listed; the next listing may find it.
    pub fn set_missing(&mut self, now: Instant) {
        self.missing_since.get_or_insert(now);
    }

    /// Bytes on the disk, as far as known, that are not parsed; of a compressed file at least this many.
    pub fn unread_bytes(&self) -> u64 {
        if self.progress.has_ended() { 0 } else { self.len.saturating_sub(self.progress.parsed()) }
    }

    /// Opens the file that lies where it was listed, the compressed form where that is what lies there.
    ///
    /// # Errors
    /// Those of opening; `NotFound` where it is gone or another file lies there now.
    pub fn open(&self) -> io::Result<Source> {
        let inspected = head::inspect(&self.path, self.name.gzip).map_err(|failed| failed.error)?;
        if inspected.key != self.listed_key() || !self.begins_with(&inspected.head) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "another file has taken its name"));
        }
        Ok(source(self.name, inspected.file, self.progress.parsed()))
    }

    /// It is so long now, and read by `source`.
    fn go_on(&mut self, len: u64, source: Source) {
        self.len = len;
        self.at_end_since = None;
        self.source = source;
    }

    /// From now on it is read from `source`, which [`Self::open`] made.
    pub fn take_source(&mut self, source: Source) {
        self.key = self.listed_key();
        self.copy = None;
        self.source = source;
        self.deleted_since = None;
    }

    /// The file was truncated: what is in it from now on, under the number `id`, goes on with the open file. What was in it
    /// before stays in `self`, not open and missing: a copy of it may be found in the next listing.
    pub(super) fn split_off(&mut self, id: u64, now: Instant) -> Self {
        let after = Self {
            id,
            path: self.path.clone(),
            name: self.name,
            source: std::mem::replace(&mut self.source, Source::Closed),
            progress: Progress::default(),
            len: 0,
            written_ns: 0,
            at_end_since: None,
            failing_since: None,
            ends_lines: false,
            deleted_since: None,
            key: self.key,
            copy: None,
            fingerprint: Fingerprint::default(),
            first_timestamp_ns: None,
            modified_ns: self.modified_ns,
            missing_since: self.missing_since,
        };
        self.name.age = Age::RotatedByTime;
        self.key = self.copy.take().map_or(FileKey::NONE, |copy| copy.key);
        self.at_end_since = None;
        self.missing_since = Some(now);
        after
    }

    /// Whether it was missing for this long.
    pub fn is_missing_for(&self, least: Duration, now: Instant) -> bool {
        self.missing_since.is_some_and(|since| now.saturating_duration_since(since) >= least)
    }
}

/// `file`: none where it is not to be kept open.
fn source(name: LogName, file: Option<File>, offset: u64) -> Source {
    match file {
        None => Source::Listed,
        Some(file) if name.gzip => Source::Gzip(Box::new(GzipReader::new(file, offset))),
        Some(file) => Source::Opened(file),
    }
}
