//! One container's files in their order, and how far each is done.
//!
//! In: listings of the container's folder, what an earlier run saved, how far the reader parsed and Loki acknowledged.
//! Out: the file to read next, and what to save. A file is recognised by device and inode while it is open, and by its
//! first bytes otherwise, so that one that was renamed, compressed or seen by an earlier run is not read twice.
//! Guarantees: a file is finished only at its end; the next one is not begun before.

use std::{
    cmp::Reverse,
    fs::File,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    head::{self, FileKey, Fingerprint, Inspected},
    listing::ListedFile,
    log_name::{Age, LogName},
};
use crate::{read::GzipReader, signal::Slot};

/// A finished file that is gone from its folder is remembered this long: a folder that changes while it is listed can
/// hide a file for a moment.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// How a file's bytes are had.
#[derive(Debug)]
pub enum Source {
    /// Not open: finished, or remembered from an earlier run and not seen yet.
    Closed,
    /// Opened and not yet taken over by the reader side.
    Opened(File),
    /// Open in this slot of the reader.
    Slot(Slot),
    /// Compressed; read as a stream.
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
    /// The next byte to parse, of the decompressed file.
    pub parsed: u64,
    /// Every byte before this one is in a sealed batch or acknowledged.
    pub submitted: u64,
    /// Every byte before this one is acknowledged.
    pub acknowledged: u64,
    /// The end of the file as it was last seen; more than [`Self::parsed`] while its last line is not whole.
    pub seen: u64,
    /// Read to its end, and nothing more is expected.
    pub finished: bool,
    /// Since when its end is reached and nothing came.
    pub at_end_since: Option<Instant>,
    key: FileKey,
    /// Keys of its compressed copies.
    copies: Vec<FileKey>,
    fingerprint: Fingerprint,
    first_timestamp_ns: Option<i64>,
    modified_ns: i64,
    missing_since: Option<Instant>,
}

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
}

/// What to do with a file that no checkpoint and no earlier listing knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownFile {
    /// Read it from its beginning.
    Beginning,
    /// Read what is written to it from now on.
    End,
}

/// What [`Chain::merge`] could not do.
#[derive(Debug)]
pub struct MergeError {
    /// The file.
    pub path: PathBuf,
    /// Why it cannot be read.
    pub error: io::Error,
}

/// One container's files, oldest first.
#[derive(Debug, Default)]
pub struct Chain {
    files: Vec<ChainFile>,
}

impl Chain {
    /// The chain of a container as an earlier run left it; its files count as missing until they are listed.
    pub fn from_saved(saved: &[SavedFile], next_id: &mut u64, now: Instant) -> Self {
        let files = saved
            .iter()
            .map(|saved| ChainFile {
                id: take_id(next_id),
                path: PathBuf::new(),
                name: LogName { restart: 0, age: Age::RotatedByTime, gzip: false },
                source: Source::Closed,
                parsed: saved.offset,
                submitted: saved.offset,
                seen: saved.offset,
                acknowledged: saved.offset,
                finished: saved.finished,
                at_end_since: None,
                key: saved.key,
                copies: Vec::new(),
                fingerprint: saved.fingerprint,
                first_timestamp_ns: None,
                modified_ns: 0,
                missing_since: Some(now),
            })
            .collect();
        Self { files }
    }

    /// The files, oldest first.
    pub fn files(&self) -> &[ChainFile] {
        &self.files
    }

    /// The files, oldest first.
    pub fn files_mut(&mut self) -> &mut [ChainFile] {
        &mut self.files
    }

    /// The file with this number.
    pub fn file_mut(&mut self, id: u64) -> Option<&mut ChainFile> {
        self.files.iter_mut().find(|file| file.id == id)
    }

    /// Index of the file to read: the oldest that is open and not finished.
    pub fn current(&self) -> Option<usize> {
        self.files.iter().position(|file| !file.finished && !matches!(file.source, Source::Closed))
    }

    /// Whether nothing more is expected to be appended to the file at `index`: another one came after it, it was
    /// compressed, or it is gone from its folder.
    pub fn is_superseded(&self, index: usize) -> bool {
        let file = &self.files[index];
        let is_there = |file: &ChainFile| file.missing_since.is_none() || !matches!(file.source, Source::Closed);
        file.missing_since.is_some()
            || matches!(file.source, Source::Gzip(_))
            || self.files[index + 1..].iter().any(is_there)
    }

