//! Snappy: what was compressed is what two decoders read, whatever it is, and no longer than a block may become.

use ::snappy::{Encoder, max_compressed_len};

#[path = "../../snappy/tests/decoder/mod.rs"]
mod decoder;

/// Bytes as they are, and repeated with a difference each time: enough of them for every path of the encoder.
pub fn check(input: &[u8]) {
    let mut encoder = Encoder::default();
    hold(&mut encoder, input);
    let Some((&[times, step], content)) = input.split_first_chunk() else { return };
    let mut long = Vec::new();
    for n in 0..times % 64 {
        let begin = long.len();
        long.extend_from_slice(content);
        let changed = usize::from(n) * usize::from(step) % (content.len() + 1);
        if let Some(byte) = long.get_mut(begin + changed) {
            *byte = byte.wrapping_add(n);
        }
    }
    hold(&mut encoder, &long);
}

fn hold(encoder: &mut Encoder, input: &[u8]) {
    let mut out = vec![0; max_compressed_len(input.len())];
    let len = encoder.compress(input, &mut out).expect("there is room");
    let block = &out[..len];
    assert!(snap::raw::Decoder::new().decompress_vec(block).is_ok_and(|read| read == input));
    assert!(decoder::decode(block).is_some_and(|read| read == input));
    // Room for less is an error and nothing worse.
    assert_eq!(encoder.compress(input, &mut out[..len - 1]), None);
}
