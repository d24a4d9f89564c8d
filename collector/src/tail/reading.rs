//! Rounds of reads: many files at once, each a bounded part, so that a chatty container cannot starve the others.

use std::{
    io,
    time::{Duration, Instant, SystemTime},
};

use super::{Container, ROTATION_GRACE, ReaderSide, State};
use crate::{
    batch::Batch,
    decode::{Counts, Malformed, Scratch},
    status::{FormatLabel, Reason},
    tail::chain::{ContainerId, Source, read_range},
    tail::notify::Slot,
    tail::read::{BUFFER_BYTES, BUFFERS, GzipReader, Position, RangeReader, Wanted},
};

/// A superseded file that was last written to longer ago than this needs no grace.
const SURELY_QUIET: Duration = Duration::from_secs(2);

/// A compressed file that breaks off and was not written to for this long will not be whole any more.
const COMPRESSION_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Decompressors that hold memory at the same time.
const OPEN_GZIPS_MAX: usize = 4;

/// A record without a newline is held together up to this many times `lines.max_bytes`; docker's escapes need up to six
/// bytes for one.
const LONG_RECORD_FACTOR: usize = 6;

/// A round of reads while it is prepared and done: memory that is used again and again.
#[derive(Default)]
pub(super) struct Round {
    wanted: Vec<Wanted>,
    /// One for each of `wanted`.
    picks: Vec<Pick>,
    /// All containers that are looked at.
    picked: Vec<ContainerId>,
}

/// A file in a round of reads.
struct Pick {
    id: ContainerId,
    file: u64,
    offset: u64,
    outcome: Outcome,
}

/// What a read found.
enum Outcome {
    /// The buffer was filled: there may be more.
    More,
    /// The end of the file, for now.
    End,
    /// A filled buffer without a newline.
    LongRecord,
}

/// What became of a compressed file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum GzipOutcome {
    /// There is more.
    More,
    /// It breaks off, and is still being written.
    NotWhole,
    /// It ended, or is broken from here on.
    End,
}

impl<R: RangeReader> ReaderSide<R> {
    /// Reads a part of each of the containers that are first in the queue.
    pub(super) async fn read_round(&mut self) {
        if self.state.ready.is_empty() || !self.state.begin_filling() {
            return;
        }
        let buffers = self.state.buffers_with_room().min(BUFFERS);
        let Round { mut wanted, mut picks, mut picked } = std::mem::take(&mut self.state.round);
        for _ in 0..buffers {
            let Some(id) = self.state.ready.pop_front() else { break };
            let Some(index) = self.begin_reading(id) else { continue };
            picked.push(id);
            let Some(container) = self.state.containers.get_mut(&id) else { continue };
            let file = &container.chain.files()[index];
            match file.source {
                Source::Slot(slot) => {
                    wanted.push(Wanted { slot, offset: file.parsed });
                    picks.push(Pick { id, file: file.id, offset: file.parsed, outcome: Outcome::End });
                }
                Source::Gzip(_) => self.read_gzip(id, index),
                Source::Opened(_) | Source::Listed | Source::Closed => {}
            }
        }
        let state = &mut self.state;
        self.reader.read_round(&wanted, |index, result| state.take_bytes(&mut picks[index], result)).await;
        for id in picked.drain(..) {
            if let Some(container) = self.state.containers.get_mut(&id) {
                container.picked = false;
            }
        }
        for pick in picks.drain(..) {
            match pick.outcome {
                Outcome::More => self.state.queue(pick.id),
                Outcome::LongRecord => self.read_long_record(pick.id),
                Outcome::End => self.end_reached(pick.id),
            }
        }
        wanted.clear();
        self.state.round = Round { wanted, picks, picked };
        self.state.publish_counts();
    }

    /// Nothing more is in the container's current file: if another one follows, goes on to that one.
    fn end_reached(&mut self, id: ContainerId) {
        let now = Instant::now();
        let Some(container) = self.state.containers.get_mut(&id) else { return };
        let Some(index) = container.chain.current() else { return };
        if !container.chain.is_superseded(index) {
            return;
        }
        let file = &mut container.chain.files_mut()[index];
        let since = *file.at_end_since.get_or_insert(now);
        let slot = match file.source {
            Source::Slot(slot) => Some(slot),
            _ => None,
        };
        if now - since < ROTATION_GRACE && slot.is_some_and(|slot| !self.is_surely_quiet(slot)) {
            self.state.waiting.push_back((since + ROTATION_GRACE, id));
            return;
        }
        self.finish(id, index);
    }

