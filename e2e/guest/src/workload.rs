//! What `workload`, the program in the containers of `cargo xtask vm --containerd`, and its starter exchange, by files in a
//! folder that both see.

use serde::{Deserialize, Serialize};

/// The folder, in the container.
pub const FOLDER: &str = "/control";

/// In the folder: a [`Job`] as JSON, there before the start.
pub const JOB: &str = "job.json";

/// In the folder: when it is there, the writer ends.
pub const STOP: &str = "stop";

/// In the folder: the [`Written`] of a writer that has ended, as JSON.
pub const WRITTEN: &str = "written.json";

/// What a writer is to write.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Sources of its lines in the rig's ledger: standard output's and standard error's.
    pub sources: [u32; 2],
    /// The numbers of the first lines of both.
    pub first: [u64; 2],
    /// Lines after which it ends by itself; none: when it is told to.
    pub lines: Option<u64>,
    /// One line in this many is longer than a log record, 16 KiB; zero: none.
    pub long_one_in: usize,
    /// The last line is left without its newline.
    pub open_end: bool,
    /// How it ends.
    pub exit_code: u8,
    /// Decides on all that is random.
    pub seed: u64,
}

/// How many lines a writer has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// On standard output and on standard error.
    pub lines: [u64; 2],
    /// Bytes of both.
    pub bytes: [u64; 2],
}
