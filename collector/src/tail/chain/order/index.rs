//! Looking files up by inode and by beginning, so that a folder of thousands of files costs each of them once.
//!
//! In: the files of a chain, by their index. Out: the indices that may be meant by a listed file. Lives for one merge; knows
//! no names and opens nothing.

use std::collections::{BTreeMap, HashMap};

use crate::model::{FileKey, Fingerprint, prefix_hashes};

/// Indices by device and inode, in the order in which they were added.
pub(super) struct ByKey(HashMap<FileKey, Vec<usize>>);

impl ByKey {
    /// The index of each key is its place in `keys`.
    pub(super) fn of(keys: impl Iterator<Item = Option<FileKey>>) -> Self {
        let mut by_key = Self(HashMap::new());
        for (index, key) in keys.enumerate() {
            if let Some(key) = key {
                by_key.add(index, key);
            }
        }
        by_key
    }

    pub(super) fn add(&mut self, index: usize, key: FileKey) {
        self.0.entry(key).or_default().push(index);
    }

    pub(super) fn get(&self, key: FileKey) -> impl Iterator<Item = usize> {
        self.0.get(&key).into_iter().flatten().copied()
    }
}

/// Indices by fingerprint. A fingerprint of a short file covers less than one of a long file: there is a table for each length.
#[derive(Default)]
pub(super) struct Beginnings(BTreeMap<u16, HashMap<u64, Vec<usize>>>);

impl Beginnings {
    pub(super) fn of(files: &[super::ChainFile]) -> Self {
        let mut beginnings = Self::default();
        for (index, file) in files.iter().enumerate() {
            beginnings.add(index, file.fingerprint());
        }
        beginnings
    }

    /// Empty files cannot be recognised and are left out.
    pub(super) fn add(&mut self, index: usize, fingerprint: Fingerprint) {
        if fingerprint.len > 0 {
            self.0.entry(fingerprint.len).or_default().entry(fingerprint.hash).or_default().push(index);
        }
    }

    /// Those that [`Fingerprint::matches`] says of that a file which begins with `head` may be, in no order.
    pub(super) fn matching(&self, head: &[u8]) -> Vec<usize> {
        let lengths = self.0.keys().map(|&length| usize::from(length));
        let hashes = prefix_hashes(head, lengths);
        self.0.values().zip(hashes).filter_map(|(table, hash)| table.get(&hash)).flatten().copied().collect()
    }
}
