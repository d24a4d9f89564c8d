//! RFC 3339 timestamps to int64 nanoseconds, exact.
//!
//! In: bytes that begin with a timestamp. Out: nanoseconds since 1970-01-01T00:00:00Z and the timestamp's length.
//! Guarantees: the calendar is checked (no 31 April, no leap second: Go, which writes these, has none), and what int64
//! cannot hold is refused.
//!
//! Digits are handled eight at a time as the bytes of one `u64`: `benches/parse_timestamp.rs` has the figures.

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// `YYYY-MM-DDTHH:MM:SS`.
const SECONDS_LEN: usize = 19;
/// Seconds since 1970 of which every nanosecond fits into int64, in every zone.
const SECONDS_THAT_FIT: std::ops::Range<i64> = -9_223_200_000..9_223_200_000;

/// Parses timestamps and remembers the last one's second, which neighbours mostly share.
#[derive(Clone, Copy, Debug)]
pub struct Timestamps {
    /// `YYYY-MM-DDTHH:MM:SS`, a valid one.
    second: [u8; SECONDS_LEN],
    /// Its nanoseconds since 1970, read as UTC.
    second_ns: i64,
}

impl Default for Timestamps {
    fn default() -> Self {
        Self { second: *b"1970-01-01T00:00:00", second_ns: 0 }
    }
}

impl Timestamps {
    /// As [`parse_rfc3339`].
    #[inline]
    pub fn parse(&mut self, bytes: &[u8]) -> Option<(i64, usize)> {
        let (second, rest) = bytes.split_first_chunk::<SECONDS_LEN>()?;
        if *second != self.second {
            let seconds = seconds_since_1970(second)?;
            if !SECONDS_THAT_FIT.contains(&seconds) {
                return parse_rfc3339(bytes);
            }
            *self = Self { second: *second, second_ns: seconds * NANOS_PER_SECOND };
        }
        // What Go's RFC3339Nano writes in nine of ten cases.
        if let Some([b'.', digits @ .., b'Z']) = rest.first_chunk::<11>()
            && let Some(nanos) = nine_digits(digits)
        {
            return Some((self.second_ns + nanos, SECONDS_LEN + 11));
        }
        let (nanos, len) = fraction_and_zone(rest)?;
        Some((self.second_ns + nanos, SECONDS_LEN + len))
    }
}

/// Parses the RFC 3339 timestamp that `bytes` begins with, with any number of fraction digits (those after the ninth are
/// dropped) and any offset. Returns nanoseconds since 1970-01-01T00:00:00Z and the timestamp's length, or `None` where
/// there is none or it does not fit into int64.
pub fn parse_rfc3339(bytes: &[u8]) -> Option<(i64, usize)> {
    let (second, rest) = bytes.split_first_chunk()?;
    let seconds = seconds_since_1970(second)?;
    let (nanos, len) = fraction_and_zone(rest)?;
    let timestamp_ns = i128::from(seconds) * i128::from(NANOS_PER_SECOND) + i128::from(nanos);
    Some((i64::try_from(timestamp_ns).ok()?, SECONDS_LEN + len))
}

