//! Which batch may go next: as many as possible at once, and still every stream in order.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
};

use crate::batch::Batch;

/// Batches that wait for their turn. A batch may start when it shares neither a container nor a label set with one
/// that is under way, nor with one that waits before it.
#[derive(Debug, Default)]
pub(super) struct WaitingBatches {
    batches: VecDeque<Waiting>,
    /// Keys of the batches under way.
    busy: HashSet<u64>,
    /// Scratch of [`Self::start_next`].
    claimed: HashSet<u64>,
    hasher: RandomState,
}

/// What a batch under way keeps from the others, and where it goes back to.
#[derive(Debug)]
pub(super) struct Turn {
    /// Its containers and label sets, as hashes: two that collide only lose the chance to go side by side.
    keys: Vec<u64>,
}

#[derive(Debug)]
struct Waiting {
    batch: Batch,
    turn: Turn,
}

impl WaitingBatches {
    /// Puts a batch at the end.
    pub(super) fn push(&mut self, batch: Batch) {
        let keys = batch.streams().iter().map(|stream| self.hasher.hash_one(&stream.labels)).collect();
        self.batches.push_back(Waiting { batch, turn: Turn { keys } });
    }

    /// Takes out the first batch that may start. [`Self::finish`] wants its turn back.
    pub(super) fn start_next(&mut self) -> Option<(Batch, Turn)> {
        self.claimed.clear();
        let free = |keys: &[u64], claimed: &mut HashSet<u64>| {
            let free = keys.iter().all(|key| !self.busy.contains(key) && !claimed.contains(key));
            if !free {
                claimed.extend(keys);
            }
            free
        };
        let index = self.batches.iter().position(|waiting| free(&waiting.turn.keys, &mut self.claimed))?;
        let Waiting { batch, turn } = self.batches.remove(index)?;
        self.busy.extend(&turn.keys);
        Some((batch, turn))
    }

    /// The batch whose turn this was is no longer under way.
    pub(super) fn finish(&mut self, turn: &Turn) {
        for key in &turn.keys {
            self.busy.remove(key);
        }
    }
}

