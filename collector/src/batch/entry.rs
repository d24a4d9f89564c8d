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

/// Values under this are a varint of at most [`SHORT_VARINT_MAX`] bytes: all seconds of 64-bit nanoseconds, and lengths.
const SHORT_VARINT_END: u64 = 1 << 35;
const SHORT_VARINT_MAX: usize = 5;
const WORD: usize = size_of::<u64>();
/// Four short varints, four keys before them, the timestamp's key and length; the last word written may extend beyond the
/// end. Rounded up to whole vector registers.
const HEAD_MAX: usize = 48;
const _: () = assert!(4 * SHORT_VARINT_MAX + 4 + 2 + WORD <= HEAD_MAX);

/// Appends one entry. `text` must be valid UTF-8; `metadata` is the entry's structured metadata as
/// [`super::structured_metadata`] encodes it.
#[inline]
pub(super) fn encode_entry(out: &mut Vec<u8>, timestamp_ns: i64, text: &[u8], metadata: &[u8]) {
    // Before 1970 this is a number of no meaning, but then the other function begins anew.
    let (seconds, nanos) = (timestamp_ns as u64 / NANOS_PER_SECOND, timestamp_ns as u64 % NANOS_PER_SECOND);
    let text_bytes = text.len() as u64;
    if timestamp_ns < 0
        || seconds == 0
        || nanos == 0
        || text_bytes + metadata.len() as u64 >= SHORT_VARINT_END - HEAD_MAX as u64
    {
        return encode_rare_entry(out, timestamp_ns, text, metadata);
    }
    let (seconds, nanos, line) = (ShortVarint::of(seconds), ShortVarint::of(nanos), ShortVarint::of(text_bytes));
    let timestamp_bytes = 2 + seconds.len + nanos.len;
    let entry = ShortVarint::of((2 + timestamp_bytes + 1 + line.len + metadata.len()) as u64 + text_bytes);

    out.reserve(HEAD_MAX + text.len() + metadata.len());
    let mut head = Head { bytes: out.spare_capacity_mut(), len: 0 };
    // SAFETY: the spare capacity holds HEAD_MAX bytes, which is all that these words may write to.
    unsafe {
        head.push(u64::from(ENTRY_KEY), 1);
        head.push_varint(entry);
        head.push(u64::from_le_bytes([TIMESTAMP_KEY, timestamp_bytes as u8, SECONDS_KEY, 0, 0, 0, 0, 0]), 3);
        head.push_varint(seconds);
        head.push(u64::from(NANOS_KEY), 1);
        head.push_varint(nanos);
        head.push(u64::from(LINE_KEY), 1);
        head.push_varint(line);
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

/// As [`encode_entry`], for times before 1970, whole seconds and whatever else the words of the other do not hold.
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

/// A varint of at most five bytes, in the low bytes of a word.
#[derive(Clone, Copy)]
struct ShortVarint {
    word: u64,
    len: usize,
}

impl ShortVarint {
    /// `value` is less than [`SHORT_VARINT_END`].
    #[inline]
    fn of(value: u64) -> Self {
        let bits = u64::BITS - (value | 1).leading_zeros();
        let len = bits.div_ceil(7);
        // Seven bits to a byte…
        let spread = (value & 0x7f)
            | (value & (0x7f << 7)) << 1
            | (value & (0x7f << 14)) << 2
            | (value & (0x7f << 21)) << 3
            | (value & (0x7f << 28)) << 4;
        // …and the eighth in all but the last.
        let more = 0x80_8080_8080 & ((1 << (8 * (len - 1))) - 1);
        Self { word: spread | more, len: len as usize }
    }
}

/// What stands before the text, as far as it is written.
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

    /// Writes a varint.
    ///
    /// # Safety
    /// As [`Self::push`].
    #[inline]
    unsafe fn push_varint(&mut self, varint: ShortVarint) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.push(varint.word, varint.len) };
    }
}
