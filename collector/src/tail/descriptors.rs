//! How many log files are open at one time.
//!
//! Each file that can be read is held open, as long as the process's limit of descriptors allows. Past it idle files that
//! are read to their end are closed, the longest unread first, and opened by their path when the sweep finds that they grew.
//! Only where that is not enough files with unread bytes are closed, and never one that no name leads to any more.

use std::{
    io,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};

use super::{Container, ReaderSide};
use crate::{
    tail::chain::{self, ContainerId, FileKey, Source},
    tail::read::{BUFFERS, RangeReader},
};

/// Descriptors for everything else: connections to Loki, the API server and those who scrape, the probe, the checkpoint,
/// folders that are listed.
const RESERVED: usize = 128;

/// The same of each further shard: its ring or epoll, its folders, its probe.
const RESERVED_PER_SHARD: usize = 32;

/// So many files may be open however low the limit is.
const FILES_MIN: usize = 32;

/// A file that cannot be opened for a passing reason is tried again after this time.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The limit and what is taken of it.
#[derive(Debug)]
pub struct Descriptors {
    /// Log files that may be open.
    limit: usize,
    /// Log files that are open.
    pub open: usize,
    said: bool,
}

impl Descriptors {
    /// What this process's RLIMIT_NOFILE allows each of so many shards, with `per_file` descriptors for a file.
    pub fn of_process(per_file: usize, shards: usize) -> Self {
        let limit = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize);
        let reserved = RESERVED + RESERVED_PER_SHARD * (shards - 1);
        let files = limit.saturating_sub(reserved) / per_file.max(1) / shards;
        Self { limit: files.max(FILES_MIN), open: 0, said: false }
    }

    /// How many more files may be opened.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.open)
    }
}

/// A file that could be closed, the best one least.
type Candidate = (Class, Duration, ContainerId, usize);

/// Which files are closed first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// Read to its end.
    Idle,
    /// Unread, and still written to.
    Live,
    /// Unread and rotated: the next to be deleted.
    Rotated,
}

impl<R: RangeReader> ReaderSide<R> {
    /// Closes idle files where there is no room for another one; where `for_reading` also unread ones.
    pub(super) fn make_room(&mut self, for_reading: bool) {
        let descriptors = &mut self.state.descriptors;
        if descriptors.room() > 0 {
            return;
        }
        if !descriptors.said {
            descriptors.said = true;
            tracing::warn!(
                most = descriptors.limit,
                "there are more log files than may be open: idle ones are closed and looked at every sweep.interval; \
                 raise the limit of open files (LimitNOFILE= of the container runtime, ulimit -n)"
            );
        }
        // Many at one time, as looking for them costs a look at all containers.
        let wanted = (descriptors.limit / 8).max(BUFFERS) + descriptors.open.saturating_sub(descriptors.limit);
        let now = Instant::now();
        let mut candidates: Vec<Candidate> = Vec::new();
        for (&id, container) in &self.state.containers {
            if !container.picked {
                add_candidates(id, container, for_reading, now, &mut candidates);
            }
        }
        candidates.sort_unstable();
        let mut closed = 0;
        for (class, _, id, index) in candidates {
            if closed >= wanted || (class != Class::Idle && closed > BUFFERS) {
                break;
            }
            closed += usize::from(self.close_listed(id, index, class));
        }
    }

    /// Closes a file that its name leads to.
    fn close_listed(&mut self, id: ContainerId, index: usize, class: Class) -> bool {
        let Some(container) = self.state.containers.get_mut(&id) else { return false };
        let file = &mut container.chain.files_mut()[index];
        let Ok(stat) = rustix::fs::stat(&file.path) else { return false };
        let key = FileKey { device: stat.st_dev, inode: stat.st_ino };
        let len = stat.st_size as u64;
        // What was written since is found in the meantime by its mark, and after it by the sweep.
        if key != file.listed_key() || (class == Class::Idle && len != file.seen) {
            return false;
        }
        if let Source::Slot(slot) = file.source
            && let Some(descriptor) = self.reader.file(slot)
        {
            file.extend_fingerprint(|| chain::plain_head(descriptor));
        }
        file.len = len;
        self.shut(id, index, Source::Listed);
        true
    }

