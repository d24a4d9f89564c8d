//! Bytes of log files, borrowed.
//!
//! In: open files and offsets. Out: the bytes that are there, each range in a buffer of the pool that is parsed in place
//! and handed back. Knows no lines.

/// A place in a container's chain of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file, as the reader side numbers them: later files of one container have higher numbers.
    pub file: u64,
    /// Bytes from the (decompressed) file's beginning.
    pub offset: u64,
}
