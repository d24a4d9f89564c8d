//! Which log files exist, whose they are and in which order they come.
//!
//! In: the kubelet's folder of pod logs, and what an earlier run saved. Out: containers, each a [`Chain`] of files, oldest
//! first, and which folders changed. Knows no
//! Loki; of lines it knows only the time of a file's first.

mod clock;
mod head;
mod listing;
mod log_name;
mod order;
mod watch;

pub use clock::{clock_before, clock_in};
pub use head::{may_grow, plain_head};
pub use listing::{ListedFile, Listing, OUTSIDE, list};
pub use log_name::{Age, LogName};
pub use order::{Chain, ChainFile, FAILING_MAX, MergeError, Progress, Source, UnknownFile};
pub use watch::{FolderWatch, FolderWatcher, Watch};
