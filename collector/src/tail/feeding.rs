//! From bytes to batches.
//!
//! In: bytes of a unit's file, and where they lie. Out: their lines in the batches that the unit's go to, and how far the file is parsed.
//! Guarantees that nothing is parsed for which no batch has room: it is read again. Knows nothing of how the bytes were read.

use std::time::Instant;

use super::{FormatLabel, State, Unit, read::BUFFER_BYTES, unit::Feed};
use crate::{decode::Malformed, model::UnitId, status::Reason};

/// A record without a newline is held together up to this many times `lines.max_bytes`; docker's escapes need up to six
/// bytes for one.
const LONG_RECORD_FACTOR: usize = 6;

/// How much of some bytes was parsed.
#[derive(Clone, Copy)]
pub(super) struct Fed {
    pub(super) bytes: usize,
    /// The rest was not looked at, as no batch has room.
    pub(super) no_room: bool,
}

impl State {
    /// A longer record is parsed in parts.
    pub(super) fn long_record_bytes_max(&self) -> usize {
        self.limits().max_line_bytes.saturating_mul(LONG_RECORD_FACTOR).max(2 * BUFFER_BYTES)
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
    pub(super) fn publish_counts(&mut self) {
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

    pub(super) fn note_read(&mut self, id: UnitId, bytes: usize) {
        self.metrics.read_bytes.inc_by(bytes as u64);
        self.decoding.read_since_sweep |= bytes > 0;
        self.moved |= bytes > 0;
        if let Some(unit) = self.units.get_mut(id) {
            unit.note_read(bytes as u64, false);
        }
    }

    /// Notes how far a file is parsed and seen.
    pub(super) fn advance(&mut self, id: UnitId, file: u64, parsed: u64, seen: u64) {
        if let Some(file) = self.units.get_mut(id).and_then(|unit| unit.chain.file_mut(file)) {
            file.advance(parsed, seen);
        }
    }
}
