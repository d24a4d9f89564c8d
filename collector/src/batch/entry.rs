//! One line as protobuf bytes: field 2 of `logproto.StreamAdapter`, an `EntryAdapter`.
//!
//! This is the innermost loop of the whole way, so it writes the few bytes before the text into an array on the stack,
//! whose bounds the compiler knows, and copies that in one piece.

use prost::encoding::{decode_varint, encoded_len_varint};

/// Field 1, length-delimited: `EntryAdapter.timestamp`.
const TIMESTAMP_KEY: u8 = 0x0a;
/// Field 1, varint: `Timestamp.seconds`.
const SECONDS_KEY: u8 = 0x08;
/// Field 2, varint: `Timestamp.nanos`.
const NANOS_KEY: u8 = 0x10;
/// Field 2, length-delimited: `StreamAdapter.entries` and `EntryAdapter.line`.
const ENTRY_KEY: u8 = 0x12;
const LINE_KEY: u8 = 0x12;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Longest varint of 64 bits.
const VARINT_MAX: usize = 10;
/// Two lengths, seconds, nanoseconds, five keys and the timestamp's length, rounded up to whole vector registers.
const HEAD_MAX: usize = 64;
const _: () = assert!(4 * VARINT_MAX + 5 + 1 <= HEAD_MAX);

/// Appends one entry. `text` must be valid UTF-8.
#[inline]
pub(super) fn encode_entry(out: &mut Vec<u8>, timestamp_ns: i64, text: &[u8]) {
    let timestamp = encode_timestamp(timestamp_ns);
    let line_bytes = 1 + encoded_len_varint(text.len() as u64) + text.len();
    let entry_bytes = 2 + timestamp.len as usize + line_bytes;

    let mut head = Head { bytes: [0; HEAD_MAX], len: 0 };
    head.push(ENTRY_KEY);
    head.push_varint(entry_bytes as u64);
    head.push(TIMESTAMP_KEY);
    head.push(timestamp.len);
    head.push_timestamp(&timestamp);
    head.push(LINE_KEY);
    head.push_varint(text.len() as u64);

    out.reserve(HEAD_MAX + text.len());
    let end = out.len() + head.len;
    // A copy of fixed length is a few stores, one of the exact length would be a call.
    out.extend_from_slice(&head.bytes);
    out.truncate(end);
    out.extend_from_slice(text);
}

/// Bytes of the entry that `bytes` begins with, its key and length included.
pub(super) fn entry_len(bytes: &[u8]) -> usize {
    let mut body = &bytes[1..];
    // The batch wrote these bytes itself; were they broken, the rest would count as one entry.
    let len = decode_varint(&mut body).map_or(body.len(), |len| len as usize);
    bytes.len() - body.len() + len
}

/// An encoded `google.protobuf.Timestamp`: at most 11 bytes of seconds and 6 of nanoseconds.
struct Timestamp {
    bytes: [u8; TIMESTAMP_MAX],
    len: u8,
}

const TIMESTAMP_MAX: usize = 24;

#[inline]
fn encode_timestamp(timestamp_ns: i64) -> Timestamp {
    let seconds = timestamp_ns.div_euclid(NANOS_PER_SECOND) as u64;
    let nanos = timestamp_ns.rem_euclid(NANOS_PER_SECOND) as u64;
    let mut bytes = [0; TIMESTAMP_MAX];
    let mut len = 0;
    // proto3 leaves zeros out.
    if seconds != 0 {
        bytes[0] = SECONDS_KEY;
        len = put_varint(&mut bytes, 1, seconds);
    }
    if nanos != 0 {
        bytes[len] = NANOS_KEY;
        len = put_varint(&mut bytes, len + 1, nanos);
    }
    Timestamp { bytes, len: len as u8 }
}

/// What stands before the text.
struct Head {
    bytes: [u8; HEAD_MAX],
    len: usize,
}

impl Head {
    #[inline]
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    #[inline]
    fn push_varint(&mut self, value: u64) {
        self.len = put_varint(&mut self.bytes, self.len, value);
    }

    #[inline]
    fn push_timestamp(&mut self, timestamp: &Timestamp) {
        // All of the array, though only the first bytes count: again a copy of fixed length.
        self.bytes[self.len..self.len + TIMESTAMP_MAX].copy_from_slice(&timestamp.bytes);
        self.len += usize::from(timestamp.len);
    }
}

/// Writes `value` at `at` and returns the index after it.
#[inline]
fn put_varint<const N: usize>(bytes: &mut [u8; N], mut at: usize, mut value: u64) -> usize {
    while value >= 0x80 {
        bytes[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    bytes[at] = value as u8;
    at + 1
}
