//! One file of a container's chain: which it is, how its bytes are had and how far it is done.

use std::{
    cmp::{Ordering, Reverse},
    fs::File,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

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

/// How a file's bytes are had.
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
    pub id: u64,
    /// Where it lay when it was last listed.
    pub path: PathBuf,
    /// What its name said then.
    pub name: LogName,
    /// How its bytes are had.
    pub source: Source,
    /// How far it is read.
    pub progress: Progress,
    /// Its bytes on the disk when they were last asked for.
    pub len: u64,
    /// Since when its end is reached and nothing came.
    pub at_end_since: Option<Instant>,
    /// Since when every read of it has failed.
    pub failing_since: Option<Instant>,
    /// A line does not go on after its end: what follows was given up, or belongs to another run of the container.
    pub ends_lines: bool,
    /// Since when no name leads to it any more, so that only its being open keeps it on the disk.
    pub deleted_since: Option<Instant>,
    pub(super) key: FileKey,
    /// A listed file with the same beginning: its compressed form, or the copy that is made before it is truncated.
    pub(super) copy: Option<Box<Copy>>,
    pub(super) fingerprint: Fingerprint,
    pub(super) first_timestamp_ns: Option<i64>,
    pub(super) modified_ns: i64,
    pub(super) missing_since: Option<Instant>,
}

/// A second file with the same content.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) key: FileKey,
    path: PathBuf,
    modified_ns: i64,
}

impl Copy {
    /// What was found under a listed name.
    pub(super) fn of(listed: &ListedFile, inspected: &Inspected) -> Box<Self> {
        Box::new(Self { key: inspected.key, path: listed.path.clone(), modified_ns: inspected.modified_ns })
    }
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

    /// It does not lie any more where it was listed; the next listing may find it.
    pub fn set_missing(&mut self, now: Instant) {
        self.missing_since.get_or_insert(now);
    }

    /// Bytes on the disk, as far as known, that are not parsed; of a compressed file at least so many.
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

    /// From now on it is read from `source`, which [`Self::open`] made.
    pub fn take_source(&mut self, source: Source) {
        self.key = self.listed_key();
        self.copy = None;
        self.source = source;
    }

    /// The file is one that is known: renamed, compressed, or seen by an earlier run. Returns its number where it had ended and has
    /// grown since.
    pub(super) fn recognise(&mut self, listed: &ListedFile, inspected: Inspected) -> Option<u64> {
        self.path.clone_from(&listed.path);
        self.name = listed.name;
        self.first_timestamp_ns = crate::decode::first_timestamp_ns(&inspected.head);
        self.modified_ns = inspected.modified_ns;
        if self.is_open() {
            // It is being read under its old inode, which the open file keeps alive.
            self.copy = Some(Copy::of(listed, &inspected));
            return None;
        }
        // Also that of a compressed copy: the old inode is free, and a new log file may have it already.
        self.key = inspected.key;
        self.copy = None;
        let has_grown = !listed.name.gzip && inspected.len > self.progress.parsed();
        let had_ended = self.progress.has_ended();
        if has_grown || !had_ended {
            self.len = inspected.len;
            self.at_end_since = None;
            self.source = source(listed.name, inspected.file, self.progress.parsed());
        }
        (has_grown && had_ended).then_some(self.id)
    }

    /// The file is certainly this one.
    pub(super) fn take_name(&mut self, listed: &ListedFile) {
        self.path.clone_from(&listed.path);
        self.name = listed.name;
        if !listed.name.gzip {
            self.modified_ns = listed.modified_ns;
        }
        if !self.is_open() {
            self.key = listed.key;
            self.copy = None;
            if matches!(self.source, Source::Listed) {
                self.len = listed.len;
            }
        }
    }

    /// Whether a listed file is certainly this one, without looking into it: one that is held open has a key that no other
    /// file can take; one that is not must lie where it lay and be as long as it may be.
    pub(super) fn is_certainly(&self, listed: &ListedFile) -> bool {
        if self.key != listed.key {
            return false;
        }
        self.is_open() || (self.path == listed.path && self.is_listed() && self.may_be_unchanged(listed))
    }

    /// Whether a listed file was found to have the same content before.
    pub(super) fn has_copy(&self, listed: &ListedFile) -> bool {
        self.copy.as_ref().is_some_and(|copy| {
            copy.key == listed.key && copy.path == listed.path && copy.modified_ns == listed.modified_ns
        })
    }

