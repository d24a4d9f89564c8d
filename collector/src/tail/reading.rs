//! Rounds of reads: many files at once, each a bounded part, so that a busy container cannot starve the others.
//!
//! In: units with unread bytes. Out: their lines in batches. What the batches have no room for is read again when they have. A
//! read that fails is no end of a file: it is tried again.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    FormatLabel, ROTATION_GRACE, State, Tailer, Unit,
    apart::{self, Left, read_range},
    chain::{FAILING_MAX, Source, clock_before},
    folders::Folder,
    positions::extend_fingerprint,
    quiet::Quiet,
    read::{BUFFER_BYTES, BUFFERS, RangeReader, Wanted},
    unit::Feed,
};
use crate::{
    decode::{Clock, Malformed},
    model::UnitId,
    status::Reason,
};

/// A record without a newline is held together up to this many times `lines.max_bytes`; docker's escapes need up to six
/// bytes for one.
const LONG_RECORD_FACTOR: usize = 6;

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

/// How much of some bytes was parsed.
#[derive(Clone, Copy)]
pub(super) struct Fed {
    pub(super) bytes: usize,
    /// The rest was not looked at, as no batch has room.
    pub(super) no_room: bool,
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
            let end = (parsed + BUFFER_BYTES as u64).min(file.len().max(parsed));
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

    /// A longer record is parsed in parts.
    pub(super) fn long_record_bytes_max(&self) -> usize {
        self.limits().max_line_bytes.saturating_mul(LONG_RECORD_FACTOR).max(2 * BUFFER_BYTES)
    }

    pub(super) fn warn_of_read(&mut self, error: &io::Error) {
        if let Some(more) = self.throttles.unreadable_file.permit() {
            tracing::warn!(%error, more, "cannot read a log file; trying again");
        }
    }

    /// Parses bytes of a unit's file, into as many batches as there are.
    pub(super) fn feed(&mut self, id: UnitId, file: u64, offset: u64, bytes: &[u8]) -> Fed {
        let mut parsed = 0;
        let no_room = loop {
            let rest = &bytes[parsed..];
            let Some((taken, has_room, waits)) = self.with_batch(id, |unit, feed| {
                let taken = unit.feed(rest, offset + parsed as u64, feed);
                (taken, feed.batch.encoded_bytes() < feed.batch_bytes, unit.waits_until.is_some())
            }) else {
                break true;
            };
            parsed += taken;
            if waits {
                break memchr::memchr(b'\n', &bytes[parsed..]).is_some();
            }
            // A batch that is full may have taken the last record.
            if has_room || memchr::memchr(b'\n', &bytes[parsed..]).is_none() {
                break false;
            }
        };
        self.note_read(id, parsed);
        self.advance(id, file, offset + parsed as u64, offset + bytes.len() as u64);
        Fed { bytes: parsed, no_room }
    }

    /// Parses bytes that no newline will end; returns whether a batch had room.
    pub(super) fn feed_unterminated(&mut self, id: UnitId, file: u64, offset: u64, rest: &[u8]) -> bool {
        let fed = self.with_batch(id, |unit, feed| unit.feed_unterminated(rest, offset, feed));
        if fed.is_some() {
            let end = offset + rest.len() as u64;
            self.note_read(id, rest.len());
            self.advance(id, file, end, end);
        }
        fed.is_some()
    }

    /// Adds what was parsed to the metrics.
    fn publish_counts(&mut self) {
        let counts = std::mem::take(&mut self.decoding.counts);
        for (format, lines) in
            [("cri", counts.cri_records), ("docker", counts.docker_records), ("raw", counts.raw_records)]
        {
            if lines > 0 {
                self.metrics.parsed_lines.get_or_create(&FormatLabel { format }).inc_by(lines);
            }
        }
        let repaired = [
            ("invalid_utf8", counts.invalid_utf8_lines),
            ("oversize", counts.oversize_lines),
            ("nul", u64::from(counts.nul_bytes > 0)),
        ];
        let malformed = Malformed::ALL.map(|reason| (reason.reason(), counts.malformed(reason)));
        for (reason, lines) in repaired.into_iter().chain(malformed) {
            if lines > 0 {
                self.metrics.malformed_lines.get_or_create(&Reason { reason }).inc_by(lines);
            }
        }
        self.publish_staged();
    }

    /// Calls `parse` with what it needs to put a unit's lines into the batch that they go to; `None`: no batch has room.
    pub(super) fn with_batch<T>(&mut self, id: UnitId, parse: impl FnOnce(&mut Unit, &mut Feed<'_>) -> T) -> Option<T> {
        let unit = self.units.get_mut(id)?;
        let lane = unit.lane();
        let batch_bytes = self.lanes.batch_bytes();
        let batch = self.lanes.open(lane, Instant::now())?;
        let mut watch = self.taps.watch(unit, batch);
        let (odd_before, held_before) = (self.decoding.counts.odd_lines(), unit.held_bytes());
        let records_before = self.decoding.counts.records();
        let (scratch, counts) = (&mut self.decoding.scratch, &mut self.decoding.counts);
        unit.waits_until = None;
        let mut stages = self.decoding.stages.as_mut();
        if let Some(stages) = &mut stages {
            stages.begin();
        }
        let raw = watch.as_mut().filter(|watch| watch.wants_raw());
        let mut feed =
            Feed { batch: &mut *batch, batch_bytes, scratch, counts, stages: stages.as_deref_mut(), watch: raw };
        let result = parse(unit, &mut feed);
        if let Some(stages) = stages {
            stages.note_due(unit.due_ns());
            if let Some(until) = unit.waits_until {
                self.schedule.push_later(until, id);
            }
        }
        unit.read.lines += self.decoding.counts.records() - records_before;
        if let Some(watch) = watch {
            watch.finish(batch);
        }
        if self.decoding.counts.odd_lines() > odd_before
            && let Some(more) = self.throttles.odd_lines.permit()
        {
            tracing::info!(
                pod = unit.pod.pod,
                namespace = unit.pod.namespace,
                container = unit.name,
                more,
                "a container's log has lines that are neither CRI nor docker's, not UTF-8, or longer than lines.max_bytes; \
                 they are sent all the same, and pilcrow_malformed_lines_total counts them by reason"
            );
        }
        let dropped = std::mem::take(&mut unit.dropped_lines);
        if dropped > 0 {
            self.metrics.dropped_lines.add("relabel", dropped);
        }
        let held_after = unit.held_bytes();
        if held_after != held_before {
            self.note_held(held_before, held_after);
        }
        Some(result)
    }

    fn note_read(&mut self, id: UnitId, bytes: usize) {
        self.metrics.read_bytes.inc_by(bytes as u64);
        self.decoding.read_since_sweep |= bytes > 0;
        self.moved |= bytes > 0;
        if let Some(unit) = self.units.get_mut(id) {
            unit.note_read(bytes as u64, false);
        }
    }

    /// Notes how far a file is parsed and seen.
    fn advance(&mut self, id: UnitId, file: u64, parsed: u64, seen: u64) {
        if let Some(file) = self.units.get_mut(id).and_then(|unit| unit.chain.file_mut(file)) {
            file.advance(parsed, seen);
        }
    }
}
