//! How far Loki has each file's lines, over restarts.
//!
//! In: [`Snapshot`]s of acknowledged positions. Out: a small file in the state folder, and what an earlier run saved in
//! it. Written by rename, the version before kept, both with a checksum: a torn file is detected and the one before
//! is used. Knows no reading and no Loki.

mod format;
mod metrics;
mod store;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

pub use format::{DecodeError, decode, encode};
pub use metrics::CheckpointMetrics;
pub use store::{LoadError, Lock, Store};

use crate::model::SavedFile;

/// What is saved of a container whose folder was not seen again is kept this long, in seconds: the pods folder may be
/// missing only for a while.
const KEEP_UNCLAIMED_SECONDS: u64 = 24 * 3600;

/// And at least this long after the start, by a clock that does not jump: a Pi without a battery starts in the past, and
/// what it saved then looks old as soon as it has asked for the time.
const KEEP_UNCLAIMED_AFTER_START: Duration = Duration::from_secs(3600);

/// What is saved of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedContainer {
    /// `NAMESPACE_POD_UID/CONTAINER`.
    pub name: String,
    /// When its folder was last there, seconds since 1970.
    pub seen_at: u64,
    /// Its files, in reading order.
    pub files: Vec<SavedFile>,
}

/// Everything that is saved at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The containers, in no order.
    pub containers: Vec<SavedContainer>,
}

/// What an earlier run saved and this one has not yet found the container of.
#[derive(Debug)]
pub struct Unclaimed {
    containers: HashMap<String, SavedContainer>,
    since: Instant,
}

impl Default for Unclaimed {
    fn default() -> Self {
        Snapshot::default().into()
    }
}

impl Unclaimed {
    /// What is saved of a container, once.
    pub fn claim(&mut self, name: &str) -> Option<Vec<SavedFile>> {
        self.containers.remove(name).map(|saved| saved.files)
    }

    /// Takes out those of which something was not acknowledged and whose folder is gone for certain. `is_gone` is asked with the
    /// container's name, and not before this process has run for `after`: folders may come late at the start of a node.
    pub fn take_gone(
        &mut self,
        after: Duration,
        now: Instant,
        mut is_gone: impl FnMut(&str) -> bool,
    ) -> Vec<SavedContainer> {
        if self.containers.is_empty() || now.saturating_duration_since(self.since) < after {
            return Vec::new();
        }
        let is_lost = |name: &String, saved: &mut SavedContainer| {
            saved.files.iter().any(|file| file.unacknowledged_bytes() > 0) && is_gone(name)
        };
        self.containers.extract_if(is_lost).map(|(_, saved)| saved).collect()
    }

    /// Those that may come again. `now`: seconds since 1970; `running_for`: how long this process has run.
    fn kept(&self, now: u64, running_for: Duration) -> impl Iterator<Item = &SavedContainer> {
        // After the clock went back they seem to be from the future: that counts as age 0.
        let is_young = move |saved: &&SavedContainer| now.saturating_sub(saved.seen_at) < KEEP_UNCLAIMED_SECONDS;
        let just_started = running_for < KEEP_UNCLAIMED_AFTER_START;
        self.containers.values().filter(move |saved| just_started || is_young(saved))
    }
}

impl From<Snapshot> for Unclaimed {
    fn from(snapshot: Snapshot) -> Self {
        let containers = snapshot.containers.into_iter().map(|saved| (saved.name.clone(), saved)).collect();
        Self { containers, since: Instant::now() }
    }
}

impl Snapshot {
    /// The containers that are followed, and those of an earlier run that may come again. `now`: seconds since 1970.
    pub fn new(followed: impl Iterator<Item = (String, Vec<SavedFile>)>, unclaimed: &Unclaimed, now: u64) -> Self {
        let mut containers: Vec<_> =
            followed.map(|(name, files)| SavedContainer { name, seen_at: now, files }).collect();
        containers.extend(unclaimed.kept(now, unclaimed.since.elapsed()).cloned());
        Self { containers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_767_323_045;
    const DAY: u64 = 24 * 3600;

    fn unclaimed(seen_at: u64) -> Unclaimed {
        Snapshot { containers: vec![SavedContainer { name: "a_b_c/d".into(), seen_at, files: Vec::new() }] }.into()
    }

    fn is_kept(seen_at: u64, hours: u64) -> bool {
        unclaimed(seen_at).kept(NOW, Duration::from_secs(hours * 3600)).count() == 1
    }

    #[test]
    fn what_nobody_claims_is_forgotten_after_a_day() {
        assert!(is_kept(NOW - DAY + 1, 2));
        assert!(!is_kept(NOW - DAY, 2));
    }

    #[test]
    fn a_clock_that_jumps_makes_nothing_forgotten_that_was_just_loaded() {
        assert!(is_kept(100, 0), "saved in 1970, before the clock was set");
        assert!(is_kept(NOW + 400 * DAY, 2), "saved in the future, before the clock was set back");
    }

    #[test]
    fn what_is_claimed_is_saved_once_and_the_snapshot_does_not_grow() {
        let mut unclaimed = unclaimed(NOW);
        assert_eq!(unclaimed.claim("a_b_c/d"), Some(Vec::new()));
        assert_eq!(unclaimed.claim("a_b_c/d"), None);
        let followed = || [("a_b_c/d".to_owned(), Vec::new())].into_iter();
        let snapshot = Snapshot::new(followed(), &unclaimed, NOW);
        let again = Snapshot::new(followed(), &Snapshot::default().into(), NOW);
        assert_eq!(snapshot, again);
    }
}
