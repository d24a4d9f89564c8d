//! The lines of a push, in any of the forms that collectors send: protobuf in snappy, JSON, JSON in gzip.

use std::io::Read;

use anyhow::{Context, bail};
use flate2::read::GzDecoder;
use rig::mark::Mark;
use serde::Deserialize;

use super::http::Request;

/// Field 1 of `PushRequest`, field 2 of `StreamAdapter` and of `EntryAdapter`: length-delimited (logproto, Loki).
const STREAM_KEY: u64 = 0x0a;
const ENTRY_KEY: u64 = 0x12;
const LINE_KEY: u64 = 0x12;

#[derive(Deserialize)]
struct JsonPush {
    streams: Vec<JsonStream>,
}

#[derive(Deserialize)]
struct JsonStream {
    /// Timestamp, line, and perhaps metadata.
    values: Vec<Vec<serde_json::Value>>,
}

/// Calls `take` with the text of every entry.
///
/// # Errors
/// A body that is no push.
pub fn each(request: &Request, mut take: impl FnMut(&[u8])) -> anyhow::Result<()> {
    let unzipped = match request.content_encoding.as_str() {
        "gzip" => {
            let mut unzipped = Vec::new();
            GzDecoder::new(request.body.as_slice()).read_to_end(&mut unzipped)?;
            Some(unzipped)
        }
        _ => None,
    };
    let body = unzipped.as_ref().unwrap_or(&request.body);
    if request.content_type.starts_with("application/json") {
        let push: JsonPush = serde_json::from_slice(body)?;
        for value in push.streams.iter().flat_map(|stream| &stream.values) {
            take(value.get(1).and_then(|line| line.as_str()).context("an entry without a line")?.as_bytes());
        }
        return Ok(());
    }
    let push = snap::raw::Decoder::new().decompress_vec(body)?;
    each_field(&push, STREAM_KEY, |stream| {
        each_field(stream, ENTRY_KEY, |entry| {
            each_field(entry, LINE_KEY, |line| {
                take(line);
                Ok(())
            })
        })
    })
}

/// Calls `take` with the content of every field of a message that has this key.
fn each_field(mut message: &[u8], key: u64, mut take: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    while !message.is_empty() {
        let found = varint(&mut message)?;
        match found & 7 {
            0 => {
                varint(&mut message)?;
            }
            1 => message = message.get(8..).context("a field breaks off")?,
            2 => {
                let bytes = usize::try_from(varint(&mut message)?)?;
                let (content, rest) = message.split_at_checked(bytes).context("a field breaks off")?;
                message = rest;
                if found == key {
                    take(content)?;
                }
            }
            other => bail!("wire type {other}"),
        }
    }
    Ok(())
}

fn varint(message: &mut &[u8]) -> anyhow::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().context("a varint breaks off")?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a varint of more than ten bytes")
}

/// The mark of a line, if `text` has the line's beginning ([`rig::mark`]): as it is or as a string in JSON, and wherever it
/// stands. The end is not looked at.
pub fn begun(text: &[u8]) -> Option<Mark> {
    let mut rest = &text[memchr::memmem::find(text, b"src")?..];
    let mut numbers = [0_i64; 3];
    for (number, name) in numbers.iter_mut().zip(["src", "seq", "t"]) {
        rest = rest.strip_prefix(name.as_bytes())?;
        let digits = rest.iter().position(u8::is_ascii_digit).filter(|at| *at <= 4)?;
        rest = &rest[digits..];
        let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        *number = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        rest = &rest[end..];
        let letter = rest.iter().position(u8::is_ascii_alphabetic).unwrap_or(rest.len());
        rest = &rest[letter..];
    }
    let [source, sequence, timestamp_ns] = numbers;
    Some(Mark { source: source.try_into().ok()?, sequence: sequence.try_into().ok()?, timestamp_ns })
}

#[cfg(test)]
mod tests {
    use rig::{
        mark::{self, Shape},
        random::Random,
    };

    use super::*;

    fn texts(content_type: &str, content_encoding: &str, body: Vec<u8>) -> anyhow::Result<Vec<String>> {
        let mut texts = Vec::new();
        let request = Request {
            method: "POST".into(),
            content_type: content_type.into(),
            content_encoding: content_encoding.into(),
            body,
        };
        each(&request, |text| texts.push(String::from_utf8_lossy(text).into_owned()))?;
        Ok(texts)
    }

    #[test]
    fn pushes_of_every_form_are_read() {
        // Promtail puts a hash into field 3 of the stream.
        let push = b"\x0a\x16\x0a\x02{}\x12\x0c\x0a\x06\x08\x01\x10\x02\x18\x03\x12\x02hi\x18\x05\x12\x00";
        let body = snap::raw::Encoder::new().compress_vec(push).unwrap();
        assert_eq!(texts("application/x-protobuf", "", body).unwrap(), ["hi"]);
        let json = br#"{"streams":[{"stream":{"a":"b"},"values":[["1","one"],["2","two",{"k":"v"}]]}]}"#;
        assert_eq!(texts("application/json", "", json.to_vec()).unwrap(), ["one", "two"]);
        let mut zipped = Vec::new();
        flate2::bufread::GzEncoder::new(&json[..], flate2::Compression::fast()).read_to_end(&mut zipped).unwrap();
        assert_eq!(texts("application/json; charset=utf-8", "gzip", zipped).unwrap(), ["one", "two"]);
        assert!(texts("application/x-protobuf", "", b"nonsense".to_vec()).is_err());
    }

    #[test]
    fn a_line_is_known_by_its_beginning_however_it_is_wrapped() {
        for shape in [Shape::Text, Shape::Json] {
            let mut line = Vec::new();
            let mark = Mark { source: 7, sequence: 8, timestamp_ns: 1_795_345_754_341_435_724 };
            mark::write(&mut line, mark, shape, 160, &mut Random::new(1));
            assert_eq!(begun(&line), Some(mark));
            let wrapped = serde_json::json!({"log": String::from_utf8_lossy(&line), "stream": "stdout"}).to_string();
            assert_eq!(begun(wrapped.as_bytes()), Some(mark), "{wrapped}");
            assert_eq!(begun(&line[100..]), None);
        }
    }
}
