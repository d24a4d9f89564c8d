//! Repetitions, looked for where they are probable. The encoder's hot loop, and all its unsafe code.
//!
//! In: the input. Out: elements of a Snappy block. Where a repetition ends the next one may begin: there, and then at every third byte,
//! it is looked up where the next six bytes were last. What is found is extended to both sides, so that nothing is lost by the
//! steps. The less is found, the longer they become. Hardly a branch depends on lengths, which no processor predicts.

pub(crate) mod simd;

use crate::block::{self, Block, COPY_MAX};

/// Bytes that are compared, or moved, at once, whatever is needed of them.
const WIDE: usize = 32;
/// And backwards.
const BACK: usize = 16;
/// This many bytes are behind each place that is looked at.
const BEHIND: usize = WIDE;
/// Bytes of the output in which a short literal and a copy have room, however wide they are written.
const ROOM: usize = 1 + WIDE + 4;

/// Bytes that are the same, of eight that are read. An entry's seconds are six bytes with the key that follows them.
const KEY_BYTES: u32 = 6;
const KEY_SHIFT: u32 = u64::BITS - 8 * KEY_BYTES;
/// The factor of Fibonacci hashing.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// 16 KiB: half of the fastest cache, the rest of which is for input and output.
const TABLE_BITS: u32 = 13;

/// The step between places, in eighths of a byte, so that each place where nothing was found makes it a little longer.
const STEP: usize = 3 << STEP_BITS;
const STEP_MAX: usize = 32 << STEP_BITS;
const STEP_BITS: u32 = 3;

/// Where each key was last: the lower bits of its position.
pub(crate) struct Table([u16; 1 << TABLE_BITS]);

impl Table {
    pub(crate) fn new() -> Self {
        Self([0; _])
    }
}

/// Looks for repetitions in a block's input, from its begin to its end.
pub(crate) struct Search<'t> {
    table: &'t mut Table,
    /// Where to go on. Each slot of the table is 0 or has the lower bits of a position below.
    at: usize,
    step: usize,
}

impl<'t> Search<'t> {
    pub(crate) fn new(table: &'t mut Table) -> Self {
        table.0.fill(0);
        // What begins with the first byte has nothing before it.
        Self { table, at: 1, step: STEP }
    }

    /// Goes on behind what another encoder did.
    pub(crate) fn skip_to(&mut self, at: usize) {
        self.at = self.at.max(at);
    }

    /// Writes the elements up to `until` or a little more. What is behind the last repetition is left, and the last bytes of the input.
    #[inline(never)]
    pub(crate) fn run(&mut self, block: &mut Block<'_>, until: usize) {
        let input = block.input;
        // Below it, BEHIND bytes follow.
        let limit = until.min((input.len() + 1).saturating_sub(BEHIND));
        let (mut at, mut step) = (self.at.max(block.done), STEP + (self.step - STEP) / 2);
        let (mut done, mut len) = (block.done, block.len);
        'all: while at < limit {
            // SAFETY: `at` is below `limit`.
            let word = unsafe { load(input, at) };
            let distance = self.replace(word, at);
            // SAFETY: the distance is at most `at`, see `replace`, and more bytes follow there than at `at`.
            if !is_same(word, unsafe { load(input, at - distance) }) || distance == 0 {
                at += step >> STEP_BITS;
                step = (step + 1).min(STEP_MAX);
                continue;
            }
            step = STEP + (step - STEP) / 2;

            // SAFETY: `at` is below `limit`, and the distance is one of the table.
            let mut end = unsafe { end_of(input, at, distance) };
            // SAFETY: as above; and `done` is never above `at`.
            let mut start = unsafe { start_of(input, done, at, distance) };
            let literal = start - done;
            if len + ROOM > block.out.len() {
                // Never, see `max_compressed_len`: what is left becomes a literal, for which there is no room either.
                break 'all;
            }
            if literal <= WIDE {
                // Without a literal its tag is written over.
                let tag = usize::from(literal != 0);
                // SAFETY: ROOM bytes follow `len` in the output. `done` is not above `at`, which WIDE bytes follow.
                unsafe {
                    *array_at_mut(block.out, len) = [(literal.wrapping_sub(1) << 2) as u8];
                    *array_at_mut::<WIDE>(block.out, len + tag) = *array_at(input, done);
                }
                len += tag + literal;
            } else {
                (block.done, block.len) = (done, len);
                block.literal(start);
                len = block.len;
            }

            let mut distance = distance;
            loop {
                let mut copied = end - start;
                if copied > COPY_MAX {
                    block.len = len;
                    copied = block.long_copy(distance, copied);
                    len = block.len;
                }
                if len + ROOM > block.out.len() {
                    // As above; what was copied so far is not what the input's length says.
                    (done, at) = (end, end);
                    block.is_whole = false;
                    break 'all;
                }
                let (bytes, copy_bytes) = block::copy(distance, copied);
                // SAFETY: ROOM bytes follow `len`.
                unsafe { *array_at_mut(block.out, len) = bytes };
                len += copy_bytes;
                (done, at) = (end, end);
                if at >= limit {
                    break 'all;
                }
                // SAFETY: `at` is below `limit`.
                let word = unsafe { load(input, at) };
                distance = self.replace(word, at);
                // SAFETY: the distance is one of the table.
                if !is_same(word, unsafe { load(input, at - distance) }) || distance == 0 {
                    at += step >> STEP_BITS;
                    break;
                }
                start = at;
                // SAFETY: as above.
                end = unsafe { end_of(input, at, distance) };
            }
        }
        (block.done, block.len) = (done, len);
        (self.at, self.step) = (at, step);
    }

    /// How far back the key of `word`, which is at `at`, was last; or some other distance. At most `at`: where `at` is 64 KiB or more a
    /// distance, which is less, is so anyway; below, slots have whole positions, which are lower ones, as `at` only grows.
    #[inline(always)]
    fn replace(&mut self, word: u64, at: usize) -> usize {
        let slot = ((word << KEY_SHIFT).wrapping_mul(FACTOR) >> (u64::BITS - TABLE_BITS)) as usize;
        let slot = &mut self.table.0[slot];
        let distance = (at as u16).wrapping_sub(*slot);
        *slot = at as u16;
        usize::from(distance)
    }
}

