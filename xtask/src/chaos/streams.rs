//! Which streams the receiver has, as Loki's ingester has them in memory, and whether it takes new ones.
//!
//! In: from the storm, whether new ones are taken. Out: the receiver's limits. A stream that was stored once is not refused:
//! Loki refuses only the creation of one, and none leaves its memory within a storm's time.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use rig::receiver::{Limits, Refusal};

/// Shared with the receiver's limits.
#[derive(Clone, Default)]
pub struct Streams {
    refuses_new: Arc<AtomicBool>,
}

impl Streams {
    /// Whether streams that were never stored are refused from now on.
    pub fn refuse_new(&self, refuse: bool) {
        self.refuses_new.store(refuse, SeqCst);
    }

    /// For the receiver.
    pub fn limits(&self) -> Limits {
        let refuses_new = Arc::clone(&self.refuses_new);
        let mut known = HashSet::new();
        Limits::default().refuse(move |stream| {
            if known.contains(stream.labels_text) {
                return None;
            }
            if refuses_new.load(SeqCst) {
                return Some(Refusal::stream_limit(stream.labels_text));
            }
            known.insert(stream.labels_text.to_owned());
            None
        })
    }
}
