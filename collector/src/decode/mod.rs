//! Bytes become lines: newline search, CRI or docker json-file, partial lines joined.
//!
//! In: chunks of one container's files in their order, cut anywhere. Out: [`Line`]s, whole and in order per stream.
//! Guarantees: any chunking of the same bytes gives the same lines; no byte is dropped except what `lines.oversize: cut`
//! cuts off; a line of the usual length allocates nothing. Knows no file, no labels, no Loki.
//!
//! A *record* is what the runtime wrote up to a newline in the file; a *line* is what the container wrote up to a newline.
//! A record's first byte tells its format: a docker record begins with `{`, a CRI record with a digit. So the format is
//! detected for each record, and neither a damaged beginning of a file nor a node that changed its runtime matters.
//! What is neither is shipped as it is, see [`Malformed`].

mod container;
mod counts;
mod cri;
mod docker;
mod partial;
#[cfg(test)]
mod tests;
mod timestamp;
mod utf8;

pub use container::{Clock, ContainerParser, Scratch};
pub use counts::{Counts, Malformed};
pub use timestamp::{Timestamps, parse_rfc3339};

use crate::{
    config,
    model::{Line, Stream},
};

/// Takes the lines of a [`ContainerParser`]. A closure that takes lines is one that always has room.
pub trait Sink {
    /// Whether the lines of one more record may come. Where not, the parser stops before it.
    fn has_room(&self) -> bool {
        true
    }

    /// Takes a line.
    fn line(&mut self, line: Line<'_>);
}

impl<F: FnMut(Line<'_>)> Sink for F {
    fn line(&mut self, line: Line<'_>) {
        self(line);
    }
}

/// How long a line may be, and what happens to a longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest [`Line::text`].
    pub max_line_bytes: usize,
    /// What happens to a longer line.
    pub oversize: config::Oversize,
}

impl From<&config::Lines> for Limits {
    fn from(lines: &config::Lines) -> Self {
        Self { max_line_bytes: usize::try_from(lines.max_bytes.0).unwrap_or(usize::MAX), oversize: lines.oversize }
    }
}

/// What a record says of its place in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// The line goes on in the stream's next record.
    Partial,
    /// The line ends here.
    Last,
}

/// One record of either format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record<'a> {
    timestamp_ns: i64,
    stream: Stream,
    piece: Piece,
    /// The container's bytes, without a newline.
    content: &'a [u8],
}

/// The time of the first record of a file that begins with `head`, nanoseconds since 1970; `None` where none is to be
/// found: a CRI record begins with it, a docker record may be cut before it.
pub fn first_timestamp_ns(head: &[u8]) -> Option<i64> {
    let record = &head[..memchr::memchr(b'\n', head).unwrap_or(head.len())];
    if record.first() == Some(&b'{') {
        let name = memchr::memmem::find(record, br#""time":""#)?;
        let value = &record[name + br#""time":""#.len()..];
        return parse_rfc3339(value).map(|(timestamp_ns, _)| timestamp_ns);
    }
    parse_rfc3339(record).map(|(timestamp_ns, _)| timestamp_ns)
}