#[inline(always)]
fn is_same(a: u64, b: u64) -> bool {
    (a ^ b) << KEY_SHIFT == 0
}

/// Where what is at `at` and at this distance before stops being equal.
///
/// # Safety
/// WIDE bytes of the input follow `at`, and the distance is at most `at`.
#[inline(always)]
unsafe fn end_of(input: &[u8], at: usize, distance: usize) -> usize {
    // SAFETY: the caller's.
    let differs = !unsafe { simd::equal_32(array_at(input, at), array_at(input, at - distance)) };
    if differs != 0 { at + differs.trailing_zeros() as usize } else { block::end_of(input, at + WIDE, distance) }
}

/// Where what is equal before `at` and at this distance begins, at most [`BACK`] bytes back and not before `done`.
///
/// # Safety
/// `done` and the distance are at most `at`, which is not above the input's length.
#[inline(always)]
unsafe fn start_of(input: &[u8], done: usize, at: usize, distance: usize) -> usize {
    let earlier = at - distance;
    if earlier < BACK {
        return at;
    }
    // SAFETY: BACK bytes precede `earlier`, and as many `at`, which is not before it.
    let equal = unsafe { simd::equal_16(array_at(input, at - BACK), array_at(input, earlier - BACK)) };
    // The complement's lower bits end the count.
    at - ((!(equal << BACK)).leading_zeros() as usize).min(at - done)
}

/// # Safety
/// `LEN` bytes follow `at`.
#[inline(always)]
unsafe fn array_at<const LEN: usize>(bytes: &[u8], at: usize) -> &[u8; LEN] {
    debug_assert!(at + LEN <= bytes.len());
    // SAFETY: the caller's; an array of bytes has no alignment.
    unsafe { &*bytes.as_ptr().add(at).cast() }
}

/// # Safety
/// `LEN` bytes follow `at`.
#[inline(always)]
unsafe fn array_at_mut<const LEN: usize>(bytes: &mut [u8], at: usize) -> &mut [u8; LEN] {
    debug_assert!(at + LEN <= bytes.len());
    // SAFETY: as above.
    unsafe { &mut *bytes.as_mut_ptr().add(at).cast() }
}

/// The eight bytes at `at`, the first one lowest.
///
/// # Safety
/// Eight bytes follow `at`.
#[inline(always)]
unsafe fn load(bytes: &[u8], at: usize) -> u64 {
    // SAFETY: the caller's.
    u64::from_le_bytes(*unsafe { array_at(bytes, at) })
}
