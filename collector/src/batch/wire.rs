//! A batch: entries as wire bytes in one arena, in the order in which they were parsed.
//!
//! Lines of several streams interleave, so the arena is a sequence of *runs*, each of one stream; a push request
//! gathers a stream's runs under one label set. See [`super::logproto`] for the messages.

use std::{sync::Arc, time::Instant};

use prost::encoding::{encode_varint, encoded_len_varint};

use crate::{discover::ContainerId, read::Position};

/// Field 1, length-delimited: `PushRequest.streams`, `StreamAdapter.labels`, `EntryAdapter.timestamp`.
const FIELD_1_BYTES: u8 = 0x0a;
/// Field 2, length-delimited: `StreamAdapter.entries`, `EntryAdapter.line`.
const FIELD_2_BYTES: u8 = 0x12;
/// Field 1, varint: `Timestamp.seconds`.
const FIELD_1_VARINT: u8 = 0x08;
/// Field 2, varint: `Timestamp.nanos`.
const FIELD_2_VARINT: u8 = 0x10;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// What a batch's acknowledgement means for one container: all its bytes before `position` are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The container.
    pub container: ContainerId,
    /// The first byte that is not done.
    pub position: Position,
}

/// A stream's place in one batch; valid until that batch is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSlot(u32);

/// Entries of one stream that lie together in the arena.
#[derive(Clone, Copy, Debug)]
struct Run {
    stream: StreamSlot,
    /// First byte in the arena; the run ends where the next one begins.
    start: u32,
}

/// Which entries of a batch, in arena order: a whole batch, or a part of one that Loki found too large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRange {
    /// Bytes of the arena, on entry borders.
    bytes: std::ops::Range<usize>,
    /// How many entries lie in it.
    entries: u64,
}

impl EntryRange {
    /// How many entries lie in it.
    pub fn entries(&self) -> u64 {
        self.entries
    }
}

/// Lines on their way to Loki, as wire bytes.
#[derive(Debug)]
pub struct Batch {
    arena: Vec<u8>,
    runs: Vec<Run>,
    labels: Vec<Arc<str>>,
    progress: Vec<Progress>,
    entries: u64,
    text_bytes: u64,
    opened_at: Option<Instant>,
    generation: u64,
}

impl Batch {
    /// An empty batch. `generation` tells apart batches that are open at the same time; each [`Self::clear`] gives it
    /// a new one.
    pub fn new(generation: u64) -> Self {
        Self {
            arena: Vec::new(),
            runs: Vec::new(),
            labels: Vec::new(),
            progress: Vec::new(),
            entries: 0,
            text_bytes: 0,
            opened_at: None,
            generation,
        }
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self, generation: u64) {
        self.arena.clear();
        self.runs.clear();
        self.labels.clear();
        self.progress.clear();
        self.entries = 0;
        self.text_bytes = 0;
        self.opened_at = None;
        self.generation = generation;
    }

    /// Which filling of a batch this is; a [`StreamSlot`] is good for one generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Names a stream in this batch. `labels` is the label set in LogQL's form.
    pub fn open_stream(&mut self, labels: &Arc<str>) -> StreamSlot {
        let slot = StreamSlot(u32::try_from(self.labels.len()).unwrap_or(u32::MAX));
        self.labels.push(Arc::clone(labels));
        slot
    }

    /// Appends one entry. `text` must be valid UTF-8 (Loki's `line` is a protobuf string).
    pub fn append(&mut self, stream: StreamSlot, timestamp_ns: i64, text: &[u8]) {
        if self.runs.last().is_none_or(|run| run.stream != stream) {
            self.runs.push(Run { stream, start: self.arena.len() as u32 });
        }
        if self.opened_at.is_none() {
            self.opened_at = Some(Instant::now());
        }
        encode_entry(&mut self.arena, timestamp_ns, text);
        self.entries += 1;
        self.text_bytes += text.len() as u64;
    }

    /// Records that everything of `container` before `position` is in this batch or was done earlier. A later call
    /// for the same container replaces the earlier one.
    pub fn set_progress(&mut self, container: ContainerId, position: Position) {
        match self.progress.iter_mut().rev().find(|p| p.container == container) {
            Some(known) => known.position = position,
            None => self.progress.push(Progress { container, position }),
        }
    }

    /// How far each container is once this batch is acknowledged.
    pub fn progress(&self) -> &[Progress] {
        &self.progress
    }