    fn is_surely_quiet(&self, slot: Slot) -> bool {
        let Some(stat) = self.reader.file(slot).and_then(|file| rustix::fs::fstat(file).ok()) else { return true };
        let Ok(now) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) else { return false };
        let modified = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
        now.checked_sub(modified).is_some_and(|age| age > SURELY_QUIET)
    }

    /// Closes the container's file at `index`, whose end is reached for good, and goes on to the next one.
    fn finish(&mut self, id: ContainerId, index: usize) {
        self.extend_fingerprints(id);
        let Some(container) = self.state.containers.get_mut(&id) else { return };
        let file = &mut container.chain.files_mut()[index];
        let (number, parsed, seen, restart) = (file.id, file.parsed, file.seen, file.name.restart);
        if let Source::Slot(slot) = file.source
            && let Some(descriptor) = self.reader.file(slot)
            && parsed < seen
        {
            let rest = read_range(descriptor, parsed, (seen - parsed) as usize).unwrap_or_default();
            self.state.feed_unterminated(id, Position { file: number, offset: parsed }, &rest);
        }
        let Some(container) = self.state.containers.get_mut(&id) else { return };
        let file = &mut container.chain.files_mut()[index];
        file.finished = true;
        let next = container.chain.current().map(|next| container.chain.files()[next].name.restart);
        if next.map_or(container.gone, |next| next != restart) {
            self.state.flush(id);
        }
        self.shut(id, index, Source::Closed);
        self.state.queue(id);
    }

    /// Decompresses and parses a part of a compressed file.
    fn read_gzip(&mut self, id: ContainerId, index: usize) {
        let Some(container) = self.state.containers.get_mut(&id) else { return };
        let file = &mut container.chain.files_mut()[index];
        let Source::Gzip(mut gzip) = std::mem::replace(&mut file.source, Source::Closed) else { return };
        let was_open = gzip.is_open();
        if !was_open && self.state.open_gzips >= OPEN_GZIPS_MAX {
            file.source = Source::Gzip(gzip);
            self.state.queue(id);
            return;
        }
        let at = Position { file: file.id, offset: file.parsed };
        let outcome = self.state.take_gzip_bytes(id, at, &mut gzip);
        self.state.open_gzips = self.state.open_gzips + usize::from(gzip.is_open()) - usize::from(was_open);
        let Some(container) = self.state.containers.get_mut(&id) else { return };
        container.chain.files_mut()[index].source = Source::Gzip(gzip);
        match outcome {
            GzipOutcome::More => self.state.queue(id),
            GzipOutcome::NotWhole => self.state.waiting.push_back((Instant::now() + ROTATION_GRACE, id)),
            GzipOutcome::End => self.finish(id, index),
        }
    }

    /// A record that does not fit into a buffer: read into memory of its own, up to a limit.
    fn read_long_record(&mut self, id: ContainerId) {
        let limit = self.state.long_record_bytes_max();
        let Some(container) = self.state.containers.get_mut(&id) else { return };
        let Some(index) = container.chain.current() else { return };
        let file = &mut container.chain.files_mut()[index];
        let at = Position { file: file.id, offset: file.parsed };
        let Source::Slot(slot) = file.source else { return };
        let Some(descriptor) = self.reader.file(slot) else { return };
        let Ok(mut record) = read_range(descriptor, at.offset, limit) else { return };
        file.seen = file.seen.max(at.offset + record.len() as u64);
        if let Some(end) = memchr::memrchr(b'\n', &record) {
            record.truncate(end + 1);
            self.state.feed(id, at, &record);
            self.state.queue(id);
        } else if record.len() >= limit {
            self.state.feed_unterminated(id, at, &record);
            self.state.queue(id);
        } else {
            self.end_reached(id);
        }
    }
}

