//! Where positions move: batches that ended, channels that are parked and released, and what is saved.
//!
//! A channel's saved position is its [`Unit::next`], which [`super::chain::Progress::saved`] turns into an offset of each file.
//! Nothing else moves it.

use std::time::{Instant, SystemTime};

use super::{
    State, Tailer, Unit,
    chain::{self, ChainFile, Source},
    read::RangeReader,
};
use crate::{
    batch::FromOutput,
    checkpoint::Snapshot,
    model::{ChannelId, UnitId},
};

impl<R: RangeReader> Tailer<R> {
    /// Takes what the output hands back. Units whose lines Loki takes again are rewound as soon as none of their lines is in
    /// flight.
    pub(super) fn take_ended(&mut self) {
        let mut rewinding = Vec::new();
        while let Ok(message) = self.state.links.done.try_recv() {
            match message {
                FromOutput::Done { batch, refused } => {
                    let (lanes, units) = (&mut self.state.lanes, &mut self.state.units);
                    lanes.ledger_mut().end(&batch, &refused, |ChannelId { unit, stream }, first| {
                        if let Some(unit) = units.get_mut(unit) {
                            unit.park(stream, first);
                        }
                    });
                    rewinding.extend(batch.streams().iter().map(|stream| stream.channel.unit));
                    lanes.take_back(batch);
                    self.state.moved = true;
                }
                FromOutput::Taken(ChannelId { unit, stream }) => {
                    match self.state.units.get_mut(unit) {
                        Some(released) => released.channels.release(stream),
                        // Its folder is gone, and what it owed was given up.
                        None => self.state.lanes.unpark(ChannelId { unit, stream }),
                    }
                    self.state.lanes.seal_lines_of(unit);
                    rewinding.push(unit);
                }
            }
            self.state.schedule.unblock();
        }
        rewinding.sort_unstable();
        rewinding.dedup();
        for id in rewinding {
            let wants = self.state.units.get(id).is_some_and(|unit| unit.channels.wants_rewind());
            if wants && !self.state.lanes.holds(id) {
                self.rewind(id);
            }
        }
    }

    /// Goes back to the first byte of any channel of a unit that is not acknowledged: the one operation for channels that Loki takes
    /// again.
    fn rewind(&mut self, id: UnitId) {
        let Some(unit) = self.state.units.get_mut(id) else { return };
        let before = unit.held_bytes();
        let (again, sent_again) = unit.rewind();
        let after = unit.held_bytes();
        self.state.note_held(before, after);
        for index in again {
            self.read_again(id, index);
        }
        for stream in sent_again {
            self.state.lanes.unpark(ChannelId { unit: id, stream });
        }
        self.state.queue(id);
    }

    /// A file of a unit is read again from where its cursor stands.
    fn read_again(&mut self, id: UnitId, index: usize) {
        let Some(unit) = self.state.units.get_mut(id) else { return };
        let file = &mut unit.chain.files_mut()[index];
        let was_open = matches!(file.source(), Source::Gzip(gzip) if gzip.is_open());
        file.read_again();
        self.state.files.open_gzips -= usize::from(was_open);
    }

    /// Hands the positions over to be saved, at most once in `checkpoint.interval` and only when they moved.
    pub(super) fn snapshot_if_due(&mut self) {
        if self.state.moved && Instant::now() >= self.state.due.snapshot {
            self.snapshot();
        }
    }

    /// Hands the positions over to be saved, each with what its file is recognised by: a position of a file that was empty
    /// when it was found would be worth nothing after a restart.
    pub(super) fn snapshot(&mut self) {
        for id in self.state.units.ids() {
            self.extend_fingerprints(id);
        }
        self.close_saved_files();
        self.state.snapshot();
    }

    /// Closes files that every channel is saved to the end of. Until then a refused line may have to be read again.
    pub(super) fn close_saved_files(&mut self) {
        let unacknowledged = self.state.lanes.unacknowledged();
        let mut saved = Vec::new();
        for unit in self.state.units.iter().filter(|unit| !unit.stalled) {
            let mut next = None;
            for (index, file) in unit.chain.files().iter().enumerate() {
                let can_close = file.progress().has_ended() && !matches!(file.source(), Source::Closed);
                if can_close {
                    let next = *next.get_or_insert_with(|| unit.next(&unacknowledged));
                    if file.progress().is_saved_to_its_end(next) {
                        saved.push((unit.id, index));
                    }
                }
            }
        }
        for (id, index) in saved {
            self.shut(id, index, Source::Closed);
        }
    }

    /// Files that were short when they were first seen have more to be recognised by now.
    pub(super) fn extend_fingerprints(&mut self, id: UnitId) {
        let Some(unit) = self.state.units.get_mut(id).filter(|unit| !unit.stalled) else { return };
        for file in unit.chain.files_mut() {
            extend_fingerprint(file, &self.reader);
        }
        self.stall_container_if_left(id);
    }
}

/// A file that was short when it was first seen has more to be recognised by now, if it is open.
pub(super) fn extend_fingerprint(file: &mut ChainFile, reader: &impl RangeReader) {
    if let Some(slot) = file.slot()
        && let Some(descriptor) = reader.file(slot)
    {
        file.extend_fingerprint(|| chain::plain_head(descriptor));
    }
}

impl State {
    /// Seals what is full or has its age.
    pub(super) fn seal_if_due(&mut self, now: Instant) {
        let nothing_grown_waits = self.lanes.seal_if_due(now, self.grown_since);
        if nothing_grown_waits && !self.schedule.has_ready() {
            self.grown_since = None;
        }
    }

    /// Hands the positions over to be saved.
    fn snapshot(&mut self) {
        self.moved = false;
        self.due.snapshot = Instant::now() + self.config.checkpoint.interval.0;
        let unacknowledged = self.lanes.unacknowledged();
        let saved = |unit: &Unit| (unit.saved_name(), unit.chain.saved(unit.next(&unacknowledged)).collect());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let snapshot = Snapshot::new(self.units.iter().map(saved), &self.units.unclaimed, now.as_secs());
        // Gone only when the program ends at once; the positions then stay as they were last saved.
        let _ = self.links.snapshots.send(snapshot);
        self.links.snapshots_notify.notify_one();
    }

    /// Reports what the deadline of the shutdown left behind.
    pub(super) fn report_undrained(&self) {
        let (in_flight, unread) = (self.lanes.in_flight(), self.schedule.unread());
        if in_flight > 0 || unread > 0 {
            tracing::warn!(
                batches_not_acknowledged = in_flight,
                containers_not_read_to_their_end = unread,
                "shutdown.deadline passed before everything was sent; the next start goes on from the last acknowledged line"
            );
        }
    }
}
