//! How many log files are open at one time.
//!
//! Each file that can be read is held open, as long as the process's limit of descriptors allows. Past it idle files that
//! are read to their end are closed, the longest unread first, and opened by their path when the sweep finds that they grew.
//! Only where that is not enough files with unread bytes are closed, and never one that no name leads to any more.

use std::{
    io,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};

use super::{
    Tailer, Unit,
    apart::{self, Left},
    positions::extend_fingerprint,
};
use crate::{
    model::FileKey,
    model::UnitId,
    tail::chain::Source,
    tail::read::{BUFFERS, RangeReader},
};

/// Descriptors for everything else: connections to Loki, the API server and those who scrape, the probe, the checkpoint,
/// folders that are listed. Some 25 without any connection; of a low limit two thirds have to do.
const RESERVED: usize = 128;

/// This many files may be open however low the limit is.
const FILES_MIN: usize = 8;

/// After the system had no descriptor left, idle files are closed for this long.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// A file that cannot be opened for a passing reason is tried again after this time.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The limit and what is taken of it.
#[derive(Debug)]
pub struct Descriptors {
    /// Log files that may be open.
    limit: usize,
    /// Log files that are open.
    pub open: usize,
    /// The system had no descriptor left: no further file is opened until then.
    refused_until: Option<Instant>,
    /// No idle file was found when one was last looked for.
    none_idle_at: Option<Instant>,
    said: bool,
}

impl Descriptors {
    /// What this process's RLIMIT_NOFILE allows, with `per_file` descriptors for a file.
    pub fn of_process(per_file: usize) -> Self {
        let limit = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize);
        Self { limit: files_of(limit, per_file), open: 0, refused_until: None, none_idle_at: None, said: false }
    }

    /// How many more files may be opened.
    pub fn room(&self) -> usize {
        match self.refused_until {
            Some(until) if until > Instant::now() => 0,
            _ => self.limit.saturating_sub(self.open),
        }
    }

    /// The system had no descriptor left, for this process or for all: idle files are closed for a while.
    fn note_refused(&mut self) {
        self.refused_until = Some(Instant::now() + REFUSED_FOR);
    }
}

/// How many log files may be open where the process may have `limit` descriptors and each file takes `per_file`.
fn files_of(limit: usize, per_file: usize) -> usize {
    let reserved = RESERVED.min(limit / 3 * 2);
    ((limit - reserved) / per_file.max(1)).max(FILES_MIN)
}

/// A file that could be closed, the best one least.
type Candidate = (Class, Duration, UnitId, usize);

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

