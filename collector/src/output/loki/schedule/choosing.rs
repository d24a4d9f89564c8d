//! What of a batch may start now, and in which parts.
//!
//! In: a batch of the [`Schedule`]. Out: one piece of it, whose streams are free, may go together and may go at their rate. Claims the
//! streams of what may not start, so that nothing behind it overtakes.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    super::{
        backoff::Backoff,
        pieces::{Piece, Share, Tries},
        size::SLOW_BYTES_MIN,
    },
    Schedule, note,
};
use crate::batch::Part;

/// A stream that has to wait longer than this for its rate leaves a batch that it shares with other units.
const WAIT_IN_SHARED_BATCH_MAX: Duration = Duration::from_secs(2);

/// What of a batch goes into a request, by index.
pub(super) enum Choice {
    Piece(usize),
    Groups(Vec<usize>),
}

impl Schedule {
    /// What of a batch may start; claims the streams of what may not.
    pub(super) fn choose(&mut self, index: usize, may_start: bool, now: Instant) -> Option<Choice> {
        self.dissolve_uncertain(index, now);
        for at in 0..self.batches[index].pieces.len() {
            let piece = &self.batches[index].pieces[at];
            let is_free =
                |share: &Share| !self.streams[share.stream].in_flight && !self.claimed.contains(&share.stream);
            let mut ready = may_start && piece.shares.iter().all(is_free);
            if let Some(due) = piece.tries.due.filter(|due| *due > now) {
                note(&mut self.wake_at, due);
                ready = false;
            }
            if ready
                && let [share] = &piece.shares[..]
                && let Some(wait) = self.streams[share.stream].bucket.wait(share.counted, self.limits.in_force(), now)
            {
                note(&mut self.wake_at, now + wait);
                ready = false;
            }
            if ready {
                return Some(Choice::Piece(at));
            }
            self.claimed.extend(piece.shares.iter().map(|share| share.stream));
        }
        self.choose_fresh(index, may_start, now)
    }

    fn choose_fresh(&mut self, index: usize, may_start: bool, now: Instant) -> Option<Choice> {
        let live = &self.batches[index];
        let (mut together, mut alone, mut too_slow) = (Vec::new(), None, Vec::new());
        let mut bytes = 0;
        for (at, group) in live.fresh.iter().enumerate() {
            let share = live.share(group);
            let stream = &mut self.streams[group.stream];
            if !may_start || stream.in_flight || self.claimed.contains(&group.stream) {
                self.claimed.insert(group.stream);
                continue;
            }
            if let Some(wait) = stream.bucket.wait(share.counted, self.limits.in_force(), now) {
                if live.shared && wait > WAIT_IN_SHARED_BATCH_MAX {
                    too_slow.push((group.stream, now + wait));
                } else {
                    note(&mut self.wake_at, now + wait);
                    self.claimed.insert(group.stream);
                }
                continue;
            }
            let share_bytes = share.lines.bytes as usize;
            let tenant = &stream.key.tenant;
            let is_certain = stream.certainty.is_certain(&share.lines, &self.tenants.of(tenant), now);
            if !is_certain {
                alone = alone.or(Some(at));
                continue;
            }
            let fits = together.first().is_none_or(|&first: &usize| {
                self.streams.of_one_tenant(live.fresh[first].stream, group.stream)
                    && !self.size.is_too_large(bytes + share_bytes, now)
            });
            if fits {
                bytes += share_bytes;
                together.push(at);
            }
        }
        if !too_slow.is_empty() {
            too_slow.into_iter().for_each(|(stream, until)| self.park_for_rate(stream, until, now));
            return self.choose_fresh(index, may_start, now);
        }
        if !together.is_empty() {
            return Some(Choice::Groups(together));
        }
        alone.map(|at| Choice::Groups(vec![at]))
    }

    /// Takes apart requests that waited so long that one of their streams is no longer certain: each goes alone.
    fn dissolve_uncertain(&mut self, index: usize, now: Instant) {
        let live = &mut self.batches[index];
        let (streams, tenants) = (&self.streams, &self.tenants);
        let uncertain = |share: &Share| {
            let stream = &streams[share.stream];
            !stream.certainty.is_certain(&share.lines, &tenants.of(&stream.key.tenant), now)
        };
        let is_due = |piece: &Piece| piece.tries.due.is_none_or(|due| due <= now);
        let dissolves = |piece: &Piece| piece.shares.len() > 1 && is_due(piece) && piece.shares.iter().any(uncertain);
        if !live.pieces.iter().any(dissolves) {
            return;
        }
        let (dissolved, kept): (VecDeque<Piece>, _) = std::mem::take(&mut live.pieces).into_iter().partition(dissolves);
        live.pieces = kept;
        dissolved.iter().for_each(|piece| live.make_fresh(&piece.part));
    }

    pub(super) fn take(&mut self, index: usize, choice: Choice, now: Instant) -> Piece {
        let backoff = Backoff::new(&self.settings.backoff);
        let live = &mut self.batches[index];
        let slots: Vec<_> = match choice {
            Choice::Piece(at) => match live.pieces.remove(at) {
                Some(piece) => return piece,
                None => Vec::new(),
            },
            Choice::Groups(at) => at.into_iter().rev().flat_map(|at| live.fresh.remove(at).slots).collect(),
        };
        for slot in &slots {
            if !std::mem::replace(&mut live.counted[slot.index()], true) {
                self.metrics.sent_lines.inc_by(live.batch.streams()[slot.index()].entries);
            }
        }
        let part = live.batch.part_of(slots);
        Piece { shares: live.shares(&part), part, tries: Tries::new(backoff, now) }
    }

    /// The parts in which a request has to go that is larger than Loki takes at once; `None`: it can go as it is.
    pub(super) fn divided(&mut self, index: usize, piece: &Piece, now: Instant) -> Option<Vec<Part>> {
        let burst = match &piece.shares[..] {
            [share] => self.streams[share.stream].bucket.burst(self.limits.in_force(), now),
            _ => None,
        };
        let (counted_per_byte, first_max) = match &piece.shares[..] {
            [share] => {
                let first_max = if self.streams[share.stream].begins_small { SLOW_BYTES_MIN } else { usize::MAX };
                (share.counted / piece.part.encoded_bytes().max(1) as f64, first_max)
            }
            _ => (0.0, usize::MAX),
        };
        let too_large = |part: &Part| {
            let bytes = part.encoded_bytes();
            self.size.is_too_large(bytes, now) || burst.is_some_and(|burst| bytes as f64 * counted_per_byte > burst)
        };
        let batch = &self.batches[index].batch;
        let (mut waiting, mut done) = (vec![piece.part.clone()], Vec::new());
        while let Some(part) = waiting.pop() {
            let begins_too_large = done.is_empty() && part.encoded_bytes() > first_max;
            match (begins_too_large || too_large(&part)).then(|| batch.halve(&part)).flatten() {
                Some((first, second)) => waiting.extend([second, first]),
                None => done.push(part),
            }
        }
        (done.len() > 1).then_some(done)
    }
}
