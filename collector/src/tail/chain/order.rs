//! One container's files in their order, and how far each is done.
//!
//! In: listings of the container's folder, what an earlier run saved, how far the reader parsed and Loki acknowledged.
//! Out: the file to read next, and what to save. A file is recognised by device and inode while it is open, and by its
//! first bytes otherwise, so that one that was renamed, compressed or seen by an earlier run is not read twice.
//! Guarantees: a file is finished only at its end; the next one is not begun before.

mod file;
mod index;
mod progress;
mod unread;

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

pub use self::unread::FAILING_MAX;
use self::{
    file::began_anew,
    index::{Beginnings, ByKey},
    unread::Unread,
};
pub use self::{
    file::{ChainFile, Source},
    progress::Progress,
};
use super::{
    head::{self, Inspected},
    listing::ListedFile,
    log_name::Age,
};
use crate::{
    model::{Position, SavedFile, now_ns},
    tail::apart::Left,
};

/// A finished file that is gone from its folder is remembered this long: a folder that changes while it is listed can
/// hide a file for a moment.
const FORGET_AFTER: Duration = Duration::from_secs(600);

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
    pub path: PathBuf,
    pub error: io::Error,
}

impl MergeError {
    /// Whether it may pass by itself: an error of the disk or a lack of descriptors, and neither missing permission nor damage.
    pub fn may_pass(&self) -> bool {
        self.error.raw_os_error().is_some() && self.error.kind() != io::ErrorKind::PermissionDenied
    }
}

/// One container's files, oldest first.
#[derive(Debug, Default)]
pub struct Chain {
    files: Vec<ChainFile>,
    unread: Vec<Unread>,
    /// Since when one of the folder's files cannot be read.
    failing_since: Option<Instant>,
    /// It is waited for, as it may be one of those that are missing.
    waits: bool,
}

impl Chain {
    /// The chain of a container as an earlier run left it; its files count as missing until they are listed.
    pub fn from_saved(saved: &[SavedFile], next_id: &mut u64, now: Instant) -> Self {
        Self {
            files: saved.iter().map(|saved| ChainFile::from_saved(take_id(next_id), saved, now)).collect(),
            unread: Vec::new(),
            failing_since: None,
            waits: false,
        }
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
        self.files.iter_mut().find(|file| file.id() == id)
    }

    /// Index of the file to read: the first that is available and has not ended. None behind one that is missing, where a file that
    /// cannot be read for now may be that one.
    pub fn current(&self) -> Option<usize> {
        let mut unread = (0..).zip(&self.files).filter(|(_, file)| !file.progress().has_ended());
        let (index, _) = unread.find(|(_, file)| self.waits || file.is_at_hand())?;
        self.files[index].is_at_hand().then_some(index)
    }

    /// Whether nothing more is expected to be appended to the file at `index`: another one came after it, it was
    /// compressed, or it is gone from its folder.
    pub fn is_superseded(&self, index: usize) -> bool {
        let (file, mut later) = (&self.files[index], self.files[index + 1..].iter());
        let is_there = |other: &ChainFile| other.is_listed() || other.is_open();
        !file.is_listed() || matches!(file.source(), Source::Gzip(_)) || later.any(is_there)
    }

