//! One checkpoint of several shards.
//!
//! In: the checkpoint of an earlier run, then a [`Snapshot`] of one shard after the other. Out: what an earlier run saved for
//! each shard, and snapshots of the whole. A container is in one part only, so parts of different moments fit together: each
//! says of its own containers what Loki had acknowledged then.

use super::Snapshot;

/// The newest snapshot of each shard.
#[derive(Debug)]
pub struct Parts {
    /// With a single shard only what was not taken yet: nothing is to be put together with it.
    newest: Vec<Option<Snapshot>>,
}

impl Parts {
    /// Of so many shards, none of which has made a snapshot in this run: until one has, what an earlier run saved for it
    /// stands.
    #[must_use]
    pub fn new(saved: &[Snapshot]) -> Self {
        let newest = match saved {
            [_] => vec![None],
            several => several.iter().cloned().map(Some).collect(),
        };
        Self { newest }
    }

    /// How many shards there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.newest.len()
    }

    /// Takes a shard's new snapshot.
    pub fn put(&mut self, shard: usize, snapshot: Snapshot) {
        self.newest[shard] = Some(snapshot);
    }

    /// Everything that is to be saved now; `None`: nothing new.
    pub fn whole(&mut self) -> Option<Snapshot> {
        match &mut self.newest[..] {
            [only] => only.take(),
            several => {
                let containers = several.iter().flatten().flat_map(|part| &part.containers).cloned();
                Some(Snapshot { containers: containers.collect() })
            }
        }
    }
}

impl Snapshot {
    /// Divides what an earlier run saved among `shards`; `shard_of` tells by a container's name whose it is.
    #[must_use]
    pub fn divide(self, shards: usize, shard_of: impl Fn(&str) -> usize) -> Vec<Self> {
        let mut parts = vec![Self::default(); shards];
        for container in self.containers {
            parts[shard_of(&container.name)].containers.push(container);
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::SavedContainer;

    fn snapshot(names: &[&str], seen_at: u64) -> Snapshot {
        let container = |name: &&str| SavedContainer { name: (*name).into(), seen_at, files: Vec::new() };
        Snapshot { containers: names.iter().map(container).collect() }
    }

    /// Each container and when it was seen, in the order of the names.
    fn seen(snapshot: Snapshot) -> Vec<(String, u64)> {
        let mut seen: Vec<_> = snapshot.containers.into_iter().map(|saved| (saved.name, saved.seen_at)).collect();
        seen.sort();
        seen
    }

    #[test]
    fn a_shard_that_made_no_snapshot_yet_keeps_what_an_earlier_run_saved_for_it() {
        let saved = snapshot(&["a", "bb", "c", "dd"], 1).divide(2, |name| name.len() - 1);
        let mut parts = Parts::new(&saved);
        parts.put(0, snapshot(&["a", "e"], 2));
        let expected = [("a", 2), ("bb", 1), ("dd", 1), ("e", 2)].map(|(name, at)| (name.to_owned(), at));
        assert_eq!(seen(parts.whole().unwrap()), expected);
        parts.put(1, snapshot(&["ff"], 3));
        let expected = [("a", 2), ("e", 2), ("ff", 3)].map(|(name, at)| (name.to_owned(), at));
        assert_eq!(seen(parts.whole().unwrap()), expected);
    }

    #[test]
    fn the_snapshot_of_a_single_shard_is_given_out_once_as_it_is() {
        let mut parts = Parts::new(&snapshot(&["a"], 1).divide(1, |_| 0));
        assert_eq!(parts.whole(), None, "never an empty one in place of what is saved");
        parts.put(0, snapshot(&["b"], 2));
        assert_eq!(parts.whole(), Some(snapshot(&["b"], 2)));
        assert_eq!(parts.whole(), None);
    }
}
