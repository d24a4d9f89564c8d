//! What a run adds up to.

use super::trial::Known;
use crate::{
    admin::{
        rules::{Counts, Rules},
        terminal::{bytes, count},
    },
    model::TENANT_NAME_RULE,
    pipeline::relabel::LABELS_MAX,
    tail::STREAMS_MAX,
};

/// Lines that span less tell nothing of a day.
const SPAN_MIN_NS: i64 = 1_000_000_000;

pub struct Summary<'s> {
    pub counts: &'s Counts,
    /// The place of each stage.
    pub places: Vec<String>,
    /// Nanoseconds that the stages take for a line.
    pub cost_ns: Option<u64>,
    /// Bytes of text a day, if all goes on as in these lines.
    pub bytes_a_day: Option<u64>,
    /// Lines that the rules for labels leave out.
    pub left_out: u64,
    pub notes: Vec<String>,
}

impl<'s> Summary<'s> {
    pub fn new(rules: &'s Rules<'_>, known: &[Known], cost_ns: Option<u64>, notes: &[String]) -> Self {
        let counts = rules.counts();
        let mut summary = Self {
            counts,
            places: (0..counts.stages.len()).map(|stage| rules.place(stage)).collect(),
            cost_ns,
            bytes_a_day: bytes_a_day(known),
            left_out: known.iter().map(|known| known.left_out).sum(),
            notes: notes.to_vec(),
        };
        summary.add_notes(rules, known);
        summary
    }

    fn add_notes(&mut self, rules: &Rules<'_>, known: &[Known]) {
        let Counts { cut, moved_labels, invalid_tenants, given, .. } = *self.counts;
        let left_out = known.iter().filter(|known| known.left_out > 0).count() as u64;
        let notes = &mut self.notes;
        if left_out > 0 {
            let lines = count(self.left_out, "line", "lines");
            let streams = count(left_out, "stdout or stderr", "stdouts and stderrs");
            notes.push(format!("relabel_configs leaves out {lines} of {streams}"));
        }
        if given.lines == 0 && self.left_out == 0 {
            notes.push("there were no lines".into());
        }
        if rules.has_no_stages() {
            notes.push("the configuration has no pipeline_stages: lines are sent as they are".into());
        }
        if cut > 0 {
            notes.push(format!("{} longer than lines.max_bytes and cut there", count(cut, "entry is", "entries are")));
        }
        if moved_labels > 0 {
            notes.push(format!(
                "labels of {} become structured metadata, as Loki would not take them (at most {LABELS_MAX}, and not none)",
                count(moved_labels, "entry", "entries")
            ));
        }
        if invalid_tenants > 0 {
            let entries = count(invalid_tenants, "entry has", "entries have");
            let rule = TENANT_NAME_RULE;
            notes.push(format!(
                "{entries} a tenant that Loki would not take, so that the tenant of loki.tenant gets them: a name is {rule}"
            ));
        }
        if let Some(Known { container, stream, .. }) = known.iter().find(|known| known.streams.len() > STREAMS_MAX) {
            notes.push(format!(
                "{container} {} has more than {STREAMS_MAX} streams, the most that one may have in an hour: past that labels \
                 become structured metadata; put values of which there are many there instead of into labels",
                stream.name()
            ));
        }
    }

    /// As sentences; the table of stages is apart.
    pub fn sentences(&self) -> Vec<String> {
        let Counts { given, sent, dropped, .. } = self.counts;
        let mut sentences = vec![format!(
            "{} in ({}), {} out ({}) in {}, {} dropped ({})",
            count(given.lines, "line", "lines"),
            bytes(given.bytes),
            count(sent.lines, "entry", "entries"),
            bytes(sent.bytes),
            count(self.counts.streams() as u64, "stream", "streams"),
            dropped.lines,
            bytes(dropped.bytes),
        )];
        if let Some(cost_ns) = self.cost_ns {
            sentences.push(format!("the stages take {cost_ns} ns a line on this machine"));
        }
        if let Some(a_day) = self.bytes_a_day {
            sentences.push(format!("at the pace of these lines some {} a day are sent, uncompressed", bytes(a_day)));
        }
        sentences
    }
}

/// The sum over all channels of which enough is known.
fn bytes_a_day(known: &[Known]) -> Option<u64> {
    let paces = known.iter().filter_map(|known| {
        let span_ns = known.last_ns.saturating_sub(known.first_ns?);
        (span_ns >= SPAN_MIN_NS).then(|| known.sent_bytes as f64 / span_ns as f64)
    });
    let mut paces = paces.peekable();
    paces.peek()?;
    Some((paces.sum::<f64>() * 86_400e9) as u64)
}