    /// Takes over what the container's folder holds now. Files that could not be opened are left out and come again
    /// with the next listing; where the file system does not answer nothing is taken over, and where one cannot be read for now no
    /// other that is new, as that would be read first, see [`Unread`] and [`Self::current`]. At most `keep_open` files that were
    /// not open stay so; the others are opened when they are read.
    pub fn merge(
        &mut self,
        listing: &[ListedFile],
        unknown: UnknownFile,
        keep_open: usize,
        next_id: &mut u64,
        now: Instant,
    ) -> Vec<MergeError> {
        let wall_ns = now_ns();
        let mut seen = vec![false; self.files.len()];
        let all = self.with_unread(listing);
        let nameless: Vec<_> = all[listing.len()..].iter().map(|held| held.key).collect();
        let mut grown = Vec::new();
        let (strangers, errors) = self.recognise_by_inode(&all, keep_open, (&mut seen, &mut grown), unknown, now);
        if errors.iter().any(|failed| Left::of(&failed.error).is_some()) {
            grown.into_iter().for_each(|id| self.reopen(id));
            return errors;
        }
        self.waits = self.is_blocked_by(&errors, now);
        let known = Beginnings::of(&self.files);
        let mut newcomers: Vec<ChainFile> = Vec::new();
        let mut new_beginnings = Beginnings::default();
        for (listed, inspected, unknown) in strangers {
            let matching = known.matching(&inspected.head);
            let unseen = matching.iter().copied().filter(|&index| !seen[index]).min();
            match unseen.or_else(|| matching.into_iter().min()) {
                Some(index) if unseen.is_none() => {
                    self.files[index].note_copy(listed, &inspected);
                }
                Some(index) => {
                    grown.extend(self.files[index].recognise(listed, inspected));
                    seen[index] = true;
                }
                // A compressed form or a copy stands beside the file for a moment: one of the two is enough.
                None if !new_beginnings.matching(&inspected.head).is_empty() => {}
                // A copy that is about to be written; rotated files have something in them.
                None if matches!(listed.name.age, Age::RotatedByNumber(_)) && inspected.head.is_empty() => {}
                None if self.waits => self.unread.extend(Unread::of(listed, inspected.file, now, unknown)),
                None => {
                    let newcomer = ChainFile::new(listed, inspected, unknown);
                    new_beginnings.add(newcomers.len(), newcomer.fingerprint());
                    newcomers.push(newcomer);
                }
            }
        }
        for (file, seen) in self.files.iter_mut().zip(seen) {
            if seen {
                file.note_listed();
            } else {
                file.set_missing(now);
            }
        }
        let (nameless, named): (Vec<_>, Vec<_>) =
            newcomers.into_iter().partition(|file| nameless.contains(&file.key()));
        let mut newcomers = unread::with_nameless(in_order(named, wall_ns), nameless, wall_ns);
        newcomers.iter_mut().for_each(|newcomer| newcomer.join(take_id(next_id)));
        self.insert(newcomers, wall_ns);
        grown.into_iter().for_each(|id| self.reopen(id));
        // Most containers have one file, and a vector makes room for four, 650 bytes more.
        self.files.shrink_to_fit();
        errors
    }

