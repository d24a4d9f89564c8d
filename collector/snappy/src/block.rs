//! Elements of a Snappy block: literals and copies (Snappy's format_description.txt).
//!
//! In: what is to be written as it is, and what was there before. Out: the block, in which each byte of the input is there once. What does
//! not fit into the output is left out, and [`Block::finished`] tells.

use std::hint;

use crate::search::simd;

/// The kind of an element, in the lowest two bits of its first byte. A literal's is 0.
const COPY_1: usize = 1;
const COPY_2: usize = 2;
/// The longest copy.
pub(crate) const COPY_MAX: usize = 64;
/// A copy of two bytes is at most this long, and its bytes lie less than this far back.
const SHORT_COPY_MAX: usize = 11;
const SHORT_DISTANCE_END: usize = 1 << 11;

/// What is written of an input.
pub(crate) struct Block<'a> {
    pub(crate) input: &'a [u8],
    pub(crate) out: &'a mut [u8],
    /// This many bytes of the output are written.
    pub(crate) len: usize,
    /// This many bytes of the input are in them.
    pub(crate) done: usize,
    pub(crate) is_whole: bool,
}

impl<'a> Block<'a> {
    /// Writes the input's length.
    pub(crate) fn new(input: &'a [u8], out: &'a mut [u8]) -> Self {
        let mut block = Self { input, out, len: 0, done: 0, is_whole: true };
        let mut len = input.len();
        while len >= 0x80 {
            block.extend(&[len as u8 | 0x80]);
            len >>= 7;
        }
        block.extend(&[len as u8]);
        block
    }

    /// The block's length. `None`: it did not fit.
    pub(crate) fn finished(&self) -> Option<usize> {
        (self.is_whole && self.done == self.input.len()).then_some(self.len)
    }

    /// What is not written yet, up to `end`, as it is.
    #[inline(never)]
    pub(crate) fn literal(&mut self, end: usize) {
        let Some(bytes) = self.input.get(self.done..end) else { return };
        self.done = end;
        let Some(last) = bytes.len().checked_sub(1) else { return };
        let [a, b, c, d, ..] = last.to_le_bytes();
        match last {
            0..60 => self.extend(&[a << 2]),
            60..0x100 => self.extend(&[60 << 2, a]),
            0x100..0x1_0000 => self.extend(&[61 << 2, a, b]),
            0x1_0000..0x100_0000 => self.extend(&[62 << 2, a, b, c]),
            _ => self.extend(&[63 << 2, a, b, c, d]),
        }
        self.extend(bytes);
    }

    /// Copies of a long repetition, but for the last one, whose length it returns: one that a copy may have.
    #[cold]
    #[inline(never)]
    pub(crate) fn long_copy(&mut self, distance: usize, mut len: usize) -> usize {
        let [low, high, ..] = distance.to_le_bytes();
        let mut copy = |len: usize| self.extend(&[((len - 1) << 2 | COPY_2) as u8, low, high]);
        // At least four are left, as short copies have.
        while len >= COPY_MAX + 4 {
            copy(COPY_MAX);
            len -= COPY_MAX;
        }
        if len > COPY_MAX {
            copy(COPY_MAX - 4);
            len -= COPY_MAX - 4;
        }
        len
    }

    /// Gives the input up to `end` to the snap crate.
    pub(crate) fn by_snap(&mut self, snap: &mut snap::raw::Encoder, end: usize) {
        if self.snapped(snap, end).is_none() {
            self.literal(end);
        }
    }

    fn snapped(&mut self, snap: &mut snap::raw::Encoder, end: usize) -> Option<()> {
        let part = self.input.get(self.done..end)?;
        // A block of its own, whose length comes first: over bytes that are written already, and put back.
        let head = part.len().checked_ilog2()? as usize / 7 + 1;
        let begin = self.len.checked_sub(head)?;
        let out = self.out.get_mut(begin..)?;
        let kept: [u8; 5] = *out.first_chunk()?;
        let written = snap.compress(part, out).ok();
        out[..head].copy_from_slice(&kept[..head]);
        self.len = begin + written?;
        self.done = end;
        Some(())
    }

    fn extend(&mut self, bytes: &[u8]) {
        match self.out.get_mut(self.len..).and_then(|rest| rest.get_mut(..bytes.len())) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.is_whole = false,
        }
    }
}

/// A copy, and how many of the bytes it has. It is four bytes long at least, and [`COPY_MAX`] at most.
#[inline(always)]
pub(crate) fn copy(distance: usize, len: usize) -> ([u8; 4], usize) {
    let two = (len - 1) << 2 | COPY_2 | distance << 8;
    let one = (distance >> 8) << 5 | (len.wrapping_sub(4) & 7) << 2 | COPY_1 | (distance & 0xff) << 8;
    let is_short = (len <= SHORT_COPY_MAX) & (distance < SHORT_DISTANCE_END);
    let bytes = hint::select_unpredictable(is_short, one, two) as u32;
    (bytes.to_le_bytes(), 3 - usize::from(is_short))
}

/// Where what is equal at this distance ends, at or behind `end`.
#[inline(never)]
pub(crate) fn end_of(input: &[u8], mut end: usize, distance: usize) -> usize {
    let (ahead, behind) = (&input[end..], &input[end - distance..]);
    for (ahead, behind) in ahead.as_chunks::<32>().0.iter().zip(behind.as_chunks().0) {
        let differs = !simd::equal_32(ahead, behind);
        if differs != 0 {
            return end + differs.trailing_zeros() as usize;
        }
        end += ahead.len();
    }
    let (ahead, behind) = (&input[end..], &input[end - distance..]);
    end + ahead.iter().zip(behind).take_while(|(ahead, behind)| ahead == behind).count()
}
