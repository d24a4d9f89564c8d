//! What two sides make of the same lines, held against each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::Write,
};

use crate::admin::{
    rules::{Named, Sent},
    terminal::Printable,
};

/// What is sent of an entry; `None`: it is dropped.
pub type Outcome = Option<Sent>;

/// The longest text of an example.
const EXAMPLE_CHARS: usize = 160;

/// How two outcomes differ; what breaks most comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Sent before, not any more.
    Lost,
    /// Not sent before.
    More,
    Tenant,
    /// The labels of these names.
    Labels(Vec<String>),
    Text,
    Metadata(Vec<String>),
    Time,
}

#[derive(Debug)]
struct Example {
    lines: u64,
    channel: String,
    old: Outcome,
    new: Outcome,
}

/// What was compared so far.
#[derive(Debug, Default)]
pub struct Comparison {
    lines: u64,
    sent_by_old: u64,
    differing: u64,
    old_streams: BTreeSet<Named>,
    new_streams: BTreeSet<Named>,
    differences: BTreeMap<Difference, Example>,
}

impl Comparison {
    /// Adds what both sides made of a container's stdout or stderr: entries with the number of their first line.
    pub fn channel(&mut self, name: &str, old: Vec<(u64, Outcome)>, new: Vec<(u64, Outcome)>) {
        for (sides, streams) in [(&old, &mut self.old_streams), (&new, &mut self.new_streams)] {
            streams.extend(sides.iter().filter_map(|(_, sent)| sent.as_ref().map(|sent| sent.labels.clone())));
        }
        self.sent_by_old += old.iter().filter(|(_, sent)| sent.is_some()).count() as u64;
        let numbers: BTreeSet<u64> = old.iter().chain(&new).map(|(number, _)| *number).collect();
        for number in numbers {
            let of = |side: &[(u64, Outcome)]| -> Vec<Outcome> {
                side.iter().filter(|(other, _)| *other == number).map(|(_, sent)| sent.clone()).collect()
            };
            let (old, new) = (of(&old), of(&new));
            for index in 0..old.len().max(new.len()) {
                let side = |side: &[Outcome]| side.get(index).cloned().flatten();
                self.entry(name, side(&old), side(&new));
            }
        }
    }

    fn entry(&mut self, channel: &str, old: Outcome, new: Outcome) {
        self.lines += 1;
        let differences = differences(&old, &new);
        self.differing += u64::from(!differences.is_empty());
        for difference in differences {
            let example = || Example { lines: 0, channel: channel.to_owned(), old: old.clone(), new: new.clone() };
            self.differences.entry(difference).or_insert_with(example).lines += 1;
        }
    }

    /// Neither side sends any line.
    #[must_use]
    pub fn is_of_nothing(&self) -> bool {
        self.old_streams.is_empty() && self.new_streams.is_empty()
    }

    #[must_use]
    pub fn differing_lines(&self) -> u64 {
        self.differing
    }

    /// Writes the counts, and every kind of difference with an example.
    ///
    /// # Errors
    /// `out` cannot be written to.
    pub fn write(&self, containers: usize, out: &mut impl Write) -> anyhow::Result<()> {
        let same = self.old_streams.intersection(&self.new_streams).count();
        writeln!(out, "compared the last lines of {containers} containers")?;
        writeln!(
            out,
            "streams: {} by the old rules, {} by the new ones, {same} identical",
            self.old_streams.len(),
            self.new_streams.len()
        )?;
        let (entries, sent, identical) = (self.lines, self.sent_by_old, self.lines - self.differing);
        writeln!(out, "lines:   {entries}, of which the old rules send {sent}; {identical} identical")?;
        for (difference, example) in &self.differences {
            writeln!(out, "\n{}", sentence(difference, example.lines))?;
            writeln!(out, "  such as in {}", example.channel)?;
            writeln!(out, "    old: {}", shown(difference, &example.old))?;
            writeln!(out, "    new: {}", shown(difference, &example.new))?;
        }
        Ok(())
    }
}

fn differences(old: &Outcome, new: &Outcome) -> Vec<Difference> {
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (None, None) => return Vec::new(),
        (Some(_), None) => return vec![Difference::Lost],
        (None, Some(_)) => return vec![Difference::More],
    };
    let names = |old: &Named, new: &Named| -> Vec<String> {
        let all: BTreeSet<&String> = old.iter().chain(new).map(|(name, _)| name).collect();
        let of = |side: &Named, name: &str| side.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        all.into_iter().filter(|name| of(old, name) != of(new, name)).cloned().collect()
    };
    let mut found = Vec::new();
    if old.tenant != new.tenant {
        found.push(Difference::Tenant);
    }
    if old.labels != new.labels {
        found.push(Difference::Labels(names(&old.labels, &new.labels)));
    }
    if old.line != new.line {
        found.push(Difference::Text);
    }
    if old.metadata != new.metadata {
        found.push(Difference::Metadata(names(&old.metadata, &new.metadata)));
    }
    if old.time_ns != new.time_ns {
        found.push(Difference::Time);
    }
    found
}

fn sentence(difference: &Difference, lines: u64) -> String {
    let lines = if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") };
    match difference {
        Difference::Lost => format!("{lines}: sent by the old rules, and not by the new ones"),
        Difference::More => format!("{lines}: sent by the new rules, and not by the old ones"),
        Difference::Tenant => format!("{lines}: another tenant"),
        Difference::Labels(names) => format!("{lines}: other labels: {}", names.join(", ")),
        Difference::Text => format!("{lines}: another text"),
        Difference::Metadata(names) => format!("{lines}: other structured metadata: {}", names.join(", ")),
        Difference::Time => format!("{lines}: another time"),
    }
}

/// The part of an outcome that a difference is about.
fn shown(difference: &Difference, outcome: &Outcome) -> String {
    let Some(sent) = outcome else { return "not sent".into() };
    let text = match difference {
        Difference::Labels(_) => pairs(&sent.labels),
        Difference::Metadata(_) => pairs(&sent.metadata),
        Difference::Time => format!("{} ns", sent.time_ns),
        Difference::Tenant => format!("{:?}", sent.tenant),
        Difference::Lost | Difference::More => format!("{} {}", pairs(&sent.labels), sent.line),
        Difference::Text => sent.line.clone(),
    };
    let short: String = text.chars().take(EXAMPLE_CHARS).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{}{more}", Printable(&short.replace('\n', "\\n")))
}

/// Labels as LogQL writes them.
pub fn pairs(pairs: &Named) -> String {
    let mut text = String::from("{");
    for (index, (name, value)) in pairs.iter().enumerate() {
        // Writing to a text cannot fail.
        let _ = write!(text, "{}{name}={value:?}", if index > 0 { ", " } else { "" });
    }
    text + "}"
}
