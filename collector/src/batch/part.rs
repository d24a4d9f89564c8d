//! Which entries of a batch go into one request.
//!
//! In: a batch, and which of its streams. Out: a [`Part`], and smaller ones where it has to be divided. The parts that a part is
//! divided into hold each of its entries once, and a stream's in order. A part with more than one stream always has all their
//! entries; only that of a single stream may begin and end anywhere between two entries.

use std::ops::Range;

use super::{
    entry::entry_len,
    wire::{Batch, Run, StreamSlot},
};

/// Entries of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Bytes of the arena, on entry borders.
    bytes: Range<usize>,
    /// Sorted; `None`: all.
    slots: Option<Box<[StreamSlot]>>,
    entries: u64,
    encoded_bytes: usize,
}

impl Part {
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Their encoded bytes, without the labels.
    pub fn encoded_bytes(&self) -> usize {
        self.encoded_bytes
    }

    /// Its slots, sorted; `None`: all of the batch.
    pub fn slots(&self) -> Option<&[StreamSlot]> {
        self.slots.as_deref()
    }

    fn holds(&self, slot: StreamSlot) -> bool {
        match self.slots.as_deref() {
            None => true,
            Some([only]) => *only == slot,
            Some(slots) => slots.binary_search(&slot).is_ok(),
        }
    }
}

impl Batch {
    /// All entries.
    pub fn whole(&self) -> Part {
        let encoded_bytes = self.encoded_bytes();
        Part { bytes: 0..encoded_bytes, slots: None, entries: self.entries(), encoded_bytes }
    }

    /// All entries of these slots.
    pub fn part_of(&self, slots: impl IntoIterator<Item = StreamSlot>) -> Part {
        let mut slots: Vec<_> = slots.into_iter().collect();
        slots.sort_unstable();
        let streams = || slots.iter().map(|slot| &self.streams()[slot.index()]);
        let entries = streams().map(|stream| stream.entries).sum();
        let encoded_bytes = slots.iter().map(|slot| self.bytes_of(*slot) as usize).sum();
        Part { bytes: 0..self.encoded_bytes(), slots: Some(slots.into()), entries, encoded_bytes }
    }

    /// The part without some of its slots; `None` where no entry is left.
    pub fn without(&self, part: &Part, leave_out: impl Fn(StreamSlot) -> bool) -> Option<Part> {
        let kept: Vec<_> = self.slots_of(part).into_iter().filter(|&slot| !leave_out(slot)).collect();
        let mut rest = self.part_of(kept);
        if part.bytes != rest.bytes {
            rest.bytes = part.bytes.clone();
            (rest.entries, rest.encoded_bytes) = self.measured(&rest);
        }
        (rest.entries > 0).then_some(rest)
    }

    /// The part's slots, sorted.
    pub fn slots_of(&self, part: &Part) -> Vec<StreamSlot> {
        match &part.slots {
            Some(slots) => slots.to_vec(),
            None => (0..self.streams().len() as u32).map(StreamSlot).collect(),
        }
    }

    /// Two parts of about half the bytes each: by streams, or, where it has only one, in order. `None` for a single entry.
    pub fn halve(&self, part: &Part) -> Option<(Part, Part)> {
        self.halve_by_streams(part).or_else(|| self.halve_in_order(part))
    }

    fn halve_by_streams(&self, part: &Part) -> Option<(Part, Part)> {
        let mut slots = self.slots_of(part);
        slots.retain(|slot| self.streams()[slot.index()].entries > 0);
        // Slots with the same labels stay together.
        slots.sort_by_key(|slot| (self.streams()[slot.index()].leader, *slot));
        let same_stream =
            |a: &StreamSlot, b: &StreamSlot| self.streams()[a.index()].leader == self.streams()[b.index()].leader;
        let streams: Vec<_> = slots.chunk_by(same_stream).collect();
        if streams.len() < 2 {
            return None;
        }
        let (mut first, mut bytes) = (0, 0);
        while first + 1 < streams.len() && (first == 0 || bytes < part.encoded_bytes / 2) {
            bytes += streams[first].iter().map(|slot| self.bytes_of(*slot) as usize).sum::<usize>();
            first += 1;
        }
        let (first, second) = streams.split_at(first);
        let part_of = |streams: &[&[StreamSlot]]| self.part_of(streams.iter().copied().flatten().copied());
        Some((part_of(first), part_of(second)))
    }

    /// Two parts in order.
    fn halve_in_order(&self, part: &Part) -> Option<(Part, Part)> {
        if part.entries < 2 {
            return None;
        }
        let (mut entries, mut bytes, mut middle) = (0, 0, part.bytes.start);
        // At least one entry in the first part, and at least one left for the second.
        let enough =
            |entries: u64, bytes: usize| entries + 1 >= part.entries || entries > 0 && bytes >= part.encoded_bytes / 2;
        'runs: for (_, run) in self.runs_of(part) {
            let mut at = run.start;
            while at < run.end {
                if enough(entries, bytes) {
                    break 'runs;
                }
                let len = entry_len(&self.arena()[at..]);
                (entries, bytes, at) = (entries + 1, bytes + len, at + len);
                middle = at;
            }
        }
        let piece =
            |range, entries, encoded_bytes| Part { bytes: range, slots: part.slots.clone(), entries, encoded_bytes };
        Some((
            piece(part.bytes.start..middle, entries, bytes),
            piece(middle..part.bytes.end, part.entries - entries, part.encoded_bytes - bytes),
        ))
    }

    /// The first entry of a part. A stream is tried with it and no other, or the stream would be out of order.
    pub fn first_entry(&self, part: &Part) -> Option<Vec<u8>> {
        let (_, run) = self.runs_of(part).next()?;
        Some(self.arena()[run.start..][..entry_len(&self.arena()[run.start..])].to_vec())
    }

    fn measured(&self, part: &Part) -> (u64, usize) {
        let (mut entries, mut bytes) = (0, 0);
        for (_, run) in self.runs_of(part) {
            bytes += run.len();
            let mut at = run.start;
            while at < run.end {
                at += entry_len(&self.arena()[at..]);
                entries += 1;
            }
        }
        (entries, bytes)
    }

    /// The runs of a part, each with its bytes of the arena.
    pub(super) fn runs_of(&self, part: &Part) -> impl Iterator<Item = (Run, Range<usize>)> {
        self.runs_in(&part.bytes).filter(|(run, _)| part.holds(run.stream))
    }
}
