//! Docker's json-file format: `{"log":"text\n","stream":"stdout","time":"2026-11-22T11:09:43.118417935Z"}`.
//!
//! In: one record without its newline, valid UTF-8, at most [`RECORD_BYTES_MAX`] long. Out: its parts. The source is
//! `JSONLog` in moby's daemon/logger/jsonfilelog/jsonlog: keys in any order, further ones (`attrs`) ignored, the last of
//! two equal ones wins.
//! A record whose `log` does not end in a newline is a partial one.
//!
//! The shape that dockerd itself writes is parsed by hand ([`usual`]), any other by simd-json ([`general`]); both give the
//! same, and `benches/parse_docker.rs` shows what the first saves.

use simd_json::{Buffers, INPUT_PADDING, Node, Tape};

use super::{Malformed, Piece, Record, Stream, timestamp::Timestamps};

/// Longest record that is parsed. dockerd cuts lines at 16 KiB, which are 96 KiB when each byte is escaped; a longer record
/// is not from dockerd, and must not make the scratch memory grow for good.
pub(super) const RECORD_BYTES_MAX: usize = 1 << 20;

/// Memory that parsing a record needs.
pub(super) struct Scratch {
    /// The decoded `log` of a usual record.
    text: Vec<u8>,
    /// A copy of the record, which simd-json decodes in place.
    json: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
    timestamps: Timestamps,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            json: Vec::new(),
            buffers: Buffers::new(0),
            tape: Tape(Vec::new()),
            timestamps: Timestamps::default(),
        }
    }
}

/// Parses a record. The content lies in `record` or in `scratch`.
pub(super) fn parse<'a>(record: &'a [u8], scratch: &'a mut Scratch) -> Result<Record<'a>, Malformed> {
    let Scratch { text, json, buffers, tape, timestamps } = scratch;
    match usual(record, text, timestamps) {
        Some(parsed) => Ok(parsed),
        None => general(record, json, buffers, tape, timestamps),
    }
}

/// The record exactly as dockerd writes it without log-opts; `None` where anything is different.
fn usual<'a>(record: &'a [u8], text: &'a mut Vec<u8>, timestamps: &mut Timestamps) -> Option<Record<'a>> {
    // JSON allows no control characters; this loop is vectorised.
    if record.iter().fold(u8::MAX, |least, byte| least.min(*byte)) < 0x20 {
        return None;
    }
    let string = record.strip_prefix(br#"{"log":""#)?;
    let first = memchr::memchr2(b'"', b'\\', string)?;
    let (log, rest) = if string[first] == b'"' {
        ((&string[..first], Piece::Partial), &string[first + 1..])
    } else if let Some(rest) = string[first..].strip_prefix(br#"\n""#) {
        ((&string[..first], Piece::Last), rest)
    } else {
        let (decoded, rest) = decode(string, first, text)?;
        (without_newline(decoded), rest)
    };
    let rest = rest.strip_prefix(br#","stream":"std"#)?;
    let (stream, rest) = match rest.split_first_chunk()? {
        (br#"out","time":""#, rest) => (Stream::Stdout, rest),
        (br#"err","time":""#, rest) => (Stream::Stderr, rest),
        _ => return None,
    };
    let time = rest.strip_suffix(br#""}"#)?;
    Some(Record { timestamp_ns: whole_timestamp(time, timestamps)?, stream, piece: log.1, content: log.0 })
}

/// Any JSON object with the three fields.
fn general<'a>(
    record: &[u8],
    json: &'a mut Vec<u8>,
    buffers: &mut Buffers,
    tape: &mut Tape<'static>,
    timestamps: &mut Timestamps,
) -> Result<Record<'a>, Malformed> {
    json.clear();
    json.extend_from_slice(record);
    replace_lone_surrogates(json);
    json.resize(record.len() + INPUT_PADDING, b' ');
    // The nodes borrow from `json`: the tape is emptied again before it goes back.
    let mut nodes: Tape<'a> = std::mem::replace(tape, Tape(Vec::new())).reset();
    let parsed = match simd_json::fill_tape_padded(json, record.len(), buffers, &mut nodes) {
        Ok(()) => fields(&nodes.0, timestamps),
        Err(_) => Err(Malformed::Json),
    };
    *tape = nodes.reset();
    parsed
}

/// The record that the nodes of a JSON object describe.
fn fields<'a>(nodes: &[Node<'a>], timestamps: &mut Timestamps) -> Result<Record<'a>, Malformed> {
    let Some((Node::Object { .. }, mut rest)) = nodes.split_first() else { return Err(Malformed::Json) };
    let (mut log, mut stream, mut time) = (None, None, None);
    while let [Node::String(key), value, ..] = rest {
        let field = match *key {
            "log" => Some(&mut log),
            "stream" => Some(&mut stream),
            "time" => Some(&mut time),
            _ => None,
        };
        if let (Some(field), Node::String(text)) = (field, value) {
            *field = Some(*text);
        }
        let value_nodes = match value {
            Node::Object { count, .. } | Node::Array { count, .. } => 1 + count,
            Node::String(_) | Node::Static(_) => 1,
        };
        rest = rest.get(1 + value_nodes..).unwrap_or_default();
    }
    let (Some(log), Some(stream), Some(time)) = (log, stream, time) else { return Err(Malformed::Fields) };
    let stream = match stream {
        "stdout" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        _ => return Err(Malformed::Stream),
    };
    let (content, piece) = without_newline(log.as_bytes());
    let timestamp_ns = whole_timestamp(time.as_bytes(), timestamps).ok_or(Malformed::Timestamp)?;
    Ok(Record { timestamp_ns, stream, piece, content })
}

