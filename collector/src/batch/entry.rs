//! One line as protobuf bytes: field 2 of `logproto.StreamAdapter`, an `EntryAdapter`.
//!
//! This is the innermost loop of the data path. The bytes before the text are written as a few whole words straight to
//! their place; built on the stack and copied they would cost as much as the rest, since the processor must wait for
//! single bytes just written before it can load them as a word.

use std::mem::MaybeUninit;

use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

/// Field 1, length-delimited: `EntryAdapter.timestamp`.
const TIMESTAMP_KEY: u8 = 0x0a;
/// Field 1, varint: `Timestamp.seconds`.
const SECONDS_KEY: u8 = 0x08;
/// Field 2, varint: `Timestamp.nanos`.
const NANOS_KEY: u8 = 0x10;
/// Field 2, length-delimited: `StreamAdapter.entries`.
const ENTRY_KEY: u8 = 0x12;
/// Field 2, length-delimited: `EntryAdapter.line`.
const LINE_KEY: u8 = 0x12;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// From here on (July 1978) the seconds of 64-bit nanoseconds are a varint of five bytes.
const FIVE_BYTE_SECONDS_FROM_NS: i64 = (1 << 28) * NANOS_PER_SECOND as i64;
/// Values under this are a varint of one byte or two.
const TWO_BYTES_END: usize = 1 << 14;
const WORD: usize = size_of::<u64>();
/// The entry's key and length, the timestamp's field, the line's key and length, and what the last word written extends beyond
/// the end. Rounded up to whole vector registers.
const HEAD_MAX: usize = 32;
const _: () = assert!(3 + 2 + (1 + 5) + (1 + 5) + WORD <= HEAD_MAX);

/// Appends one entry. `text` must be valid UTF-8; `metadata` is the entry's structured metadata as
/// [`super::structured_metadata`] encodes it.
#[inline]
pub(super) fn encode_entry(out: &mut Vec<u8>, timestamp_ns: i64, text: &[u8], metadata: &[u8]) {
    // Meaningless before 1970, but then the other function is called, which computes its own.
    let (seconds, nanos) = (timestamp_ns as u64 / NANOS_PER_SECOND, timestamp_ns as u64 % NANOS_PER_SECOND);
    if timestamp_ns < FIVE_BYTE_SECONDS_FROM_NS || nanos == 0 || text.len() + metadata.len() >= TWO_BYTES_END - HEAD_MAX
    {
        return encode_rare_entry(out, timestamp_ns, text, metadata);
    }
    let nanos_bytes = (u64::BITS - nanos.leading_zeros()).div_ceil(7) as usize;
    let (line, line_bytes) = short_varint(text.len());
    let timestamp_bytes = 1 + 5 + 1 + nanos_bytes;
    let (entry, entry_bytes) = short_varint(2 + timestamp_bytes + 1 + line_bytes + text.len() + metadata.len());

    out.reserve(HEAD_MAX + text.len() + metadata.len());
    let mut head = Head { bytes: out.spare_capacity_mut(), len: 0 };
    let to_seconds = u64::from_le_bytes([TIMESTAMP_KEY, timestamp_bytes as u8, SECONDS_KEY, 0, 0, 0, 0, 0]);
    // SAFETY: the spare capacity holds HEAD_MAX bytes, which is all that these words may write to.
    unsafe {
        head.push(u64::from(ENTRY_KEY) | entry << 8, 1 + entry_bytes);
        head.push(to_seconds | varint_bits(seconds, 5) << 24, 3 + 5);
        head.push(u64::from(NANOS_KEY) | varint_bits(nanos, nanos_bytes) << 8, 1 + nanos_bytes);
        head.push(u64::from(LINE_KEY) | line << 8, 1 + line_bytes);
    }
    let head_bytes = head.len;
    let end = out.len() + head_bytes;
    // SAFETY: `push` wrote all bytes up to `end`. The text has its place behind them, as HEAD_MAX is not less than what
    // was written; it cannot overlap a vector that is borrowed mutably.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), out.as_mut_ptr().add(end), text.len());
        out.set_len(end + text.len());
    }
    if !metadata.is_empty() {
        out.extend_from_slice(metadata);
    }
}

