//! A Snappy block that holds its content as it is.
//!
//! In: content behind [`HEAD_BYTES_MAX`] spare bytes. Out: the same memory, in which a block begins: nothing is searched and nothing
//! copied. One literal, whose length may take four bytes (Snappy's format_description.txt).

use std::ops::Range;

use prost::encoding::{encode_varint, encoded_len_varint};

/// The content's length, and the literal's tag with its length.
pub(super) const HEAD_BYTES_MAX: usize = 5 + 5;

/// The tag of a literal whose length follows in one byte; each further byte is one tag more.
const LENGTH_FOLLOWS: u8 = 60;
/// Literals of at most this many bytes have their length in the tag.
const SHORT_MAX: usize = 60;

/// Writes the block's head in front of its content, which ends where `bytes` do, and returns where the block lies. `None` where the
/// content is larger than a block can be, 4 GiB.
pub(super) fn block(bytes: &mut [u8]) -> Option<Range<usize>> {
    let end = bytes.len();
    let head = head(u32::try_from(end.checked_sub(HEAD_BYTES_MAX)?).ok()?);
    let begin = HEAD_BYTES_MAX - head.len();
    bytes[begin..HEAD_BYTES_MAX].copy_from_slice(&head);
    Some(begin..end)
}

fn head(content_bytes: u32) -> Vec<u8> {
    let mut head = Vec::with_capacity(encoded_len_varint(u64::from(content_bytes)) + 5);
    encode_varint(u64::from(content_bytes), &mut head);
    // A literal has one byte more than its length says, so that none is empty.
    let Some(length) = content_bytes.checked_sub(1) else { return head };
    if content_bytes as usize <= SHORT_MAX {
        head.push((length as u8) << 2);
        return head;
    }
    let length_bytes = (u32::BITS - length.leading_zeros()).div_ceil(8) as usize;
    head.push((LENGTH_FOLLOWS + length_bytes as u8 - 1) << 2);
    head.extend_from_slice(&length.to_le_bytes()[..length_bytes]);
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_any_length_decodes_to_its_content() {
        let lengths = [0, 1, 2, 59, 60, 61, 62, 127, 128, 255, 256, 257, 258, 65_535, 65_536, 65_537, 4 << 20];
        for len in lengths.into_iter().chain([(1 << 24) - 1, 1 << 24, (1 << 24) + 1]) {
            let content: Vec<u8> = (0..len).map(|n: usize| ((n * 31) >> 3) as u8).collect();
            let mut bytes = [vec![0xff; HEAD_BYTES_MAX], content.clone()].concat();
            let at = block(&mut bytes).unwrap();
            assert!(at.len() - content.len() <= HEAD_BYTES_MAX);
            let decoded = snap::raw::Decoder::new().decompress_vec(&bytes[at]).unwrap();
            assert!(decoded == content, "{len} bytes");
        }
    }

    #[test]
    fn the_longest_content_has_the_longest_head() {
        assert_eq!(head(u32::MAX).len(), HEAD_BYTES_MAX);
        assert_eq!(head(u32::MAX)[5..], [63 << 2, 0xfe, 0xff, 0xff, 0xff]);
        assert_eq!(head(0), [0]);
    }

    #[test]
    fn what_has_no_room_for_a_head_is_no_block() {
        assert_eq!(block(&mut [0; HEAD_BYTES_MAX - 1]), None);
        assert_eq!(block(&mut [0; HEAD_BYTES_MAX]), Some(HEAD_BYTES_MAX - 1..HEAD_BYTES_MAX));
    }
}
