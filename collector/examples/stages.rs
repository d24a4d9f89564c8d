//! Pilcrow's pipeline stages behind standard input and output, by the protocol of e2e/stages: what `cargo xtask conformance`
//! compares with Promtail's own. An old configuration is converted, and its lines go through the conversion's rules and stages.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
    time::SystemTime,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use collector::{
    admin::migrate::{
        self, Source, convert,
        convert::Options,
        origin,
        output::{self, Form},
    },
    compiled::Compiled,
    config::{Preset, StageConfig},
    model::PodName,
    pipeline::{
        Entry, Origin, Pairs, Pipeline, Value,
        relabel::{Labels, Outcome, Target},
        stages::metrics::Measure,
    },
};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Request {
    /// A list of stages; with `migration` an old configuration.
    stages: String,
    entries: Vec<Input>,
    migration: Option<Migration>,
}

/// A container, and which part of an old configuration is meant.
#[derive(Deserialize)]
struct Migration {
    file: String,
    job: Option<String>,
    discovered: BTreeMap<String, String>,
    stream: String,
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
    /// Of a migration: whether the rules keep the container.
    selected: bool,
    converted: Converted,
}

/// What was converted.
#[derive(Default, Serialize)]
struct Converted {
    jobs: Vec<Job>,
    all: Vec<String>,
    is_of_chart: bool,
    not_possible: Vec<NotPossible>,
}

/// What the report says is not possible.
#[derive(Serialize)]
struct NotPossible {
    what: String,
    text: String,
    /// The line of the old file at which it stands.
    line: String,
}

#[derive(Serialize)]
struct Job {
    number: usize,
    name: String,
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
    if let Some(migration) = &request.migration {
        let answer = converted(&request.stages, migration, &request.entries);
        return Ok(answer.unwrap_or_else(|error| Answer { error: format!("{error:#}"), ..Answer::default() }));
    }
    let compiled = match StageConfig::list(&request.stages) {
        Ok(stages) => Pipeline::compile(&stages).map_err(|errors| format!("{errors:?}")),
        Err(problems) => Err(format!("{problems:?}")),
    };
    let mut pipeline = match compiled {
        Ok(pipeline) => pipeline,
        Err(error) => return Ok(Answer { error, ..Answer::default() }),
    };
    let own =
        |input: &Input| (pairs(input.labels.iter()), pairs(input.metadata.iter().map(|(name, value)| (name, value))));
    run(&mut pipeline, &request.entries, &own)
}

/// Takes entries through stages; `given`: with which labels and metadata they come.
fn run(pipeline: &mut Pipeline, inputs: &[Input], given: &dyn Fn(&Input) -> (Pairs, Pairs)) -> anyhow::Result<Answer> {
    let names: Vec<(String, usize)> = pipeline.names().map(|(name, slot)| (name.to_owned(), slot)).collect();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now_ns = i64::try_from(now.as_nanos())?;
    let (mut state, mut entry, mut entries) = (pipeline.new_state(Origin::default()), Entry::default(), Vec::new());
    let mut out = |entry: &Entry| entries.push(output(entry, &names));
    for (number, input) in (0_u64..).zip(inputs) {
        entry.at = (0, number);
        (entry.timestamp_ns, entry.logged_ns) = (input.time, i64::try_from(number)? * STEP_NS);
        entry.line = BASE64_STANDARD.decode(&input.line)?;
        let (labels, metadata) = given(input);
        entry.labels.copy_from(&labels);
        entry.metadata.copy_from(&metadata);
        pipeline.process(&mut state, &mut entry, now_ns, &mut out);
    }
    pipeline.finish(&mut state, now_ns, &mut out);
    entries.sort_by_key(|output| output.id);
    let names = names.into_iter().map(|(name, _)| name).collect();
    Ok(Answer { entries, metrics: metrics(pipeline, now_ns), names, ..Answer::default() })
}

/// Converts an old configuration, and takes a container's lines through what is printed.
fn converted(old: &str, migration: &Migration, inputs: &[Input]) -> anyhow::Result<Answer> {
    let source = Source { name: migration.file.clone(), text: old.to_owned() };
    let (origin, draft) = migrate::converted(&[source], &Options { job: migration.job.clone() })?;
    let names = std::slice::from_ref(&migration.file);
    let compiled = Compiled::parse(&output::text(&draft, Form::Config, names), &convert::environment(&draft))
        .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let converted = Converted {
        jobs: draft.jobs.iter().map(|&number| Job { number, name: origin.pipelines[number].name.clone() }).collect(),
        all: origin.pipelines.iter().map(|pipeline| pipeline.name.clone()).collect(),
        is_of_chart: origin.pipelines[draft.jobs[0]].source == origin::Source::Preset(Preset::PromtailChart),
        not_possible: not_possible(old, &draft),
    };
    let Some((labels, metadata)) = labels_of(migration, &compiled) else {
        return Ok(Answer { converted, ..Answer::default() });
    };
    let given = |_: &Input| (pairs(labels.iter()), pairs(metadata.iter()));
    let answer = run(&mut compiled.fresh_pipeline()?, inputs, &given)?;
    // What stages extract is not compared: those of the runtime's records are not there.
    Ok(Answer { names: Vec::new(), selected: true, converted, ..answer })
}

fn not_possible(old: &str, draft: &convert::Draft) -> Vec<NotPossible> {
    let is_of_kind = |finding: &&origin::Finding| finding.kind == origin::Kind::NotPossible;
    let findings = draft.findings.iter().filter(is_of_kind).map(|finding| NotPossible {
        what: finding.what.clone(),
        text: finding.text.clone(),
        line: old.lines().nth(finding.place.line - 1).unwrap_or_default().to_owned(),
    });
    findings.collect()
}

/// What the rules make of a container; `None`: they leave it out.
fn labels_of(migration: &Migration, compiled: &Compiled) -> Option<(Labels, Labels)> {
    let known =
        |name: &str| migration.discovered.get(&format!("__meta_kubernetes_{name}")).cloned().unwrap_or_default();
    let pod = PodName { namespace: known("namespace"), pod: known("pod_name"), uid: known("pod_uid") };
    let is_from_api = |name: &str| {
        ["label", "annotation", "controller"]
            .iter()
            .any(|kind| name.starts_with(&format!("__meta_kubernetes_pod_{kind}")))
    };
    let from_api = migration.discovered.iter().filter(|(name, _)| is_from_api(name));
    let from_api: Vec<(Box<str>, Box<str>)> =
        from_api.map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect();
    let kubernetes = &compiled.config.kubernetes.namespaces;
    if !(kubernetes.include.is_empty() || kubernetes.include.contains(&pod.namespace)) {
        return None;
    }
    let target = Target {
        pod: &pod,
        container: &known("pod_container_name"),
        folder: &format!("/var/log/pods/{}/{}", pod.folder_name(), known("pod_container_name")),
        stream: &migration.stream,
        from_api: &from_api,
    };
    match compiled.relabel.apply(&target) {
        // A stopgap is Pilcrow's alone.
        Outcome::Keep(kept) => Some((kept.labels, kept.metadata)),
        Outcome::Drop { .. } => None,
    }
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