fn without_newline(log: &[u8]) -> (&[u8], Piece) {
    match log.strip_suffix(b"\n") {
        Some(content) => (content, Piece::Last),
        None => (log, Piece::Partial),
    }
}

fn whole_timestamp(time: &[u8], timestamps: &mut Timestamps) -> Option<i64> {
    timestamps.parse(time).and_then(|(ns, len)| (len == time.len()).then_some(ns))
}

/// Decodes the JSON string whose first backslash is at `plain`, eight bytes at a time. Returns the decoded bytes, which
/// lie in `text`, and what follows the closing quote; `None` where the string is malformed or ends in the last eight bytes.
fn decode<'a>(string: &'a [u8], plain: usize, text: &'a mut Vec<u8>) -> Option<(&'a [u8], &'a [u8])> {
    // An escape is never shorter than what it stands for. `text` keeps its length, so that it is not zeroed each time.
    if text.len() < string.len() {
        text.resize(string.len(), 0);
    }
    text[..plain].copy_from_slice(&string[..plain]);
    let (mut from, mut to) = (plain, plain);
    loop {
        let eight = string.get(from..)?.first_chunk::<8>()?;
        text[to..to + 8].copy_from_slice(eight);
        let special = quotes_and_backslashes(u64::from_le_bytes(*eight));
        if special == 0 {
            from += 8;
            to += 8;
            continue;
        }
        let plain = special.trailing_zeros() as usize / 8;
        from += plain;
        to += plain;
        if string[from] == b'"' {
            return Some((&text[..to], &string[from + 1..]));
        }
        match string.get(from + 1)? {
            b'u' => {
                let (character, len) = unicode_escape(&string[from..])?;
                to += character.encode_utf8(text[to..].first_chunk_mut::<4>()?).len();
                from += len;
            }
            letter => {
                text[to] = simple_escape(*letter)?;
                to += 1;
                from += 2;
            }
        }
    }
}

/// The highest bit of each byte that is `"` or `\`, exact up to the first one from below.
#[inline]
fn quotes_and_backslashes(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zeros = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    (zeros(eight ^ (ONES * b'"' as u64)) | zeros(eight ^ (ONES * b'\\' as u64))) & (ONES << 7)
}

/// The character that a backslash and `letter` stand for.
#[inline]
fn simple_escape(letter: u8) -> Option<u8> {
    Some(match letter {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 0x08,
        b'f' => 0x0c,
        b'"' | b'\\' | b'/' => letter,
        _ => return None,
    })
}

/// The character that a `\uXXXX`, or a pair of them, stands for, and the length of both. A surrogate without its partner
/// is U+FFFD.
fn unicode_escape(bytes: &[u8]) -> Option<(char, usize)> {
    let unit = code_unit(bytes)?;
    let pair = [Some(unit), if is_high_surrogate(unit) { code_unit(&bytes[6..]) } else { None }];
    match char::decode_utf16(pair.into_iter().flatten()).next()? {
        Ok(character) => Some((character, 6 * character.len_utf16())),
        Err(_lone_surrogate) => Some((char::REPLACEMENT_CHARACTER, 6)),
    }
}

/// The UTF-16 code unit of the `\uXXXX` that `bytes` begins with.
fn code_unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(br"\u")?.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
}

