//! Which of the node's pods a reader side reads, where there are several of them.
//!
//! In: how many shards there are, names of pods' log folders. Out: whose a pod is. All logs of one namespace and pod name are
//! one shard's, so that a Loki stream is never filled by two: also the logs of a stateful set's pod that was replaced, whose
//! folder has another UID. What is true of a whole node is kept for all shards here: what they hold, and what was said.

use std::{
    hash::{DefaultHasher, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// One of the node's shards.
#[derive(Debug)]
pub struct Shard {
    index: usize,
    count: usize,
    node: Arc<Node>,
}

/// What the shards have in common.
#[derive(Debug, Default)]
pub struct Node {
    /// What the deleted files that any shard holds open take on the disk, in bytes, as of each shard's last sweep.
    held_bytes: Mutex<u64>,
    /// What a shard has said for all of them.
    said: Mutex<Vec<&'static str>>,
}

impl Node {
    /// See the field; the lock is held while a shard gives files up, so that two do not do it for the same bytes.
    pub fn held_bytes(&self) -> MutexGuard<'_, u64> {
        self.held_bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// All shards of a node.
    #[must_use]
    pub fn all(count: usize) -> Vec<Self> {
        let node = Arc::new(Node::default());
        (0..count).map(|index| Self { index, count, node: Arc::clone(&node) }).collect()
    }

    /// Its number, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// What it has in common with the others.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Whether a pod's logs are this shard's; `folder`: the name of its log folder.
    #[must_use]
    pub fn owns(&self, folder: &str) -> bool {
        shard_of(folder, self.count) == self.index
    }

    /// Whether nobody has said this yet. For what concerns all shards equally.
    #[must_use]
    pub fn is_first_to_say(&self, what: &'static str) -> bool {
        let mut said = self.node.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = !said.contains(&what);
        if is_first {
            said.push(what);
        }
        is_first
    }
}

/// The index of the shard whose the logs are below `NAMESPACE_POD_UID`, with or without `/CONTAINER` behind it. Good for one
/// process: saved positions are divided anew at each start.
#[must_use]
pub fn shard_of(name: &str, count: usize) -> usize {
    if count <= 1 {
        return 0;
    }
    let folder = name.split_once('/').map_or(name, |(folder, _)| folder);
    let pod = folder.rsplit_once('_').map_or(folder, |(pod, _uid)| pod);
    // Without a key of its own, unlike that of a map: every shard must come to the same.
    let mut hasher = DefaultHasher::new();
    hasher.write(pod.as_bytes());
    (hasher.finish() % count as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pod_is_one_shards_with_all_its_containers_and_whatever_its_uid() {
        for count in 1..=16 {
            let shards = Shard::all(count);
            for number in 0..200 {
                let folder = format!("default_web-{number}_467433c9-ed7f-4e83-9600-6441503c1539");
                let owners: Vec<_> = shards.iter().filter(|shard| shard.owns(&folder)).map(Shard::index).collect();
                assert_eq!(owners, [shard_of(&folder, count)]);
                for name in [format!("{folder}/nginx"), format!("{folder}/sidecar"), format!("default_web-{number}_x")]
                {
                    assert_eq!(shard_of(&name, count), owners[0], "{name}");
                }
            }
        }
    }

    #[test]
    fn the_pods_of_a_node_are_shared_out_about_equally() {
        for count in [2, 3, 4, 8] {
            let mut pods = vec![0; count];
            for number in 0..1000 {
                pods[shard_of(&format!("kube-system_app-{number}_uid-{number}/app"), count)] += 1;
            }
            let fair = 1000 / count;
            assert!(pods.iter().all(|pods| (fair * 2 / 3..fair * 3 / 2).contains(pods)), "{pods:?}");
        }
    }

    #[test]
    fn what_concerns_all_shards_is_said_by_one() {
        let shards = Shard::all(3);
        let said = shards.iter().filter(|shard| shard.is_first_to_say("a")).count();
        assert_eq!((said, shards[2].is_first_to_say("b")), (1, true));
    }
}
