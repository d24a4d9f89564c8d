//! Rounds of reads: many files at once, each a bounded part, so that a busy container cannot starve the others.
//!
//! In: units with unread bytes. Out: their lines in batches. What the batches have no room for is read again when they have. A
//! read that fails is no end of a file: it is tried again.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    ROTATION_GRACE, State, Tailer,
    apart::{self, Left, read_range},
    chain::{FAILING_MAX, Source, clock_before},
    feeding::Fed,
    folders::Folder,
    positions::extend_fingerprint,
    quiet::Quiet,
    read::{BUFFER_BYTES, BUFFERS, RangeReader, Wanted},
};
use crate::{decode::Clock, model::UnitId};

/// A file that cannot be read is tried again after this time.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A round of reads while it is prepared and done: memory that is used again and again.
#[derive(Default)]
pub(super) struct Round {
    wanted: Vec<Wanted>,
    /// One for each of `wanted`.
    picks: Vec<Pick>,
    /// All units that are looked at.
    picked: Vec<UnitId>,
}

/// A file in a round of reads.
struct Pick {
    id: UnitId,
    file: u64,
    offset: u64,
    outcome: Outcome,
}

/// What a read found.
pub(super) enum Outcome {
    /// The buffer was filled: there may be more.
    More,
    /// The end of the file, for now.
    End,
    /// A filled buffer without a newline.
    LongRecord,
    /// No batch has room for the rest.
    NoRoom,
    /// The file cannot be read.
    Failed(io::Error),
}

impl<R: RangeReader> Tailer<R> {
    /// Reads a part of each of the units that are first in the queue.
    pub(super) async fn read_round(&mut self) {
        let Round { mut wanted, mut picks, mut picked } = std::mem::take(&mut self.state.decoding.round);
        while picked.len() < BUFFERS
            && let Some(id) = self.state.schedule.pop()
        {
            if !self.state.has_room(id) {
                self.state.schedule.push_blocked(id);
                continue;
            }
            let Some(index) = self.begin_reading(id) else { continue };
            picked.push(id);
            let Some(unit) = self.state.units.get(id) else { continue };
            let file = &unit.chain.files()[index];
            let (number, offset) = (file.id(), file.progress().parsed());
            match *file.source() {
                Source::Slot(slot) => {
                    if unit.is_elsewhere(number) {
                        let clock = self.reader.file(slot).map(|file| clock_before(file, offset));
                        if self.stall_container_if_left(id) {
                            continue;
                        }
                        self.state.enter(id, number, clock.unwrap_or_default());
                    }
                    wanted.push(Wanted { slot, offset });
                    picks.push(Pick { id, file: number, offset, outcome: Outcome::End });
                }
                Source::Gzip(_) => {
                    self.read_gzip(id, index);
                    self.stall_container_if_left(id);
                }
                Source::Opened(_) | Source::Listed | Source::Closed => {}
            }
        }
        let state = &mut self.state;
        self.reader.read_round(&wanted, |index, result| state.take_bytes(&mut picks[index], result)).await;
        for id in picked.drain(..) {
            if let Some(unit) = self.state.units.get_mut(id) {
                unit.picked = false;
            }
        }
        for pick in picks.drain(..) {
            match pick.outcome {
                Outcome::More => self.state.queue(pick.id),
                Outcome::LongRecord => self.read_long_record(pick.id),
                Outcome::End => self.end_reached(pick.id),
                Outcome::NoRoom => self.state.block(pick.id),
                Outcome::Failed(error) => self.read_failed(pick.id, &error),
            }
            self.stall_container_if_left(pick.id);
        }
        wanted.clear();
        self.state.decoding.round = Round { wanted, picks, picked };
        self.state.publish_counts();
    }

    /// Nothing more is in the unit's current file: if another one follows, goes on to that one.
    fn end_reached(&mut self, id: UnitId) {
        let now = Instant::now();
        let Some(unit) = self.state.units.get_mut(id) else { return };
        unit.note_read(0, true);
        let Some(index) = unit.chain.current() else { return };
        if !unit.chain.is_superseded(index) {
            return;
        }
        let file = &mut unit.chain.files_mut()[index];
        let since = file.note_end(now);
        let is_written = file.slot().is_some();
        if now - since < ROTATION_GRACE && is_written {
            match self.quiet(id, index) {
                Quiet::No => return self.state.schedule.push_later(since + ROTATION_GRACE, id),
                // A read is short before a block that cannot be read; the next one tells.
                Quiet::ButLonger => return self.state.schedule.push_later(now + READ_AGAIN_AFTER, id),
                Quiet::Yes => {}
            }
        }
        self.finish(id, index);
    }

    /// The end of the unit's file at `index` is reached for good: reads what no newline ends, and goes on to the next file. The
    /// file stays open until Loki has its lines.
    pub(super) fn finish(&mut self, id: UnitId, index: usize) {
        let Some(unit) = self.state.units.get_mut(id) else { return };
        let file = &mut unit.chain.files_mut()[index];
        extend_fingerprint(file, &self.reader);
        let (number, parsed, seen) = (file.id(), file.progress().parsed(), file.progress().seen());
        if let Some(slot) = file.slot()
            && let Some(descriptor) = self.reader.file(slot)
            && parsed < seen
        {
            match read_range(descriptor, parsed, (seen - parsed) as usize) {
                Ok(rest) if self.state.feed_unterminated(id, number, parsed, &rest) => {}
                Ok(_) => return self.state.block(id),
                Err(error) => return self.read_failed(id, &error),
            }
        }
        let Some(unit) = self.state.units.get_mut(id) else { return };
        let file = &mut unit.chain.files_mut()[index];
        let restart = file.name().restart;
        file.progress_mut().reach_end();
        let next = unit.chain.current().map(|next| unit.chain.files()[next].name().restart);
        let ends_lines = next.map_or(unit.gone, |next| next != restart);
        unit.chain.files_mut()[index].set_ends_lines(ends_lines);
        if ends_lines {
            self.state.flush(id);
        }
        self.state.moved = true;
        self.state.queue(id);
    }