fn is_high_surrogate(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

/// Makes each `\uXXXX` of a surrogate without its partner a `\ufffd`, as Go's and JavaScript's decoders read it;
/// simd-json refuses it.
fn replace_lone_surrogates(json: &mut [u8]) {
    let mut at = 0;
    while let Some(backslash) = memchr::memchr(b'\\', &json[at..]) {
        at += backslash;
        match unicode_escape(&json[at..]) {
            Some((char::REPLACEMENT_CHARACTER, _)) => {
                json[at + 2..at + 6].copy_from_slice(b"fffd");
                at += 6;
            }
            Some((_, len)) => at += len,
            None => at = (at + 2).min(json.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIME_NS: i64 = 1_795_345_783_118_417_935;

    fn parsed(record: &str) -> Result<(Stream, Piece, String), Malformed> {
        let mut scratch = Scratch::default();
        parse(record.as_bytes(), &mut scratch).map(|r| {
            assert_eq!(r.timestamp_ns, TIME_NS);
            (r.stream, r.piece, String::from_utf8(r.content.to_vec()).unwrap())
        })
    }

    fn with_log(log: &str) -> String {
        format!(r#"{{"log":"{log}","stream":"stdout","time":"2026-11-22T11:09:43.118417935Z"}}"#)
    }

    /// The same record in an order that only simd-json reads.
    fn with_log_last(log: &str) -> String {
        format!(r#"{{"time":"2026-11-22T11:09:43.118417935Z","stream":"stdout","log":"{log}"}}"#)
    }

    #[test]
    fn a_log_with_a_final_newline_is_whole_and_one_without_is_partial() {
        for (log, piece, text) in [
            (r"hello\n", Piece::Last, "hello"),
            (r"hello", Piece::Partial, "hello"),
            (r"\n", Piece::Last, ""),
            (r"", Piece::Partial, ""),
            (r"\r\n", Piece::Last, "\r"),
            (r"a\\n", Piece::Partial, r"a\n"),
            (r"a\\\n", Piece::Last, r"a\"),
            (r"a\nb", Piece::Partial, "a\nb"),
        ] {
            for record in [with_log(log), with_log_last(log)] {
                assert_eq!(parsed(&record), Ok((Stream::Stdout, piece, text.to_owned())), "{record}");
            }
        }
    }

    #[test]
    fn every_escape_is_decoded() {
        for (log, text) in [
            (r#"\"\\\/\b\f\n\r\t\u0041\n"#, "\"\\/\u{8}\u{c}\n\r\tA"),
            (r"\u0000\u001b[0m\u00e9\u20AC\n", "\0\u{1b}[0mé€"),
            (r"\ud83d\ude00\uD83D\uDE00\n", "😀😀"),
            (r"\u2028\u003c\u003e\u0026\n", "\u{2028}<>&"),
            (r"é€😀\n", "é€😀"),
        ] {
            for record in [with_log(log), with_log_last(log)] {
                assert_eq!(parsed(&record).map(|r| r.2), Ok(text.to_owned()), "{record}");
            }
        }
    }

    #[test]
    fn a_surrogate_without_its_partner_is_the_replacement_character() {
        for (log, text) in [
            (r"\ud83d\n", "\u{fffd}"),
            (r"\ude00\n", "\u{fffd}"),
            (r"\ud83dx\n", "\u{fffd}x"),
            (r"\ud83d\u0041\n", "\u{fffd}A"),
            (r"\ud83d\ud83d\ude00\n", "\u{fffd}😀"),
            (r"\ude00\ud83d\n", "\u{fffd}\u{fffd}"),
            (r"\\ud83d\n", r"\ud83d"),
            (r"\ufffd\n", "\u{fffd}"),
        ] {
            for record in [with_log(log), with_log_last(log)] {
                assert_eq!(parsed(&record).map(|r| r.2), Ok(text.to_owned()), "{record}");
            }
        }
    }

    #[test]
    fn keys_may_stand_in_any_order_with_others_between() {
        for record in [
            r#"{"log":"x\n","stream":"stderr","attrs":{"tag":"a","n":[1,{"log":"y"}]},"time":"2026-11-22T11:09:43.118417935Z"}"#,
            r#"{"stream":"stderr","time":"2026-11-22T11:09:43.118417935Z","log":"x\n"}"#,
            r#" { "log" : "x\n" , "stream" : "stderr" , "time" : "2026-11-22T11:09:43.118417935Z" } "#,
            r#"{"log":"x\n","stream":"stderr","time":"2026-11-22T11:09:43.118417935Z","log":null}"#,
            r#"{"log":"\u0078\u000a","str\u0065am":"stderr","time":"2026-11-22T11:09:43.118417935Z"}"#,
        ] {
            assert_eq!(parsed(record), Ok((Stream::Stderr, Piece::Last, "x".to_owned())), "{record}");
        }
    }

    #[test]
    fn the_last_of_two_equal_keys_wins() {
        let record =
            r#"{"log":"x\n","log":"y\n","stream":"stderr","stream":"stdout","time":"2026-11-22T11:09:43.118417935Z"}"#;
        assert_eq!(parsed(record), Ok((Stream::Stdout, Piece::Last, "y".to_owned())));
    }

    #[test]
    fn each_fault_has_its_reason() {
        for (record, reason) in [
            (r#"{"#, Malformed::Json),
            (r#"{"log":"x\n","stream":"stdout","time":"2026-11-22T11:09:43.118417935Z"}x"#, Malformed::Json),
            (r#"{"log":"x\q","stream":"stdout","time":"2026-11-22T11:09:43.118417935Z"}"#, Malformed::Json),
            (r#"{"log":"x\u12g4","stream":"stdout","time":"2026-11-22T11:09:43.118417935Z"}"#, Malformed::Json),
            ("{\"log\":\"a\tb\",\"stream\":\"stdout\",\"time\":\"2026-11-22T11:09:43.118417935Z\"}", Malformed::Json),
            (r#"{}"#, Malformed::Fields),
            (r#"{"log":"x\n","stream":"stdout"}"#, Malformed::Fields),
            (r#"{"log":1,"stream":"stdout","time":"2026-11-22T11:09:43.118417935Z"}"#, Malformed::Fields),
            (r#"{"log":"x\n","stream":"stdin","time":"2026-11-22T11:09:43.118417935Z"}"#, Malformed::Stream),
            (r#"{"log":"x\n","stream":"stdout","time":"yesterday"}"#, Malformed::Timestamp),
            (r#"{"log":"x\n","stream":"stdout","time":"2026-11-22T11:09:43.118417935Z "}"#, Malformed::Timestamp),
        ] {
            assert_eq!(parse(record.as_bytes(), &mut Scratch::default()), Err(reason), "{record}");
        }
    }

    /// What serde_json makes of the record.
    fn by_serde_json(record: &str) -> Option<(Stream, Piece, String)> {
        let value: serde_json::Value = serde_json::from_str(record).ok()?;
        let stream = match value.get("stream")?.as_str()? {
            "stdout" => Stream::Stdout,
            "stderr" => Stream::Stderr,
            _ => return None,
        };
        let log = value.get("log")?.as_str()?;
        whole_timestamp(value.get("time")?.as_str()?.as_bytes(), &mut Timestamps::default())?;
        Some(match log.strip_suffix('\n') {
            Some(line) => (stream, Piece::Last, line.to_owned()),
            None => (stream, Piece::Partial, log.to_owned()),
        })
    }

    fn log_body() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            4 => "[ -!#-\\[\\]-~]{0,12}",
            2 => "[é€😀]{1,3}",
            3 => r#"\\["\\/bfnrt]"#,
            2 => r"\\u[0-9a-cA-Ce-fE-F][0-9a-fA-F]{3}",
            1 => r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}",
            1 => r#"[\\"\x00-\x1f]"#,
            1 => r"\\u[0-9a-g]{0,4}",
        ];
        (proptest::collection::vec(part, 0..12), prop_oneof![3 => Just(r"\n"), 1 => Just("")])
            .prop_map(|(parts, end)| parts.concat() + end)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn both_ways_read_what_serde_json_reads(log in log_body()) {
            for record in [with_log(&log), with_log_last(&log)] {
                let mut scratch = Scratch::default();
                let ours = parse(record.as_bytes(), &mut scratch)
                    .ok()
                    .map(|r| (r.stream, r.piece, String::from_utf8(r.content.to_vec()).unwrap()));
                // serde_json refuses surrogates without partners, which are tested above.
                let lone_surrogate = ours.as_ref().is_some_and(|(.., text)| text.contains('\u{fffd}'));
                if !lone_surrogate {
                    prop_assert_eq!(ours, by_serde_json(&record), "{}", record);
                }
            }
        }

        #[test]
        fn the_usual_way_gives_what_the_general_way_gives(log in log_body()) {
            let record = with_log(&log);
            let (mut text, mut scratch) = (Vec::new(), Scratch::default());
            if let Some(usual) = usual(record.as_bytes(), &mut text, &mut Timestamps::default()) {
                let Scratch { json, buffers, tape, timestamps, .. } = &mut scratch;
                prop_assert_eq!(Ok(usual), general(record.as_bytes(), json, buffers, tape, timestamps));
            }
        }

        #[test]
        fn scratch_that_was_used_before_changes_nothing(logs in proptest::collection::vec(log_body(), 1..8)) {
            let mut used = Scratch::default();
            for log in logs {
                for record in [with_log(&log), with_log_last(&log)] {
                    let mut fresh = Scratch::default();
                    prop_assert_eq!(parse(record.as_bytes(), &mut used), parse(record.as_bytes(), &mut fresh));
                }
            }
        }
    }
}