    /// Encoded bytes, without the labels.
    pub fn encoded_bytes(&self) -> usize {
        self.arena.len()
    }

    /// Lines in the batch.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Bytes of the lines' text.
    pub fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// Neither a line nor a position to acknowledge.
    pub fn is_empty(&self) -> bool {
        self.entries == 0 && self.progress.is_empty()
    }

    /// When the first line came in.
    pub fn opened_at(&self) -> Option<Instant> {
        self.opened_at
    }

    /// All entries.
    pub fn whole(&self) -> EntryRange {
        EntryRange { bytes: 0..self.arena.len(), entries: self.entries }
    }

    /// Two halves of `range` in order, or `None` for a single entry.
    pub fn split(&self, range: &EntryRange) -> Option<(EntryRange, EntryRange)> {
        if range.entries < 2 {
            return None;
        }
        let first_entries = range.entries / 2;
        let mut middle = range.bytes.start;
        for _ in 0..first_entries {
            middle += entry_len(&self.arena[middle..]);
        }
        Some((
            EntryRange { bytes: range.bytes.start..middle, entries: first_entries },
            EntryRange { bytes: middle..range.bytes.end, entries: range.entries - first_entries },
        ))
    }

    /// Appends the `logproto.PushRequest` with the entries of `range` to `out`: each stream once, its entries in
    /// their order.
    pub fn encode_push_request(&self, range: &EntryRange, out: &mut Vec<u8>) {
        let mut stream_bytes = vec![0usize; self.labels.len()];
        for (stream, bytes) in self.runs_in(range) {
            stream_bytes[stream.0 as usize] += bytes.len();
        }
        for (index, labels) in self.labels.iter().enumerate() {
            let entries_bytes = stream_bytes[index];
            if entries_bytes == 0 {
                continue;
            }
            let labels_bytes = 1 + encoded_len_varint(labels.len() as u64) + labels.len();
            out.push(FIELD_1_BYTES);
            encode_varint((labels_bytes + entries_bytes) as u64, out);
            out.push(FIELD_1_BYTES);
            encode_varint(labels.len() as u64, out);
            out.extend_from_slice(labels.as_bytes());
            for (_, bytes) in self.runs_in(range).filter(|(stream, _)| stream.0 as usize == index) {
                out.extend_from_slice(bytes);
            }
        }
    }

    /// The runs' parts that lie in `range`.
    fn runs_in<'a>(&'a self, range: &'a EntryRange) -> impl Iterator<Item = (StreamSlot, &'a [u8])> {
        let ends = self.runs.iter().skip(1).map(|next| next.start as usize).chain([self.arena.len()]);
        self.runs.iter().zip(ends).filter_map(|(run, end)| {
            let start = range.bytes.start.max(run.start as usize);
            let end = range.bytes.end.min(end);
            (start < end).then(|| (run.stream, &self.arena[start..end]))
        })
    }
}

/// Appends field 2 of a `StreamAdapter`: one `EntryAdapter`.
fn encode_entry(out: &mut Vec<u8>, timestamp_ns: i64, text: &[u8]) {
    let seconds = timestamp_ns.div_euclid(NANOS_PER_SECOND) as u64;
    let nanos = timestamp_ns.rem_euclid(NANOS_PER_SECOND) as u64;
    let timestamp_bytes = varint_field_bytes(seconds) + varint_field_bytes(nanos);
    let line_bytes = 1 + encoded_len_varint(text.len() as u64) + text.len();
    out.push(FIELD_2_BYTES);
    encode_varint((2 + timestamp_bytes + line_bytes) as u64, out);
    out.push(FIELD_1_BYTES);
    out.push(timestamp_bytes as u8);
    if seconds != 0 {
        out.push(FIELD_1_VARINT);
        encode_varint(seconds, out);
    }
    if nanos != 0 {
        out.push(FIELD_2_VARINT);
        encode_varint(nanos, out);
    }
    out.push(FIELD_2_BYTES);
    encode_varint(text.len() as u64, out);
    out.extend_from_slice(text);
}

/// Bytes of a varint field with a one-byte key; proto3 leaves zeros out.
fn varint_field_bytes(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + encoded_len_varint(value) }
}

/// Bytes of the entry that `bytes` begins with, its key and length included.
fn entry_len(bytes: &[u8]) -> usize {
    let mut body = &bytes[1..];
    let len = prost::encoding::decode_varint(&mut body).unwrap_or(0) as usize;
    bytes.len() - body.len() + len
}
