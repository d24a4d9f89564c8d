//! Docker records: both of the collector's ways to read JSON agree with `serde_json`.

use std::fmt;

use collector::model::Stream;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::{parser::only_line, timestamps::slowly};

/// One record: what stands before the first newline, a `{` before it.
pub fn check(input: &[u8]) {
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let record = if line.first() == Some(&b'{') { line.to_vec() } else { [b"{", line].concat() };
    let (line, counts) = only_line(&record);
    let repaired = String::from_utf8_lossy(&record);
    if counts.raw_records == 1 && has_large_number(&repaired) {
        // simd-json refuses what fits into no type of 64 bits. Docker writes no numbers; such a record is shipped as it is.
        return;
    }
    match reference(&repaired) {
        Some((timestamp_ns, stream, text)) => {
            assert_eq!((counts.docker_records, counts.raw_records), (1, 0), "{repaired}");
            assert_eq!((line.timestamp_ns, line.stream), (timestamp_ns, stream), "{repaired}");
            assert_eq!(line.text, text, "{repaired}");
        }
        None => {
            assert_eq!((counts.docker_records, counts.raw_records), (0, 1), "{repaired}");
            assert_eq!((line.stream, line.text), (Stream::Stdout, repaired.into_owned()));
        }
    }
}

/// Whether something in the record may be a number that fits into neither 64-bit integers nor `f64`.
fn has_large_number(record: &str) -> bool {
    let digits_at = |at: usize| record[at..].bytes().take_while(u8::is_ascii_digit).count();
    let has_large_exponent = record.match_indices(['e', 'E']).any(|(at, _)| {
        let sign = usize::from(record[at + 1..].starts_with(['+', '-']));
        digits_at(at + 1 + sign) >= 3
    });
    has_large_exponent || (0..record.len()).any(|at| record.is_char_boundary(at) && digits_at(at) >= 19)
}

/// The record's time, stream and text without its final newline.
fn reference(record: &str) -> Option<(i64, Stream, String)> {
    let Fields { log, stream, time } = serde_json::from_str(&without_lone_surrogates(record)).ok()?;
    let (log, time) = (log?, time?);
    let stream = match stream?.as_str() {
        "stdout" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        _ => return None,
    };
    let (timestamp_ns, len) = slowly(time.as_bytes())?;
    let text = log.strip_suffix('\n').unwrap_or(&log).to_owned();
    (len == time.len()).then_some((timestamp_ns, stream, text))
}

/// The record with U+FFFD for each escaped surrogate that has no partner, as Go reads it; `serde_json` refuses those.
fn without_lone_surrogates(record: &str) -> String {
    let unit = |text: &str| u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok();
    let is = |range: std::ops::Range<u16>, text: &str| unit(text).is_some_and(|unit| range.contains(&unit));
    let (mut good, mut rest) = (String::new(), record);
    while let Some(first) = rest.chars().next() {
        let (text, len) = match first {
            '\\' if is(0xd800..0xdc00, rest) && is(0xdc00..0xe000, &rest[6..]) => (&rest[..12], 12),
            '\\' if is(0xd800..0xe000, rest) => ("\\ufffd", 6),
            '\\' => {
                let len = rest.chars().take(2).map(char::len_utf8).sum();
                (&rest[..len], len)
            }
            _ => (&rest[..first.len_utf8()], first.len_utf8()),
        };
        good.push_str(text);
        rest = &rest[len..];
    }
    good
}

/// The last string under each key, as Go's decoder has it: what is no string leaves the one before.
#[derive(Default)]
struct Fields {
    log: Option<String>,
    stream: Option<String>,
    time: Option<String>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

/// Reads the keys one by one: a derived visitor would refuse one that comes twice.
struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<String>()? {
            let field = match key.as_str() {
                "log" => &mut fields.log,
                "stream" => &mut fields.stream,
                "time" => &mut fields.time,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if let serde_json::Value::String(text) = map.next_value()? {
                *field = Some(text);
            }
        }
        Ok(fields)
    }
}
