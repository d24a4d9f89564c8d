//! The identities and places that every step of the data flow names. Imports nothing of the rest.

mod file;
mod pod_name;
mod tenant;
mod time;

#[cfg(test)]
pub use file::work;
pub use file::{
    FINGERPRINT_BYTES, FileKey, Fingerprint, HEAD_BYTES_MAX, Offsets, SavedFile, is_long_docker_record, modified_ns,
    prefix_hashes,
};
pub use pod_name::PodName;
pub use tenant::{TENANT_NAME_RULE, TenantName, is_tenant_name};
pub use time::{now_ms, now_ns, unix_ns};

/// One producer of lines, such as a container, as the tailer numbers them. Never reused while the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitId(pub u32);

/// Which output a container wrote a line to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// Both, in the order of their discriminants.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// `stdout` or `stderr`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A position for each stream of a unit, by its discriminant.
pub type PerStream<T> = [T; 2];

/// One ordered sequence of lines in a unit, with a position of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId {
    pub unit: UnitId,
    pub stream: Stream,
}

/// A place in what is read of a unit. A unit's turn grows each time its cursor enters a file, so positions compare in reading
/// order, whatever the files are called and whenever they were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub turn: u64,
    /// Bytes from the (decompressed) file's beginning.
    pub offset: u64,
}

impl Position {
    /// Before every other one.
    pub const START: Self = Self { turn: 0, offset: 0 };
    /// After every other one.
    pub const END: Self = Self { turn: u64::MAX, offset: u64::MAX };
}

/// One log line as the container wrote it, joined where the runtime had split it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// First byte of the record with the line's first piece.
    pub at: Position,
    /// Nanoseconds since 1970-01-01T00:00:00Z, of the line's first piece.
    pub timestamp_ns: i64,
    pub stream: Stream,
    /// The text without its newline; valid UTF-8.
    pub text: &'a [u8],
}
