//! A batch that has not ended, and the pieces of it that go in one request each.
//!
//! In: the batch, with a number for each of its streams. Out: what a request with some of its slots holds of each stream.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::{backoff::Backoff, certain::Lines, streams::StreamId};
use crate::batch::{Batch, Part, StreamSlot};

/// A batch that has not ended.
pub(super) struct Live {
    pub(super) id: u64,
    pub(super) batch: Arc<Batch>,
    /// It has lines of several units.
    pub(super) shared: bool,
    /// Streams by slot; `None` for a slot without lines.
    pub(super) ids: Vec<Option<StreamId>>,
    /// Streams that were in no request yet.
    pub(super) fresh: Vec<Group>,
    /// What has to go again, or goes in parts; those of one stream are in order.
    pub(super) pieces: VecDeque<Piece>,
    pub(super) in_flight: usize,
    /// By slot: its lines are counted as sent.
    pub(super) counted: Vec<bool>,
    /// By slot: not every line of it was taken, and they have to be read again.
    pub(super) refused: Vec<bool>,
    pub(super) refused_entries: u64,
    pub(super) lost_entries: u64,
}

/// The slots of one stream.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) stream: StreamId,
    pub(super) slots: Vec<StreamSlot>,
}

/// What goes in one request.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) part: Part,
    pub(super) shares: Vec<Share>,
    pub(super) tries: Tries,
}

/// One stream's lines in a request.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pub(super) stream: StreamId,
    pub(super) lines: Lines,
    /// Bytes as Loki's rate limit counts them.
    pub(super) counted: f64,
}

/// How often a request was tried.
#[derive(Clone, Debug)]
pub(super) struct Tries {
    pub(super) started: Instant,
    pub(super) attempts: u32,
    pub(super) slowdowns: u32,
    pub(super) unknown: u32,
    pub(super) refused: u32,
    pub(super) first_failure: Option<Instant>,
    /// Bytes of the failed request that it is a part of, where smaller ones passed meanwhile.
    pub(super) part_of_failed: Option<usize>,
    /// Not to be sent before.
    pub(super) due: Option<Instant>,
    /// The success of another request may shorten the wait.
    pub(super) wakes: bool,
    pub(super) backoff: Backoff,
}

impl Live {
    pub(super) fn share(&self, group: &Group) -> Share {
        self.share_of(group.stream, &group.slots, 1.0)
    }

    fn share_of(&self, stream: StreamId, slots: &[StreamSlot], fraction: f64) -> Share {
        let mut share =
            Share { stream, lines: Lines { bytes: 0, oldest_ns: i64::MAX, newest_ns: i64::MIN }, counted: 0.0 };
        for slot in slots {
            share.lines.bytes += self.batch.bytes_of(*slot);
            let slot = &self.batch.streams()[slot.index()];
            share.lines.oldest_ns = share.lines.oldest_ns.min(slot.oldest_ns);
            share.lines.newest_ns = share.lines.newest_ns.max(slot.newest_ns);
            share.counted += slot.counted_bytes() as f64 * fraction;
        }
        share.lines.bytes = (share.lines.bytes as f64 * fraction) as u64;
        share
    }

    /// The streams of a part.
    pub(super) fn shares(&self, part: &Part) -> Vec<Share> {
        let groups = self.groups(part);
        let all_bytes = |group: &Group| -> u64 { group.slots.iter().map(|slot| self.batch.bytes_of(*slot)).sum() };
        let fraction = match &groups[..] {
            [only] => part.encoded_bytes() as f64 / all_bytes(only).max(1) as f64,
            _ => 1.0,
        };
        groups.iter().map(|group| self.share_of(group.stream, &group.slots, fraction)).collect()
    }

    fn groups(&self, part: &Part) -> Vec<Group> {
        let mut slots: Vec<_> = self.batch.slots_of(part);
        slots.sort_by_key(|slot| (self.ids[slot.index()], *slot));
        let same = |a: &StreamSlot, b: &StreamSlot| self.ids[a.index()] == self.ids[b.index()];
        let groups = slots
            .chunk_by(same)
            .filter_map(|slots| Some(Group { stream: self.ids[slots[0].index()]?, slots: slots.to_vec() }));
        groups.collect()
    }

    /// Schedules the part's streams as if they had been in no request.
    pub(super) fn make_fresh(&mut self, part: &Part) {
        let groups = self.groups(part);
        self.fresh.extend(groups);
        self.fresh.sort_by_key(|group| group.slots[0]);
    }
}

impl Tries {
    pub(super) fn new(backoff: Backoff, now: Instant) -> Self {
        Self {
            started: now,
            attempts: 0,
            slowdowns: 0,
            unknown: 0,
            refused: 0,
            first_failure: None,
            part_of_failed: None,
            due: None,
            wakes: false,
            backoff,
        }
    }

    /// For a part of the request: what it has not tried itself begins at zero.
    pub(super) fn of_part(&self, backoff: Backoff, now: Instant) -> Self {
        Self { first_failure: self.first_failure, ..Self::new(backoff, now) }
    }
}
