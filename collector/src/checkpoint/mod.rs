//! How far Loki has each file's lines, over restarts.
//!
//! In: [`Snapshot`]s of acknowledged positions. Out: a small file in the state folder, and what an earlier run saved in
//! it. Written by rename, the version before kept, both with a checksum: a torn file is noticed and the one before
//! serves. Knows no reading and no Loki.

mod format;
mod store;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

pub use format::{DecodeError, decode, encode};
pub use store::{LoadError, Lock, Store};

use crate::discover::SavedFile;

/// What is saved of a container whose folder was not seen again is kept this long, in seconds: the pods folder may only
/// be away for a while.
const KEEP_UNCLAIMED_SECONDS: u64 = 24 * 3600;

/// What is saved of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedContainer {
    /// `NAMESPACE_POD_UID/CONTAINER`.
    pub name: String,
    /// When its folder was last there, seconds since 1970.
    pub seen_at: u64,
    /// Its files, in no order.
    pub files: Vec<SavedFile>,
}

/// Everything that is saved at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The containers, in no order.
    pub containers: Vec<SavedContainer>,
}

/// What an earlier run saved and this one has not yet found the container of.
#[derive(Debug, Default)]
pub struct Unclaimed {
    containers: HashMap<String, SavedContainer>,
}

impl Unclaimed {
    /// What is saved of a container, once.
    pub fn claim(&mut self, name: &str) -> Option<Vec<SavedFile>> {
        self.containers.remove(name).map(|saved| saved.files)
    }
}

impl From<Snapshot> for Unclaimed {
    fn from(snapshot: Snapshot) -> Self {
        Self { containers: snapshot.containers.into_iter().map(|saved| (saved.name.clone(), saved)).collect() }
    }
}

impl Snapshot {
    /// The containers that are followed, and those of an earlier run that may come again. `now`: seconds since 1970.
    pub fn new(followed: impl Iterator<Item = (String, Vec<SavedFile>)>, unclaimed: &Unclaimed, now: u64) -> Self {
        let mut containers: Vec<_> =
            followed.map(|(name, files)| SavedContainer { name, seen_at: now, files }).collect();
        let kept = |saved: &&SavedContainer| now.saturating_sub(saved.seen_at) < KEEP_UNCLAIMED_SECONDS;
        containers.extend(unclaimed.containers.values().filter(kept).cloned());
        Self { containers }
    }
}
