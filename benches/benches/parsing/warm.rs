//! A parser with all that it needs, whose memory has its size after the first chunk.

use std::hint::black_box;

use collector::{
    config::Oversize,
    decode::{ContainerParser, Counts, Limits, Scratch},
    model::{Line, Position},
};

/// `lines.max_bytes`.
const MAX_LINE_BYTES: usize = 256 << 10;

/// A container's parser.
pub struct Warm {
    parser: ContainerParser,
    scratch: Scratch,
    /// What it met so far.
    pub counts: Counts,
}

impl Default for Warm {
    fn default() -> Self {
        Self {
            parser: ContainerParser::new(Limits { max_line_bytes: MAX_LINE_BYTES, oversize: Oversize::Split }),
            scratch: Scratch::default(),
            counts: Counts::default(),
        }
    }
}

impl Warm {
    /// Parses whole records, always as if they were at a file's beginning.
    pub fn feed(&mut self, chunk: &[u8], take: &mut impl FnMut(Line<'_>)) {
        let at = Position { turn: 0, offset: 0 };
        self.parser.feed(black_box(chunk), at, &mut self.scratch, &mut self.counts, take);
    }
}
