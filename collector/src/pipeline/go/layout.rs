//! Go's layouts of times (`2006-01-02T15:04:05Z07:00`), cut into their parts, as `nextStdChunk` of Go's time/format.go cuts.

/// One element of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekDay,
    WeekDay,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperPm,
    LowerPm,
    /// `MST`.
    ZoneName,
    /// A numeric zone.
    Zone {
        /// Whether `Z` stands for UTC.
        z: bool,
        shape: ZoneShape,
    },
    /// `.000`: this many digits.
    Fraction0(usize),
    /// `.999`: as many as there are.
    Fraction9,
}

impl Part {
    /// Whether it is of the date, and not of the time of day or the zone.
    pub(super) fn is_of_date(self) -> bool {
        use Part::*;
        matches!(
            self,
            LongMonth
                | Month
                | NumMonth
                | ZeroMonth
                | LongWeekDay
                | WeekDay
                | Day
                | UnderDay
                | ZeroDay
                | UnderYearDay
                | ZeroYearDay
                | LongYear
                | Year
        )
    }
}

/// A layout, cut once for all texts.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(super) elements: Vec<Element>,
    /// The text after the last part.
    pub(super) tail: Box<str>,
}

/// A part of a layout with what stands before it.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub before: Box<str>,
    pub part: Part,
    /// The next part is a fraction of a second.
    pub precedes_fraction: bool,
}

impl Layout {
    #[must_use]
    pub fn new(text: &str) -> Self {
        let (mut elements, mut rest) = (Vec::new(), text);
        while let Some((before, part, after)) = next(rest) {
            let precedes_fraction = matches!(next(after), Some((_, Part::Fraction0(_) | Part::Fraction9, _)));
            elements.push(Element { before: before.into(), part, precedes_fraction });
            rest = after;
        }
        Self { elements, tail: rest.into() }
    }

    /// Its parts, in their order.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        self.elements.iter().map(|element| element.part)
    }
}

/// How a numeric zone is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneShape {
    /// `-0700`
    Minutes,
    /// `-07:00`
    ColonMinutes,
    /// `-07`
    Hours,
    /// `-070000`
    Seconds,
    /// `-07:00:00`
    ColonSeconds,
}

/// The first part of a layout: the text before it, the part, the layout after it.
fn next(layout: &str) -> Option<(&str, Part, &str)> {
    // Bytes: a part begins and ends with ASCII, and so between characters.
    (0..layout.len()).find_map(|i| {
        let (part, bytes) = part_at(layout.as_bytes(), i)?;
        // `_2006` is a `_` with a year after it.
        let begin = if part == Part::LongYear && layout.as_bytes()[i] == b'_' { i + 1 } else { i };
        Some((&layout[..begin], part, &layout[i + bytes..]))
    })
}

const ZONES: [(&[u8], ZoneShape); 5] = [
    (b"070000", ZoneShape::Seconds),
    (b"07:00:00", ZoneShape::ColonSeconds),
    (b"0700", ZoneShape::Minutes),
    (b"07:00", ZoneShape::ColonMinutes),
    (b"07", ZoneShape::Hours),
];

fn part_at(layout: &[u8], i: usize) -> Option<(Part, usize)> {
    let rest = &layout[i..];
    let follows_lower = |n: usize| rest.get(n).is_some_and(u8::is_ascii_lowercase);
    let begins = |text: &[u8]| rest.starts_with(text);
    match rest[0] {
        b'J' if begins(b"January") => Some((Part::LongMonth, 7)),
        b'J' if begins(b"Jan") && !follows_lower(3) => Some((Part::Month, 3)),
        b'M' if begins(b"Monday") => Some((Part::LongWeekDay, 6)),
        b'M' if begins(b"Mon") && !follows_lower(3) => Some((Part::WeekDay, 3)),
        b'M' if begins(b"MST") => Some((Part::ZoneName, 3)),
        b'0' => match rest.get(1)? {
            b'1' => Some((Part::ZeroMonth, 2)),
            b'2' => Some((Part::ZeroDay, 2)),
            b'3' => Some((Part::ZeroHour12, 2)),
            b'4' => Some((Part::ZeroMinute, 2)),
            b'5' => Some((Part::ZeroSecond, 2)),
            b'6' => Some((Part::Year, 2)),
            b'0' if rest.get(2) == Some(&b'2') => Some((Part::ZeroYearDay, 3)),
            _ => None,
        },
        b'1' if begins(b"15") => Some((Part::Hour, 2)),
        b'1' => Some((Part::NumMonth, 1)),
        b'2' if begins(b"2006") => Some((Part::LongYear, 4)),
        b'2' => Some((Part::Day, 1)),
        b'_' if begins(b"_2006") => Some((Part::LongYear, 5)),
        b'_' if begins(b"_2") => Some((Part::UnderDay, 2)),
        b'_' if begins(b"__2") => Some((Part::UnderYearDay, 3)),
        b'3' => Some((Part::Hour12, 1)),
        b'4' => Some((Part::Minute, 1)),
        b'5' => Some((Part::Second, 1)),
        b'P' if begins(b"PM") => Some((Part::UpperPm, 2)),
        b'p' if begins(b"pm") => Some((Part::LowerPm, 2)),
        sign @ (b'-' | b'Z') => {
            let (text, shape) = ZONES.iter().find(|(text, _)| rest[1..].starts_with(text))?;
            Some((Part::Zone { z: sign == b'Z', shape: *shape }, 1 + text.len()))
        }
        b'.' | b',' => {
            let digit = *rest.get(1).filter(|digit| matches!(digit, b'0' | b'9'))?;
            let digits = rest[1..].iter().take_while(|byte| **byte == digit).count();
            if rest.get(1 + digits).is_some_and(u8::is_ascii_digit) {
                return None;
            }
            Some((if digit == b'0' { Part::Fraction0(digits) } else { Part::Fraction9 }, 1 + digits))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_cut_as_go_cuts_them() {
        let parts = |mut layout: &'static str| {
            let mut all = Vec::new();
            while let Some((before, part, after)) = next(layout) {
                all.push((before, part));
                layout = after;
            }
            (all, layout)
        };
        let (all, rest) = parts("2006-01-02T15:04:05.000Z07:00 [MST]");
        let zone = Part::Zone { z: true, shape: ZoneShape::ColonMinutes };
        let names: Vec<Part> = all.iter().map(|(_, part)| *part).collect();
        assert_eq!(
            names,
            [
                Part::LongYear,
                Part::ZeroMonth,
                Part::ZeroDay,
                Part::Hour,
                Part::ZeroMinute,
                Part::ZeroSecond,
                Part::Fraction0(3),
                zone,
                Part::ZoneName
            ]
        );
        assert_eq!((all[1].0, all[8].0, rest), ("-", " [", "]"));
        assert_eq!(parts("_2006").0, [("_", Part::LongYear)]);
        assert_eq!(parts("_2 Janus").0, [("", Part::UnderDay)]);
    }
}
