//! Times as `time.Parse` and `time.ParseInLocation` of Go's time/format.go read them.
//!
//! In: a layout, a text, a time zone. Out: nanoseconds since 1970 and the year that was read. Years are those that fit into
//! 64 bits of nanoseconds.

use super::{
    calendar::{days_in, days_since_1970, of_year_day},
    layout::{Element, Layout, Part, ZoneShape},
    zone::Zone,
};

/// A time that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds of the second.
    pub nanoseconds: i64,
}

/// A time as it stands in a text, before it is known in which zone.
#[derive(Clone, Copy, Debug, Default)]
struct Fields {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanoseconds: i64,
    is_pm: bool,
    is_am: bool,
}

/// What a text says of its zone.
enum Offset<'a> {
    None,
    Seconds(i64),
    Name(&'a str),
}

/// Reads a time. `zone` is that of texts without one; `add_years` is added to the year.
pub fn parse(layout: &Layout, text: &str, zone: &Zone, add_years: impl Fn(i64, i64) -> Option<i64>) -> Option<Parsed> {
    let (mut fields, mut offset, mut text) = (Fields::default(), Offset::None, text);
    for Element { before, part, precedes_fraction } in &layout.elements {
        text = skip(text, before)?;
        text = match *part {
            Part::ZoneName => zone_name(text, &mut offset)?,
            Part::Zone { z: true, .. } if text.starts_with('Z') => {
                offset = Offset::Seconds(0);
                &text[1..]
            }
            Part::Zone { shape, .. } => numeric_zone(text, shape, &mut offset)?,
            part if part.is_of_date() => fields.read_date(part, text)?,
            part => fields.read_clock(part, text, *precedes_fraction)?,
        };
    }
    if !skip(text, &layout.tail)?.is_empty() {
        return None;
    }
    fields.finish(&offset, zone, add_years)
}

impl Fields {
    /// Takes a part of the date from the text and returns what follows.
    fn read_date<'a>(&mut self, part: Part, text: &'a str) -> Option<&'a str> {
        let rest;
        match part {
            Part::Year => {
                let year: i64 = signed(text.get(..2)?)?;
                self.year = if year >= 69 { 1900 + year } else { 2000 + year };
                rest = &text[2..];
            }
            Part::LongYear => {
                let digits = text.get(..4).filter(|digits| digits.as_bytes()[0].is_ascii_digit())?;
                self.year = signed(digits)?;
                rest = &text[4..];
            }
            Part::Month | Part::LongMonth => {
                let (month, tail) = name(text, &MONTHS, part == Part::Month)?;
                self.month = Some(month + 1);
                rest = tail;
            }
            Part::WeekDay | Part::LongWeekDay => {
                rest = name(text, &DAYS, part == Part::WeekDay)?.1;
            }
            Part::NumMonth | Part::ZeroMonth => {
                let (month, tail) = within(number(text, part == Part::ZeroMonth)?, 1, 12)?;
                self.month = Some(month);
                rest = tail;
            }
            Part::Day | Part::UnderDay | Part::ZeroDay => {
                let text = if part == Part::UnderDay { text.strip_prefix(' ').unwrap_or(text) } else { text };
                let (day, tail) = number(text, part == Part::ZeroDay)?;
                self.day = Some(day);
                rest = tail;
            }
            _ => {
                let (day, tail) = year_day(text, part == Part::ZeroYearDay)?;
                self.year_day = Some(day);
                rest = tail;
            }
        }
        Some(rest)
    }

    /// The same of the time of day.
    fn read_clock<'a>(&mut self, part: Part, text: &'a str, precedes_fraction: bool) -> Option<&'a str> {
        let rest;
        match part {
            Part::Hour => (self.hour, rest) = within(number(text, false)?, 0, 23)?,
            Part::Hour12 | Part::ZeroHour12 => {
                (self.hour, rest) = within(number(text, part == Part::ZeroHour12)?, 0, 12)?;
            }
            Part::Minute | Part::ZeroMinute => {
                (self.minute, rest) = within(number(text, part == Part::ZeroMinute)?, 0, 59)?;
            }
            Part::Second | Part::ZeroSecond => {
                let tail;
                (self.second, tail) = within(number(text, part == Part::ZeroSecond)?, 0, 59)?;
                // A fraction is taken even if the layout has none.
                rest = if precedes_fraction { tail } else { self.read_fraction(tail)? };
            }
            Part::UpperPm | Part::LowerPm => {
                let upper = part == Part::UpperPm;
                match (text.get(..2)?, upper) {
                    ("PM", true) | ("pm", false) => self.is_pm = true,
                    ("AM", true) | ("am", false) => self.is_am = true,
                    _ => return None,
                }
                rest = &text[2..];
            }
            Part::Fraction0(digits) => {
                let written = text.get(..=digits).filter(|written| written.starts_with(['.', ',']))?;
                self.nanoseconds = nanoseconds(&written[1..])?;
                rest = &text[1 + digits..];
            }
            _ => rest = self.read_fraction(text)?,
        }
        Some(rest)
    }

    /// Takes a point or comma with digits, if there are any.
    fn read_fraction<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let Some(digits) = fraction_digits(text) else { return Some(text) };
        self.nanoseconds = nanoseconds(&text[1..=digits])?;
        Some(&text[1 + digits..])
    }

    fn finish(
        mut self,
        offset: &Offset<'_>,
        zone: &Zone,
        add_years: impl Fn(i64, i64) -> Option<i64>,
    ) -> Option<Parsed> {
        if self.is_pm && self.hour < 12 {
            self.hour += 12;
        } else if self.is_am && self.hour == 12 {
            self.hour = 0;
        }
        let (mut month, mut day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        if let Some(year_day) = self.year_day {
            let (its_month, its_day) = of_year_day(self.year, year_day)?;
            if self.month.is_some_and(|month| month != its_month) || self.day.is_some_and(|day| day != its_day) {
                return None;
            }
            (month, day) = (its_month, its_day);
        }
        if day < 1 || day > days_in(month, self.year) {
            return None;
        }
        // The year of the time in its own zone, and so before the offset.
        let year = self.year + add_years(self.year, month)?;
        let local = days_since_1970(year, month, day) * 86_400 + self.hour * 3600 + self.minute * 60 + self.second;
        let seconds = match offset {
            Offset::Seconds(offset) => local - offset,
            Offset::None => zone.utc_of(local),
            // Go gives `GMT+2` a zone of that name, and does not move the time by it.
            Offset::Name(name) => local - zone.offset_of_name(name, local).unwrap_or(0),
        };
        Some(Parsed { seconds, nanoseconds: self.nanoseconds })
    }
}

