//! Lines before and after as JSON, one object a line.

use std::{collections::BTreeMap, io::Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::{summary::Summary, trial::Known};
use crate::admin::{
    rules::{Amount, Change, Channel, Did, End, Named, Rules, Sent, StepTrace, Trace},
    terminal::time,
};

pub struct Json<'t, W> {
    out: &'t mut W,
    /// Channels that were shown.
    channels: Vec<usize>,
}

impl<'t, W: Write> Json<'t, W> {
    pub fn new(out: &'t mut W) -> Self {
        Self { out, channels: Vec::new() }
    }

    pub fn traces(
        &mut self,
        rules: &Rules<'_>,
        channel: usize,
        known: &Known,
        own: &Channel,
        traces: &[Trace],
    ) -> anyhow::Result<()> {
        let (container, stream) = (&known.container, known.stream.name());
        if !self.channels.contains(&channel) && (!traces.is_empty() || known.left_out > 0) {
            self.channels.push(channel);
            let left_out_by = known.is_left_out.then_some("relabel_configs");
            let (labels, metadata) = (map(own.labels.iter()), map(own.metadata.iter()));
            let kind = "container";
            self.object(&json!({"type": kind, "container": container, "stream": stream, "labels": labels,
                "metadata": metadata, "left_out_by": left_out_by}))?;
        }
        for trace in traces {
            let mut object = json!({
                "type": if trace.held_by.is_some() { "block" } else { "line" },
                "container": container,
                "stream": stream,
                "number": trace.number,
                "before": {"line": trace.before, "time": time(trace.before_ns)},
            });
            let (result, more) = end(rules, &trace.end);
            object["result"] = result.into();
            if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
                object.extend(more);
            }
            if !trace.steps.is_empty() {
                object["steps"] = trace.steps.iter().map(|step| self::step(rules, step)).collect();
            }
            self.object(&object)?;
        }
        self.out.flush()?;
        Ok(())
    }

    pub fn summary(&mut self, summary: &Summary<'_>) -> anyhow::Result<()> {
        let counts = summary.counts;
        let stages: Vec<Value> = summary
            .places
            .iter()
            .zip(&counts.stages)
            .map(|(place, stage)| {
                let dropped: Vec<Value> = stage
                    .dropped
                    .iter()
                    .map(|(reason, amount)| json!({"reason": reason, "lines": amount.lines, "bytes": amount.bytes}))
                    .collect();
                json!({"stage": place, "lines": stage.came.lines, "bytes": stage.came.bytes, "dropped": dropped})
            })
            .collect();
        let amount = |amount: Amount| json!({"lines": amount.lines, "bytes": amount.bytes});
        self.object(&json!({
            "type": "summary",
            "in": amount(counts.given),
            "out": amount(counts.sent),
            "dropped": amount(counts.dropped),
            "left_out_lines": summary.left_out,
            "streams": counts.streams(),
            "stages": stages,
            "nanoseconds_per_line": summary.cost_ns,
            "bytes_per_day": summary.bytes_a_day,
            "notes": summary.notes,
        }))?;
        self.out.flush()?;
        Ok(())
    }

    fn object(&mut self, object: &impl Serialize) -> anyhow::Result<()> {
        writeln!(self.out, "{}", serde_json::to_string(object)?)?;
        Ok(())
    }
}

fn end(rules: &Rules<'_>, end: &End) -> (&'static str, Value) {
    match end {
        End::Dropped { reason, stage } => ("dropped", json!({"reason": reason, "stage": rules.place(*stage)})),
        End::Held { stage } => ("held", json!({"stage": rules.place(*stage)})),
        End::Sent(sent) => ("sent", json!({"after": after(sent)})),
    }
}

fn after(sent: &Sent) -> Value {
    json!({
        "line": sent.line,
        "time": time(sent.time_ns),
        "labels": named(&sent.labels),
        "metadata": named(&sent.metadata),
        "tenant": sent.tenant,
        "invalid_tenant": sent.invalid_tenant,
    })
}

fn step(rules: &Rules<'_>, step: &StepTrace) -> Value {
    let did = match step.did {
        Did::GoOn => "ran",
        Did::PassOver => "passed_over",
        Did::Drop => "dropped",
        Did::Hold => "held",
    };
    let mut object = json!({"stage": rules.place(step.stage), "did": did});
    for change in &step.changes {
        match change {
            Change::Line(line) => object["line"] = line.as_str().into(),
            Change::Time(time_ns) => object["time"] = time(*time_ns).into(),
            Change::Label(name, value) => object["labels"][name] = value.as_deref().into(),
            Change::Metadata(name, value) => object["metadata"][name] = value.as_deref().into(),
            Change::Extracted(name, value) => {
                // It is written as JSON has it, but for texts with characters that JSON escapes otherwise.
                let parsed =
                    value.as_ref().map(|text| serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()));
                object["extracted"][name] = parsed.unwrap_or(Value::Null);
            }
        }
    }
    if !step.why.is_empty() {
        object["why"] = step.why.as_str().into();
    }
    object
}

fn map<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>) -> BTreeMap<&'p str, &'p str> {
    pairs.collect()
}

fn named(pairs: &Named) -> BTreeMap<&str, &str> {
    map(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}
