//! Snappy's block format, written faster than the snap crate does where the content repeats itself from a distance, as log lines do.
//!
//! In: any bytes; made for push requests. Out: one valid block, the same for the same bytes on every machine, never longer than
//! [`max_compressed_len`]. Where a sample shows that little repeats, and for short content, the snap crate does it: nothing
//! becomes slower. Memory: up to 52 KiB for an encoder, whatever it compresses.

#![deny(unsafe_code)]

mod block;
#[allow(unsafe_code)]
mod search;

use std::fmt;

use block::Block;
use search::{Search, Table};

/// Shorter content has little before it; there more places have to be looked at.
const SHORT: usize = 4 << 10;
/// What a part of the input begins with, and whose ratio decides who does the rest.
const SAMPLE: usize = 16 << 10;
const PART: usize = 256 << 10;
/// A sample with a ratio, in hundredths, below is for the snap crate: repetitions are so short there that the steps between places miss
/// too many. The first sample has nothing before it.
const RATIO_MIN: usize = 220;
const FIRST_RATIO_MIN: usize = 185;

/// Compresses; its memory is used again.
pub struct Encoder {
    table: Box<Table>,
    snap: snap::raw::Encoder,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { table: Box::new(Table::new()), snap: snap::raw::Encoder::new() }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

impl Encoder {
    /// Writes the block of `input` to `out`, and returns its length. `None`: `out` is shorter than [`max_compressed_len`], or `input`
    /// is longer than a block can be, 4 GiB.
    pub fn compress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize> {
        let len_max = max_compressed_len(input.len());
        if len_max == 0 || out.len() < len_max {
            return None;
        }
        if input.len() < SHORT {
            return self.snap.compress(input, out).ok();
        }
        let mut search = Search::new(&mut self.table);
        let mut block = Block::new(input, out);
        let mut begin = 0;
        while begin < input.len() {
            let (sample_end, end) = ((begin + SAMPLE).min(input.len()), (begin + PART).min(input.len()));
            let (done, len) = (block.done, block.len);
            search.run(&mut block, sample_end);
            let reached = block.done.max(sample_end);
            let written = block.len + (reached - block.done) - len;
            let ratio_min = if begin == 0 { FIRST_RATIO_MIN } else { RATIO_MIN };
            if (reached - done) * 100 >= written * ratio_min {
                search.run(&mut block, end);
            } else if reached < end {
                block.literal(reached);
                block.by_snap(&mut self.snap, end);
                search.skip_to(end);
            }
            begin = end.max(block.done);
        }
        block.literal(input.len());
        block.finished()
    }
}

/// The longest block that this many bytes can become: what the output needs. 0: more than a block can have.
pub fn max_compressed_len(len: usize) -> usize {
    snap::raw::max_compress_len(len)
}
