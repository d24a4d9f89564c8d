//! What becomes of a container's lines: dropped, appended to a batch as they are, or given to the stages first.
//!
//! In: lines as they were decoded. Out: entries in a batch, and until when a stage lets no further line come. Lines without stages
//! pay nothing for those that have some.

use std::time::{Duration, Instant};

use super::staged::{Staged, Stages};
use crate::{
    batch::{Batch, StreamSlot},
    decode::Sink,
    model::{ChannelId, Line, PerStream, UnitId},
    pipeline::relabel::StreamLabels,
};

/// The longest time that a unit is not read for a stage: what is behind it is looked at again.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What becomes of a stream's lines.
pub(super) enum Destination {
    /// A rule drops them.
    Dropped,
    Labelled(LabelledStream),
    /// They go through stages.
    Staged(Box<Staged>),
}

/// A stream's labels, and its place in the batch of one generation.
pub(super) struct LabelledStream {
    pub(super) labels: StreamLabels,
    pub(super) slot: Option<(u64, StreamSlot)>,
}

/// Appends a unit's lines to a batch.
pub(super) struct Append<'a> {
    pub(super) unit: UnitId,
    pub(super) streams: &'a mut PerStream<Destination>,
    pub(super) dropped: &'a mut u64,
    pub(super) batch: &'a mut Batch,
    pub(super) batch_bytes: usize,
    pub(super) stages: Option<&'a mut Stages>,
    pub(super) waits_until: &'a mut Option<Instant>,
}

impl Sink for Append<'_> {
    #[inline]
    fn has_room(&self) -> bool {
        self.batch.encoded_bytes() < self.batch_bytes
    }

    #[inline]
    fn line(&mut self, line: Line<'_>) {
        let Destination::Labelled(stream) = &mut self.streams[line.stream as usize] else {
            return self.staged_or_dropped(&line);
        };
        let slot = match stream.slot {
            Some((generation, slot)) if generation == self.batch.generation() => slot,
            _ => {
                let channel = ChannelId { unit: self.unit, stream: line.stream };
                let slot = self.batch.open_stream(&stream.labels.labels, channel);
                stream.slot = Some((self.batch.generation(), slot));
                slot
            }
        };
        self.batch.append(slot, line.at, line.timestamp_ns, line.text, &stream.labels.metadata);
    }
}

impl Append<'_> {
    /// Apart from lines that have no stages, which pay nothing for this.
    #[inline(never)]
    fn staged_or_dropped(&mut self, line: &Line<'_>) {
        let (Destination::Staged(staged), Some(stages)) = (&mut self.streams[line.stream as usize], &mut self.stages)
        else {
            *self.dropped += 1;
            return;
        };
        if staged.is_dropped {
            *self.dropped += 1;
            return;
        }
        let channel = ChannelId { unit: self.unit, stream: line.stream };
        if let Some(until_ns) = stages.line(staged, channel, line, self.batch) {
            let wait = u64::try_from(until_ns.saturating_sub(stages.now_ns())).unwrap_or(0);
            *self.waits_until = Some(Instant::now() + Duration::from_nanos(wait).min(WAIT_MAX));
            // No room: the parser stops before the next record.
            self.batch_bytes = 0;
        }
    }
}
