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
    /// Index of the lane that it came from.
    pub(super) lane: usize,
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
    pub(super) fn push(&mut self, batch: Batch, lane: usize) {
        // Each shard numbers its containers from 0.
        let containers = batch.progress().iter().map(|progress| self.hasher.hash_one((lane, progress.container)));
        // Label sets too: a pod of a stateful set that was replaced has another container with the same labels.
        let streams = batch.labels().iter().map(|labels| self.hasher.hash_one(labels));
        let keys = containers.chain(streams).collect();
        self.batches.push_back(Waiting { batch, turn: Turn { lane, keys } });
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{tail::chain::ContainerId, tail::read::Position};

    fn batch(generation: u64, containers: &[u32]) -> Batch {
        let mut batch = Batch::new(generation);
        for &container in containers {
            batch.push_progress(ContainerId(container), Position { file: 0, offset: generation });
        }
        batch
    }

    #[test]
    fn batches_without_a_common_container_go_side_by_side() {
        let mut waiting = WaitingBatches::default();
        waiting.push(batch(1, &[1, 2]), 0);
        waiting.push(batch(2, &[2, 3]), 0);
        waiting.push(batch(3, &[3]), 0);
        waiting.push(batch(4, &[4]), 0);
        let (first, turn) = waiting.start_next().unwrap();
        assert_eq!(first.generation(), 1);
        assert_eq!(waiting.start_next().unwrap().0.generation(), 4, "3 must not overtake 2, which waits for 1");
        assert!(waiting.start_next().is_none());
        waiting.finish(&turn);
        let (second, turn) = waiting.start_next().unwrap();
        assert_eq!(second.generation(), 2);
        assert!(waiting.start_next().is_none());
        waiting.finish(&turn);
        assert_eq!(waiting.start_next().unwrap().0.generation(), 3);
    }

    #[test]
    fn containers_of_different_lanes_with_the_same_number_are_different_ones() {
        let mut waiting = WaitingBatches::default();
        for lane in 0..2 {
            waiting.push(batch(lane, &[1]), lane as usize);
        }
        assert_eq!(waiting.start_next().unwrap().1.lane, 0);
        assert_eq!(waiting.start_next().unwrap().1.lane, 1);
    }

    #[test]
    fn two_containers_with_the_same_labels_are_one_stream() {
        let mut waiting = WaitingBatches::default();
        for container in [1, 2] {
            let mut batch = batch(container.into(), &[container]);
            batch.open_stream(&r#"{pod="db-0"}"#.into());
            waiting.push(batch, container as usize);
        }
        assert!(waiting.start_next().is_some());
        assert!(waiting.start_next().is_none());
    }

    proptest! {
        #[test]
        fn every_batch_goes_and_no_container_is_overtaken(
            batches in prop::collection::vec(prop::collection::btree_set(0..8u32, 0..4), 0..20),
            concurrency in 1..5usize,
            finishes in prop::collection::vec(any::<prop::sample::Index>(), 20),
        ) {
            let mut waiting = WaitingBatches::default();
            for (generation, containers) in batches.iter().enumerate() {
                let containers: Vec<_> = containers.iter().copied().collect();
                waiting.push(batch(generation as u64, &containers), 0);
            }
            let mut last_done: HashMap<u32, u64> = HashMap::new();
            let mut under_way: Vec<(Batch, Turn)> = Vec::new();
            let mut done = 0;
            let mut finishes = finishes.iter();
            loop {
                while under_way.len() < concurrency {
                    match waiting.start_next() {
                        Some(started) => under_way.push(started),
                        None => break,
                    }
                }
                let mut containers: Vec<u32> =
                    under_way.iter().flat_map(|(b, _)| b.progress()).map(|p| p.container.0).collect();
                containers.sort_unstable();
                prop_assert!(containers.windows(2).all(|pair| pair[0] != pair[1]), "two under way for one container");
                if under_way.is_empty() {
                    break;
                }
                let index = finishes.next().unwrap().index(under_way.len());
                let (batch, turn) = under_way.swap_remove(index);
                waiting.finish(&turn);
                for progress in batch.progress() {
                    let before = last_done.insert(progress.container.0, batch.generation());
                    prop_assert!(before.is_none_or(|before| before < batch.generation()));
                }
                done += 1;
            }
            prop_assert_eq!(done, batches.len());
        }
    }
}