    /// Takes over what the container's folder holds now. Files that could not be opened are left out and come again
    /// with the next listing.
    pub fn merge(
        &mut self,
        listing: &[ListedFile],
        unknown: UnknownFile,
        next_id: &mut u64,
        now: Instant,
    ) -> Vec<MergeError> {
        let mut errors = Vec::new();
        let mut seen = Vec::with_capacity(listing.len());
        let mut newcomers: Vec<ChainFile> = Vec::new();
        for listed in listing {
            if let Some(index) = self.find_unopened(listed) {
                self.files[index].take_name(listed);
                seen.push(self.files[index].id);
                continue;
            }
            match head::inspect(&listed.path, listed.name.gzip) {
                Ok(inspected) => match self.find_by_head(&inspected) {
                    Some(index) => {
                        self.files[index].recognise(listed, inspected);
                        seen.push(self.files[index].id);
                    }
                    // Docker's compressed copy stands beside the file for a moment: one of the two is enough.
                    None if newcomers.iter().any(|file| file.fingerprint.matches(&inspected.head)) => {}
                    None => newcomers.push(ChainFile::new(listed, inspected, unknown)),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => errors.push(MergeError { path: listed.path.clone(), error }),
            }
        }
        for file in &mut self.files {
            if seen.contains(&file.id) {
                file.missing_since = None;
            } else {
                file.missing_since.get_or_insert(now);
            }
        }
        newcomers.sort_by_key(ChainFile::order);
        // Most chains are one file for long: growth by doubling would reserve four, 650 bytes more for each container.
        self.files.reserve_exact(newcomers.len());
        for mut newcomer in newcomers {
            newcomer.id = take_id(next_id);
            self.files.push(newcomer);
        }
        self.files.sort_by_key(ChainFile::order);
        errors
    }

    /// Drops what is finished, acknowledged and gone from its folder for a while.
    pub fn forget_missing(&mut self, now: Instant) {
        self.files.retain(|file| {
            let gone = file.missing_since.is_some_and(|since| now.duration_since(since) >= FORGET_AFTER);
            !(gone && matches!(file.source, Source::Closed))
        });
    }

    /// Whether every file is finished and acknowledged.
    pub fn is_done(&self) -> bool {
        self.files.iter().all(|file| matches!(file.source, Source::Closed) && file.acknowledged >= file.parsed)
    }

    /// Bytes of open plain files that are not acknowledged; `len` says a slot's present size.
    pub fn lag_bytes(&self, len: impl Fn(Slot) -> u64) -> u64 {
        self.files
            .iter()
            .map(|file| match file.source {
                Source::Slot(slot) => len(slot).saturating_sub(file.acknowledged),
                _ => file.parsed.saturating_sub(file.acknowledged),
            })
            .sum()
    }

    /// What to save.
    pub fn saved(&self) -> impl Iterator<Item = SavedFile> {
        self.files.iter().map(|file| SavedFile {
            key: file.key,
            fingerprint: file.fingerprint,
            offset: file.acknowledged,
            finished: file.finished && file.acknowledged >= file.parsed,
        })
    }

    /// The known file that a listed one certainly is, without opening it: one that is held open has a key that no other
    /// file can take; one that is closed must lie where it lay and be as long as it was.
    fn find_unopened(&self, listed: &ListedFile) -> Option<usize> {
        self.files.iter().position(|file| {
            if file.key == listed.key && !matches!(file.source, Source::Closed) {
                return true;
            }
            let known_key = file.key == listed.key || file.copies.contains(&listed.key);
            known_key && file.path == listed.path && file.missing_since.is_none() && file.may_be_unchanged(listed.len)
        })
    }

    /// The known file that one which begins like this is: renamed, compressed, or seen by an earlier run. One with the
    /// same inode is preferred.
    fn find_by_head(&self, inspected: &Inspected) -> Option<usize> {
        let matching = |file: &ChainFile| file.fingerprint.matches(&inspected.head);
        let same_inode = self.files.iter().position(|file| file.key == inspected.key && matching(file));
        same_inode.or_else(|| self.files.iter().position(matching))
    }
}

impl ChainFile {
    /// A file that is not known. Its number is given when it joins the chain.
    fn new(listed: &ListedFile, inspected: Inspected, unknown: UnknownFile) -> Self {
        let skipped = unknown == UnknownFile::End;
        let start = if skipped && !listed.name.gzip { inspected.len } else { 0 };
        let mut file = Self {
            id: 0,
            path: listed.path.clone(),
            name: listed.name,
            source: Source::Closed,
            parsed: start,
            submitted: start,
            seen: start,
            acknowledged: start,
            finished: skipped && listed.name.gzip,
            at_end_since: None,
            key: inspected.key,
            copies: Vec::new(),
            fingerprint: Fingerprint::of(&inspected.head),
            first_timestamp_ns: crate::parse::first_timestamp_ns(&inspected.head),
            modified_ns: inspected.modified_ns,
            missing_since: None,
        };
        if !file.finished {
            file.source = open_source(listed, inspected.file, start);
        }
        file
    }

