//! How often the tailer repeats a warning.

use std::{cell::RefCell, time::Duration};

use crate::status::Throttle;

/// The least time between two warnings of the same kind.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// The same for odd lines, which are counted and no failure: some programs write them all day.
const ODD_LINES_INTERVAL: Duration = Duration::from_secs(3600);

/// What can happen for every file and every time is reported at most once in [`WARN_INTERVAL`].
pub(super) struct Throttles {
    pub(super) pods_folder: Throttle,
    pub(super) untracked_file: Throttle,
    pub(super) unwatched_folder: Throttle,
    pub(super) unopened_file: Throttle,
    pub(super) unlisted_folder: Throttle,
    pub(super) unreadable_file: Throttle,
    pub(super) stalled: Throttle,
    pub(super) truncated_file: Throttle,
    pub(super) folder_changes: Throttle,
    pub(super) damaged_file: Throttle,
    pub(super) unfinished_lines: Throttle,
    pub(super) odd_lines: Throttle,
    pub(super) moved_labels: Throttle,
    pub(super) invalid_tenants: Throttle,
    pub(super) annotations: Throttle,
    pub(super) labels: RefCell<Throttle>,
}

impl Default for Throttles {
    fn default() -> Self {
        let new = || Throttle::new(WARN_INTERVAL);
        Self {
            pods_folder: new(),
            untracked_file: new(),
            unwatched_folder: new(),
            unopened_file: new(),
            unlisted_folder: new(),
            unreadable_file: new(),
            stalled: new(),
            truncated_file: new(),
            folder_changes: new(),
            damaged_file: new(),
            unfinished_lines: new(),
            odd_lines: Throttle::new(ODD_LINES_INTERVAL),
            moved_labels: new(),
            invalid_tenants: new(),
            annotations: new(),
            labels: RefCell::new(new()),
        }
    }
}