impl Parsed {
    /// Nanoseconds since 1970; `None` where they do not fit.
    pub fn as_nanoseconds(self) -> Option<i64> {
        self.seconds.checked_mul(1_000_000_000)?.checked_add(self.nanoseconds)
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The number of the name that the text begins with, in any case of letters.
fn name<'a>(text: &'a str, names: &[&str], short: bool) -> Option<(i64, &'a str)> {
    (0..).zip(names).find_map(|(i, name)| {
        let name = if short { &name[..3] } else { name };
        let begin = text.get(..name.len())?;
        begin.eq_ignore_ascii_case(name).then(|| (i, &text[name.len()..]))
    })
}

/// The value, where it is not out of range.
fn within((value, rest): (i64, &str), from: i64, to: i64) -> Option<(i64, &str)> {
    (from <= value && value <= to).then_some((value, rest))
}

/// One or two digits; `two`: no fewer.
fn number(text: &str, two: bool) -> Option<(i64, &str)> {
    let digit = |at: usize| text.as_bytes().get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10);
    match (digit(0)?, digit(1)) {
        (tens, Some(ones)) => Some((i64::from(tens * 10 + ones), &text[2..])),
        (ones, None) if !two => Some((i64::from(ones), &text[1..])),
        _ => None,
    }
}

/// Up to three digits, and in place of the first ones blanks; `three`: just three.
fn year_day(mut text: &str, three: bool) -> Option<(i64, &str)> {
    for _ in 0..2 {
        if !three {
            text = text.strip_prefix(' ').unwrap_or(text);
        }
    }
    let digits = text.bytes().take(3).take_while(u8::is_ascii_digit).count();
    if digits == 0 || three && digits != 3 {
        return None;
    }
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

fn signed(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // Go takes nothing for 0 here.
        return digits.is_empty().then_some(0);
    }
    text.parse().ok()
}

/// How many digits follow a point or comma that the text begins with.
fn fraction_digits(text: &str) -> Option<usize> {
    let digits = text.strip_prefix(['.', ','])?.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then_some(digits)
}

/// A fraction of a second by its digits; what is finer than a nanosecond is cut.
fn nanoseconds(digits: &str) -> Option<i64> {
    let (mut value, mut unit) = (0, 100_000_000);
    for byte in digits.bytes() {
        if !byte.is_ascii_digit() {
            return None;
        }
        value += i64::from(byte - b'0') * unit;
        unit /= 10;
    }
    Some(value)
}

/// Passes the layout's own text, any number of blanks being as good as any other.
fn skip<'a>(mut text: &'a str, mut layout: &str) -> Option<&'a str> {
    if !layout.as_bytes().contains(&b' ') {
        return text.strip_prefix(layout);
    }
    while let Some(first) = layout.bytes().next() {
        if first == b' ' {
            if !text.is_empty() && !text.starts_with(' ') {
                return None;
            }
            (layout, text) = (layout.trim_start_matches(' '), text.trim_start_matches(' '));
            continue;
        }
        let end = layout.find(' ').unwrap_or(layout.len());
        text = text.strip_prefix(&layout[..end])?;
        layout = &layout[end..];
    }
    Some(text)
}

fn zone_name<'a>(text: &'a str, offset: &mut Offset<'a>) -> Option<&'a str> {
    if let Some(rest) = text.strip_prefix("UTC") {
        *offset = Offset::Seconds(0);
        return Some(rest);
    }
    let bytes = zone_name_bytes(text)?;
    *offset = Offset::Name(&text[..bytes]);
    Some(&text[bytes..])
}