    /// Whether a file that is not open can be the one that was left: by its length, or where that is of the compressed form,
    /// or it is empty, by the time of its writing. Docker's next compressed file may have both the name and the freed inode of this
    /// one, and so may the next log of a restart count.
    fn may_be_unchanged(&self, listed: &ListedFile) -> bool {
        match self.source {
            _ if self.name.gzip || self.fingerprint.len == 0 => listed.modified_ns == self.modified_ns,
            Source::Listed => listed.len >= self.progress.parsed(),
            _ => listed.len == self.progress.parsed() && listed.modified_ns == self.modified_ns,
        }
    }

    /// Takes the fingerprint again where the file was shorter than one when it was taken, read or not: while Loki is away a
    /// file may be rotated and compressed before its first byte is parsed. `head`: its first bytes now.
    pub fn extend_fingerprint(&mut self, head: impl FnOnce() -> io::Result<Vec<u8>>) {
        let covers_all = u64::from(self.fingerprint.len) >= self.len.max(self.progress.seen());
        if self.fingerprint.is_full() || self.fingerprint.len > 0 && covers_all {
            return;
        }
        if let Ok(head) = head()
            && self.begins_with(&head)
        {
            self.fingerprint = Fingerprint::of(&head);
            self.first_timestamp_ns = self.first_timestamp_ns.or_else(|| crate::decode::first_timestamp_ns(&head));
        }
    }

    /// Whether a file that begins with `head` may be this one; false where it was truncated and written anew.
    pub fn begins_with(&self, head: &[u8]) -> bool {
        self.fingerprint.len == 0 || self.fingerprint.matches(head)
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

    /// Whether it was missing for so long.
    pub fn is_missing_for(&self, least: Duration, now: Instant) -> bool {
        self.missing_since.is_some_and(|since| now.saturating_duration_since(since) >= least)
    }

    /// When it began: its first record's time, or where it has none yet, when it was last touched.
    pub(super) fn began_ns(&self) -> i64 {
        self.first_timestamp_ns.unwrap_or(self.modified_ns)
    }

    /// Whether it comes after another file whose present name is not known: by the times of their first records.
    pub(super) fn begins_after(&self, other: &Self) -> bool {
        let key = |file: &Self| (file.name.restart, file.first_timestamp_ns.unwrap_or(i64::MAX));
        key(self) > key(other)
    }

    /// Whether it comes after another file of its container, by this machine's clock: restart counts tell, unless they began
    /// again at 0.
    pub(super) fn is_after(&self, other: &Self, wall_ns: i64) -> bool {
        match self.name.restart.cmp(&other.name.restart) {
            Ordering::Equal => self.order() > other.order(),
            Ordering::Less => began_anew(self.began_ns(), other.modified_ns, wall_ns),
            Ordering::Greater => !began_anew(other.began_ns(), self.modified_ns, wall_ns),
        }
    }

    /// The place in the chain: by restart, then rotated ones before the live one, Docker's by their number, the kubelet's by
    /// what they begin with (its names run backwards when daylight saving ends). A file that began with no timestamp is
    /// put by its time of modification, an empty one last.
    pub(super) fn order(&self) -> (u32, bool, Reverse<u32>, i64, u64) {
        let number = match self.name.age {
            Age::RotatedByNumber(number) => number,
            Age::RotatedByTime | Age::Live => 0,
        };
        let time = match self.first_timestamp_ns {
            Some(timestamp_ns) => timestamp_ns,
            None if self.len > 0 => self.modified_ns,
            None => i64::MAX,
        };
        (self.name.restart, self.name.age == Age::Live, Reverse(number), time, self.id)
    }
}

/// Whether restart counts began again at 0 between two logs: the one with the lower count began after the other one was last
/// written to. Where it began in the future the clock was set back since, as a machine's without a battery is when the power
/// fails, and times tell nothing.
pub(super) fn began_anew(lower_began_ns: i64, higher_last_write_ns: i64, wall_ns: i64) -> bool {
    const SECOND_NS: i64 = 1_000_000_000;
    // The kernel stamps files by its last tick, up to 10 ms ago (`current_time` in fs/inode.c), the runtime its records by the
    // exact time: a log may begin "after" the next one was made, if the container ended at once.
    const TICK_NS: i64 = SECOND_NS / 10;
    // Some file systems and archives keep whole seconds.
    let keeps_seconds = higher_last_write_ns % SECOND_NS == 0;
    let inexact_ns = if keeps_seconds { SECOND_NS } else { TICK_NS };
    higher_last_write_ns.saturating_add(inexact_ns) < lower_began_ns && lower_began_ns <= wall_ns
}

/// `file`: none where it is not to be kept open.
fn source(name: LogName, file: Option<File>, offset: u64) -> Source {
    match file {
        None => Source::Listed,
        Some(file) if name.gzip => Source::Gzip(Box::new(GzipReader::new(file, offset))),
        Some(file) => Source::Opened(file),
    }
}