    /// The file is one that is known: renamed, compressed, or seen by an earlier run.
    fn recognise(&mut self, listed: &ListedFile, inspected: Inspected) {
        self.take_name(listed);
        self.first_timestamp_ns = crate::parse::first_timestamp_ns(&inspected.head);
        self.modified_ns = inspected.modified_ns;
        if !matches!(self.source, Source::Closed) {
            // It is being read under its old inode, which the open file keeps alive.
            self.copies.push(inspected.key);
            return;
        }
        // Also that of a compressed copy: the old inode is free, and a new log file may have it already.
        self.key = inspected.key;
        let has_more = if listed.name.gzip { !self.finished } else { !self.finished || inspected.len > self.parsed };
        if has_more {
            self.finished = false;
            self.parsed = self.acknowledged;
            self.submitted = self.acknowledged;
            self.seen = self.acknowledged;
            self.at_end_since = None;
            self.source = open_source(listed, inspected.file, self.parsed);
        }
    }

    fn take_name(&mut self, listed: &ListedFile) {
        self.path.clone_from(&listed.path);
        self.name = listed.name;
    }

    fn may_be_unchanged(&self, listed_len: u64) -> bool {
        self.name.gzip || listed_len == self.parsed
    }

    /// Takes the fingerprint again where the file was shorter than one when it was taken, read or not: while Loki is away a
    /// file may be rotated and compressed before its first byte is parsed. `head`: its first bytes now.
    pub fn extend_fingerprint(&mut self, head: impl FnOnce() -> io::Result<Vec<u8>>) {
        if self.fingerprint.is_full() {
            return;
        }
        if let Ok(head) = head() {
            self.fingerprint = Fingerprint::of(&head);
            self.first_timestamp_ns = self.first_timestamp_ns.or_else(|| crate::parse::first_timestamp_ns(&head));
        }
    }

    /// The file became shorter than what was read of it: it begins anew, under a new number, so that acknowledgements of
    /// its old bytes do not count for the new ones.
    pub fn begin_anew(&mut self, next_id: &mut u64) {
        self.id = take_id(next_id);
        self.parsed = 0;
        self.submitted = 0;
        self.acknowledged = 0;
        self.seen = 0;
        self.finished = false;
        self.at_end_since = None;
        self.fingerprint = Fingerprint::default();
        self.first_timestamp_ns = None;
    }

    /// The place in the chain: by restart, then rotated ones before the live one, Docker's by their number, the kubelet's by
    /// what they begin with (its names run backwards when daylight saving ends). A file that began with no timestamp is
    /// put by its time of modification, an empty one last.
    fn order(&self) -> (u32, bool, Reverse<u32>, i64, u64) {
        let number = match self.name.age {
            Age::RotatedByNumber(number) => number,
            Age::RotatedByTime | Age::Live => 0,
        };
        let time = match self.first_timestamp_ns {
            Some(timestamp_ns) => timestamp_ns,
            None if self.fingerprint.len > 0 => self.modified_ns,
            None => i64::MAX,
        };
        (self.name.restart, self.name.age == Age::Live, Reverse(number), time, self.id)
    }
}

fn open_source(listed: &ListedFile, file: File, offset: u64) -> Source {
    if listed.name.gzip { Source::Gzip(Box::new(GzipReader::new(file, offset))) } else { Source::Opened(file) }
}

fn take_id(next_id: &mut u64) -> u64 {
    *next_id += 1;
    *next_id
}

#[cfg(test)]
mod tests;