/// How long the name of a zone is that the text begins with.
fn zone_name_bytes(text: &str) -> Option<usize> {
    let begin = text.as_bytes().get(..3)?;
    if text.starts_with("ChST") || text.starts_with("MeST") {
        return Some(4);
    }
    if begin == b"GMT" {
        return Some(3 + signed_offset_bytes(&text[3..]).unwrap_or(0));
    }
    if matches!(begin[0], b'+' | b'-') {
        return signed_offset_bytes(text);
    }
    let upper = text.bytes().take(6).take_while(u8::is_ascii_uppercase).count();
    match upper {
        3 => Some(3),
        4 if text.as_bytes()[3] == b'T' || text.starts_with("WITA") => Some(4),
        5 if text.as_bytes()[4] == b'T' => Some(5),
        _ => None,
    }
}

/// How long a `+3` or `-11` is that the text begins with.
fn signed_offset_bytes(text: &str) -> Option<usize> {
    let digits = text.strip_prefix(['+', '-'])?.bytes().take_while(u8::is_ascii_digit).count();
    let hours: u64 = text[1..=digits].parse().ok()?;
    (hours <= 23).then_some(1 + digits)
}

fn numeric_zone<'a>(text: &'a str, shape: ZoneShape, offset: &mut Offset<'a>) -> Option<&'a str> {
    // Where the digits stand; minutes and seconds may be absent.
    let (bytes, minutes, seconds, colons): (_, _, _, &[usize]) = match shape {
        ZoneShape::Minutes => (5, Some(3), None, &[]),
        ZoneShape::ColonMinutes => (6, Some(4), None, &[3]),
        ZoneShape::Hours => (3, None, None, &[]),
        ZoneShape::Seconds => (7, Some(3), Some(5), &[]),
        ZoneShape::ColonSeconds => (9, Some(4), Some(7), &[3, 6]),
    };
    let written = text.get(..bytes)?;
    if colons.iter().any(|at| written.as_bytes()[*at] != b':') {
        return None;
    }
    let two = |at: Option<usize>, max: i64| match at {
        None => Some(0),
        Some(at) => number(written.get(at..at + 2)?, true).map(|(value, _)| value).filter(|value| *value <= max),
    };
    let value = (two(Some(1), 24)? * 60 + two(minutes, 60)?) * 60 + two(seconds, 60)?;
    *offset = Offset::Seconds(match written.as_bytes()[0] {
        b'+' => value,
        b'-' => -value,
        _ => return None,
    });
    Some(&text[bytes..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(layout: &str, text: &str) -> Option<i64> {
        parse(&Layout::new(layout), text, &Zone::utc(), |_, _| Some(0)).and_then(Parsed::as_nanoseconds)
    }

    #[test]
    fn times_are_read_by_their_layout() {
        let noon = 1_700_000_000_000_000_000;
        for (layout, text, nanoseconds) in [
            ("2006-01-02T15:04:05Z07:00", "2023-11-14T22:13:20Z", Some(noon)),
            ("2006-01-02T15:04:05Z07:00", "2023-11-14T22:13:20.5Z", Some(noon + 500_000_000)),
            ("2006-01-02T15:04:05Z07:00", "2023-11-14T23:13:20,000000001+01:00", Some(noon + 1)),
            ("02/Jan/2006:15:04:05 -0700", "14/nov/2023:22:13:20 +0000", Some(noon)),
            ("Mon Jan _2 15:04:05 2006", "Tue Nov 14 22:13:20 2023", Some(noon)),
            ("2006-01-02 15:04:05.000", "2023-11-14 22:13:20.123", Some(noon + 123_000_000)),
            ("2006-01-02 15:04:05.000", "2023-11-14 22:13:20", None),
            ("2006-01-02 3:04:05 PM", "2023-11-14 10:13:20 PM", Some(noon)),
            ("06-002 15:04:05", "23-318 22:13:20", Some(noon)),
            ("2006-01-02 15:04:05 MST", "2023-11-14 22:13:20 CET", Some(noon)),
            ("2006-01-02 15:04:05 MST", "2023-11-14 22:13:20 GMT+2", Some(noon)),
            ("2006-01-02", "2023-02-29", None),
            ("2006-01-02", "2023-02-28 ", None),
            ("2006-01-02T15:04:05", "2023-11-14T24:13:20", None),
            ("15:04", "é5:04", None),
        ] {
            assert_eq!(at(layout, text), nanoseconds, "{layout} {text}");
        }
    }

    #[test]
    fn a_local_time_is_in_its_zone() {
        let Some(berlin) = Zone::named("Europe/Berlin") else {
            println!("SKIPPED: this machine has no time zones");
            return;
        };
        let parsed =
            parse(&Layout::new("2006-01-02 15:04:05"), "2023-07-01 12:00:00", &berlin, |_, _| Some(0)).unwrap();
        assert_eq!(parsed.seconds, 1_688_205_600);
        let named = parse(&Layout::new("2006-01-02 15:04:05 MST"), "2023-07-01 12:00:00 CEST", &berlin, |_, _| Some(0))
            .unwrap();
        assert_eq!(named.seconds, 1_688_205_600);
    }
}
