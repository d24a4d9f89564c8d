//! Deleted files that are held open because they are not read to their end, and what they may cost.
//!
//! In: what the sweep saw of the open files, `hold.bytes` and `hold.age`. Such a file takes its place on the disk for as long
//! as it is open. Past the limits that is ended first where it loses nothing: by reading the compressed form that is still
//! listed. Only then the files that were deleted first are given up, each with a warning and counted, never silently.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{State, Tailer, apart};
use crate::{
    model::{PodName, SavedFile, Stream, UnitId},
    tail::chain::{Chain, ChainFile, Source},
    tail::read::RangeReader,
};

/// A file that is neither open nor listed is given up after this time; one that is renamed or compressed is found sooner.
const VANISHED_AFTER: Duration = Duration::from_secs(30);

/// The reason for which files are given up that this run has never seen.
const REMOVED_BEFORE: &str = "removed while Pilcrow was not running";

/// A deleted file that is held open.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Since which sweep it is known to be deleted.
    since: Instant,
    unit: UnitId,
    /// Its number in the chain.
    file: u64,
    /// What it takes on the disk.
    bytes: u64,
}

impl Held {
    /// The file, where it is deleted and open. To be called at each sweep, after its length and its names were looked at.
    pub fn of(unit: UnitId, file: &ChainFile) -> Option<Self> {
        let since = file.deleted_since().filter(|_| file.is_open())?;
        Some(Self { since, unit, file: file.id(), bytes: file.len() })
    }
}

impl<R: RangeReader> Tailer<R> {
    /// Keeps what is held within the limits. A file that this sweep was the first to find deleted is left alone: it may be read
    /// to its end within a moment.
    pub(super) fn limit_held(&mut self, mut held: Vec<Held>, now: Instant) {
        held.sort_unstable_by_key(|held| (held.since, held.unit, held.file));
        for held in held.iter().filter(|held| held.since < now) {
            self.end_if_read(*held);
        }
        let (bytes_max, age_max) = (self.state.config.hold.bytes.0, self.state.config.hold.age.0);
        let is_too_old = |held: &Held| !age_max.is_zero() && now.saturating_duration_since(held.since) >= age_max;
        let mut bytes: u64 = held.iter().map(|held| held.bytes).sum();
        held.retain(|held| {
            let over = held.since < now && (bytes > bytes_max || is_too_old(held));
            let changed = over && self.change_to_compressed(*held);
            bytes -= if changed { held.bytes } else { 0 };
            !changed
        });
        held.retain(|held| {
            let over = held.since < now && is_too_old(held);
            if over {
                self.give_up(held.unit, held.file, "hold.age");
                bytes -= held.bytes;
            }
            !over
        });
        while bytes > bytes_max
            && let Some(index) = oldest_of_largest_holder(&held, now)
        {
            let held = held.remove(index);
            self.give_up(held.unit, held.file, "hold.bytes");
            bytes -= held.bytes;
        }
        self.state.metrics.held_bytes.set(bytes as i64);
        self.state.metrics.held_files.set(held.len() as i64);
    }

    /// A deleted file that has nothing unread has ended; it is closed when Loki has its lines.
    fn end_if_read(&mut self, held: Held) {
        let Some((chain, index)) = self.state.chain_at(held.unit, held.file) else { return };
        let file = &mut chain.files_mut()[index];
        let is_read = file.progress().parsed() == file.len() && !file.is_listed() && !file.progress().has_ended();
        if is_read && file.slot().is_some() {
            file.progress_mut().reach_end();
            self.end_lines(held.unit, index);
        }
    }

    /// Reads on in the compressed form of a file that is still listed. Returns whether it is so.
    fn change_to_compressed(&mut self, held: Held) -> bool {
        let Some((chain, index)) = self.state.chain_at(held.unit, held.file) else { return false };
        let file = &mut chain.files_mut()[index];
        if !file.has_compressed_form() {
            return false;
        }
        let Ok(source) = file.open() else {
            self.stall_container_if_left(held.unit);
            return false;
        };
        self.shut(held.unit, index, Source::Closed);
        if let Some((chain, index)) = self.state.chain_at(held.unit, held.file) {
            let file = &mut chain.files_mut()[index];
            file.take_source(source);
            self.state.files.descriptors.open += 1;
        }
        true
    }

    /// Gives up what is unread or not acknowledged of a file: reports it, counts it, and goes on with the next one.
    pub(super) fn give_up(&mut self, id: UnitId, number: u64, why: &'static str) {
        let Some(unit) = self.state.units.get_mut(id) else { return };
        let Some(index) = unit.chain.files().iter().position(|file| file.id() == number) else { return };
        let file = &unit.chain.files()[index];
        let owed = Stream::ALL.map(|stream| file.progress().saved(stream, unit.channels.debt(stream)));
        let from = owed[0].min(owed[1]).min(file.progress().parsed());
        let end = match file.source() {
            Source::Gzip(gzip) => gzip.content_bytes(),
            _ => file.len(),
        };
        // One whose file system does not answer is lost all the same.
        apart::take_left();
        let lost_bytes = end.saturating_sub(from);
        if lost_bytes > 0 {
            let pod = &unit.pod;
            tracing::warn!(
                namespace = pod.namespace,
                pod = pod.pod,
                container = unit.name,
                file = file.label(),
                lost_bytes,
                why,
                "{}",
                reason(why)
            );
            self.state.metrics.abandoned_bytes.inc_by(lost_bytes);
            self.state.metrics.abandoned_files.inc();
        }
        self.shut(id, index, Source::Closed);
        let Some(unit) = self.state.units.get_mut(id) else { return };
        let file = &mut unit.chain.files_mut()[index];
        file.progress_mut().give_up();
        file.set_ends_lines(true);
        self.state.moved = true;
        self.state.queue(id);
    }

