//! What became of a line, or of a block of lines, and what each stage did to it.

use super::{
    Counts, Sent,
    sent::{Named, named},
};
use crate::pipeline::{Entry, Pairs, Pipeline, Slot, Step, Value, Verdict, Watch};

/// What Promtail does not count has no reason; the collector's metric calls it so.
const MALFORMED: &str = "drop_malformed";

/// The way of a line, or of a block of lines, through the stages.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The number of the line; of a block that of its first line.
    pub number: u64,
    /// It is a block that the stage of this number has held back until now.
    pub held_by: Option<usize>,
    /// Its text before the stages.
    pub before: String,
    /// Its time before the stages.
    pub before_ns: i64,
    /// What each stage did, where that was asked for.
    pub steps: Vec<StepTrace>,
    pub end: End,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Sent(Sent),
    Dropped {
        reason: &'static str,
        /// The number of the stage.
        stage: usize,
    },
    /// It waits for what follows in the stage of this number.
    Held {
        stage: usize,
    },
}

/// What a stage did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepTrace {
    pub stage: usize,
    pub did: Did,
    pub changes: Vec<Change>,
    /// Why it changed nothing, in words; empty where it did, or has nothing to say.
    pub why: String,
}

/// How it went on after a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// With the next stage.
    GoOn,
    /// Past the stages in it.
    PassOver,
    Drop,
    Hold,
}

/// What a stage changed; `None`: it removed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Line(String),
    /// In nanoseconds since 1970.
    Time(i64),
    Label(String, Option<String>),
    Metadata(String, Option<String>),
    /// With the value as text, in quotation marks where it is one.
    Extracted(String, Option<String>),
}

/// Writes traces while a pipeline runs.
pub(super) struct Tracer {
    explain: bool,
    names: Vec<(String, Slot)>,
    max_bytes: usize,
    /// The labels of the channel.
    pub own: Pairs,
    pub counts: Counts,
    /// Those that have not ended: a block goes out while the line that ended it waits.
    open: Vec<Open>,
    ended: Vec<Trace>,
}

struct Open {
    trace: Trace,
    stage: usize,
    bytes: usize,
    seen: Seen,
}

/// An entry as it was between two stages.
#[derive(Default)]
struct Seen {
    line: Vec<u8>,
    time_ns: i64,
    labels: Named,
    metadata: Named,
    extracted: Named,
}

impl Tracer {
    pub fn new(pipeline: &Pipeline, explain: bool) -> Self {
        Self {
            explain,
            names: pipeline.names().map(|(name, slot)| (name.to_owned(), slot)).collect(),
            max_bytes: pipeline.max_bytes(),
            own: Pairs::default(),
            counts: Counts::new(pipeline.len()),
            open: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// What has ended since the last call.
    pub fn take(&mut self) -> Vec<Trace> {
        std::mem::take(&mut self.ended)
    }
}

impl Watch for Tracer {
    fn begins(&mut self, entry: &Entry, from: Option<usize>) {
        let trace = Trace {
            number: entry.at.1,
            held_by: from,
            before: String::from_utf8_lossy(&entry.line).into_owned(),
            before_ns: entry.timestamp_ns,
            steps: Vec::new(),
            end: End::Held { stage: 0 },
        };
        let seen = if self.explain { Seen::of(entry, &self.names) } else { Seen::default() };
        self.open.push(Open { trace, stage: 0, bytes: entry.line.len(), seen });
    }

    fn ran(&mut self, stage: usize, entry: &Entry, step: Step, why: &dyn Fn() -> String) {
        let Some(open) = self.open.last_mut() else { return };
        let did = match step {
            // It is run again when what it held back has gone out.
            Step::Release => return,
            Step::Next => Did::GoOn,
            Step::Jump(_) => Did::PassOver,
            Step::Drop(_) | Step::DropUncounted => Did::Drop,
            Step::Held | Step::HeldAndDue => Did::Hold,
        };
        self.counts.came(stage, open.bytes);
        (open.stage, open.bytes) = (stage, entry.line.len());
        if self.explain {
            let seen = Seen::of(entry, &self.names);
            let changes = seen.changes_since(&open.seen);
            open.seen = seen;
            let why =
                if changes.is_empty() && matches!(did, Did::GoOn | Did::PassOver) { why() } else { String::new() };
            open.trace.steps.push(StepTrace { stage, did, changes, why });
        }
    }

    fn ends(&mut self, entry: &Entry, verdict: Verdict) {
        let Some(Open { mut trace, stage, bytes, .. }) = self.open.pop() else { return };
        trace.end = match verdict {
            Verdict::Passed => End::Sent(Sent::new(entry, &self.own, self.max_bytes)),
            Verdict::Dropped("") => End::Dropped { reason: MALFORMED, stage },
            Verdict::Dropped(reason) => End::Dropped { reason, stage },
            Verdict::Held => End::Held { stage },
        };
        self.counts.ended(&trace, bytes);
        self.ended.push(trace);
    }
}

impl Seen {
    fn of(entry: &Entry, names: &[(String, Slot)]) -> Self {
        let mut values = entry.extracted.clone();
        let mut extracted: Named = Vec::new();
        for (name, slot) in names {
            let text = match entry.extracted.get(*slot) {
                None => continue,
                Some(Value::Null) => "null".into(),
                Some(Value::Text(text)) => format!("{:?}", String::from_utf8_lossy(text)),
                Some(Value::Number(_) | Value::Bool(_)) => {
                    String::from_utf8_lossy(values.some_text(*slot).unwrap_or_default()).into_owned()
                }
            };
            extracted.push((name.clone(), text));
        }
        extracted.extend(entry.extracted.beside().iter().map(|(name, value)| (name.to_owned(), format!("{value:?}"))));
        extracted.sort();
        Self {
            line: entry.line.clone(),
            time_ns: entry.timestamp_ns,
            labels: named(entry.labels.iter()),
            metadata: named(entry.metadata.iter()),
            extracted,
        }
    }

    fn changes_since(&self, before: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        changes.extend(
            differing(&before.extracted, &self.extracted)
                .into_iter()
                .map(|(name, value)| Change::Extracted(name, value)),
        );
        changes.extend(
            differing(&before.labels, &self.labels).into_iter().map(|(name, value)| Change::Label(name, value)),
        );
        changes.extend(
            differing(&before.metadata, &self.metadata).into_iter().map(|(name, value)| Change::Metadata(name, value)),
        );
        if self.time_ns != before.time_ns {
            changes.push(Change::Time(self.time_ns));
        }
        if self.line != before.line {
            changes.push(Change::Line(String::from_utf8_lossy(&self.line).into_owned()));
        }
        changes
    }
}

/// What is new, other or, with `None`, gone; sorted by name.
pub fn differing(before: &Named, after: &Named) -> Vec<(String, Option<String>)> {
    let changed = after.iter().filter(|pair| !before.contains(pair)).map(|(name, value)| (name, Some(value)));
    let gone =
        before.iter().filter(|(name, _)| !after.iter().any(|(other, _)| other == name)).map(|(name, _)| (name, None));
    let mut all: Vec<_> = changed.chain(gone).map(|(name, value)| (name.clone(), value.cloned())).collect();
    all.sort();
    all
}

impl Trace {
    /// What would be sent of it.
    #[must_use]
    pub fn sent(&self) -> Option<&Sent> {
        match &self.end {
            End::Sent(sent) => Some(sent),
            End::Dropped { .. } | End::Held { .. } => None,
        }
    }
}
