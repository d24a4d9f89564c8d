//! The request to end, from another thread.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A request to end.
#[derive(Debug, Default)]
pub struct Stop {
    asked: AtomicBool,
    /// Woken when it was asked.
    pub(super) notify: Notify,
}

impl Stop {
    /// Asks for the end.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Whether it was.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }
}
