//! `levels`: the level of each line as the structured metadata `detected_level`.
//!
//! In: an entry behind all stages of the list. Out: the same entry with its level, `unknown` where nothing tells it, counted by level.
//! Guarantees: what Loki finds itself (`discover_log_levels`, grafana/loki pkg/distributor/field_detection.go) is found here, by the same
//! steps; beyond that klog's header, syslog's priority, the numbers that pino and bunyan write, and standard error where nothing else
//! tells. No allocation per line. Must not know where lines come from or go to.

use std::ops::ControlFlow;

use super::{
    entry::{Entry, Pairs},
    level::Level,
    line_counts::{ChannelCounts, LineCounts},
    same_text::shaped,
    stage::{Channel, Context, Origin, Stage, Step},
    stages::{json, logfmt},
};

/// What Loki calls it.
pub const DETECTED_LEVEL: &str = "detected_level";

/// OpenTelemetry's number of a level, in structured metadata.
const SEVERITY_NUMBER: &str = "severity_number";

/// Names under which a level is found, the first one first: Loki's default `log_level_fields`.
const FIELDS: [&str; 14] = [
    "level",
    "LEVEL",
    "Level",
    "log.level",
    "severity",
    "SEVERITY",
    "Severity",
    "SeverityText",
    "lvl",
    "LVL",
    "Lvl",
    "severity_text",
    "Severity_Text",
    "SEVERITY_TEXT",
];

/// How deep objects are searched in a JSON line: Loki's default `log_level_from_json_max_depth`.
const JSON_DEPTH: usize = 2;

/// What is written for a level, in any case of letters.
const NAMES: [(&str, Level); 14] = [
    ("trace", Level::Trace),
    ("trc", Level::Trace),
    ("debug", Level::Debug),
    ("dbg", Level::Debug),
    ("info", Level::Info),
    ("inf", Level::Info),
    ("information", Level::Info),
    ("warn", Level::Warn),
    ("wrn", Level::Warn),
    ("warning", Level::Warn),
    ("error", Level::Error),
    ("err", Level::Error),
    ("critical", Level::Critical),
    ("fatal", Level::Fatal),
];

/// Words that tell the level of a text.
const WORDS: [(&[u8], Level); 9] = [
    (b"trace", Level::Trace),
    (b"debug", Level::Debug),
    (b"fatal", Level::Fatal),
    (b"critical", Level::Critical),
    (b"error", Level::Error),
    (b"err", Level::Error),
    (b"warning", Level::Warn),
    (b"warn", Level::Warn),
    (b"info", Level::Info),
];

/// The stage behind all others of the list.
pub(super) struct Levels {
    /// Levels are sent, and not only looked at by what follows.
    sends: bool,
    counts: Option<Counting>,
    scratch: Vec<u8>,
    /// A level that is none of Loki's, on its way into the metadata.
    other: String,
}

/// Where lines are counted by level.
pub(super) struct Counting {
    pub counts: LineCounts,
    /// The number of what it keeps for a channel.
    pub channel: usize,
}

impl Levels {
    pub fn new(sends: bool, counts: Option<Counting>) -> Self {
        Self { sends, counts, scratch: Vec::new(), other: String::new() }
    }
}

impl Stage for Levels {
    fn channel(&self, origin: Origin<'_>) -> Option<Box<dyn Channel>> {
        let Counting { counts, .. } = self.counts.as_ref()?;
        let label = |name| origin.labels.get(name).unwrap_or("");
        Some(Box::new(ChannelCounts::new(counts.row(label("namespace"), label("app")))))
    }

    fn run(&mut self, entry: &mut Entry, context: &mut Context<'_>) -> Step {
        let set = entry.metadata.get(DETECTED_LEVEL).filter(|value| !value.is_empty());
        let given = set.or_else(|| named(&entry.labels)).or_else(|| named(&entry.metadata));
        entry.level = match (given, entry.metadata.get(SEVERITY_NUMBER)) {
            (Some("unknown"), _) => Level::Unknown,
            (Some(given), _) => by_name(given.as_bytes()).unwrap_or_else(|| {
                self.other.clear();
                self.other.push_str(given);
                Level::Other
            }),
            (None, Some(number)) if !number.is_empty() => by_severity_number(number),
            _ => of_text(&entry.line, context.is_stderr(), &mut self.scratch),
        };
        if self.sends {
            let name = if entry.level == Level::Other { &self.other } else { entry.level.name() };
            entry.metadata.set(DETECTED_LEVEL, name);
        }
        if let Some(Counting { channel, .. }) = self.counts
            && let Some(counts) = context.channel::<ChannelCounts>(channel)
        {
            counts.count(entry.level);
        }
        Step::Next
    }
}

/// The level of a text. `is_stderr`: it was written to standard error, which counts as `error` where nothing else tells.
pub fn of_text(text: &[u8], is_stderr: bool, scratch: &mut Vec<u8>) -> Level {
    if let Some(level) = by_klog_header(text).or_else(|| by_syslog_priority(text)) {
        return level;
    }
    let field = if is_json(text) {
        json_field(text, scratch)
    } else if memchr::memchr(b'=', text).is_some() {
        logfmt_field(text, scratch)
    } else {
        Field::Missing
    };
    match field {
        Field::Level(level) => level,
        Field::Other => by_word(text).unwrap_or_default(),
        Field::Missing => by_word(text).unwrap_or(if is_stderr { Level::Error } else { Level::Unknown }),
    }
}

/// What a line has under one of the names.
#[derive(Clone, Copy)]
enum Field {
    Missing,
    /// A value that is none of Loki's levels.
    Other,
    Level(Level),
}

