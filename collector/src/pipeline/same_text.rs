//! Whether two texts are the same but for the times in them.
//!
//! A time is a time of day (`15:04:05`, with or without a fraction and a zone), or a date of digits before one. Texts that are equal
//! cost one comparison; others one up to where they differ first, unless that is in a time.

/// The longest way from where a time begins to where two of them differ: `2026-01-02T15:04:05.123456789`.
const BACK_MAX: usize = 29;

/// Whether the texts are equal but for times at the same places.
#[must_use]
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let (mut one, mut other) = (one, other);
    loop {
        let equal = one.iter().zip(other).take_while(|(one, other)| one == other).count();
        if equal == one.len() && equal == other.len() {
            return true;
        }
        let Some((ends_one, ends_other)) = times_at(one, other, equal) else { return false };
        (one, other) = (&one[ends_one..], &other[ends_other..]);
    }
}

/// Where the times end that hold the first difference of the texts, at `differ`.
fn times_at(one: &[u8], other: &[u8], differ: usize) -> Option<(usize, usize)> {
    let begins = |start: &usize| one.get(*start).is_some_and(u8::is_ascii_digit) && may_precede(&one[..*start]);
    let starts = (differ.saturating_sub(BACK_MAX)..=differ).filter(begins);
    let mut found = starts.filter_map(|start| {
        let ends = (start + time_bytes(&one[start..])?, start + time_bytes(other.get(start..)?)?);
        // A fraction may end before the other one's.
        (ends.0 >= differ && ends.1 >= differ).then_some(ends)
    });
    found.next()
}

/// Whether a time may follow: no further part of a number, and none of an address, but the year of `[02/Jan/2026:15:04:05]`.
fn may_precede(text: &[u8]) -> bool {
    match text {
        [before @ .., b':'] => {
            before.last_chunk::<5>().is_some_and(|year| year[0] == b'/' && shaped(&year[1..], b"0000"))
        }
        [.., last] => !last.is_ascii_digit(),
        [] => true,
    }
}

/// How long the time is that a text begins with.
fn time_bytes(text: &[u8]) -> Option<usize> {
    let date = date_bytes(text).unwrap_or(0);
    let clock = clock_bytes(&text[date..])?;
    let end = date + clock;
    let zone = zone_bytes(&text[end..]);
    // `12:34:56:78` is an address.
    (text.get(end) != Some(&b':')).then_some(end + zone)
}

/// `2026-01-02T`, `2026/01/02 `.
fn date_bytes(text: &[u8]) -> Option<usize> {
    let dashes = shaped(text, b"0000-00-00") || shaped(text, b"0000/00/00");
    (dashes && matches!(text.get(10), Some(b'T' | b' '))).then_some(11)
}

/// `15:04:05`, with a fraction of any length.
fn clock_bytes(text: &[u8]) -> Option<usize> {
    if !shaped(text, b"00:00:00") || text[0] > b'2' || text[3] > b'5' || text[6] > b'6' {
        return None;
    }
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    match text.get(8) {
        Some(b'.' | b',') if digits(9) > 0 => Some(9 + digits(9)),
        Some(byte) if byte.is_ascii_digit() => None,
        _ => Some(8),
    }
}

/// `Z`, `+02:00`, `-0700`; 0: there is none.
fn zone_bytes(text: &[u8]) -> usize {
    let after_sign = text.strip_prefix(b"+").or_else(|| text.strip_prefix(b"-"));
    match after_sign {
        _ if text.starts_with(b"Z") => 1,
        Some(zone) if shaped(zone, b"00:00") => 6,
        Some(zone) if shaped(zone, b"0000") => 5,
        _ => 0,
    }
}

/// Whether a text begins with this shape, in which 0 stands for any digit.
pub(super) fn shaped(text: &[u8], shape: &[u8]) -> bool {
    let is_right = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    text.len() >= shape.len() && text.iter().zip(shape).all(is_right)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_that_differ_in_their_times_alone_are_the_same() {
        for (one, other) in [
            ("connection refused", "connection refused"),
            ("2026-01-02T15:04:05.1Z x", "2026-01-02T15:04:05.123456789Z x"),
            ("2026-01-02T15:04:05.1 x", "2026-01-02T15:04:05.12 x"),
            ("2026/01/02 15:04:05 x", "2027/11/02 05:14:05 x"),
            ("E0102 15:04:05.678901 1 a.go:3] x", "E0102 23:59:00.000000 1 a.go:3] x"),
            ("127.0.0.1 - [02/Jan/2026:15:04:05 +0000] y", "127.0.0.1 - [02/Jan/2026:15:04:06 +0000] y"),
            ("ts=2026-01-02T15:04:05+01:00 at=15:04:05", "ts=2026-01-02T15:04:05-0700 at=16:04:05"),
            ("15:04:05", "15:04:06"),
            ("", ""),
        ] {
            assert!(is_same(one.as_bytes(), other.as_bytes()), "{one} / {other}");
            assert!(is_same(other.as_bytes(), one.as_bytes()), "{other} / {one}");
        }
    }

    #[test]
    fn texts_that_differ_in_anything_else_are_not() {
        for (one, other) in [
            ("x", "y"),
            ("x", "xx"),
            ("15:04:05 x", "15:04:06 y"),
            ("15:04:05", "15:04:06 "),
            ("took 15 ms", "took 16 ms"),
            ("2026-01-02 x", "2026-01-03 x"),
            ("99:04:05", "99:04:06"),
            ("02:42:ac:11:00:02", "02:42:ac:11:00:03"),
            ("12:34:56:78:90:11", "12:34:57:78:90:11"),
            ("115:04:05", "115:04:06"),
            ("15:04:051", "15:04:052"),
        ] {
            assert!(!is_same(one.as_bytes(), other.as_bytes()), "{one} / {other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_the_same_as_themselves_and_the_order_does_not_matter(
            one in "[0-9:TZ .+-]{0,40}", other in "[0-9:TZ .+-]{0,40}",
        ) {
            prop_assert!(is_same(one.as_bytes(), one.as_bytes()));
            let (one, other) = (one.as_bytes(), other.as_bytes());
            prop_assert_eq!(is_same(one, other), is_same(other, one));
        }
    }
}