    /// Finds the listed files that are known by their inode, and marks them as seen. Returns the others, opened:
    /// the live one first, then plain ones, then compressed ones, as where two have the same content the first is to be read.
    fn recognise_by_inode<'a>(
        &mut self,
        listing: &'a [ListedFile],
        keep_open: usize,
        (seen, grown): (&mut [bool], &mut Vec<u64>),
        unknown: UnknownFile,
        now: Instant,
    ) -> (Vec<(&'a ListedFile, Inspected, UnknownFile)>, Vec<MergeError>) {
        let (mut strangers, mut errors) = (Vec::new(), Vec::new());
        let mut unsure = Vec::new();
        let mut by_key = ByKey::of(self.files.iter().map(|file| Some(file.key())));
        for listed in listing {
            match by_key.get(listed.key).find(|&index| self.files[index].is_certainly(listed)) {
                Some(index) => {
                    self.files[index].take_name(listed);
                    seen[index] = true;
                }
                None => unsure.push(listed),
            }
        }
        let copies = ByKey::of(self.files.iter().map(ChainFile::copy_key));
        let mut opened = 0;
        let held = std::mem::take(&mut self.unread);
        for listed in unsure {
            if let Some(index) = copies.get(listed.key).find(|&index| self.files[index].has_copy(listed)) {
                if !seen[index] {
                    self.files[index].take_name(listed);
                    by_key.add(index, self.files[index].key());
                    seen[index] = true;
                }
                continue;
            }
            let before = held.iter().find(|held| held.listed.key == listed.key);
            let unknown = before.map_or(unknown, |held| held.unknown);
            match head::inspect_open(&listed.path, listed.name.gzip, before.map(|held| &held.file)) {
                Ok(mut inspected) => {
                    opened += 1;
                    if opened > keep_open && before.is_none() {
                        inspected.file = None;
                    }
                    let is_same =
                        |file: &ChainFile| file.key() == inspected.key && file.fingerprint().matches(&inspected.head);
                    match by_key.get(inspected.key).find(|&index| is_same(&self.files[index])) {
                        Some(index) => {
                            grown.extend(self.files[index].recognise(listed, inspected));
                            seen[index] = true;
                        }
                        None => strangers.push((listed, inspected, unknown)),
                    }
                }
                Err(failed) if failed.error.kind() == io::ErrorKind::NotFound => {}
                Err(failed) => {
                    if let Some(file) = failed.file.filter(|_| before.is_some() || opened + held.len() < keep_open) {
                        let since = before.map_or(now, |held| held.since);
                        self.unread.push(Unread { listed: listed.clone(), file, since, unknown });
                    }
                    errors.push(MergeError { path: listed.path.clone(), error: failed.error });
                }
            }
        }
        if errors.iter().any(|failed| Left::of(&failed.error).is_some()) {
            self.unread = held;
        }
        strangers.sort_by_key(|(listed, ..)| (listed.name.age != Age::Live, listed.name.gzip));
        (strangers, errors)
    }

    /// How many of its files are open.
    pub fn open_files(&self) -> usize {
        self.unread.len() + self.files.iter().filter(|file| file.is_open()).count()
    }

    /// More was found in the file with this number after its end. Where restart counts began again at 0, and a log that was there
    /// is written to again, it comes after those of higher counts from now on: they are read.
    pub fn reopen(&mut self, id: u64) {
        let Some(index) = self.files.iter().position(|file| file.id() == id) else { return };
        let file = &mut self.files[index];
        file.progress_mut().reopen();
        let restart = file.name().restart;
        let is_read = |other: &ChainFile| {
            let has_unread = other.name().gzip || other.unread_bytes() > 0;
            other.progress().has_ended() || !has_unread
        };
        let comes_before = |other: &&ChainFile| match other.has_name() {
            true => other.name().restart != restart && (is_read(other) || !other.is_at_hand()),
            // Of an earlier run, and not found yet: such as an empty one, which cannot be recognised.
            false => is_read(other),
        };
        let passed = self.files[index + 1..].iter().take_while(comes_before).count();
        self.files[index..=index + passed].rotate_left(1);
    }

    /// The file with this number was truncated under its name: what is in it from now on is a file of its own, which comes
    /// after it. What was unread before is found again where the next listing has a copy of it.
    pub fn split_truncated(&mut self, id: u64, next_id: &mut u64, now: Instant) {
        if let Some(index) = self.files.iter().position(|file| file.id() == id) {
            let after = self.files[index].split_off(take_id(next_id), now);
            self.files.insert(index + 1, after);
        }
    }

    /// Puts newcomers, in their order, into their places among the files that are listed. Those that are known keep theirs:
    /// one that is gone from its folder has a name of before, and by now others may have come under that name.
    fn insert(&mut self, newcomers: Vec<ChainFile>, wall_ns: i64) {
        if newcomers.is_empty() {
            return;
        }
        let mut known = std::mem::take(&mut self.files).into_iter().peekable();
        for newcomer in newcomers {
            let is_later = |file: &ChainFile| file.is_listed() && file.is_after(&newcomer, wall_ns);
            while let Some(earlier) = known.next_if(|file| !is_later(file)) {
                self.files.push(earlier);
            }
            self.files.push(newcomer);
        }
        self.files.extend(known);
    }

    /// Drops what is finished, acknowledged and gone from its folder for a while.
    pub fn forget_missing(&mut self, now: Instant) {
        self.files.retain(|file| file.is_open() || !file.is_missing_for(FORGET_AFTER, now));
    }

    /// Whether it has a file that is open or would be opened.
    pub fn is_at_hand(&self) -> bool {
        self.files.iter().any(ChainFile::is_at_hand)
    }

    /// Whether all files are at their end or open, in their folder and readable: what comes next is a write or a new name.
    pub fn is_settled(&self) -> bool {
        let is_settled = |file: &ChainFile| {
            let is_read = file.progress().has_ended() || matches!(file.source(), Source::Slot(_));
            is_read && !file.is_failing() && file.deleted_since().is_none()
        };
        !self.waits && self.files.iter().all(is_settled)
    }

    /// Whether nothing can be read any more, and what was is acknowledged. `next`: each channel's first position that is not.
    pub fn is_done(&self, next: [Option<Position>; 2]) -> bool {
        let all_read = self.files.iter().all(|file| {
            let saved = file.progress().saved_offsets(next);
            let ended = file.progress().has_ended() || !file.is_at_hand();
            ended && saved.iter().all(|&saved| saved >= file.progress().parsed())
        });
        self.unread.is_empty() && all_read
    }

    /// Bytes that are not acknowledged, as far as they are known; of compressed files only those that were parsed.
    pub fn lag_bytes(&self, next: [Option<Position>; 2]) -> u64 {
        let end = |file: &ChainFile| match file.source() {
            // As of the last look at it, or of the last read.
            Source::Slot(_) | Source::Opened(_) => file.bytes_on_disk().max(file.progress().seen()),
            Source::Listed if !file.name().gzip => file.bytes_on_disk(),
            _ => file.progress().parsed(),
        };
        let saved = |file: &ChainFile| file.progress().saved_offsets(next).into_iter().min().unwrap_or(0);
        self.files.iter().map(|file| end(file).saturating_sub(saved(file))).sum()
    }

    /// What to save.
    pub fn saved(&self, next: [Option<Position>; 2]) -> impl Iterator<Item = SavedFile> {
        self.files.iter().map(move |file| {
            let progress = file.progress();
            let len = if file.name().gzip { progress.seen() } else { file.bytes_on_disk().max(progress.seen()) };
            let finished = progress.is_saved_to_its_end(next);
            SavedFile::new(file.key(), file.fingerprint(), progress.saved_offsets(next), finished, len)
        })
    }

    /// The cursor goes back to the first byte of any channel that is not acknowledged. Returns the indexes of the files that are
    /// read again.
    pub fn rewind(&mut self, next: [Option<Position>; 2]) -> Vec<usize> {
        let files = self.files.iter_mut().enumerate();
        files.filter_map(|(index, file)| file.progress_mut().rewind(next).then_some(index)).collect()
    }
}

