//! A batch's entries gathered by stream: the bytes of a `logproto.PushRequest`.

use std::ops::Range;

use prost::encoding::{encode_varint, encoded_len_varint};

use super::{part::Part, wire::Batch};

/// Field 1, length-delimited: `PushRequest.streams`.
const STREAM_KEY: u8 = 0x0a;
/// Field 1, length-delimited: `StreamAdapter.labels`.
const LABELS_KEY: u8 = 0x0a;

/// Writes push requests, and keeps its memory for the next one.
#[derive(Debug, Default)]
pub struct RequestEncoder {
    /// Where each run's entries lie in the arena: by stream, each stream's in their order.
    runs: Vec<Range<usize>>,
    /// Where in `runs` the next run of each stream goes, and, when all are there, where the stream's end.
    ends: Vec<usize>,
}

impl RequestEncoder {
    /// Appends the `logproto.PushRequest` with the entries of `part` to `out`: each stream once, its entries in
    /// their order. Takes time in proportion to the bytes.
    pub fn encode(&mut self, batch: &Batch, part: &Part, out: &mut Vec<u8>) {
        self.sort_runs(batch, part);
        let mut begin = 0;
        for (stream, &end) in batch.streams().iter().zip(&self.ends) {
            let runs = &self.runs[begin..end];
            begin = end;
            if runs.is_empty() {
                continue;
            }
            begin_stream(&stream.labels, runs.iter().map(Range::len).sum(), out);
            for bytes in runs {
                out.extend_from_slice(&batch.arena()[bytes.clone()]);
            }
        }
    }

    /// Sorts the part's runs by counting: they come in the order that each stream's must keep. Slots with the same labels are one
    /// stream, their leader's: if it were there twice, Loki would report errors of the second only.
    fn sort_runs(&mut self, batch: &Batch, part: &Part) {
        self.ends.clear();
        self.ends.resize(batch.streams().len(), 0);
        for (run, _) in batch.runs_of(part) {
            self.ends[run.leader.index()] += 1;
        }
        let mut count = 0;
        for end in &mut self.ends {
            count += std::mem::replace(end, count);
        }
        self.runs.clear();
        self.runs.resize(count, 0..0);
        for (run, bytes) in batch.runs_of(part) {
            let at = &mut self.ends[run.leader.index()];
            self.runs[*at] = bytes;
            *at += 1;
        }
    }
}

/// Appends a `logproto.PushRequest` with one stream of encoded `entries` to `out`.
pub fn encode_single_stream(labels: &str, entries: &[u8], out: &mut Vec<u8>) {
    begin_stream(labels, entries.len(), out);
    out.extend_from_slice(entries);
}

/// Appends the bytes before a stream's entries.
fn begin_stream(labels: &str, entries_bytes: usize, out: &mut Vec<u8>) {
    let labels_bytes = 1 + encoded_len_varint(labels.len() as u64) + labels.len();
    out.push(STREAM_KEY);
    encode_varint((labels_bytes + entries_bytes) as u64, out);
    out.push(LABELS_KEY);
    encode_varint(labels.len() as u64, out);
    out.extend_from_slice(labels.as_bytes());
}
