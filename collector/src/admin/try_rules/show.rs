//! Lines before and after, for people.
//!
//! ```text
//! shop/web-1/web stdout {app="web", …}
//!   - a line that is dropped
//!     dropped by pipeline_stages[1].drop: debug
//!   = a line that stays as it is
//!     label level="info"; metadata trace="abc"
//!   | a line that waits for what follows
//!   + a line, or a block of lines, as it is sent
//! ```

use std::{collections::HashSet, io::Write};

use super::{show_json::Json, summary::Summary, trial::Known};
use crate::admin::{
    rules::{Change, Channel, Did, End, Rules, Sent, StepTrace, Trace, differing, named},
    terminal::{Kind, Paint, bytes, label_set, time},
};

/// Where it is shown.
pub enum Shown<'t, W> {
    Text(Text<'t, W>),
    Json(Json<'t, W>),
}

pub struct Text<'t, W> {
    out: &'t mut W,
    paint: Paint,
    /// The channel of the last line.
    channel: Option<usize>,
    /// Channels of which it was said that they are left out.
    left_out: HashSet<usize>,
}

impl<'t, W: Write> Text<'t, W> {
    pub fn new(out: &'t mut W, paint: Paint) -> Self {
        Self { out, paint, channel: None, left_out: HashSet::new() }
    }

    pub fn traces(
        &mut self,
        rules: &Rules<'_>,
        channel: usize,
        known: &Known,
        own: &Channel,
        traces: &[Trace],
    ) -> anyhow::Result<()> {
        let is_news = if known.is_left_out {
            known.left_out > 0 && self.left_out.insert(channel)
        } else {
            self.channel != Some(channel) && !traces.is_empty()
        };
        if is_news {
            self.channel = Some(channel);
            self.title(known, own)?;
        }
        for trace in traces {
            self.trace(rules, own, trace)?;
        }
        self.out.flush()?;
        Ok(())
    }

    fn title(&mut self, known: &Known, own: &Channel) -> anyhow::Result<()> {
        let name = self.paint.text(Kind::Title, &format!("{} {}", known.container, known.stream.name()));
        if known.is_left_out {
            writeln!(self.out, "{name} left out by relabel_configs")?;
            return Ok(());
        }
        let mut labels = label_set(own.labels.iter());
        if !own.metadata.is_empty() {
            labels += &format!(", metadata {}", label_set(own.metadata.iter()));
        }
        writeln!(self.out, "{name} {}", self.paint.text(Kind::Aside, &labels))?;
        Ok(())
    }

    fn trace(&mut self, rules: &Rules<'_>, own: &Channel, trace: &Trace) -> anyhow::Result<()> {
        // The lines of a block have been shown.
        let is_block = trace.held_by.is_some();
        match &trace.end {
            End::Dropped { reason, stage } => {
                self.line('-', Kind::Bad, &trace.before)?;
                self.steps(rules, &trace.steps)?;
                let place = rules.place(*stage);
                writeln!(self.out, "    {}", self.paint.text(Kind::Bad, &format!("dropped by {place}: {reason}")))?;
            }
            End::Held { .. } => {
                self.line('|', Kind::Aside, &trace.before)?;
                self.steps(rules, &trace.steps)?;
            }
            End::Sent(sent) => {
                let is_same = sent.line == trace.before;
                if let Some(stage) = trace.held_by.filter(|_| !trace.steps.is_empty()) {
                    let given_out = format!("given out by {}:", rules.place(stage));
                    writeln!(self.out, "    {}", self.paint.text(Kind::Aside, &given_out))?;
                }
                if !is_block && !is_same {
                    self.line('-', Kind::Aside, &trace.before)?;
                }
                if !is_block && is_same {
                    self.line('=', Kind::Good, &trace.before)?;
                }
                self.steps(rules, &trace.steps)?;
                if is_block || !is_same {
                    self.line('+', Kind::Good, &sent.line)?;
                }
                self.changes(own, trace, sent)?;
            }
        }
        Ok(())
    }

    fn line(&mut self, mark: char, kind: Kind, text: &str) -> anyhow::Result<()> {
        let text = self.paint.text(kind, &format!("{mark} {text}"));
        writeln!(self.out, "  {}", text.replace('\n', "\n    "))?;
        Ok(())
    }

