//! A batch: entries as wire bytes in one arena, in the order in which they were parsed.
//!
//! Lines of several streams interleave, so the arena is a sequence of *runs*, each of one stream; a push request
//! gathers a stream's runs under one label set. See [`super::logproto`] for the messages.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    sync::Arc,
};

use super::{entry::encode_entry, part::Part, request::RequestEncoder};
use crate::model::{ChannelId, Position, TenantName};

/// A stream's place in one batch; valid until that batch is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamSlot(pub(super) u32);

impl StreamSlot {
    /// The stream with this index in [`Batch::streams`].
    pub fn at(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Its index in [`Batch::streams`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The lines of one channel in a batch that have one label set. Several of these may be one stream to Loki.
#[derive(Clone, Debug)]
pub struct BatchStream {
    pub tenant: TenantName,
    /// The label set in LogQL's form.
    pub labels: Arc<str>,
    /// The first slot of the batch with this tenant and these labels: slots with one leader are one stream to Loki.
    pub leader: StreamSlot,
    pub channel: ChannelId,
    /// The smallest position of its lines.
    pub first: Position,
    /// How many lines.
    pub entries: u64,
    /// Their encoded bytes but for those of its run that is still open, see [`Batch::bytes_of`].
    closed_bytes: u64,
    /// Bytes of their text.
    text_bytes: u64,
    /// Encoded bytes of their structured metadata.
    metadata_bytes: u64,
    /// The oldest timestamp of its lines, nanoseconds since 1970.
    pub oldest_ns: i64,
    /// The newest one.
    pub newest_ns: i64,
    /// Of tenant and labels, so that equal ones are found without comparing texts.
    hash: u64,
}

impl BatchStream {
    /// Bytes of its lines as Loki's rate limits count them: text and structured metadata.
    pub fn counted_bytes(&self) -> u64 {
        self.text_bytes + self.metadata_bytes
    }
}

/// Entries of one stream that lie together in the arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) stream: StreamSlot,
    /// The first stream with the same tenant and labels.
    pub(super) leader: StreamSlot,
    /// First byte in the arena; the run ends where the next one begins. As wide as an address, so that no setting of
    /// the batch's size can overflow it.
    pub(super) start: usize,
}

/// Lines to be sent to Loki, as wire bytes.
#[derive(Debug)]
pub struct Batch {
    arena: Vec<u8>,
    runs: Vec<Run>,
    streams: Vec<BatchStream>,
    generation: u64,
}

impl Batch {
    /// An empty batch. `generation` tells apart batches that are open at the same time; each [`Self::clear`] gives it
    /// a new one.
    pub fn new(generation: u64) -> Self {
        Self { arena: Vec::new(), runs: Vec::new(), streams: Vec::new(), generation }
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self, generation: u64) {
        self.arena.clear();
        self.runs.clear();
        self.streams.clear();
        self.generation = generation;
    }

    /// Frees memory that is not in use.
    pub fn release_spare(&mut self) {
        self.arena.shrink_to_fit();
        self.runs.shrink_to_fit();
        self.streams.shrink_to_fit();
    }

    /// Bytes of the memory for entries, used or not.
    #[cfg(test)]
    pub(crate) fn reserved_bytes(&self) -> usize {
        self.arena.capacity()
    }

    /// Which filling of a batch this is; a [`StreamSlot`] is good for one generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Opens a stream in this batch for the lines of `channel` with these labels, in LogQL's form, and the tenant of `loki.tenant`.
    pub fn open_stream(&mut self, labels: &Arc<str>, channel: ChannelId) -> StreamSlot {
        self.open_stream_of(&None, labels, channel)
    }

    /// As [`Self::open_stream`], for a tenant.
    pub fn open_stream_of(&mut self, tenant: &TenantName, labels: &Arc<str>, channel: ChannelId) -> StreamSlot {
        let slot = StreamSlot::at(self.streams.len());
        let hash = stream_hash(tenant.as_deref(), labels);
        let equal = |known: &&BatchStream| known.hash == hash && known.labels == *labels && known.tenant == *tenant;
        let leader = self.streams.iter().find(equal).map_or(slot, |known| known.leader);
        self.streams.push(BatchStream {
            tenant: tenant.clone(),
            labels: Arc::clone(labels),
            leader,
            channel,
            first: Position { turn: u64::MAX, offset: u64::MAX },
            entries: 0,
            closed_bytes: 0,
            text_bytes: 0,
            metadata_bytes: 0,
            oldest_ns: i64::MAX,
            newest_ns: i64::MIN,
            hash,
        });
        slot
    }

    /// Appends one entry, whose line begins at `at`. `text` must be valid UTF-8 (Loki's `line` is a protobuf string), `metadata`
    /// is structured metadata as [`super::structured_metadata`] encodes it.
    #[inline]
    pub fn append(&mut self, stream: StreamSlot, at: Position, timestamp_ns: i64, text: &[u8], metadata: &[u8]) {
        if self.runs.last().is_none_or(|run| run.stream != stream) {
            self.open_run(stream);
        }
        encode_entry(&mut self.arena, timestamp_ns, text, metadata);
        let stream = &mut self.streams[stream.index()];
        stream.entries += 1;
        stream.text_bytes += text.len() as u64;
        // Branches, as they are seldom taken: minimum and maximum would be written for every line.
        if !metadata.is_empty() {
            stream.metadata_bytes += metadata.len() as u64;
        }
        if at < stream.first {
            stream.first = at;
        }
        if timestamp_ns < stream.oldest_ns {
            stream.oldest_ns = timestamp_ns;
        }
        if timestamp_ns > stream.newest_ns {
            stream.newest_ns = timestamp_ns;
        }
    }

    #[inline(never)]
    fn open_run(&mut self, stream: StreamSlot) {
        if let Some(run) = self.runs.last() {
            self.streams[run.stream.index()].closed_bytes += (self.arena.len() - run.start) as u64;
        }
        let leader = self.streams[stream.index()].leader;
        self.runs.push(Run { stream, leader, start: self.arena.len() });
    }

    /// The encoded bytes of a stream's entries.
    pub fn bytes_of(&self, stream: StreamSlot) -> u64 {
        let open = self.runs.last().filter(|run| run.stream == stream);
        self.streams[stream.index()].closed_bytes + open.map_or(0, |run| (self.arena.len() - run.start) as u64)
    }

    /// The streams that were opened, by [`StreamSlot::index`].
    pub fn streams(&self) -> &[BatchStream] {
        &self.streams
    }

    /// Encoded bytes, without the labels.
    pub fn encoded_bytes(&self) -> usize {
        self.arena.len()
    }

    /// Lines in the batch.
    pub fn entries(&self) -> u64 {
        self.streams.iter().map(|stream| stream.entries).sum()
    }

    /// Bytes of the lines' text.
    pub fn text_bytes(&self) -> u64 {
        self.streams.iter().map(|stream| stream.text_bytes).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.arena.is_empty()
    }

    /// Appends the `logproto.PushRequest` with the entries of `part` to `out`: each stream once, its entries in
    /// their order. [`RequestEncoder`] does the same with reused memory.
    pub fn encode_push_request(&self, part: &Part, out: &mut Vec<u8>) {
        RequestEncoder::default().encode(self, part, out);
    }

    /// The entries' bytes.
    pub(super) fn arena(&self) -> &[u8] {
        &self.arena
    }

    /// The runs that overlap `bytes`, each with its part of it.
    pub(super) fn runs_in(&self, bytes: &Range<usize>) -> impl Iterator<Item = (Run, Range<usize>)> {
        let bytes = bytes.clone();
        let first = self.runs.partition_point(|run| run.start <= bytes.start).saturating_sub(1);
        let past_last = self.runs.partition_point(|run| run.start < bytes.end).max(first);
        let runs = &self.runs[first..past_last];
        let ends = runs.iter().skip(1).map(|next| next.start).chain([bytes.end]);
        runs.iter().zip(ends).map(move |(run, end)| (*run, run.start.max(bytes.start)..end))
    }
}

/// Of a stream's tenant and labels.
pub fn stream_hash(tenant: Option<&str>, labels: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (tenant, labels).hash(&mut hasher);
    hasher.finish()
}
