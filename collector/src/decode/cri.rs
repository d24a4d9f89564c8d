//! The CRI log format: `TIMESTAMP SP stdout|stderr SP TAG[:TAG…] SP content`.
//!
//! In: one record without its newline. Out: its parts, the content borrowed. The source is the kubelet's own reader,
//! `parseCRILog` in kubernetes/cri-client/pkg/logs/logs.go; containerd and CRI-O write it.

use super::{Malformed, Piece, Record, Stream, timestamp::Timestamps};

/// Parses a record. A record that ends with its tags has empty content: the space after them is lost where something
/// strips trailing blanks, or the machine died.
#[inline]
pub(super) fn parse<'a>(record: &'a [u8], timestamps: &mut Timestamps) -> Result<Record<'a>, Malformed> {
    if !record.first().is_some_and(u8::is_ascii_digit) {
        return Err(Malformed::Format);
    }
    let (timestamp_ns, len) = timestamps.parse(record).ok_or(Malformed::Timestamp)?;
    let (stream, tagged) = stream(&record[len..])?;
    let (piece, content) = tags(tagged)?;
    Ok(Record { timestamp_ns, stream, piece, content })
}

/// ` stdout ` or ` stderr `, and what follows.
#[inline]
fn stream(bytes: &[u8]) -> Result<(Stream, &[u8]), Malformed> {
    match bytes.split_first_chunk() {
        Some((b" stdout ", rest)) => Ok((Stream::Stdout, rest)),
        Some((b" stderr ", rest)) => Ok((Stream::Stderr, rest)),
        // No space follows directly: what was parsed is only the beginning of something else.
        _ if bytes.first().is_some_and(|b| *b != b' ') => Err(Malformed::Timestamp),
        _ => Err(Malformed::Stream),
    }
}

/// `P` or `F`, any further tags, and the content.
#[inline]
fn tags(bytes: &[u8]) -> Result<(Piece, &[u8]), Malformed> {
    let piece = match bytes.first() {
        Some(b'F') => Piece::Last,
        Some(b'P') => Piece::Partial,
        _ => return Err(Malformed::Tag),
    };
    match &bytes[1..] {
        [b' ', content @ ..] => Ok((piece, content)),
        [b':', further @ ..] => {
            Ok((piece, memchr::memchr(b' ', further).map_or(&[][..], |space| &further[space + 1..])))
        }
        [] => Ok((piece, &[])),
        _ => Err(Malformed::Tag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-22T11:09:06.123456789Z";
    const TIME_NS: i64 = 1_795_345_746_123_456_789;

    fn parsed(rest: &str) -> Result<(Stream, Piece, String), Malformed> {
        let record = format!("{TIME}{rest}");
        parse(record.as_bytes(), &mut Timestamps::default()).map(|r| {
            assert_eq!(r.timestamp_ns, TIME_NS);
            (r.stream, r.piece, String::from_utf8(r.content.to_vec()).unwrap())
        })
    }

    #[test]
    fn stream_tag_and_content_are_told_apart() {
        use {Piece::*, Stream::*};
        for (rest, stream, piece, content) in [
            (" stdout F hello world", Stdout, Last, "hello world"),
            (" stderr F hello", Stderr, Last, "hello"),
            (" stderr P part", Stderr, Partial, "part"),
            (" stdout F ", Stdout, Last, ""),
            (" stdout F", Stdout, Last, ""),
            (" stdout F   two more blanks", Stdout, Last, "  two more blanks"),
            (" stdout P:tag:other x y", Stdout, Partial, "x y"),
            (" stdout F:tag", Stdout, Last, ""),
            (" stdout F a\rb\r", Stdout, Last, "a\rb\r"),
            (" stdout F 2026-11-22T11:09:06Z stdout F x", Stdout, Last, "2026-11-22T11:09:06Z stdout F x"),
        ] {
            assert_eq!(parsed(rest), Ok((stream, piece, content.to_owned())), "{rest}");
        }
    }

    #[test]
    fn each_fault_has_its_reason() {
        for (rest, reason) in [
            ("", Malformed::Stream),
            (" ", Malformed::Stream),
            ("x stdout F hello", Malformed::Timestamp),
            ("  stdout F hello", Malformed::Stream),
            (" stdin F hello", Malformed::Stream),
            (" stdout", Malformed::Stream),
            (" stdout ", Malformed::Tag),
            (" stdout G hello", Malformed::Tag),
            (" stdout FP hello", Malformed::Tag),
            (" stdout  F hello", Malformed::Tag),
            (" stdout f hello", Malformed::Tag),
        ] {
            assert_eq!(parsed(rest), Err(reason), "{rest}");
        }
        assert_eq!(parse(b"", &mut Timestamps::default()), Err(Malformed::Format));
        assert_eq!(parse(b"panic: oh", &mut Timestamps::default()), Err(Malformed::Format));
        assert_eq!(parse(b"0123", &mut Timestamps::default()), Err(Malformed::Timestamp));
    }
}