/// Newcomers in their order: by restart count, but where counts began again at 0 the files of a lower one come later.
fn in_order(mut files: Vec<ChainFile>, wall_ns: i64) -> Vec<ChainFile> {
    files.sort_by_key(ChainFile::order);
    let mut counts: Vec<Count> = Vec::new();
    for file in files {
        match counts.last_mut() {
            Some(count) if count.restart == file.name().restart => count.add(file),
            _ => counts.push(Count::of(file)),
        }
    }
    let mut ordered: Vec<Count> = Vec::with_capacity(counts.len());
    for count in counts {
        let began_later = |lower: &Count| began_anew(lower.began_ns, count.last_write_ns, wall_ns);
        let place = ordered.iter().position(began_later).unwrap_or(ordered.len());
        ordered.insert(place, count);
    }
    ordered.into_iter().flat_map(|count| count.files).collect()
}

/// Files of one restart count, in their order.
struct Count {
    restart: u32,
    began_ns: i64,
    last_write_ns: i64,
    files: Vec<ChainFile>,
}

impl Count {
    fn of(file: ChainFile) -> Self {
        let (restart, began_ns, last_write_ns) = (file.name().restart, file.began_ns(), file.modified_ns());
        Self { restart, began_ns, last_write_ns, files: vec![file] }
    }

    fn add(&mut self, file: ChainFile) {
        self.began_ns = self.began_ns.min(file.began_ns());
        self.last_write_ns = self.last_write_ns.max(file.modified_ns());
        self.files.push(file);
    }
}

fn take_id(next_id: &mut u64) -> u64 {
    *next_id += 1;
    *next_id
}

#[cfg(test)]
mod tests;