impl Field {
    fn of(value: &[u8]) -> Self {
        match by_name(value) {
            Some(level) => Self::Level(level),
            None if value.is_empty() => Self::Missing,
            None => Self::Other,
        }
    }
}

/// The place of a name among [`FIELDS`].
fn place(name: &[u8], are_equal: impl Fn(&[u8], &[u8]) -> bool) -> Option<usize> {
    // Most keys are ruled out by their first letter.
    match name.first() {
        Some(b'l' | b'L' | b's' | b'S') => FIELDS.iter().position(|field| are_equal(field.as_bytes(), name)),
        _ => None,
    }
}

/// The value under the first of the names.
fn named(pairs: &Pairs) -> Option<&str> {
    let found = pairs.iter().filter(|(_, value)| !value.is_empty());
    let found = found.filter_map(|(name, value)| Some((place(name.as_bytes(), <[u8]>::eq)?, value)));
    found.min_by_key(|(place, _)| *place).map(|(_, value)| value)
}

fn by_name(value: &[u8]) -> Option<Level> {
    let found = NAMES.iter().find(|(name, _)| value.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, level)| *level).or_else(|| by_number(value))
}

/// The numbers of pino and bunyan, 10 to 60; one between two of them is the lower one.
fn by_number(value: &[u8]) -> Option<Level> {
    match value {
        b"60" => Some(Level::Fatal),
        [tens @ b'1'..=b'5', b'0'..=b'9'] => {
            Some([Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error][usize::from(*tens - b'1')])
        }
        _ => None,
    }
}

fn by_severity_number(number: &str) -> Level {
    match number.parse::<i64>() {
        Err(_) => Level::Info,
        Ok(0) | Ok(25..) => Level::Unknown,
        Ok(..=4) => Level::Trace,
        Ok(5..=8) => Level::Debug,
        Ok(9..=12) => Level::Info,
        Ok(13..=16) => Level::Warn,
        Ok(17..=20) => Level::Error,
        Ok(21..=24) => Level::Fatal,
    }
}

/// `E0102 15:04:05.678901 …`: klog, and glog before it.
fn by_klog_header(text: &[u8]) -> Option<Level> {
    let level = match text.first()? {
        b'I' => Level::Info,
        b'W' => Level::Warn,
        b'E' => Level::Error,
        b'F' => Level::Fatal,
        _ => return None,
    };
    shaped(&text[1..], b"0000 00:00:00").then_some(level)
}

/// `<3>…`, as systemd, the kernel and syslog (RFC 5424) have it: facility * 8 + severity.
fn by_syslog_priority(text: &[u8]) -> Option<Level> {
    let rest = text.strip_prefix(b"<")?;
    let digits = &rest[..rest.iter().take(4).position(|byte| *byte == b'>')?];
    let priority = match digits {
        [] => return None,
        digits => digits
            .iter()
            .try_fold(0_usize, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + usize::from(*digit - b'0')))?,
    };
    let levels = [
        Level::Fatal,
        Level::Critical,
        Level::Critical,
        Level::Error,
        Level::Warn,
        Level::Info,
        Level::Info,
        Level::Debug,
    ];
    (priority < 24 * 8).then(|| levels[priority % 8])
}

fn is_json(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    text.starts_with(b"{") && text.ends_with(b"}")
}

/// The first member with one of the names, in the order of the text.
fn json_field(text: &[u8], scratch: &mut Vec<u8>) -> Field {
    let found = json::first_member(text, JSON_DEPTH, scratch, &mut |key, value| {
        let is_level = || value.starts_with(b"\"") || by_number(value).is_some();
        place(key, <[u8]>::eq).is_some() && is_level()
    });
    match found.map(|value| &text[value]) {
        None => Field::Missing,
        Some([b'"', value @ .., b'"']) => Field::of(value),
        Some(number) => Field::of(number),
    }
}

/// The value of the name that stands first among [`FIELDS`], in any case of letters.
fn logfmt_field(text: &[u8], scratch: &mut Vec<u8>) -> Field {
    let (mut best, mut found) = (FIELDS.len(), Field::Missing);
    logfmt::each_pair(text, scratch, |key, value| {
        if let Some(place) = place(key, <[u8]>::eq_ignore_ascii_case)
            && place < best
        {
            (best, found) = (place, Field::of(value));
        }
        if best == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found
}

/// The first of the words that stands alone.
fn by_word(text: &[u8]) -> Option<Level> {
    let mut rest = text;
    loop {
        if let Some(level) = word_at_start(rest) {
            return Some(level);
        }
        let before = rest.iter().position(|byte| is_before_word(*byte))?;
        rest = &rest[before + 1..];
    }
}

fn word_at_start(text: &[u8]) -> Option<Level> {
    if !matches!(text.first()?.to_ascii_lowercase(), b't' | b'd' | b'f' | b'c' | b'e' | b'w' | b'i') {
        return None;
    }
    let stands_here = |word: &[u8]| {
        let (start, after) = text.split_at_checked(word.len())?;
        let ends = after.first().is_none_or(|byte| is_after_word(*byte));
        (ends && start.eq_ignore_ascii_case(word)).then_some(())
    };
    WORDS.iter().find(|(word, _)| stands_here(word).is_some()).map(|(_, level)| *level)
}

fn is_before_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'[' | b'(' | b'{' | b'"' | b'\'' | b'=' | b'|')
}

fn is_after_word(byte: u8) -> bool {
    is_before_word(byte) || matches!(byte, b']' | b')' | b'}' | b':' | b',' | b'!')
}

#[cfg(test)]
mod tests;