    /// Nothing more is read of a file: where another run of the container follows, no line goes on there.
    fn end_lines(&mut self, id: UnitId, index: usize) {
        let Some(unit) = self.state.units.get_mut(id) else { return };
        let restart = unit.chain.files()[index].name().restart;
        let next = unit.chain.current().map(|next| unit.chain.files()[next].name().restart);
        unit.chain.files_mut()[index].set_ends_lines(next.is_some_and(|next| next != restart));
        self.state.queue(id);
    }

    /// Gives up files that were closed for lack of descriptors, or truncated, and are nowhere to be found; at once where
    /// their whole folder is gone.
    pub(super) fn give_up_vanished(&mut self, now: Instant) {
        let mut vanished = Vec::new();
        for unit in self.state.units.iter().filter(|unit| unit.exclusion().is_none() && !unit.stalled) {
            let (id, wait) = (unit.id, if unit.gone { Duration::ZERO } else { VANISHED_AFTER });
            let files = unit.chain.files().iter();
            let lost =
                files.filter(|file| !file.is_at_hand() && file.unread_bytes() > 0 && file.is_missing_for(wait, now));
            vanished.extend(lost.map(|file| (id, file.id(), if file.has_name() { "gone" } else { REMOVED_BEFORE })));
        }
        for (id, file, why) in vanished {
            self.give_up(id, file, why);
        }
        self.state.give_up_removed_containers(now);
    }
}

impl State {
    /// Gives up what an earlier run has left unread of containers whose folder was removed before this one began.
    fn give_up_removed_containers(&mut self, now: Instant) {
        if self.first_scan || !self.survey.knows_pods() {
            return;
        }
        let pods = &self.config.paths.pods;
        let is_gone =
            |name: &str| apart::stat_path(&pods.join(name)).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let gone = self.units.unclaimed.take_gone(VANISHED_AFTER, now, is_gone);
        // Asked again at the next sweep.
        apart::take_left();
        for saved in gone {
            let (folder, container) = saved.name.split_once('/').unwrap_or((&saved.name, ""));
            let (namespace, pod) =
                PodName::parse(folder).map_or_else(Default::default, |name| (name.namespace, name.pod));
            let lost = saved.files.iter().map(SavedFile::unacknowledged_bytes).filter(|&bytes| bytes > 0);
            let (files, lost_bytes) = (lost.clone().count() as u64, lost.sum::<u64>());
            tracing::warn!(
                namespace,
                pod,
                container,
                folder,
                files,
                lost_bytes,
                why = REMOVED_BEFORE,
                "{}",
                reason(REMOVED_BEFORE)
            );
            self.metrics.abandoned_bytes.inc_by(lost_bytes);
            self.metrics.abandoned_files.inc_by(files);
            self.moved = true;
        }
    }

    /// The chain of a container, and where in it the file with this number is.
    fn chain_at(&mut self, id: UnitId, number: u64) -> Option<(&mut Chain, usize)> {
        let chain = &mut self.units.get_mut(id)?.chain;
        let index = chain.files().iter().position(|file| file.id() == number)?;
        Some((chain, index))
    }
}

/// The file that was deleted first of the unit that holds most. `None` too where this sweep was the first to find all of that
/// unit's: they may be read to their end within a moment, and others must not be given up in their place.
fn oldest_of_largest_holder(held: &[Held], now: Instant) -> Option<usize> {
    let bytes_of = |unit: UnitId| held.iter().filter(|held| held.unit == unit).map(|held| held.bytes).sum::<u64>();
    let largest = held.iter().map(|held| held.unit).max_by_key(|unit| bytes_of(*unit))?;
    held.iter().position(|held| held.unit == largest && held.since < now)
}

/// What happened, and the fix.
fn reason(why: &str) -> &'static str {
    match why {
        "hold.bytes" => {
            "gave up a deleted log file before it was read, as deleted files that are held open took more of the disk than \
             hold.bytes; look why Loki is slow or away, or raise hold.bytes"
        }
        "unreadable" => "gave up a log file that could not be read for 10 minutes; look at the disk",
        "hold.age" => "gave up a deleted log file before it was read, as it was held open for longer than hold.age",
        REMOVED_BEFORE => {
            "logs were removed while Pilcrow was not running, before all of their lines were sent; keep downtime short, or have \
             more rotated logs kept (the kubelet's containerLogMaxFiles and containerLogMaxSize)"
        }
        _ => {
            "a log file was removed or truncated before it was read and while it was not held open; see \
             pilcrow_open_files and the limit of open files"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_holder_is_not_given_up_for_a_large_one_that_was_deleted_a_moment_ago() {
        let first_sweep = Instant::now();
        let second_sweep = first_sweep + Duration::from_secs(1);
        let held = |unit, since, bytes| Held { since, unit: UnitId(unit), file: 0, bytes };
        let held = [held(1, first_sweep, 20), held(2, second_sweep, 8000)];
        assert_eq!(oldest_of_largest_holder(&held, second_sweep), None);
        assert_eq!(oldest_of_largest_holder(&held, second_sweep + Duration::from_secs(1)), Some(1));
    }
}