impl<R: RangeReader> Tailer<R> {
    /// Closes idle files where there is no room for another one; where `for_reading` also unread ones.
    pub(super) fn make_room(&mut self, for_reading: bool) {
        let descriptors = &mut self.state.files.descriptors;
        let now = Instant::now();
        let looked_lately =
            descriptors.none_idle_at.is_some_and(|at| now.saturating_duration_since(at) < OPEN_AGAIN_AFTER);
        if descriptors.room() > 0 || (!for_reading && looked_lately) {
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
        let mut candidates: Vec<Candidate> = Vec::new();
        for unit in self.state.units.iter() {
            if !unit.picked && !unit.stalled {
                add_candidates(unit.id, unit, for_reading, now, &mut candidates);
            }
        }
        candidates.sort_unstable();
        let mut closed = 0;
        for (class, _, id, index) in candidates {
            if closed >= wanted || (class != Class::Idle && closed > BUFFERS) {
                break;
            }
            closed += usize::from(self.close_listed(id, index, class));
            self.stall_container_if_left(id);
        }
        self.state.files.descriptors.none_idle_at = (!for_reading && closed == 0).then_some(now);
    }

    /// Closes a file that its name leads to.
    fn close_listed(&mut self, id: UnitId, index: usize, class: Class) -> bool {
        let Some(container) = self.state.units.get_mut(id) else { return false };
        let file = &mut container.chain.files_mut()[index];
        let Ok(stat) = apart::stat_path(file.path()) else { return false };
        let key = FileKey::of(&stat);
        let len = stat.st_size as u64;
        // What was written since is found in the meantime by its mark, and after it by the sweep.
        if key != file.listed_key() || (class == Class::Idle && len != file.progress().seen()) {
            return false;
        }
        extend_fingerprint(file, &self.reader);
        file.note_len(len);
        self.shut(id, index, Source::Listed);
        true
    }

    /// Closes the file at `index`, which is available by `source` from now on.
    pub(super) fn shut(&mut self, id: UnitId, index: usize, source: Source) {
        let Some(container) = self.state.units.get_mut(id) else { return };
        let file = &mut container.chain.files_mut()[index];
        self.state.files.descriptors.open -= usize::from(file.is_open());
        let before = file.replace_source(source);
        self.state.files.descriptors.open += usize::from(file.is_open());
        match before {
            Source::Slot(slot) => self.release(slot),
            Source::Gzip(gzip) => self.state.files.open_gzips -= usize::from(gzip.is_open()),
            Source::Closed | Source::Listed | Source::Opened(_) => {}
        }
    }

    /// Index of the container's file to be read next, open; `None`: there is nothing to be read now.
    pub(super) fn begin_reading(&mut self, id: UnitId) -> Option<usize> {
        let container = self.state.units.get_mut(id)?;
        container.queued = false;
        if container.stalled {
            return None;
        }
        let index = container.chain.current()?;
        let file = &container.chain.files()[index];
        if !matches!(file.source(), Source::Listed) {
            container.picked = true;
            return Some(index);
        }
        if file.bytes_on_disk().max(file.progress().seen()) == file.progress().parsed()
            && !container.chain.is_superseded(index)
        {
            return None;
        }
        container.picked = true;
        self.make_room(true);
        let opened = self.open_listed(id, index);
        if opened.is_none()
            && let Some(container) = self.state.units.get_mut(id)
        {
            container.picked = false;
        }
        opened
    }

    fn open_listed(&mut self, id: UnitId, index: usize) -> Option<usize> {
        let now = Instant::now();
        if self.state.files.descriptors.open >= self.state.files.descriptors.limit.saturating_add(BUFFERS) {
            self.state.schedule.push_later(now + OPEN_AGAIN_AFTER, id);
            return None;
        }
        let file = &mut self.state.units.get_mut(id)?.chain.files_mut()[index];
        match file.open() {
            Ok(source) => {
                file.take_source(source);
                self.state.files.descriptors.open += 1;
                self.adopt(id);
                Some(index)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Rotated, compressed or removed since it was listed.
                file.set_missing(now);
                self.scan_container(id);
                None
            }
            Err(error) if Left::of(&error).is_some() => {
                self.stall_container_if_left(id);
                None
            }
            Err(error) => {
                if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) {
                    self.state.files.descriptors.note_refused();
                }
                self.state.warn_of_read(&error);
                self.state.schedule.push_later(now + OPEN_AGAIN_AFTER, id);
                None
            }
        }
    }
}

/// Adds the open files of a container that can be opened again.
fn add_candidates(id: UnitId, container: &Unit, with_unread: bool, now: Instant, candidates: &mut Vec<Candidate>) {
    let since_read = now.saturating_duration_since(container.last_read);
    for (index, file) in container.chain.files().iter().enumerate() {
        let at_rest = match file.source() {
            Source::Slot(_) => true,
            Source::Gzip(gzip) => !gzip.is_open(),
            _ => false,
        };
        if !at_rest || !file.is_listed() || file.deleted_since().is_some() {
            continue;
        }
        if container.chain.is_superseded(index) {
            candidates.extend(with_unread.then_some((Class::Rotated, since_read, id, index)));
        } else if container.queued || file.bytes_on_disk() != file.progress().seen() {
            // What was read last is read again last.
            candidates.extend(with_unread.then_some((Class::Live, since_read, id, index)));
        } else {
            candidates.push((Class::Idle, Duration::MAX - since_read, id, index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_limit_leaves_two_thirds_for_everything_else_and_a_high_one_all_but_128() {
        let files = [64, 100, 192, 256, 1024].map(|limit| files_of(limit, 2));
        assert_eq!(files, [11, 17, 32, 64, 448]);
        assert_eq!(files_of(1024, 1), 896);
        assert_eq!([0, 16, 32].map(|limit| files_of(limit, 2)), [FILES_MIN; 3]);
        assert!(files_of(usize::MAX, 2) > 1 << 40);
    }

    #[test]
    fn a_system_without_descriptors_closes_idle_files_for_a_while_and_does_not_lower_the_limit() {
        let mut descriptors = Descriptors::of_process(1);
        let before = descriptors.room();
        assert!(before > 0);
        descriptors.note_refused();
        assert_eq!(descriptors.room(), 0);
        descriptors.refused_until = Some(Instant::now());
        assert_eq!(descriptors.room(), before);
    }
}