    /// A file cannot be read now. It is tried again, as an error may pass; one that stays costs a block where later files wait.
    pub(super) fn read_failed(&mut self, id: UnitId, error: &io::Error) {
        let now = Instant::now();
        if let Some(left) = Left::of(error) {
            apart::take_left();
            self.state.stall(Folder::Container(id), left);
            return;
        }
        self.state.warn_of_read(error);
        let Some(unit) = self.state.units.get_mut(id) else { return };
        let Some(index) = unit.chain.current() else { return };
        let is_waited_for = unit.chain.is_superseded(index);
        let file = &mut unit.chain.files_mut()[index];
        let since = file.note_failure(now);
        if is_waited_for && now - since >= FAILING_MAX {
            file.note_no_failure();
            let parsed = file.progress().parsed();
            let end = (parsed + BUFFER_BYTES as u64).min(file.bytes_on_disk().max(parsed));
            tracing::error!(file = %file.path().display(), %error, offset = parsed, bytes = end - parsed,
                "passing over a part of a log file that could not be read for 10 minutes; its lines are lost");
            self.state.metrics.abandoned_bytes.inc_by(end - parsed);
            if end == parsed || matches!(file.source(), Source::Gzip(_)) {
                let number = file.id();
                return self.give_up(id, number, "unreadable");
            }
            file.advance(end, end);
            self.state.flush(id);
        }
        self.state.schedule.push_later(now + READ_AGAIN_AFTER, id);
    }

    /// A record that does not fit into a buffer: read into memory of its own, up to a limit.
    fn read_long_record(&mut self, id: UnitId) {
        let limit = self.state.long_record_bytes_max();
        let Some(unit) = self.state.units.get_mut(id) else { return };
        let Some(index) = unit.chain.current() else { return };
        let file = &unit.chain.files()[index];
        let (number, offset, seen) = (file.id(), file.progress().parsed(), file.progress().seen());
        let Some(slot) = file.slot() else { return };
        let Some(descriptor) = self.reader.file(slot) else { return };
        let mut record = match read_range(descriptor, offset, limit) {
            Ok(record) => record,
            Err(error) => return self.read_failed(id, &error),
        };
        if let Some(end) = memchr::memrchr(b'\n', &record) {
            record.truncate(end + 1);
            match self.state.feed(id, number, offset, &record).no_room {
                true => self.state.block(id),
                false => self.state.queue(id),
            }
        } else if record.len() >= limit {
            match self.state.feed_unterminated(id, number, offset, &record) {
                true => self.state.queue(id),
                false => self.state.block(id),
            }
        } else {
            self.state.advance(id, number, offset, seen.max(offset + record.len() as u64));
            self.end_reached(id);
        }
    }
}

impl State {
    /// Whether the batch that the unit's lines go to has room.
    fn has_room(&mut self, id: UnitId) -> bool {
        let Some(unit) = self.units.get_mut(id) else { return true };
        let lane = unit.choose_lane(self.lanes.has_own(id));
        self.lanes.has_room(lane, unit.tenants())
    }

    /// Puts a unit aside until a batch comes back.
    pub(super) fn block(&mut self, id: UnitId) {
        if let Some(unit) = self.units.get_mut(id)
            && !unit.queued
        {
            match unit.waits_until {
                // It is to be looked at then, see `with_batch`.
                Some(until) if until > Instant::now() => return,
                Some(_) => return self.queue(id),
                None => {}
            }
            unit.queued = true;
            self.schedule.push_blocked(id);
        }
    }

    /// The cursor of a unit enters a file.
    pub(super) fn enter(&mut self, id: UnitId, file: u64, clock: Clock) {
        let ends_lines = self.units.get_mut(id).is_some_and(|unit| unit.take_end_of_lines(file));
        if ends_lines {
            self.flush(id);
        }
        if let Some(unit) = self.units.get_mut(id) {
            unit.enter(file, clock);
        }
    }

    /// Parses what a read brought.
    fn take_bytes(&mut self, pick: &mut Pick, result: io::Result<&[u8]>) {
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(error) => {
                pick.outcome = Outcome::Failed(error);
                return;
            }
        };
        if let Some(file) = self.units.get_mut(pick.id).and_then(|unit| unit.chain.file_mut(pick.file)) {
            file.note_no_failure();
        }
        if bytes.is_empty() {
            return;
        }
        let fed = self.feed(pick.id, pick.file, pick.offset, bytes);
        pick.outcome = match fed {
            Fed { no_room: true, .. } => Outcome::NoRoom,
            Fed { bytes: 0, .. } if bytes.len() == BUFFER_BYTES => Outcome::LongRecord,
            _ if bytes.len() == BUFFER_BYTES => Outcome::More,
            _ => Outcome::End,
        };
    }

    pub(super) fn warn_of_read(&mut self, error: &io::Error) {
        if let Some(more) = self.throttles.unreadable_file.permit() {
            tracing::warn!(%error, more, "cannot read a log file; trying again");
        }
    }
}
