//! Pilcrow's pipeline stages behind standard input and output, by the protocol of e2e/stages: what `cargo xtask conformance`
//! compares with Promtail's own.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
    time::SystemTime,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use collector::{
    config::StageConfig,
    pipeline::{Entry, Origin, Pairs, Pipeline, Value, stages::metrics::Measure},
};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Request {
    stages: String,
    entries: Vec<Input>,
}

#[derive(Deserialize)]
struct Input {
    labels: BTreeMap<String, String>,
    line: String,
    time: i64,
    #[serde(default)]
    metadata: Vec<(String, String)>,
}

#[derive(Default, Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
    entries: Vec<Output>,
    metrics: Vec<Series>,
    /// The names that were looked at.
    names: Vec<String>,
}

#[derive(Serialize)]
struct Output {
    id: i64,
    labels: BTreeMap<String, String>,
    line: String,
    time: i64,
    metadata: Vec<(String, String)>,
    extracted: BTreeMap<String, Extracted>,
}

#[derive(Serialize)]
struct Extracted {
    kind: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: String,
}

/// What the log's clock advances by from entry to entry.
const STEP_NS: i64 = 100_000_000;

fn main() -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?)?;
        serde_json::to_writer(&mut out, &answer(&request)?)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(request: &Request) -> anyhow::Result<Answer> {
    let compiled = match StageConfig::list(&request.stages) {
        Ok(stages) => Pipeline::compile(&stages).map_err(|errors| format!("{errors:?}")),
        Err(problems) => Err(format!("{problems:?}")),
    };
    let mut pipeline = match compiled {
        Ok(pipeline) => pipeline,
        Err(error) => return Ok(Answer { error, ..Answer::default() }),
    };
    let names: Vec<(String, usize)> = pipeline.names().map(|(name, slot)| (name.to_owned(), slot)).collect();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now_ns = i64::try_from(now.as_nanos())?;
    let (mut state, mut entry, mut entries) = (pipeline.new_state(Origin::default()), Entry::default(), Vec::new());
    let mut out = |entry: &Entry| entries.push(output(entry, &names));
    for (number, input) in (0_u64..).zip(&request.entries) {
        entry.at = (0, number);
        (entry.timestamp_ns, entry.logged_ns) = (input.time, i64::try_from(number)? * STEP_NS);
        entry.line = BASE64_STANDARD.decode(&input.line)?;
        entry.labels.copy_from(&pairs(input.labels.iter()));
        entry.metadata.copy_from(&pairs(input.metadata.iter().map(|(name, value)| (name, value))));
        pipeline.process(&mut state, &mut entry, now_ns, &mut out);
    }
    pipeline.finish(&mut state, now_ns, &mut out);
    entries.sort_by_key(|output| output.id);
    let names = names.into_iter().map(|(name, _)| name).collect();
    Ok(Answer { error: String::new(), entries, metrics: metrics(&pipeline, now_ns), names })
}

fn pairs<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>) -> Pairs {
    pairs.map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn output(entry: &Entry, names: &[(String, usize)]) -> Output {
    let owned = |pairs: &Pairs| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let mut copy = entry.extracted.clone();
    let extracted = names.iter().filter_map(|(name, slot)| {
        let kind = match entry.extracted.get(*slot)? {
            Value::Null => "null",
            Value::Text(_) => "text",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
        };
        let text = BASE64_STANDARD.encode(copy.some_text(*slot).unwrap_or_default());
        Some((name.clone(), Extracted { kind, text }))
    });
    Output {
        // Of a block whose first line was given out before, its position is that of a later line.
        id: entry.logged_ns / STEP_NS,
        labels: owned(&entry.labels).into_iter().collect(),
        line: BASE64_STANDARD.encode(&entry.line),
        time: entry.timestamp_ns,
        metadata: owned(&entry.metadata),
        extracted: extracted.collect(),
    }
}

fn metrics(pipeline: &Pipeline, now_ns: i64) -> Vec<Series> {
    let drops = pipeline.drops().filter(|(_, lines)| *lines > 0).map(|(reason, lines)| Series {
        name: "logentry_dropped_lines_total".into(),
        labels: [("reason".to_owned(), reason.to_owned())].into(),
        value: lines.to_string(),
    });
    let samples = pipeline.metrics().samples(now_ns).into_iter().map(|sample| Series {
        name: sample.name.to_string(),
        labels: sample.labels.into_iter().collect(),
        value: match sample.measure {
            Measure::Counter(value) | Measure::Gauge(value) => value.to_string(),
            Measure::Histogram { count, sum, buckets } => buckets
                .iter()
                .fold(format!("count {count} sum {sum}"), |text, (bound, count)| format!("{text} {bound}:{count}")),
        },
    });
    drops.chain(samples).collect()
}