    fn steps(&mut self, rules: &Rules<'_>, steps: &[StepTrace]) -> anyhow::Result<()> {
        for StepTrace { stage, did, changes, why } in steps {
            let place = rules.place(*stage);
            let is_match = place.ends_with(".match");
            let mut all = sentences(changes);
            let because = |what: &str| if why.is_empty() { what.into() } else { format!("{what}: {why}") };
            match did {
                Did::PassOver => all.push(because("does not match")),
                // Whose action is drop.
                Did::GoOn if is_match && !why.is_empty() => all.push(because("does not match")),
                Did::Drop => all.push("drops it".into()),
                Did::Hold => all.push("waits for what follows".into()),
                Did::GoOn if is_match => all.insert(0, "matches".into()),
                // What it counts changes nothing in the line.
                Did::GoOn if place.ends_with(".metrics") && !why.is_empty() => all.push(why.clone()),
                Did::GoOn if all.is_empty() => all.push(because("no change")),
                Did::GoOn => {}
            }
            let text = self.paint.text(Kind::Aside, &format!("{place}: {}", all.join("; ")));
            writeln!(self.out, "      {text}")?;
        }
        Ok(())
    }

    /// What is sent beside the text and was not so before.
    fn changes(&mut self, own: &Channel, trace: &Trace, sent: &Sent) -> anyhow::Result<()> {
        let mut changes = Vec::new();
        let labels = differing(&named(own.labels.iter()), &sent.labels);
        changes.extend(labels.into_iter().map(|(name, value)| Change::Label(name, value)));
        let metadata = differing(&named(own.metadata.iter()), &sent.metadata);
        changes.extend(metadata.into_iter().map(|(name, value)| Change::Metadata(name, value)));
        if sent.time_ns != trace.before_ns {
            changes.push(Change::Time(sent.time_ns));
        }
        let mut all = sentences(&changes);
        all.extend(sent.tenant.as_ref().map(|tenant| format!("tenant {tenant:?}")));
        let invalid = |name: &String| format!("tenant {name:?} is not valid: it goes to that of loki.tenant");
        all.extend(sent.invalid_tenant.as_ref().map(invalid));
        if !all.is_empty() {
            writeln!(self.out, "    {}", self.paint.text(Kind::Changed, &all.join("; ")))?;
        }
        Ok(())
    }

    pub fn summary(&mut self, summary: &Summary<'_>) -> anyhow::Result<()> {
        if self.channel.is_some() {
            writeln!(self.out)?;
        }
        for sentence in summary.sentences() {
            writeln!(self.out, "{}", self.paint.text(Kind::Title, &sentence))?;
        }
        self.table(summary)?;
        for note in &summary.notes {
            writeln!(self.out, "note: {}", self.paint.text(Kind::Changed, note))?;
        }
        self.out.flush()?;
        Ok(())
    }

    fn table(&mut self, summary: &Summary<'_>) -> anyhow::Result<()> {
        if summary.places.is_empty() || summary.counts.given.lines == 0 {
            return Ok(());
        }
        let width = summary.places.iter().map(String::len).max().unwrap_or(0);
        let head = ["lines", "", "dropped", "", "reason"];
        writeln!(
            self.out,
            "\n{:width$}  {:>8} {:>10}  {:>8} {:>10}  {}",
            "stage", head[0], head[1], head[2], head[3], head[4]
        )?;
        for (place, stage) in summary.places.iter().zip(&summary.counts.stages) {
            let came = stage.came;
            let mut row = format!("{place:width$}  {:>8} {:>10}", came.lines, bytes(came.bytes));
            for (reason, dropped) in &stage.dropped {
                row += &format!("  {:>8} {:>10}  {reason}", dropped.lines, bytes(dropped.bytes));
            }
            writeln!(self.out, "{row}")?;
        }
        Ok(())
    }
}

/// One for each kind of change.
fn sentences(changes: &[Change]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut last = "";
    for change in changes {
        let quoted = |value: &Option<String>| value.as_ref().map(|value| format!("{value:?}"));
        let (kind, what) = match change {
            Change::Line(line) => ("line", format!("{line:?}")),
            Change::Time(time_ns) => ("time", time(*time_ns)),
            Change::Label(name, value) => ("label", pair(name, quoted(value))),
            Change::Metadata(name, value) => ("metadata", pair(name, quoted(value))),
            Change::Extracted(name, value) => ("extracted", pair(name, value.clone())),
        };
        match all.last_mut().filter(|_| last == kind) {
            Some(sentence) => *sentence += &format!(", {what}"),
            None => all.push(format!("{kind} {what}")),
        }
        last = kind;
    }
    all
}

fn pair(name: &str, value: Option<String>) -> String {
    value.map_or_else(|| format!("{name} removed"), |value| format!("{name}={value}"))
}
