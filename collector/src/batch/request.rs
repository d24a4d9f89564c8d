//! A batch's entries gathered by stream: the bytes of a `logproto.PushRequest`.

use std::ops::Range;

use prost::encoding::{encode_varint, encoded_len_varint};

use super::{
    part::Part,
    wire::{Batch, StreamSlot},
};

/// Field 1, length-delimited: `PushRequest.streams`.
const STREAM_KEY: u8 = 0x0a;
/// Field 1, length-delimited: `StreamAdapter.labels`.
const LABELS_KEY: u8 = 0x0a;

/// Writes push requests, and keeps the memory that it needs for the next one.
#[derive(Debug, Default)]
pub struct RequestEncoder {
    /// The runs of the request, each with its bytes of the arena.
    runs: Vec<(StreamSlot, Range<usize>)>,
}

impl RequestEncoder {
    /// Appends the `logproto.PushRequest` with the entries of `part` to `out`: each stream once, its entries in
    /// their order. Takes time in proportion to the bytes, plus n log n for n runs.
    pub fn encode(&mut self, batch: &Batch, part: &Part, out: &mut Vec<u8>) {
        self.runs.clear();
        // Slots with the same labels are one stream: were it there twice, Loki would tell the fate of the second only.
        let runs = batch.runs_of(part).map(|(run, bytes)| (run.leader, bytes));
        self.runs.extend(runs);
        // By stream, and a stream's runs by their place: no two are equal, so that the sort that needs no memory
        // keeps their order.
        self.runs.sort_unstable_by_key(|(stream, bytes)| (*stream, bytes.start));
        for runs in self.runs.chunk_by(|a, b| a.0 == b.0) {
            let labels = &batch.streams()[runs[0].0.index()].labels;
            let entries_bytes: usize = runs.iter().map(|(_, bytes)| bytes.len()).sum();
            let labels_bytes = 1 + encoded_len_varint(labels.len() as u64) + labels.len();
            out.push(STREAM_KEY);
            encode_varint((labels_bytes + entries_bytes) as u64, out);
            out.push(LABELS_KEY);
            encode_varint(labels.len() as u64, out);
            out.extend_from_slice(labels.as_bytes());
            for (_, bytes) in runs {
                out.extend_from_slice(&batch.arena()[bytes.clone()]);
            }
        }
    }
}

/// Appends a `logproto.PushRequest` with one stream of encoded `entries` to `out`.
pub fn encode_single_stream(labels: &str, entries: &[u8], out: &mut Vec<u8>) {
    let labels_bytes = 1 + encoded_len_varint(labels.len() as u64) + labels.len();
    out.push(STREAM_KEY);
    encode_varint((labels_bytes + entries.len()) as u64, out);
    out.push(LABELS_KEY);
    encode_varint(labels.len() as u64, out);
    out.extend_from_slice(labels.as_bytes());
    out.extend_from_slice(entries);
}