/// As [`encode_entry`], for what its fixed words cannot hold: times before 1978, whole seconds, long texts.
#[cold]
fn encode_rare_entry(out: &mut Vec<u8>, timestamp_ns: i64, text: &[u8], metadata: &[u8]) {
    let seconds = timestamp_ns.div_euclid(NANOS_PER_SECOND as i64) as u64;
    let nanos = timestamp_ns.rem_euclid(NANOS_PER_SECOND as i64) as u64;
    let timestamp_bytes = varint_field_bytes(seconds) + varint_field_bytes(nanos);
    let line_bytes = 1 + encoded_len_varint(text.len() as u64) + text.len();
    out.reserve(HEAD_MAX + text.len() + metadata.len());
    out.push(ENTRY_KEY);
    encode_varint((2 + timestamp_bytes + line_bytes + metadata.len()) as u64, out);
    out.push(TIMESTAMP_KEY);
    out.push(timestamp_bytes as u8);
    if seconds != 0 {
        out.push(SECONDS_KEY);
        encode_varint(seconds, out);
    }
    if nanos != 0 {
        out.push(NANOS_KEY);
        encode_varint(nanos, out);
    }
    out.push(LINE_KEY);
    encode_varint(text.len() as u64, out);
    out.extend_from_slice(text);
    out.extend_from_slice(metadata);
}

/// Bytes of a varint field with a one-byte key; proto3 leaves zeros out.
fn varint_field_bytes(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + encoded_len_varint(value) }
}

/// Bytes of the entry that `bytes` begins with, its key and length included.
pub(super) fn entry_len(bytes: &[u8]) -> usize {
    let mut body = &bytes[1..];
    // The batch wrote these bytes itself; were they broken, the rest would count as one entry.
    let len = decode_varint(&mut body).map_or(body.len(), |len| len as usize);
    bytes.len() - body.len() + len
}

/// The varint of a value under [`TWO_BYTES_END`], in the low bytes of a word, and its length in bytes.
#[inline]
fn short_varint(value: usize) -> (u64, usize) {
    let (value, two) = (value as u64, u64::from(value >= 0x80));
    ((value & 0x7f) | two << 7 | (value >> 7) << 8, 1 + two as usize)
}

/// The varint of a value that takes `len` bytes, of which there are at most five, in the low bytes of a word.
#[inline]
fn varint_bits(value: u64, len: usize) -> u64 {
    // Seven bits to a byte: first two groups of 14 bits apart from each other, then each group's two bytes…
    let groups = (value & 0x3fff) | (value & 0xfff_c000) << 2;
    let spread = (groups & 0x007f_007f) | (groups & 0x3f80_3f80) << 1 | (value >> 28) << 32;
    // …and the eighth in all but the last.
    spread | (0x80_8080_8080 & ((1 << (8 * (len - 1))) - 1))
}

/// The bytes before the text, as far as they are written.
struct Head<'a> {
    bytes: &'a mut [MaybeUninit<u8>],
    len: usize,
}

impl Head<'_> {
    /// Writes the low `len` bytes of `word`, and scratch behind them.
    ///
    /// # Safety
    /// There must be room for all eight bytes of the word.
    #[inline]
    unsafe fn push(&mut self, word: u64, len: usize) {
        debug_assert!(self.len + WORD <= self.bytes.len());
        // SAFETY: within `bytes`, as the caller promises; any alignment will do.
        unsafe { self.bytes.as_mut_ptr().add(self.len).cast::<[u8; WORD]>().write(word.to_le_bytes()) };
        self.len += len;
    }
}
