//! What the encoder writes is a Snappy block of what it read: decoded by the snap crate and by a decoder of our own.

mod decoder;

use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest},
};
use snappy::{Encoder, max_compressed_len};

/// Holds a block to everything that is promised of it, and returns its length.
fn check(encoder: &mut Encoder, input: &[u8]) -> usize {
    let mut out = vec![0xa5; max_compressed_len(input.len())];
    let len = encoder.compress(input, &mut out).expect("there is room");
    let block = &out[..len];
    assert!(snap::raw::Decoder::new().decompress_vec(block).expect("a block") == input, "snap reads something else");
    assert!(decoder::decode(block).expect("a block") == input, "our decoder reads something else");
    let mut again = vec![0x5a; out.len() + 1000];
    let len_again = Encoder::default().compress(input, &mut again).expect("there is room");
    assert!(block == &again[..len_again], "what was compressed before, or the memory, makes a difference");
    len
}

/// Bytes without any order, the same in every run.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_9abc_def0_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn lines(len: usize) -> Vec<u8> {
    let line = |n: usize| {
        format!(
            "\u{12}\u{7f}level={} msg=\"request handled\" n={n} took={}ms\n",
            ["info", "warn"][n % 3 / 2],
            n * n % 977
        )
    };
    (0..).flat_map(|n| line(n).into_bytes()).take(len).collect()
}

#[test]
fn blocks_of_every_small_length_and_around_every_limit_decode_to_their_content() {
    let mut encoder = Encoder::default();
    let around = [1 << 10, 1 << 11, 1 << 12, 1 << 14, 1 << 16, 1 << 17, 1 << 18];
    let lens: Vec<usize> = (0..300)
        .chain(around.into_iter().flat_map(|len| (len - 3..len + 4).chain([len + 95, len + 96, len + 97])))
        .collect();
    for content in [noise, lines, |len| vec![b'a'; len], |len| vec![0; len]] {
        let content = content(*lens.iter().max().unwrap());
        for len in &lens {
            check(&mut encoder, &content[..*len]);
        }
    }
}

#[test]
fn what_is_repeated_at_any_distance_is_copied_or_left() {
    let mut encoder = Encoder::default();
    for distance in
        [1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 2047, 2048, 2049, 65_535, 65_536, 65_537, 131_072]
    {
        let period = noise(distance);
        let input: Vec<u8> = period.iter().copied().cycle().take(3 * distance + 10_000).collect();
        let len = check(&mut encoder, &input);
        assert!(distance > 2049 || len < distance + 2000, "{len} bytes of a distance of {distance}");
    }
}

#[test]
fn literals_and_copies_of_every_length_meet() {
    let mut encoder = Encoder::default();
    let (word, noise) = (lines(400), noise(1 << 16));
    let mut input = word.clone();
    for len in (0..200).chain(250..260) {
        input.extend_from_slice(&word[..len.min(word.len())]);
        input.extend_from_slice(&noise[len * 70..][..len]);
        input.extend_from_slice(&word[7..40]);
        input.extend_from_slice(&noise[len * 90..][..len % 7]);
    }
    check(&mut encoder, &input);
}

#[test]
fn an_output_that_is_too_short_is_refused() {
    let mut encoder = Encoder::default();
    for input in [noise(20_000), lines(20_000), vec![b'a'; 20_000], noise(10), Vec::new()] {
        let mut whole = vec![0; max_compressed_len(input.len())];
        let len = encoder.compress(&input, &mut whole).unwrap();
        for short in (0..len.min(200)).chain(len.saturating_sub(200)..len) {
            assert_eq!(encoder.compress(&input, &mut whole[..short]), None, "{short} of {len} bytes");
        }
    }
}

/// Pieces of which logs, and what is none, are made.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop_oneof![Just("level=info msg="), Just("\"status\":"), Just("{\"time\":\"2026-11-28T"), Just("\n"), Just("日志消息，"), Just("  at com.example.")]
            .prop_map(|text| text.as_bytes().to_vec()),
        2 => any::<u32>().prop_map(|number| number.to_string().into_bytes()),
        1 => vec(any::<u8>(), 0..80),
        1 => (any::<u8>(), 0..500_usize).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_content_comes_back(pieces in vec(piece(), 0..600), picks in vec((any::<u16>(), 1..2000_usize), 0..60)) {
        let mut input = pieces.concat();
        // What was there before comes again, whole tokens or not.
        for (at, len) in picks {
            let at = usize::from(at) % (input.len() + 1);
            input.extend_from_within(at..(at + len).min(input.len()));
        }
        check(&mut Encoder::default(), &input);
    }
}