impl State {
    /// Parses what a read brought.
    fn take_bytes(&mut self, pick: &mut Pick, result: io::Result<&[u8]>) {
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(error) => {
                self.complain_of_read(&error);
                return;
            }
        };
        if bytes.is_empty() {
            return;
        }
        let at = Position { file: pick.file, offset: pick.offset };
        let consumed = self.feed(pick.id, at, bytes);
        if bytes.len() == BUFFER_BYTES {
            pick.outcome = if consumed == 0 { Outcome::LongRecord } else { Outcome::More };
        }
    }

    /// A longer record is parsed in parts.
    fn long_record_bytes_max(&self) -> usize {
        self.limits.max_line_bytes.saturating_mul(LONG_RECORD_FACTOR).max(2 * BUFFER_BYTES)
    }

    pub(super) fn complain_of_read(&mut self, error: &io::Error) {
        if let Some(more) = self.troubles.unreadable_file.permit() {
            tracing::warn!(%error, more, "cannot read a log file");
        }
    }

    /// Parses bytes of a container's file; returns how many whole records' bytes that were.
    fn feed(&mut self, id: ContainerId, at: Position, bytes: &[u8]) -> usize {
        let consumed = self
            .with_batch(id, |container, scratch, counts, batch| container.feed(bytes, at, scratch, counts, batch))
            .unwrap_or(0);
        self.advance(id, at, consumed, bytes.len());
        consumed
    }

    fn feed_unterminated(&mut self, id: ContainerId, at: Position, rest: &[u8]) {
        self.with_batch(id, |container, scratch, counts, batch| {
            container.feed_unterminated(rest, at, scratch, counts, batch);
        });
        self.advance(id, at, rest.len(), rest.len());
    }

    /// Gives out a container's partial lines as they are.
    pub(super) fn flush(&mut self, id: ContainerId) {
        if self.begin_filling() {
            self.with_batch(id, |container, scratch, counts, batch| container.flush(scratch, counts, batch));
        }
    }

    /// Decompresses and parses a part of a file.
    fn take_gzip_bytes(&mut self, id: ContainerId, at: Position, gzip: &mut GzipReader) -> GzipOutcome {
        let (bytes, ended) = match gzip.fill() {
            Ok(filled) => filled,
            Err(error) => return self.broke_off(id, at, gzip, &error),
        };
        let mut consumed = self.feed(id, at, bytes);
        if ended || (consumed == 0 && bytes.len() >= self.long_record_bytes_max()) {
            let rest = Position { file: at.file, offset: at.offset + consumed as u64 };
            if consumed < bytes.len() {
                self.feed_unterminated(id, rest, &bytes[consumed..]);
            }
            consumed = bytes.len();
        }
        gzip.consume(consumed);
        if ended { GzipOutcome::End } else { GzipOutcome::More }
    }

    /// Adds what was parsed to the metrics.
    fn publish_counts(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        for (format, lines) in
            [("cri", counts.cri_records), ("docker", counts.docker_records), ("raw", counts.raw_records)]
        {
            if lines > 0 {
                self.metrics.parsed_lines.get_or_create(&FormatLabel { format }).inc_by(lines);
            }
        }
        let repaired = [("invalid_utf8", counts.invalid_utf8_lines), ("oversize", counts.oversize_lines)];
        let malformed = Malformed::ALL.map(|reason| (reason.reason(), counts.malformed(reason)));
        for (reason, lines) in repaired.into_iter().chain(malformed) {
            if lines > 0 {
                self.metrics.malformed_lines.get_or_create(&Reason { reason }).inc_by(lines);
            }
        }
    }

    /// A compressed file cannot be read from here on. Docker compresses in place: what ends too early may be whole a moment
    /// later.
    fn broke_off(&mut self, id: ContainerId, at: Position, gzip: &mut GzipReader, error: &io::Error) -> GzipOutcome {
        let not_whole = error.kind() == io::ErrorKind::UnexpectedEof && is_being_written(gzip);
        if not_whole && gzip.begin_again(at.offset).is_ok() {
            return GzipOutcome::NotWhole;
        }
        self.complain_of_read(error);
        self.feed_unterminated(id, at, gzip.unconsumed());
        GzipOutcome::End
    }

    /// Calls `parse` with what it needs to put a container's lines into the batch.
    fn with_batch<T>(
        &mut self,
        id: ContainerId,
        parse: impl FnOnce(&mut Container, &mut Scratch, &mut Counts, &mut Batch) -> T,
    ) -> Option<T> {
        let container = self.containers.get_mut(&id)?;
        let batch = self.filling.as_mut()?;
        if !container.touched {
            container.touched = true;
            self.touched.push(id);
        }
        let odd_before = self.counts.odd_lines();
        let result = parse(container, &mut self.scratch, &mut self.counts, batch);
        if self.counts.odd_lines() > odd_before
            && let Some(more) = self.troubles.odd_lines.permit()
        {
            tracing::info!(
                pod = container.pod.pod,
                namespace = container.pod.namespace,
                container = container.name,
                more,
                "a container's log has lines that are neither CRI nor docker's, no UTF-8, or longer than lines.max_bytes; \
                 they are sent all the same, and pilcrow_malformed_lines_total counts them by reason"
            );
        }
        let dropped = std::mem::take(&mut container.dropped_lines);
        if dropped > 0 {
            self.holds_dropped = true;
            self.metrics.dropped_lines.get_or_create(&Reason { reason: "relabel" }).inc_by(dropped);
        }
        self.filling_since.get_or_insert_with(Instant::now);
        Some(result)
    }

    /// Notes how far a file is parsed and seen.
    fn advance(&mut self, id: ContainerId, at: Position, consumed: usize, seen: usize) {
        self.metrics.read_bytes.inc_by(consumed as u64);
        self.read_since_sweep |= consumed > 0;
        if let Some(container) = self.containers.get_mut(&id) {
            container.last_read = Instant::now();
            if let Some(file) = container.chain.file_mut(at.file) {
                file.parsed = at.offset + consumed as u64;
                file.seen = at.offset + seen as u64;
                if consumed > 0 {
                    file.at_end_since = None;
                }
            }
        }
        self.seal_if_full();
    }
}

/// Whether a compressed file was written to not long ago.
fn is_being_written(gzip: &GzipReader) -> bool {
    let age = gzip.modified().and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_none_or(|age| age < COMPRESSION_PAUSE_MAX)
}
