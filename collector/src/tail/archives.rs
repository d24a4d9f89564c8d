//! Compressed log files: read as a stream, a part at a time.
//!
//! In: a unit whose current file is compressed. Out: its lines in batches. What a batch has no room for stays in the decompressor.

use std::{io, time::Instant};

use super::{
    ROTATION_GRACE, State, Tailer,
    chain::{self, Source},
    read::{GzipReader, RangeReader, is_damage},
    reading::Outcome,
};
use crate::{decode::Clock, model::UnitId, status::Reason};

/// Decompressors that hold memory at the same time.
const OPEN_GZIPS_MAX: usize = 4;

impl<R: RangeReader> Tailer<R> {
    /// Decompresses and parses a part of a compressed file.
    pub(super) fn read_gzip(&mut self, id: UnitId, index: usize) {
        let Some(unit) = self.state.units.get_mut(id) else { return };
        let file = &mut unit.chain.files_mut()[index];
        let Source::Gzip(mut gzip) = file.replace_source(Source::Closed) else { return };
        let was_open = gzip.is_open();
        if !was_open && self.state.files.open_gzips >= OPEN_GZIPS_MAX {
            file.replace_source(Source::Gzip(gzip));
            self.state.schedule.push_later(Instant::now() + ROTATION_GRACE, id);
            return;
        }
        let (number, offset) = (file.id(), file.progress().parsed());
        let clock = Clock { timestamp_ns: file.first_timestamp_ns().unwrap_or(file.modified_ns()), offset: 0 };
        if unit.is_elsewhere(number) {
            self.state.enter(id, number, clock);
        }
        let outcome = self.state.take_gzip_bytes(id, number, offset, &mut gzip);
        if matches!(outcome, Outcome::End) {
            // A line may have to be read again, but not now: the descriptor is enough.
            let parsed = self.state.units.get(id).map_or(0, |unit| unit.chain.files()[index].progress().parsed());
            gzip.begin_again(parsed);
        }
        self.state.files.open_gzips = self.state.files.open_gzips + usize::from(gzip.is_open()) - usize::from(was_open);
        let Some(unit) = self.state.units.get_mut(id) else { return };
        unit.chain.files_mut()[index].replace_source(Source::Gzip(gzip));
        match outcome {
            Outcome::More | Outcome::LongRecord => self.state.queue(id),
            Outcome::NoRoom => self.state.block(id),
            Outcome::End => self.finish(id, index),
            Outcome::Failed(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.state.schedule.push_later(Instant::now() + ROTATION_GRACE, id);
            }
            Outcome::Failed(error) => self.read_failed(id, &error),
        }
    }
}

impl State {
    /// Decompresses and parses a part of a file.
    fn take_gzip_bytes(&mut self, id: UnitId, file: u64, offset: u64, gzip: &mut GzipReader) -> Outcome {
        let ended = match gzip.fill() {
            Ok((_, ended)) => ended,
            Err(error) => return self.broke_off(id, file, offset, gzip, error),
        };
        // The clock that the parser had when it came to this offset before.
        if let Some((start, passed)) = gzip.take_passed()
            && let Some(clock) = chain::clock_in(start, &passed)
            && let Some(unit) = self.units.get_mut(id)
        {
            unit.set_clock(clock);
        }
        let bytes = gzip.unconsumed();
        let fed = self.feed(id, file, offset, bytes);
        let mut consumed = fed.bytes;
        let is_too_long = consumed == 0 && bytes.len() >= self.long_record_bytes_max();
        let mut no_room = fed.no_room;
        if !no_room && (ended || is_too_long) && consumed < bytes.len() {
            no_room = !self.feed_unterminated(id, file, offset + consumed as u64, &bytes[consumed..]);
            consumed = if no_room { consumed } else { bytes.len() };
        }
        gzip.consume(consumed);
        match (no_room, ended) {
            (true, _) => Outcome::NoRoom,
            (false, true) => Outcome::End,
            (false, false) => Outcome::More,
        }
    }

    /// A compressed file cannot be read from here on. Docker compresses in place: what ends too early may be whole a moment
    /// later. An error of the disk may pass; damaged content does not, and what came out of it is sent and counted.
    fn broke_off(&mut self, id: UnitId, file: u64, offset: u64, gzip: &mut GzipReader, error: io::Error) -> Outcome {
        let is_damaged = is_damage(&error);
        let is_incomplete =
            error.kind() == io::ErrorKind::UnexpectedEof && gzip.modified_ns().is_none_or(chain::may_grow);
        if !is_damaged || is_incomplete {
            gzip.begin_again(offset);
            return Outcome::Failed(error);
        }
        let lost_bytes = gzip.lost_bytes(&error);
        let permitted = self.throttles.damaged_file.permit();
        if (permitted.is_some() || lost_bytes > 0)
            && let Some(unit) = self.units.get_mut(id)
        {
            let path = unit.chain.file_mut(file).map(|file| file.path().to_owned()).unwrap_or_default();
            let (pod, container) = (&unit.pod, &unit.name);
            tracing::warn!(namespace = pod.namespace, pod = pod.pod, container, file = %path.display(), %error, lost_bytes,
                more = permitted.unwrap_or_default(),
                "a compressed log file is damaged: what could be read of it is sent, and its last lines may be altered or missing");
        }
        self.metrics.abandoned_bytes.inc_by(lost_bytes);
        self.metrics.malformed_lines.get_or_create(&Reason { reason: "gzip_damaged" }).inc();
        let rest = gzip.unconsumed().to_vec();
        match self.feed_unterminated(id, file, offset, &rest) {
            true => Outcome::End,
            false => Outcome::NoRoom,
        }
    }
}
