//! What is true of every input of the parser.

use proptest::prelude::*;

use super::*;

/// Files' bytes that have everything in them: both formats, all pieces, garbage, cut characters.
fn log_bytes(with_garbage: bool) -> impl Strategy<Value = Vec<u8>> {
    let time = (0..60u8, "\\.[0-9]{1,9}|").prop_map(|(s, f)| format!("2026-11-22T11:09:{s:02}{f}Z"));
    let content = prop_oneof![
        4 => "[a-z \"\\\\\r\0]{0,20}".prop_map(String::into_bytes),
        2 => "[é€😀]{0,8}".prop_map(String::into_bytes),
        2 => proptest::collection::vec(prop_oneof![Just(0xe2), Just(0x82), Just(0xac), Just(0xf0), 0x20..0xffu8], 0..6),
    ];
    let stream = prop_oneof![Just("stdout"), Just("stderr")];
    let cri_record = (time.clone(), stream.clone(), prop_oneof![Just("F"), Just("P"), Just("P:x")], content.clone())
        .prop_map(|(time, stream, tag, content)| {
            [format!("{time} {stream} {tag} ").as_bytes(), &content, b"\n"].concat()
        });
    let docker_record = (time, stream, content.clone(), any::<bool>()).prop_map(|(time, stream, content, whole)| {
        let log = String::from_utf8_lossy(&content).into_owned() + if whole { "\n" } else { "" };
        serde_json::json!({"log": log, "stream": stream, "time": time}).to_string().into_bytes()
    });
    let docker_record = docker_record.prop_map(|record| [&record[..], b"\n"].concat());
    let garbage =
        content.prop_map(move |content| if with_garbage { [&content[..], b"\n"].concat() } else { Vec::new() });
    let record = prop_oneof![6 => cri_record, 3 => docker_record, 1 => garbage];
    let records = proptest::collection::vec(record, 0..40);
    // A first good record gives a time to garbage at the beginning.
    (records, any::<bool>()).prop_map(|(records, whole)| {
        let mut bytes = cri(1, "stdout F first").into_bytes();
        bytes.extend(records.concat());
        bytes.truncate(bytes.len() - usize::from(!whole && bytes.len() > 40));
        bytes
    })
}

/// Feeds `bytes` as a reader with buffers of the given lengths would: what was not consumed comes again in front.
fn feed_in_chunks(fed: &mut Fed, bytes: &[u8], lens: &[usize]) {
    let (mut begin, mut end) = (0, 0);
    let mut lens = lens.iter().cycle();
    while end < bytes.len() {
        end = (end + lens.next().unwrap()).min(bytes.len());
        begin += fed.feed_at(&bytes[begin..end], 0, begin as u64);
    }
    let Fed { parser, scratch, counts, lines } = fed;
    let at = Position { turn: 0, offset: begin as u64 };
    parser.feed_unterminated(&bytes[begin..], at, scratch, counts, &mut |line: Line<'_>| lines.push(owned(line)));
}

fn limits() -> impl Strategy<Value = (usize, Oversize)> {
    (prop_oneof![Just(6usize), Just(17), Just(1 << 20)], prop_oneof![Just(Oversize::Split), Just(Oversize::Cut)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_chunking_gives_the_same_lines_counts_and_held_position(
        bytes in log_bytes(true),
        lens in proptest::collection::vec(1..200usize, 1..20),
        (max, oversize) in limits(),
    ) {
        let (mut whole, mut chunked) = (Fed::new(max, oversize), Fed::new(max, oversize));
        feed_in_chunks(&mut whole, &bytes, &[usize::MAX >> 1]);
        feed_in_chunks(&mut chunked, &bytes, &lens);
        prop_assert_eq!(whole.held_from(), chunked.held_from());
        prop_assert_eq!(&whole.flush().lines, &chunked.flush().lines);
        prop_assert_eq!(whole.counts, chunked.counts);
    }

    #[test]
    fn how_a_line_was_divided_does_not_show(
        line in proptest::collection::vec(prop_oneof![3 => 0x20..0x7fu8, 1 => 0x80..0xffu8], 0..80),
        lens in proptest::collection::vec(0..9usize, 0..20),
        (max, oversize) in limits(),
    ) {
        let (mut whole, mut divided) = (Fed::new(max, oversize), Fed::new(max, oversize));
        whole.feed([b"2026-11-22T11:09:06.1Z stdout F ", &line[..], b"\n"].concat());
        let mut rest = &line[..];
        for len in lens {
            let (piece, after) = rest.split_at(len.min(rest.len()));
            divided.feed([b"2026-11-22T11:09:06.1Z stdout P ", piece, b"\n"].concat());
            rest = after;
        }
        divided.feed([b"2026-11-22T11:09:06.1Z stdout F ", rest, b"\n"].concat());
        prop_assert_eq!(&whole.lines, &divided.lines);
        if oversize == Oversize::Split {
            prop_assert_eq!(divided.texts().concat(), String::from_utf8_lossy(&line));
        }
        prop_assert!(divided.texts().iter().all(|text| text.len() <= max));
    }

    #[test]
    fn a_restart_at_the_held_position_repeats_lines_and_loses_and_invents_none(
        bytes in log_bytes(false),
        stop in any::<prop::sample::Index>(),
        oversize in prop_oneof![Just(Oversize::Split), Just(Oversize::Cut)],
    ) {
        let max = 64;
        let mut uninterrupted = Fed::new(max, oversize);
        feed_in_chunks(&mut uninterrupted, &bytes, &[usize::MAX >> 1]);
        uninterrupted.flush();

        let mut before = Fed::new(max, oversize);
        let done = before.feed_at(&bytes[..stop.index(bytes.len() + 1)], 0, 0);
        let from = Stream::ALL.map(|stream| before.parser.held_from(stream).map_or(done as u64, |held| held.offset));
        let resume = from[0].min(from[1]);
        let mut after = Fed::new(max, oversize);
        after.parser.enter(before.parser.clock());
        after.parser.pass_over(from);
        after.feed_from(&bytes, resume as usize);
        after.flush();

        let distinct = |lines: &[&[Owned]]| lines.concat().into_iter().collect::<std::collections::HashSet<_>>();
        prop_assert_eq!(distinct(&[&uninterrupted.lines]), distinct(&[&before.lines, &after.lines]));
    }

    #[test]
    fn a_restart_within_an_endless_line_loses_none_of_it(
        pieces in proptest::collection::vec("[a-zé€😀]{0,30}", 1..60),
        stop in any::<prop::sample::Index>(),
    ) {
        let max = 8;
        // Each piece is told from the others by its number, so that a lost one shows.
        let pieces: Vec<String> = pieces.iter().enumerate().map(|(nth, piece)| format!("<{nth}>{piece}")).collect();
        let records: Vec<String> = pieces.iter().map(|piece| cri(1, &format!("stdout P {piece}"))).collect();
        let bytes = records.concat().into_bytes();
        let mut before = Fed::new(max, Oversize::Split);
        before.feed_at(&bytes[..stop.index(bytes.len() + 1)], 0, 0);
        let resume = before.held_from().map_or(0, |held| held.offset as usize);
        let mut after = Fed::new(max, Oversize::Split);
        feed_in_chunks(&mut after, &bytes[resume..], &[usize::MAX >> 1]);
        after.flush();
        let (line, sent, resent) = (pieces.concat(), before.texts().concat(), after.texts().concat());
        prop_assert!(line.starts_with(&sent) && line.ends_with(&resent) && sent.len() + resent.len() >= line.len());
    }
}
