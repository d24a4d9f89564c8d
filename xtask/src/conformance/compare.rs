//! What differs between two answers.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{Answer, Output, Series, Value};

/// Where two answers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Error,
    /// Which entries there are.
    Entries,
    Labels,
    Line,
    Time,
    Metadata,
    Extracted,
    Metrics,
}

/// One thing that differs.
#[derive(Debug)]
pub struct Difference {
    pub field: Field,
    /// The number of the entry in the request.
    pub entry: Option<i64>,
    pub promtail: String,
    pub pilcrow: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}, entry {:?}\n  Promtail: {}\n  Pilcrow:  {}",
            self.field, self.entry, self.promtail, self.pilcrow
        )
    }
}

/// Times that are both this close to now are the time of processing.
const NOW_NS: i64 = 600_000_000_000;

/// `keeps_order`: Promtail gives out blocks of one first line in the order in which they ended.
pub fn differences(promtail: &Answer, pilcrow: &Answer, keeps_order: bool) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut add = |field, entry, promtail: String, pilcrow: String| {
        all.push(Difference { field, entry, promtail, pilcrow });
    };
    if promtail.error.is_empty() != pilcrow.error.is_empty() {
        add(Field::Error, None, promtail.error.clone(), pilcrow.error.clone());
        return all;
    }
    let (theirs, ours) = (entries(promtail, keeps_order), entries(pilcrow, keeps_order));
    let ids = |entries: &[&Output]| entries.iter().map(|entry| entry.id).collect::<Vec<_>>();
    if ids(&theirs) != ids(&ours) {
        add(Field::Entries, None, format!("{:?}", ids(&theirs)), format!("{:?}", ids(&ours)));
    } else {
        for (theirs, ours) in theirs.iter().zip(&ours) {
            let id = Some(theirs.id);
            if theirs.labels != ours.labels {
                add(Field::Labels, id, format!("{:?}", theirs.labels), format!("{:?}", ours.labels));
            }
            if theirs.line != ours.line {
                add(Field::Line, id, text(&theirs.line), text(&ours.line));
            }
            if theirs.time != ours.time && !(is_now(theirs.time) && is_now(ours.time)) {
                add(Field::Time, id, theirs.time.to_string(), ours.time.to_string());
            }
            let sorted = |output: &Output| {
                let mut pairs = output.metadata.clone();
                pairs.sort();
                pairs
            };
            if sorted(theirs) != sorted(ours) {
                add(Field::Metadata, id, format!("{:?}", sorted(theirs)), format!("{:?}", sorted(ours)));
            }
            for name in &pilcrow.names {
                let shown = |output: &Output| output.extracted.get(name).map(shown).unwrap_or_default();
                if shown(theirs) != shown(ours) {
                    add(Field::Extracted, id, format!("{name}: {}", shown(theirs)), format!("{name}: {}", shown(ours)));
                }
            }
        }
    }
    let (theirs, ours) = (metrics(promtail), metrics(pilcrow));
    if theirs != ours {
        add(Field::Metrics, None, format!("{theirs:?}"), format!("{ours:?}"));
    }
    all
}

/// By their first lines; of one first line those that ended first, where that order is kept.
fn entries(answer: &Answer, keeps_order: bool) -> Vec<&Output> {
    let mut all: Vec<_> = answer.entries.iter().flatten().collect();
    if !keeps_order {
        all.sort_by_key(|entry| (entry.id, &entry.line));
    }
    all
}

fn is_now(time: i64) -> bool {
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).is_ok_and(|now| (now - time).abs() < NOW_NS)
}

fn shown(value: &Value) -> String {
    format!("{} {}", value.kind, text(value.text.as_deref().unwrap_or("")))
}

/// The text of what was encoded.
pub fn text(base64: &str) -> String {
    String::from_utf8_lossy(&BASE64_STANDARD.decode(base64).unwrap_or_default()).into_owned()
}

/// Series by name and labels, with their numbers as numbers: the two write them differently.
fn metrics(answer: &Answer) -> BTreeMap<String, Vec<String>> {
    let key = |series: &Series| format!("{}{:?}", series.name, series.labels);
    let number = |word: &str| match word.parse::<f64>() {
        Ok(number) => format!("{number:.9}"),
        Err(_) => word.to_owned(),
    };
    let words = |text: &str| text.split([' ', ':']).map(number).collect();
    let shown = |series: &&Series| series.name != "logentry_dropped_lines_by_label_total";
    answer.metrics.iter().flatten().filter(shown).map(|series| (key(series), words(&series.value))).collect()
}
