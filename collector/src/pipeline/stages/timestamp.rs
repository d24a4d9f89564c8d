//! `timestamp`: an extracted value becomes the entry's time.

use std::collections::HashMap;

use serde::Deserialize;

use crate::{
    config::nearest,
    pipeline::{
        compile::Compiler,
        entry::Entry,
        extracted::Slot,
        go::{calendar, layout::Layout, time, zone::Zone},
        stage::{Context, Failed, Stage, Step},
        unchanged::{Unchanged, quoted},
    },
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    source: String,
    format: String,
    fallback_formats: Vec<String>,
    location: Option<String>,
    action_on_failure: Option<String>,
    /// Alloy's.
    action_on_duplicate_timestamp: Option<String>,
}

struct Timestamp {
    source: Slot,
    formats: Vec<Format>,
    /// These as they are written.
    written: String,
    zone: Zone,
    fudge_failures: bool,
    fudge_duplicates: bool,
    known: Known,
}

enum Format {
    /// One of Go's own, which are read as UTC.
    Named(Layout),
    Unix,
    /// Nanoseconds of one.
    Units(i64),
    /// A layout, and whether it has a year.
    Layout(Layout, bool),
}

/// Go's names for layouts.
const NAMED: [(&str, &str); 10] = [
    ("ANSIC", "Mon Jan _2 15:04:05 2006"),
    ("UnixDate", "Mon Jan _2 15:04:05 MST 2006"),
    ("RubyDate", "Mon Jan 02 15:04:05 -0700 2006"),
    ("RFC822", "02 Jan 06 15:04 MST"),
    ("RFC822Z", "02 Jan 06 15:04 -0700"),
    ("RFC850", "Monday, 02-Jan-06 15:04:05 MST"),
    ("RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"),
    ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"),
    ("RFC3339", "2006-01-02T15:04:05Z07:00"),
    ("RFC3339Nano", "2006-01-02T15:04:05.999999999Z07:00"),
];

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    let source = compiler.required("source", &settings.source)?;
    if settings.format.is_empty() {
        return Err(compiler.error("", "format is missing"));
    }
    let zone = zone(compiler, settings.location.as_deref())?;
    let fudge_failures = fudge_failures(compiler, settings.action_on_failure.as_deref())?;
    let fudge_duplicates = match settings.action_on_duplicate_timestamp.as_deref() {
        None | Some("keep") => false,
        Some("fudge") => true,
        Some(other) => {
            let message = format!("expected fudge or keep, found {other:?}");
            return Err(compiler.error("action_on_duplicate_timestamp", message));
        }
    };
    let fallbacks = (0..).zip(&settings.fallback_formats);
    for (key, text) in std::iter::once(("format".to_owned(), &settings.format))
        .chain(fallbacks.map(|(index, text): (usize, _)| (format!("fallback_formats.[{index}]"), text)))
    {
        if let Some(why) = never_matches(text) {
            compiler.warn(&key, why);
        }
    }
    let texts: Vec<String> = std::iter::once(settings.format).chain(settings.fallback_formats).collect();
    let formats = texts.iter().map(|text| format(text)).collect();
    let (written, known) = (texts.join(" or "), Known::default());
    Ok(vec![Box::new(Timestamp { source, formats, written, zone, fudge_failures, fudge_duplicates, known })])
}

fn zone(compiler: &mut Compiler<'_>, location: Option<&str>) -> Result<Zone, Failed> {
    let Some(name) = location else { return Ok(Zone::utc()) };
    Zone::named(name)
        .ok_or_else(|| compiler.error("location", format!("{name:?} is not a time zone such as Europe/Berlin")))
}

/// What `action_on_failure` says.
fn fudge_failures(compiler: &mut Compiler<'_>, action: Option<&str>) -> Result<bool, Failed> {
    match action {
        None => {
            let message = "action_on_failure is skip where it is left out, and not fudge as in Promtail: \
                           fudged times differ after a restart";
            compiler.warn("", message);
            Ok(false)
        }
        Some("fudge") => {
            let message = "fudge: lines that are read again after a restart have other times than before, so that Loki stores them twice; \
                           skip keeps the time at which the line was written";
            compiler.warn("action_on_failure", message);
            Ok(true)
        }
        Some("skip") => Ok(false),
        Some(other) => Err(compiler.error("action_on_failure", format!("expected fudge or skip, found {other:?}"))),
    }
}

fn format(text: &str) -> Format {
    match text {
        "Unix" => Format::Unix,
        "UnixMs" => Format::Units(1_000_000),
        "UnixUs" => Format::Units(1_000),
        "UnixNs" => Format::Units(1),
        _ => match NAMED.iter().find(|(name, _)| *name == text) {
            Some((_, layout)) => Format::Named(Layout::new(layout)),
            None => Format::Layout(Layout::new(text), text.contains("06")),
        },
    }
}