    /// Closes the file at `index`, which is from now on to be had by `source`.
    pub(super) fn shut(&mut self, id: ContainerId, index: usize, source: Source) {
        let Some(container) = self.state.containers.get_mut(&id) else { return };
        let file = &mut container.chain.files_mut()[index];
        self.state.descriptors.open -= usize::from(file.is_open());
        let before = std::mem::replace(&mut file.source, source);
        self.state.descriptors.open += usize::from(file.is_open());
        match before {
            Source::Slot(slot) => self.release(slot),
            Source::Gzip(gzip) => self.state.open_gzips -= usize::from(gzip.is_open()),
            Source::Closed | Source::Listed | Source::Opened(_) => {}
        }
    }

    /// Index of the container's file to be read next, open; `None`: there is nothing to be read now.
    pub(super) fn begin_reading(&mut self, id: ContainerId) -> Option<usize> {
        let container = self.state.containers.get_mut(&id)?;
        container.queued = false;
        let index = container.chain.current()?;
        let file = &container.chain.files()[index];
        if !matches!(file.source, Source::Listed) {
            container.picked = true;
            return Some(index);
        }
        if file.len == file.seen && !container.chain.is_superseded(index) {
            return None;
        }
        container.picked = true;
        self.make_room(true);
        let opened = self.open_listed(id, index);
        if opened.is_none()
            && let Some(container) = self.state.containers.get_mut(&id)
        {
            container.picked = false;
        }
        opened
    }

    fn open_listed(&mut self, id: ContainerId, index: usize) -> Option<usize> {
        let now = Instant::now();
        if self.state.descriptors.open >= self.state.descriptors.limit.saturating_add(BUFFERS) {
            self.state.waiting.push_back((now + OPEN_AGAIN_AFTER, id));
            return None;
        }
        let file = &mut self.state.containers.get_mut(&id)?.chain.files_mut()[index];
        match file.open() {
            Ok(source) => {
                file.take_source(source);
                self.state.descriptors.open += 1;
                self.adopt(id);
                Some(index)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Rotated, compressed or removed since it was listed.
                file.set_missing(now);
                self.scan_container(id);
                None
            }
            Err(error) => {
                if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) {
                    self.state.descriptors.limit = self.state.descriptors.open.max(FILES_MIN);
                }
                self.state.complain_of_read(&error);
                self.state.waiting.push_back((now + OPEN_AGAIN_AFTER, id));
                None
            }
        }
    }
}

/// Adds the open files of a container that can be opened again.
fn add_candidates(
    id: ContainerId,
    container: &Container,
    with_unread: bool,
    now: Instant,
    candidates: &mut Vec<Candidate>,
) {
    let since_read = now.saturating_duration_since(container.last_read);
    for (index, file) in container.chain.files().iter().enumerate() {
        let at_rest = match &file.source {
            Source::Slot(_) => true,
            Source::Gzip(gzip) => !gzip.is_open(),
            _ => false,
        };
        if !at_rest || !file.is_listed() || file.deleted_since.is_some() {
            continue;
        }
        if container.chain.is_superseded(index) {
            candidates.extend(with_unread.then_some((Class::Rotated, since_read, id, index)));
        } else if container.queued || file.len != file.seen {
            // What was read last is read again last.
            candidates.extend(with_unread.then_some((Class::Live, since_read, id, index)));
        } else {
            candidates.push((Class::Idle, Duration::MAX - since_read, id, index));
        }
    }
}

/// Bytes of an open file, and whether a name leads to it.
pub(super) fn len_and_named(file: impl AsFd) -> Option<(u64, bool)> {
    let stat = rustix::fs::fstat(file).ok()?;
    Some((stat.st_size as u64, stat.st_nlink > 0))
}