/// The seconds since 1970 of `YYYY-MM-DDTHH:MM:SS`, read as UTC.
#[inline(never)]
fn seconds_since_1970(text: &[u8; SECONDS_LEN]) -> Option<i64> {
    let (date, rest) = text.split_first_chunk()?;
    let (time, seconds) = rest.split_first_chunk()?;
    let date = date_fields(u64::from_le_bytes(*date))?;
    let time = time_fields(u64::from_le_bytes(*time))?;
    let [b':', tens @ b'0'..=b'5', ones @ b'0'..=b'9'] = *seconds else { return None };
    if time.day == 0 || time.day > days_in_month(date.year, date.month) {
        return None;
    }
    let days = days_since_1970(date.year, date.month, time.day);
    let minutes = i64::from(time.hour * 60 + time.minute);
    Some(days * SECONDS_PER_DAY + minutes * 60 + i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

/// The nanoseconds after the second, in UTC, and the length of a fraction, if there is one, and a zone.
#[inline(never)]
fn fraction_and_zone(bytes: &[u8]) -> Option<(i64, usize)> {
    let (nanos, fraction_len) = fraction(bytes)?;
    let (offset_seconds, zone_len) = zone(&bytes[fraction_len..])?;
    Some((nanos - offset_seconds * NANOS_PER_SECOND, fraction_len + zone_len))
}

const ZEROS: u64 = u64::from_le_bytes(*b"00000000");
/// Added to a byte of 0 to 127, sets its highest bit where it is no decimal digit's value.
const ABOVE_NINE: u64 = 0x7676_7676_7676_7676;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

struct Date {
    year: u32,
    month: u32,
}

struct TimeOfDay {
    day: u32,
    hour: u32,
    minute: u32,
}

/// `YYYY-MM-`, first byte lowest.
#[inline]
fn date_fields(bytes: u64) -> Option<Date> {
    let pairs = digit_pairs(bytes ^ u64::from_le_bytes(*b"0000-00-"), 0xff00_00ff_0000_0000)?;
    let year = byte(pairs, 0) * 100 + byte(pairs, 2);
    let month = byte(pairs, 5);
    (1..=12).contains(&month).then_some(Date { year, month })
}

/// `DDTHH:MM`, first byte lowest; RFC 3339 allows `t` too. The day is not checked against the month.
#[inline]
fn time_fields(bytes: u64) -> Option<TimeOfDay> {
    const LOWER_CASE: u64 = 0x20 << 16;
    let digits = (bytes | LOWER_CASE) ^ u64::from_le_bytes(*b"00t00:00");
    let pairs = digit_pairs(digits, 0x0000_ff00_00ff_0000)?;
    let time = TimeOfDay { day: byte(pairs, 0), hour: byte(pairs, 3), minute: byte(pairs, 6) };
    (time.hour < 24 && time.minute < 60).then_some(time)
}

/// Each byte of the result is ten times the byte of `digits` plus the next one. `None` where a byte is no digit's value,
/// or one that `separators` covers is not 0.
#[inline]
fn digit_pairs(digits: u64, separators: u64) -> Option<u64> {
    if (digits | (digits & !HIGH_BITS).wrapping_add(ABOVE_NINE)) & HIGH_BITS != 0 || digits & separators != 0 {
        return None;
    }
    Some(digits * 10 + (digits >> 8))
}

#[inline]
fn byte(pairs: u64, index: u32) -> u32 {
    ((pairs >> (8 * index)) & 0xff) as u32
}

/// The nanoseconds of `.123…` and its length with the dot; 0 and 0 where there is no dot.
#[inline]
fn fraction(bytes: &[u8]) -> Option<(i64, usize)> {
    let [b'.', digits @ ..] = bytes else { return Some((0, 0)) };
    let first_eight = match digits.first_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => {
            let mut eight = [0; 8];
            eight[..digits.len()].copy_from_slice(digits);
            u64::from_le_bytes(eight)
        }
    } ^ ZEROS;
    let no_digit = (first_eight | (first_eight & !HIGH_BITS).wrapping_add(ABOVE_NINE)) & HIGH_BITS;
    if no_digit != 0 {
        let len = no_digit.trailing_zeros() as usize / 8;
        let cut_off_zeros = first_eight & ((1u64 << (8 * len)) - 1);
        return (len > 0).then(|| (i64::from(eight_digits(cut_off_zeros)) * 10, 1 + len));
    }
    let more = digits[8..].iter().take_while(|b| b.is_ascii_digit()).count();
    let ninth = if more > 0 { i64::from(digits[8] - b'0') } else { 0 };
    Some((i64::from(eight_digits(first_eight)) * 10 + ninth, 9 + more))
}

/// The number that nine digits make; `None` where one is none.
#[inline]
fn nine_digits(digits: &[u8; 9]) -> Option<i64> {
    let [first_eight @ .., ninth @ b'0'..=b'9'] = digits else { return None };
    let values = u64::from_le_bytes(*first_eight) ^ ZEROS;
    let no_digit = (values | (values & !HIGH_BITS).wrapping_add(ABOVE_NINE)) & HIGH_BITS;
    (no_digit == 0).then(|| i64::from(eight_digits(values)) * 10 + i64::from(ninth - b'0'))
}

/// The number that eight digit values make, the first one in the lowest byte.
#[inline]
fn eight_digits(values: u64) -> u32 {
    let pairs = (values * 10 + (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours * 10_000 + (fours >> 32)) as u32
}

/// Seconds east of UTC of `Z` or `±hh:mm`, and its length.
#[inline]
fn zone(bytes: &[u8]) -> Option<(i64, usize)> {
    match *bytes {
        [b'Z' | b'z', ..] => Some((0, 1)),
        [sign @ (b'+' | b'-'), h1 @ b'0'..=b'2', h2 @ b'0'..=b'9', b':', m1 @ b'0'..=b'5', m2 @ b'0'..=b'9', ..] => {
            let hours = i64::from(h1 - b'0') * 10 + i64::from(h2 - b'0');
            let minutes = i64::from(m1 - b'0') * 10 + i64::from(m2 - b'0');
            let seconds = hours * 3600 + minutes * 60;
            (hours < 24).then_some((if sign == b'-' { -seconds } else { seconds }, 6))
        }
        _ => None,
    }
}

fn days_in_month(year: u32, month: u32) -> u32 {
    const DAYS: [u8; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap_day = month == 2 && year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    u32::from(DAYS[month as usize - 1]) + u32::from(leap_day)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. Counting the years from March on puts the leap day at a
/// year's end (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days_since_1970(year: u32, month: u32, day: u32) -> i64 {
    /// From 0000-03-01 to 1970-01-01.
    const DAYS_BEFORE_1970: i64 = 719_468;
    let month_from_march = (month + 9) % 12;
    let year_from_march = i64::from(year) - i64::from(month <= 2);
    let day_of_year = i64::from((153 * month_from_march + 2) / 5 + day - 1);
    let leap_days = year_from_march.div_euclid(4) - year_from_march.div_euclid(100) + year_from_march.div_euclid(400);
    year_from_march * 365 + leap_days + day_of_year - DAYS_BEFORE_1970
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// With and without a second remembered from before, its own or another one.
    fn parsed(bytes: &[u8]) -> Option<(i64, usize)> {
        let mut timestamps = Timestamps::default();
        let parsed = [timestamps.parse(bytes), timestamps.parse(bytes), parse_rfc3339(bytes)];
        assert!(parsed.iter().all(|each| *each == parsed[0]), "{parsed:?} for {}", bytes.escape_ascii());
        parsed[0]
    }

    fn whole(text: &str) -> Option<i64> {
        parsed(text.as_bytes()).and_then(|(ns, len)| (len == text.len()).then_some(ns))
    }

    #[test]
    fn known_instants_are_exact() {
        for (text, ns) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.000000001Z", 1),
            ("1969-12-31T23:59:59.999999999Z", -1),
            ("2026-11-22T11:09:06.1Z", 1_795_345_746_100_000_000),
            ("2026-11-22T16:39:06.1+05:30", 1_795_345_746_100_000_000),
            ("2026-11-21T22:09:06.100000000-13:00", 1_795_345_746_100_000_000),
            ("2000-02-29t12:00:00z", 951_825_600_000_000_000),
            ("2262-04-11T23:47:16.854775807Z", i64::MAX),
            ("1677-09-21T00:12:43.145224192Z", i64::MIN),
        ] {
            assert_eq!(whole(text), Some(ns), "{text}");
        }
    }

    #[test]
    fn digits_after_the_ninth_are_dropped() {
        assert_eq!(whole("1970-01-01T00:00:00.1234567899999999Z"), Some(123_456_789));
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in [
            "",
            "2026",
            "2026-11-22",
            "2026-11-22T11:09:06",
            "2026-11-22T11:09:06.",
            "2026-11-22T11:09:06.Z",
            "2026-11-22 11:09:06Z",
            "2026-11-22T11:09:60Z",
            "2026-11-22T11:60:06Z",
            "2026-11-22T24:09:06Z",
            "2026-11-31T11:09:06Z",
            "2026-02-29T11:09:06Z",
            "1900-02-29T11:09:06Z",
            "2026-11-00T11:09:06Z",
            "2026-00-22T11:09:06Z",
            "2026-13-22T11:09:06Z",
            "2026/11/22T11:09:06Z",
            "2O26-11-22T11:09:06Z",
            "2026-11-22T11:09:0:Z",
            "2026-11-22T11:09:06+24:00",
            "2026-11-22T11:09:06+05:60",
            "2026-11-22T11:09:06+0530",
            "2026-11-22T11:09:06+05:3",
            "2026-11-22T11:09:06,5Z",
            "2262-04-11T23:47:16.854775808Z",
            "1677-09-21T00:12:43.145224191Z",
            "9999-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
        ] {
            assert_eq!(parsed(text.as_bytes()), None, "{text}");
        }
    }

    /// Counts the days one month at a time and parses with the standard library: nothing shared with the code above.
    fn slowly(text: &str) -> Option<i64> {
        fn number(text: &str, range: std::ops::Range<usize>) -> Option<i64> {
            let digits = text.get(range)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().unwrap())
        }
        fn leap(year: i64) -> bool {
            year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        }
        fn month_days(year: i64, month: i64) -> i64 {
            match month {
                2 => 28 + i64::from(leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            }
        }
        for (at, byte) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
            if text.as_bytes().get(at) != Some(&byte) {
                return None;
            }
        }
        let (year, month, day) = (number(text, 0..4)?, number(text, 5..7)?, number(text, 8..10)?);
        let (hour, minute, second) = (number(text, 11..13)?, number(text, 14..16)?, number(text, 17..19)?);
        if !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let mut days = day - 1;
        for y in 1970.min(year)..1970.max(year) {
            let days_of_year = 365 + i64::from(leap(y));
            days += if year >= 1970 { days_of_year } else { -days_of_year };
        }
        days += (1..month).map(|m| month_days(year, m)).sum::<i64>();
        let rest = &text[19..];
        let zone_at = rest.find(['Z', '+', '-'])?;
        let nanos = match rest[..zone_at].strip_prefix('.') {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                format!("{digits:0<9}")[..9].parse::<i64>().unwrap()
            }
            Some(_) => return None,
            None if zone_at == 0 => 0,
            None => return None,
        };
        let zone = &rest[zone_at..];
        let offset = if zone == "Z" {
            0
        } else {
            let (hours, minutes) = (number(zone, 1..3)?, number(zone, 4..6)?);
            if zone.len() != 6 || &zone[3..4] != ":" || hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * 60 * if zone.starts_with('-') { -1 } else { 1 }
        };
        let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second - offset;
        i64::try_from(i128::from(seconds) * 1_000_000_000 + i128::from(nanos)).ok()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn agrees_with_a_slow_parser(
            year in prop_oneof![8 => 1970..2100u32, 2 => 1600..2300u32, 1 => 0..10_000u32],
            month in 0..14u32,
            day in prop_oneof![4 => 1..29u32, 2 => 28..33u32, 1 => 0..100u32],
            (hour, minute, second) in (0..26u32, 0..62u32, 0..62u32),
            fraction in prop_oneof![4 => "\\.[0-9]{1,9}", 1 => "", 1 => "\\.[0-9]{0,20}"],
            zone in prop_oneof![4 => Just("Z".to_owned()), 2 => "[+-][0-2][0-9]:[0-6][0-9]", 1 => "[Zz+ -][0-9:]{0,6}"],
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}");
            // A prefix is enough for the parser; the slow parser wants the whole text and knows no `z`.
            prop_assume!(!zone.starts_with('z'));
            match parsed(text.as_bytes()) {
                Some((ns, len)) => prop_assert_eq!(slowly(&text[..len]), Some(ns), "{}", text),
                None => prop_assert_eq!(slowly(&text), None, "{}", text),
            }
        }

        #[test]
        fn one_changed_byte_is_judged_alike(at in 0..30usize, byte in any::<u8>()) {
            let mut bytes = *b"2026-11-22T11:09:06.123456789Z";
            bytes[at] = byte;
            let slow = std::str::from_utf8(&bytes).ok().filter(|t| t.is_ascii() && !t.contains(['t', 'z'])).map(slowly);
            if let Some(slow) = slow {
                prop_assert_eq!(parsed(&bytes).filter(|(_, len)| *len == 30).map(|(ns, _)| ns), slow);
            }
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            parsed(&bytes);
        }
    }
}
