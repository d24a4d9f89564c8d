//! The parser as its callers see it.

use super::*;
use crate::{config::Oversize, model::Position};

const T1: i64 = 1_795_345_746_100_000_000;
const T2: i64 = 1_795_345_746_200_000_000;
const T3: i64 = 1_795_345_746_300_000_000;

/// A line that owns its text.
type Owned = (i64, Stream, String);

/// A parser with what a caller keeps beside it.
struct Fed {
    parser: ContainerParser,
    scratch: Scratch,
    counts: Counts,
    lines: Vec<Owned>,
}

impl Fed {
    fn new(max_line_bytes: usize, oversize: Oversize) -> Self {
        Self {
            parser: ContainerParser::new(Limits { max_line_bytes, oversize }),
            scratch: Scratch::default(),
            counts: Counts::default(),
            lines: Vec::new(),
        }
    }

    fn roomy() -> Self {
        Self::new(256 << 10, Oversize::Split)
    }

    fn feed_at(&mut self, chunk: &[u8], file: u64, offset: u64) -> usize {
        let Self { parser, scratch, counts, lines } = self;
        parser.feed(chunk, Position { turn: file, offset }, scratch, counts, &mut |line: Line<'_>| {
            lines.push(owned(line))
        })
    }

    fn feed(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        let text = text.as_ref();
        assert_eq!(self.feed_at(text, 0, 0), text.len(), "ends in a newline");
        self
    }

    fn feed_unterminated(&mut self, rest: &[u8]) -> &mut Self {
        let Self { parser, scratch, counts, lines } = self;
        let at = Position { turn: 0, offset: 0 };
        parser.feed_unterminated(rest, at, scratch, counts, &mut |line: Line<'_>| lines.push(owned(line)));
        self
    }

    /// Feeds what lies behind `offset`, as a file is read after a restart.
    fn feed_from(&mut self, bytes: &[u8], offset: usize) {
        let done = offset + self.feed_at(&bytes[offset..], 0, offset as u64);
        let Self { parser, scratch, counts, lines } = self;
        let at = Position { turn: 0, offset: done as u64 };
        parser.feed_unterminated(&bytes[done..], at, scratch, counts, &mut |line: Line<'_>| lines.push(owned(line)));
    }

    fn held_from(&self) -> Option<Position> {
        Stream::ALL.into_iter().filter_map(|stream| self.parser.held_from(stream)).min()
    }

    fn flush(&mut self) -> &mut Self {
        let Self { parser, scratch, counts, lines } = self;
        parser.flush(scratch, counts, &mut |line: Line<'_>| lines.push(owned(line)));
        self
    }

    fn texts(&self) -> Vec<&str> {
        self.lines.iter().map(|(.., text)| &**text).collect()
    }
}

fn owned(line: Line<'_>) -> Owned {
    (line.timestamp_ns, line.stream, String::from_utf8(line.text.to_vec()).expect("a line is valid UTF-8"))
}

fn out(timestamp_ns: i64, text: &str) -> Owned {
    (timestamp_ns, Stream::Stdout, text.to_owned())
}

fn err(timestamp_ns: i64, text: &str) -> Owned {
    (timestamp_ns, Stream::Stderr, text.to_owned())
}

/// A CRI record written at T1, T2, …
fn cri(time: u8, rest: &str) -> String {
    format!("2026-11-22T11:09:06.{time}Z {rest}\n")
}

#[test]
fn whole_lines_pass_with_their_own_time_and_stream() {
    let mut fed = Fed::roomy();
    fed.feed(cri(1, "stdout F one") + &cri(2, "stderr F two") + &cri(3, "stdout F "));
    assert_eq!(fed.lines, [out(T1, "one"), err(T2, "two"), out(T3, "")]);
    assert_eq!((fed.counts.cri_records, fed.counts.lines, fed.counts.raw_records), (3, 3, 0));
}

#[test]
fn pieces_are_joined_under_the_first_ones_time() {
    let mut fed = Fed::roomy();
    fed.feed(cri(1, "stdout P a") + &cri(2, "stdout P b") + &cri(3, "stdout F "));
    assert_eq!(fed.lines, [out(T1, "ab")]);
}

#[test]
fn one_streams_open_line_does_not_hold_the_other_stream() {
    let mut fed = Fed::roomy();
    fed.feed(cri(1, "stdout P a") + &cri(2, "stderr F e") + &cri(2, "stderr P x") + &cri(3, "stdout F b"));
    assert_eq!(fed.lines, [err(T2, "e"), out(T1, "ab")]);
    fed.feed(cri(3, "stderr F y"));
    assert_eq!(fed.lines[2], err(T2, "xy"));
}

#[test]
fn a_line_may_begin_in_one_file_and_end_in_another_format() {
    let mut fed = Fed::roomy();
    fed.feed_at(cri(1, "stdout P a").as_bytes(), 4, 0);
    fed.feed_at(b"{\"log\":\"b\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-22T11:09:06.2Z\"}\n", 5, 0);
    assert_eq!(fed.lines, [out(T1, "ab")]);
    assert_eq!((fed.counts.cri_records, fed.counts.docker_records), (1, 1));
}

#[test]
fn a_character_across_pieces_is_whole() {
    let mut fed = Fed::roomy();
    fed.feed(b"2026-11-22T11:09:06.1Z stdout P a\xe2\n2026-11-22T11:09:06.2Z stdout P \x82\n");
    fed.feed(b"2026-11-22T11:09:06.3Z stdout F \xacz\n");
    assert_eq!(fed.lines, [out(T1, "a€z")]);
    assert_eq!(fed.counts.invalid_utf8_lines, 0);
}

#[test]
fn invalid_utf8_is_replaced_and_counted_once_per_line() {
    let mut fed = Fed::roomy();
    fed.feed(b"2026-11-22T11:09:06.1Z stdout F a\xff\xffb\n2026-11-22T11:09:06.2Z stdout F caf\xc3\xa9\nraw \xc3\n");
    assert_eq!(fed.lines, [out(T1, "a\u{fffd}\u{fffd}b"), out(T2, "café"), out(T2 + 38, "raw \u{fffd}")]);
    assert_eq!((fed.counts.invalid_utf8_lines, fed.counts.raw_records), (2, 1));
    fed.feed(b"{\"log\":\"x\xff\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-22T11:09:06.3Z\"}\n");
    assert_eq!(fed.lines[3], out(T3, "x\u{fffd}"));
    assert_eq!(fed.counts.invalid_utf8_lines, 3);
}

#[test]
fn nul_and_carriage_returns_stay() {
    let mut fed = Fed::roomy();
    fed.feed(cri(1, "stdout F a\0b\rc\r"));
    assert_eq!(fed.texts(), ["a\0b\rc\r"]);
}

#[test]
fn what_is_no_record_is_shipped_a_nanosecond_a_byte_behind_the_record_before() {
    let mut fed = Fed::roomy();
    fed.feed(cri(1, "stderr P open") + "panic: oh\n" + "\n" + "{\"level\":\"info\"}\n" + &cri(2, "stderr F !"));
    assert_eq!(
        fed.lines,
        [out(T1 + 37, "panic: oh"), out(T1 + 47, ""), out(T1 + 48, "{\"level\":\"info\"}"), err(T1, "open!")],
        "and does not touch the open line"
    );
    assert_eq!(fed.counts.raw_records, 3);
    assert_eq!(fed.counts.malformed(Malformed::Format), 2);
    assert_eq!(fed.counts.malformed(Malformed::Fields), 1);
    assert_eq!(Malformed::ALL.map(|reason| fed.counts.malformed(reason)).iter().sum::<u64>(), 3);
}

#[test]
fn an_object_longer_than_docker_writes_is_shipped_as_it_is() {
    let mut fed = Fed::new(4 << 20, Oversize::Split);
    let record = format!(r#"{{"log":"{}\n","stream":"stdout","time":"2026-11-22T11:09:06.1Z"}}"#, "x".repeat(1 << 20));
    fed.feed(cri(1, "stdout F one") + &record + "\n");
    assert_eq!(fed.lines[1..], [out(T1 + 36, &record)]);
    assert_eq!(fed.counts.malformed(Malformed::Json), 1);
}

#[test]
fn the_rest_of_a_finished_file_is_a_record() {
    let mut fed = Fed::roomy();
    fed.feed_unterminated(b"2026-11-22T11:09:06.1Z stdout F cut sho");
    fed.feed_unterminated(b"2026-11-22T11:09:06.2Z stdout F with newline\n");
    fed.feed_unterminated(b"2026-11-");
    fed.feed_unterminated(b"");
    assert_eq!(fed.lines, [out(T1, "cut sho"), out(T2, "with newline"), out(T2, "2026-11-")]);
}

#[test]
fn bytes_after_the_last_newline_are_left_to_the_caller() {
    let mut fed = Fed::roomy();
    let whole = cri(1, "stdout F one");
    assert_eq!(fed.feed_at((whole.clone() + "2026-11-22T1").as_bytes(), 0, 0), whole.len());
    assert_eq!(fed.feed_at(b"2026-11-22T1", 0, 34), 0);
    assert_eq!(fed.texts(), ["one"]);
}

#[test]
fn flush_gives_out_open_lines_the_older_first() {
    let mut fed = Fed::roomy();
    fed.feed(cri(1, "stderr P e") + &cri(2, "stdout P o"));
    assert_eq!(fed.held_from(), Some(Position { turn: 0, offset: 0 }));
    fed.flush();
    assert_eq!(fed.lines, [err(T1, "e"), out(T2, "o")]);
    assert_eq!(fed.held_from(), None);
    fed.flush().feed(cri(3, "stdout F next"));
    assert_eq!(fed.lines[2..], [out(T3, "next")]);
}

#[test]
fn the_checkpoint_is_held_at_the_open_lines_first_byte() {
    let mut fed = Fed::roomy();
    fed.feed_at(cri(1, "stdout F one").as_bytes(), 7, 0);
    assert_eq!(fed.held_from(), None);
    fed.feed_at((cri(1, "stdout F one") + &cri(1, "stderr P e")).as_bytes(), 7, 100);
    let stderr_at = Position { turn: 7, offset: 100 + cri(1, "stdout F one").len() as u64 };
    assert_eq!(fed.held_from(), Some(stderr_at));
    fed.feed_at(cri(1, "stdout F two").as_bytes(), 8, 0);
    assert_eq!(fed.held_from(), Some(stderr_at));
    fed.feed_at(cri(1, "stderr F e").as_bytes(), 8, 50);
    assert_eq!(fed.held_from(), None);
    fed.feed_at(cri(1, "stdout P o").as_bytes(), 9, 0);
    assert_eq!(fed.held_from(), Some(Position { turn: 9, offset: 0 }));
}

#[test]
fn each_stream_is_held_at_its_own_open_line() {
    let mut fed = Fed::roomy();
    let overlapping = [cri(1, "stderr P e"), cri(1, "stdout P o"), cri(1, "stderr F e"), cri(1, "stderr P f")];
    let mut offset = 0;
    for record in &overlapping {
        fed.feed_at(record.as_bytes(), 0, offset);
        offset += record.len() as u64;
    }
    let at = |records: usize| Some(Position { turn: 0, offset: records as u64 * overlapping[0].len() as u64 });
    assert_eq!(fed.parser.held_from(Stream::Stdout), at(1));
    assert_eq!(fed.parser.held_from(Stream::Stderr), at(3));
}

#[test]
fn records_that_a_stream_has_already_are_passed_over_and_the_other_stream_is_read() {
    let mut fed = Fed::roomy();
    let log = cri(1, "stdout F a") + &cri(1, "stderr F b") + &cri(2, "stdout P c") + &cri(2, "stdout F d");
    fed.parser.pass_over([2 * cri(1, "stdout F a").len() as u64, u64::MAX]);
    fed.feed(log);
    assert_eq!(fed.lines, [out(T2, "cd")]);
}

#[test]
fn a_parser_stops_before_the_record_that_there_is_no_room_for() {
    struct Two(Vec<String>);
    impl Sink for Two {
        fn has_room(&self) -> bool {
            self.0.len() < 2
        }
        fn line(&mut self, line: Line<'_>) {
            self.0.push(String::from_utf8_lossy(line.text).into_owned());
        }
    }
    let Fed { mut parser, mut scratch, mut counts, .. } = Fed::roomy();
    let (record, mut two) = (cri(1, "stdout F one"), Two(Vec::new()));
    let taken = parser.feed(record.repeat(5).as_bytes(), Position::START, &mut scratch, &mut counts, &mut two);
    assert_eq!((taken, two.0.len()), (2 * record.len(), 2));
}

#[test]
fn a_record_behind_a_run_of_nuls_has_its_own_time_and_stream_and_a_hole_is_no_line() {
    let mut fed = Fed::roomy();
    let docker = r#"{"log":"d\n","stream":"stderr","time":"2026-11-22T11:09:06.3Z"}"#;
    fed.feed([&[0; 4096][..], cri(1, "stderr F a").as_bytes(), &[0; 10], docker.as_bytes(), b"\n"].concat());
    assert_eq!(fed.lines, [err(T1, "a"), err(T3, "d")]);
    assert_eq!(fed.feed_at(&[0; 1000], 0, 0), 999, "no newline has to come");
    assert_eq!((fed.lines.len(), fed.counts.raw_records, fed.counts.nul_bytes), (2, 0, 4096 + 10 + 999));
}

#[test]
fn a_record_that_a_power_cut_tore_and_the_one_behind_the_nuls_are_two_lines() {
    let docker = r#"{"log":"d\n","stream":"stderr","time":"2026-11-22T11:09:06.3Z"}"#;
    for (torn, whole, line) in [
        (&b"2026-11-22T11:0"[..], cri(1, "stderr F a"), err(T1, "a")),
        (br#"{"log":"x"#, format!("{docker}\n"), err(T3, "d")),
    ] {
        let mut fed = Fed::roomy();
        fed.feed([torn, &[0; 700], whole.as_bytes()].concat());
        assert_eq!((fed.lines.len(), fed.counts.raw_records, fed.counts.nul_bytes), (2, 1, 700));
        assert_eq!(fed.lines[1], line);
    }
}

#[test]
fn a_record_torn_within_its_text_is_a_line_of_its_own_and_nuls_that_a_container_wrote_stay() {
    // The first 512 bytes of a record were written.
    let torn = |record: &str| {
        [cri(1, &format!("{record}{}", "x".repeat(512))).as_bytes()[..512].to_vec(), vec![0; 512]].concat()
    };
    let mut fed = Fed::roomy();
    fed.feed([torn("stdout F be\0fore"), cri(2, "stderr F behind").into_bytes()].concat());
    fed.feed([torn("stdout P a"), torn("stdout P b"), cri(2, "stdout F c").into_bytes()].concat());
    let texts = fed.texts();
    assert!(
        texts[0].starts_with("be\0forexx") && texts[2].starts_with("axx") && texts[2].ends_with("xxc"),
        "{texts:?}"
    );
    assert_eq!((texts.len(), texts[1], fed.lines[1].clone()), (3, "behind", err(T2, "behind")));
    assert_eq!((fed.counts.raw_records, fed.counts.nul_bytes), (0, 3 * 512));
    // A container cannot make records: this one's NULs begin elsewhere.
    let written = "\0x\0\0 2026-11-22T11:09:06.1Z\0\x002026-11-22T11:09:06.1Z stderr F forged";
    let mut fed = Fed::roomy();
    fed.feed(cri(3, &format!("stdout F {written}")));
    assert_eq!(fed.lines, [out(T3, written)]);
}

#[test]
fn nuls_before_a_newline_give_the_same_wherever_a_chunk_begins() {
    let mut fed = [Fed::roomy(), Fed::roomy()];
    fed[0].feed(b"raw\n\0\0\n");
    fed[1].feed_at(b"raw\n", 0, 0);
    assert_eq!(fed[1].feed_at(b"\0\0", 0, 4), 1);
    assert_eq!(fed[1].feed_at(b"\0\n", 0, 5), 2);
    assert_eq!((&fed[0].lines, fed[0].counts), (&fed[1].lines, fed[1].counts));
}

#[test]
fn a_line_without_end_is_given_out_when_it_is_old_by_its_own_clock() {
    let mut fed = Fed::roomy();
    fed.feed("2026-11-22T11:09:06.1Z stderr P 10% \n2026-11-22T11:13:06.1Z stderr P 20% \n");
    assert_eq!(fed.lines, []);
    fed.feed("2026-11-22T11:15:06.1Z stderr P 30% \n");
    assert_eq!(fed.lines, [err(T1, "10% 20% ")]);
}

#[test]
fn raw_lines_have_the_same_time_whenever_they_are_read_and_no_two_of_them_the_same() {
    let mut fed = Fed::roomy();
    fed.parser.enter(Clock { timestamp_ns: 1000, offset: 0 });
    fed.feed_at(b"raw\nraw\n", 0, 0);
    assert_eq!(fed.lines, [out(1000, "raw"), out(1004, "raw")]);
}

#[test]
fn a_long_line_is_split_between_characters() {
    let mut fed = Fed::new(8, Oversize::Split);
    fed.feed(cri(1, "stdout F aaaaaaa€bbbbbcc") + &cri(2, "stdout F 12345678"));
    assert_eq!(fed.lines, [out(T1, "aaaaaaa"), out(T1 + 1, "€bbbbb"), out(T1 + 2, "cc"), out(T2, "12345678")]);
    assert_eq!((fed.counts.oversize_lines, fed.counts.lines, fed.counts.cut_bytes), (1, 4, 0));
}

#[test]
fn a_long_line_is_cut_and_its_rest_dropped_up_to_its_end() {
    let mut fed = Fed::new(8, Oversize::Cut);
    fed.feed(cri(1, "stdout F 1234567€") + &cri(2, "stdout P abcdefgh"));
    assert_eq!(fed.texts(), ["1234567"], "a line that may still fit is not cut");
    fed.feed(cri(2, "stdout P i") + &cri(2, "stdout P jk") + &cri(2, "stdout F l") + &cri(3, "stdout F next"));
    assert_eq!(fed.lines, [out(T1, "1234567"), out(T2, "abcdefgh"), out(T3, "next")]);
    assert_eq!((fed.counts.oversize_lines, fed.counts.cut_bytes), (2, 3 + 4));
}

#[test]
fn repaired_text_keeps_within_the_limit_too() {
    let mut fed = Fed::new(8, Oversize::Split);
    fed.feed(b"2026-11-22T11:09:06.1Z stdout F \xff\xff\xff\xffab\n");
    assert_eq!(fed.texts(), ["\u{fffd}\u{fffd}", "\u{fffd}\u{fffd}ab"]);
    assert_eq!((fed.counts.oversize_lines, fed.counts.invalid_utf8_lines), (1, 1));
}

#[test]
fn a_limit_below_a_characters_length_still_makes_progress() {
    let mut fed = Fed::new(0, Oversize::Split);
    fed.feed(cri(1, "stdout F 😀😀"));
    assert_eq!(fed.texts(), ["😀", "😀"]);
}

#[test]
fn a_split_line_holds_the_checkpoint_at_its_beginning_until_it_seems_endless() {
    let mut fed = Fed::new(10, Oversize::Split);
    let record = cri(1, "stdout P 0123456789abc");
    for nth in 0..12 {
        fed.feed_at(record.as_bytes(), 0, nth * record.len() as u64);
        assert_eq!(fed.held_from(), Some(Position { turn: 0, offset: 0 }), "after {nth}");
    }
    // 13 * 13 bytes are over 16 * 10. 160 of the 169 are given out: what is left lies in the last record.
    fed.feed_at(record.as_bytes(), 0, 12 * record.len() as u64);
    assert_eq!(fed.held_from(), Some(Position { turn: 0, offset: 12 * record.len() as u64 }));
    let given_out: usize = fed.texts().iter().map(|text| text.len()).sum();
    assert_eq!(given_out, 160);
}

#[test]
fn an_endless_cut_line_does_not_hold_the_checkpoint_for_ever() {
    let mut fed = Fed::new(10, Oversize::Cut);
    let record = cri(1, "stdout P 0123456789abc");
    for nth in 0..100 {
        fed.feed_at(record.as_bytes(), 0, nth * record.len() as u64);
    }
    assert_eq!(fed.held_from(), Some(Position { turn: 0, offset: 99 * record.len() as u64 }));
    assert_eq!(fed.texts(), ["0123456789"]);
}

mod properties;