/// Why no time is written so, where the layout is likely one of another language or a misspelt name.
fn never_matches(text: &str) -> Option<String> {
    let Format::Layout(layout, _) = format(text) else { return None };
    let mut parts = Vec::new();
    for part in layout.parts() {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    // A digit in a word is a part already.
    if parts.len() >= 2 {
        return None;
    }
    let names = NAMED.iter().map(|(name, _)| *name).chain(["Unix", "UnixMs", "UnixUs", "UnixNs"]);
    Some(match nearest(text, names) {
        Some(nearest) => format!("no time is written as {text:?}; did you mean {nearest}?"),
        None => format!(
            "no time is written as {text:?}: a layout shows how Mon Jan 2 15:04:05 2006 is written, such as \"2006-01-02 15:04:05\""
        ),
    })
}

impl Stage for Timestamp {
    fn run(&mut self, entry: &mut Entry, context: &mut Context<'_>) -> Step {
        let text = entry.extracted.some_text(self.source).and_then(|text| std::str::from_utf8(text).ok());
        let parsed =
            text.and_then(|text| self.formats.iter().find_map(|format| format.parse(text, &self.zone, context.now_ns)));
        match parsed {
            Some(parsed) => {
                entry.timestamp_ns = parsed;
                if self.fudge_failures || self.fudge_duplicates {
                    let last = self.known.of(entry.labels.hash());
                    if self.fudge_duplicates && last.parsed == Some(parsed) {
                        entry.timestamp_ns = last.given.saturating_add(1);
                    }
                    (last.parsed, last.given) = (Some(parsed), entry.timestamp_ns);
                }
            }
            None if self.fudge_failures => {
                let last = self.known.of(entry.labels.hash());
                if last.parsed.is_some() {
                    last.given = last.given.saturating_add(1);
                    entry.timestamp_ns = last.given;
                }
            }
            None => {}
        }
        Step::Next
    }

    fn why(&self, seen: &Unchanged<'_>) -> String {
        seen.of_source(Some(self.source), |text, name| {
            let is_time = |text| self.formats.iter().any(|format| format.parse(text, &self.zone, 0).is_some());
            if std::str::from_utf8(text).is_ok_and(is_time) {
                return format!("{name} is the time that the line has");
            }
            format!("{name} is {}, which is not a time of format {}", quoted(text), self.written)
        })
    }
}

impl Format {
    fn parse(&self, text: &str, zone: &Zone, now_ns: i64) -> Option<i64> {
        match self {
            Self::Named(layout) => time::parse(layout, text, &Zone::utc(), |_, _| Some(0))?.as_nanoseconds(),
            Self::Layout(layout, true) => time::parse(layout, text, zone, |_, _| Some(0))?.as_nanoseconds(),
            Self::Layout(layout, false) => {
                let add_years = |year, month| if year == 0 { Some(year_of(month, now_ns)) } else { None };
                time::parse(layout, text, zone, add_years)?.as_nanoseconds()
            }
            Self::Units(nanoseconds) => whole(text)?.checked_mul(*nanoseconds),
            Self::Unix => match text.split_once('.') {
                None => whole(text)?.checked_mul(1_000_000_000),
                Some((_, fraction)) if fraction.contains('.') => None,
                Some((seconds, fraction)) => {
                    // As Promtail computes it, by a floating point number.
                    let digits = i32::try_from(fraction.len()).ok()?;
                    let nanoseconds = (whole(fraction)? as f64 * 10_f64.powi(9 - digits)) as i64;
                    whole(seconds)?.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
                }
            },
        }
    }
}

/// A whole number as Go's `strconv.ParseInt` reads it.
fn whole(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// The year of a time that is given without one: the present one, but for the turn of the year.
fn year_of(month: i64, now_ns: i64) -> i64 {
    let days = now_ns.div_euclid(86_400_000_000_000);
    let (year, now_month) = calendar::year_and_month(days);
    match (month, now_month) {
        (12, 1) => year - 1,
        (1, 12) => year + 1,
        _ => year,
    }
}

/// The last times of label sets; the newer and the older generation, each of this many at most.
#[derive(Default)]
struct Known {
    newer: HashMap<u64, Last>,
    older: HashMap<u64, Last>,
}

#[derive(Clone, Copy, Default)]
struct Last {
    parsed: Option<i64>,
    given: i64,
}

/// Promtail keeps the last 10,000 label sets.
const KNOWN_MAX: usize = 10_000;

impl Known {
    fn of(&mut self, labels: u64) -> &mut Last {
        if !self.newer.contains_key(&labels) {
            let last = self.older.remove(&labels).unwrap_or_default();
            if self.newer.len() >= KNOWN_MAX {
                self.older = std::mem::take(&mut self.newer);
            }
            self.newer.insert(labels, last);
        }
        self.newer.entry(labels).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::never_matches;

    #[test]
    fn layouts_of_other_languages_and_misspelt_names_are_told_from_layouts() {
        for good in
            ["2006-01-02 15:04:05", "02/Jan/2006:15:04:05 -0700", "15:04", "Unix", "RFC3339Nano", "Jan _2 15:04:05"]
        {
            assert_eq!(never_matches(good), None, "{good}");
        }
        for (wrong, what) in [
            ("RFC339", "did you mean RFC3339?"),
            ("unix", "did you mean Unix?"),
            ("yyyy-MM-dd HH:mm:ss", "a layout shows how"),
            ("%Y-%m-%dT%H:%M:%S", "a layout shows how"),
            ("ISO8601", "a layout shows how"),
        ] {
            let found = never_matches(wrong);
            assert!(found.as_ref().is_some_and(|found| found.contains(what)), "{wrong}: {found:?}");
        }
    }
}
