//! Which files the kubelet may remove without a line being lost.
//!
//! In: files that are about to go, with the lines that they hold. Out: yes or no. A file whose lines have all arrived may
//! go. One that the running collector has open may go too: what is unread of it is in the open file. From then on its lines
//! are *owed*: the collector must not end before they have arrived, and before it has saved that. The removal of any other file
//! has to wait, as no collector could save its lines.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rig::{
    kubelet::{MayRemove, Removal},
    program::open_files,
    receiver::Receiver,
};
use serde::Serialize;

/// Shared by the storm, which forbids and permits, and the kubelet, which asks.
#[derive(Clone)]
pub struct Removals {
    receiver: Arc<Receiver>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The collector that may have files open, while files may be removed.
    collector: Option<u32>,
    owed: Vec<(u32, u64)>,
    counts: RemovalCounts,
}

/// How many files were removed in which state.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct RemovalCounts {
    /// All their lines had arrived.
    pub after_arrival: u64,
    /// Some had not, and the collector had the file open.
    pub while_unread: u64,
    /// They had to wait: nobody had them, and the lines were not there.
    pub postponed: u64,
}

impl RemovalCounts {
    /// All that were removed.
    pub fn removed(&self) -> u64 {
        self.after_arrival + self.while_unread
    }
}

impl Removals {
    /// Removals are forbidden until [`Self::permit`].
    pub fn new(receiver: Arc<Receiver>) -> Self {
        Self { receiver, state: Arc::default() }
    }

    /// What the kubelet asks.
    pub fn question(&self) -> MayRemove {
        let removals = self.clone();
        Box::new(move |removal| removals.may_remove(removal))
    }

    /// Permits removals while this process, and no other, may have files open.
    pub fn permit(&self, pid: u32) {
        self.state().collector = Some(pid);
    }

    /// Forbids them.
    pub fn forbid(&self) {
        self.state().collector = None;
    }

    /// Whether lines of removed files are still to come.
    pub fn is_owed(&self) -> bool {
        let mut state = self.state();
        state.owed.retain(|line| !self.receiver.has_all(&[*line]));
        !state.owed.is_empty()
    }

    /// How many files were removed so far.
    pub fn counts(&self) -> RemovalCounts {
        self.state().counts
    }

    fn may_remove(&self, removal: &Removal) -> bool {
        let mut state = self.state();
        let Some(pid) = state.collector else { return false };
        let files = removal.files.len() as u64;
        if self.receiver.has_all(&removal.lines_before) {
            state.counts.after_arrival += files;
            return true;
        }
        let open = open_files(pid).unwrap_or_default();
        let is_open = |path: &Path| fs::metadata(path).is_ok_and(|found| open.contains(&(found.dev(), found.ino())));
        // Empty ones hold nothing that could be lost.
        let is_empty = |path: &Path| fs::metadata(path).is_ok_and(|found| found.len() == 0);
        if !removal.files.iter().all(|path| is_open(path) || is_empty(path)) {
            state.counts.postponed += files;
            return false;
        }
        state.counts.while_unread += files;
        state.owed.extend(&removal.lines_before);
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rig::receiver::Options;

    use super::*;

    #[test]
    fn only_files_that_are_read_or_open_may_go_and_only_while_nothing_ends_the_collector() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        fs::write(&path, "a line").unwrap();
        let removals = Removals::new(Arc::new(Receiver::start(Options::default()).unwrap()));
        let mut question = removals.question();
        let unread = Removal { files: vec![path.clone()], lines_before: vec![(0, 1)] };
        let read = Removal { lines_before: vec![(0, 0)], ..unread.clone() };

        assert!(!question(&read), "forbidden");
        removals.permit(std::process::id());
        assert!(question(&read));
        assert!(!question(&unread), "nobody has it open");
        assert!(!removals.is_owed());
        let open = fs::File::open(&path).unwrap();
        assert!(question(&unread));
        assert!(removals.is_owed());
        drop(open);
        removals.forbid();
        assert!(!question(&read));
        let counts = removals.counts();
        assert_eq!((counts.after_arrival, counts.while_unread, counts.postponed), (1, 1, 1));
    }
}
