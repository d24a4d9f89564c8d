//! Timestamps: parsed exactly as the grammar of RFC 3339 and a calendar that counts every year read them.

use collector::decode::parse_rfc3339;

/// Any bytes.
pub fn check(input: &[u8]) {
    assert_eq!(parse_rfc3339(input), slowly(input), "{}", String::from_utf8_lossy(input));
}

/// Nanoseconds since 1970 of the timestamp that `bytes` begins with, and its length.
pub(crate) fn slowly(bytes: &[u8]) -> Option<(i64, usize)> {
    let mut rest = Rest(bytes);
    let year = rest.number(4)?;
    rest.one_of(b"-")?;
    let month = rest.number(2)?;
    rest.one_of(b"-")?;
    let day = rest.number(2)?;
    rest.one_of(b"Tt")?;
    let hour = rest.number(2)?;
    rest.one_of(b":")?;
    let minute = rest.number(2)?;
    rest.one_of(b":")?;
    let second = rest.number(2)?;
    let nanos = if rest.one_of(b".").is_some() { rest.nanos()? } else { 0 };
    let offset_minutes = match rest.one_of(b"Zz+-")? {
        b'Z' | b'z' => 0,
        sign => {
            let hours = rest.number(2)?;
            rest.one_of(b":")?;
            let minutes = rest.number(2)?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if sign == b'-' { -1 } else { 1 }
        }
    };
    let is_leap = |year: i128| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let month_days = |month| match month {
        2 => 28 + i128::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=12).contains(&month) || !(1..=month_days(month)).contains(&day) || hour > 23 || minute > 59 || second > 59
    {
        return None;
    }
    let year_days = |year| 365 + i128::from(is_leap(year));
    let days_of_years = (1970..year).map(year_days).sum::<i128>() - (year..1970).map(year_days).sum::<i128>();
    let days = days_of_years + (1..month).map(month_days).sum::<i128>() + day - 1;
    let seconds = ((days * 24 + hour) * 60 + minute - offset_minutes) * 60 + second;
    let timestamp_ns = i64::try_from(seconds * 1_000_000_000 + nanos).ok()?;
    Some((timestamp_ns, bytes.len() - rest.0.len()))
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        let found = wanted.contains(first).then_some(*first)?;
        self.0 = rest;
        Some(found)
    }

    fn number(&mut self, digits: usize) -> Option<i128> {
        (0..digits).try_fold(0, |number, _| Some(number * 10 + i128::from(self.one_of(b"0123456789")? - b'0')))
    }

    /// At least one digit; those after the ninth count for nothing.
    fn nanos(&mut self) -> Option<i128> {
        let (mut nanos, mut worth) = (self.number(1)? * 100_000_000, 10_000_000);
        while let Some(digit) = self.number(1) {
            nanos += digit * worth;
            worth /= 10;
        }
        Some(nanos)
    }
}
