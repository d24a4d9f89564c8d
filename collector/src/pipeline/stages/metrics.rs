//! `metrics`: counters, gauges and histograms of what was extracted.
//!
//! Series have the entry's labels. Their number is bounded: changes that would make one more are only counted as refused.
//! [`Custom`] is shared with whatever shows the metrics, on any thread.

mod collector;
mod registry;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use self::registry::{Custom, Measure, Sample};
use self::registry::{Id, Kind};
use crate::{
    config::StageValue,
    pipeline::{
        compile::Compiler,
        entry::Entry,
        extracted::{Extracted, Slot, Value},
        go::{duration, number},
        stage::{Context, Failed, Stage, Step},
        unchanged::{Unchanged, quoted},
    },
};

type Settings = BTreeMap<String, MetricSettings>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MetricSettings {
    #[serde(rename = "type")]
    kind: String,
    description: String,
    source: Option<String>,
    prefix: String,
    max_idle_duration: Option<String>,
    config: StageValue,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    action: String,
    value: Option<String>,
    match_all: bool,
    count_entry_bytes: bool,
    buckets: Vec<f64>,
}

struct Metrics {
    metrics: Vec<Metric>,
    custom: Custom,
}

struct Metric {
    name: String,
    id: Id,
    source: Slot,
    action: Action,
    /// The text that the source must have.
    value: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Inc,
    Dec,
    Add,
    Sub,
    Set,
    Observe,
    /// For every entry, whatever was extracted.
    IncAll,
    AddBytes,
}

/// How long a series is shown that nothing changes.
const IDLE_NS: i64 = 300_000_000_000;

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    if settings.is_empty() {
        return Err(compiler.error("", "names no metric"));
    }
    let mut metrics = Vec::new();
    for (name, settings) in settings {
        metrics.push(metric(compiler, &name, settings)?);
    }
    Ok(vec![Box::new(Metrics { metrics, custom: compiler.metrics().clone() })])
}

fn metric(compiler: &mut Compiler<'_>, name: &str, settings: MetricSettings) -> Result<Metric, Failed> {
    let key = |inner: &str| format!("{name}.{inner}");
    let config: Config = settings.config.decode().map_err(|problems| {
        for (inner, message) in problems {
            compiler.error(&key(&format!("config.{inner}")), message);
        }
        Failed
    })?;
    let kind = match settings.kind.to_lowercase().as_str() {
        "counter" => Kind::Counter,
        "gauge" => Kind::Gauge,
        "histogram" => Kind::Histogram,
        other => {
            return Err(compiler.error(&key("type"), format!("expected counter, gauge or histogram, found {other:?}")));
        }
    };
    let action = action(kind, &config).map_err(|(inner, message)| compiler.error(&key(inner), message))?;
    let idle_ns = match settings.max_idle_duration {
        None => IDLE_NS,
        Some(text) => match duration::parse(&text).filter(|idle| *idle >= 1_000_000_000) {
            // Whole seconds, as in Promtail.
            Some(idle) => idle / 1_000_000_000 * 1_000_000_000,
            None => {
                return Err(compiler.error(&key("max_idle_duration"), "expected a duration of 1s or more, such as 5m"));
            }
        },
    };
    let prefix = if settings.prefix.is_empty() { "promtail_custom_" } else { &settings.prefix };
    let full_name = metric_name(&format!("{prefix}{name}"));
    let buckets = if kind == Kind::Histogram { config.buckets } else { Vec::new() };
    let custom = compiler.metrics().clone();
    let known = compiler.limits().metrics.is_some().then(|| custom.find(&full_name)).flatten();
    let id = known.map_or_else(|| custom.add(&full_name, &settings.description, kind, &buckets, idle_ns), Ok);
    let id = id.map_err(|message| compiler.error(name, message))?;
    let source = compiler.slot(settings.source.as_deref().unwrap_or(name));
    Ok(Metric { name: full_name, id, source, action, value: config.value.map(String::into_bytes) })
}

/// As Prometheus' client for Go writes a name that scrapers of text may not take.
fn metric_name(text: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let mut name: String = text.chars().map(|c| if is_allowed(c) { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.replace_range(..1, "_");
    }
    name
}

/// What a metric does, from its kind and its `config`.
fn action(kind: Kind, config: &Config) -> Result<Action, (&'static str, String)> {
    let wrong = |message: &str| Err(("config", message.to_owned()));
    if kind != Kind::Counter && (config.match_all || config.count_entry_bytes) {
        return wrong("match_all and count_entry_bytes are for counters");
    }
    if config.match_all && config.value.is_some() {
        return wrong("match_all and value exclude each other");
    }
    if config.count_entry_bytes && !config.match_all {
        return wrong("count_entry_bytes needs match_all: true");
    }
    let action = match (kind, config.action.to_lowercase().as_str()) {
        (Kind::Histogram, _) => Action::Observe,
        (_, "inc") if config.count_entry_bytes => return wrong("count_entry_bytes needs action: add"),
        (_, "inc") if config.match_all => Action::IncAll,
        (_, "add") if config.count_entry_bytes => Action::AddBytes,
        // Promtail has nothing to add there either.
        (_, "add") if config.match_all => return wrong("match_all with action: add needs count_entry_bytes: true"),
        (_, "inc") => Action::Inc,
        (_, "add") => Action::Add,
        (Kind::Gauge, "set") => Action::Set,
        (Kind::Gauge, "dec") => Action::Dec,
        (Kind::Gauge, "sub") => Action::Sub,
        (kind, other) => {
            let known = if kind == Kind::Counter { "inc or add" } else { "set, inc, dec, add or sub" };
            return Err(("config.action", format!("expected {known}, found {other:?}")));
        }
    };
    Ok(action)
}

impl Stage for Metrics {
    fn run(&mut self, entry: &mut Entry, context: &mut Context<'_>) -> Step {
        for metric in &self.metrics {
            if let Some(amount) = metric.amount(&mut entry.extracted, entry.line.len()) {
                let change = match metric.action {
                    Action::Set => registry::Change::Set(amount),
                    Action::Observe => registry::Change::Observe(amount),
                    _ => registry::Change::Add(amount),
                };
                self.custom.change(metric.id, &entry.labels, change, context.now_ns);
            }
        }
        Step::Next
    }

    fn why(&self, seen: &Unchanged<'_>) -> String {
        let all = self.metrics.iter().map(|metric| match metric.amount(&mut seen.entry.extracted.clone(), 0) {
            Some(_) => format!("counts {}", metric.name),
            None => format!("does not count {}: {}", metric.name, metric.why_not(seen)),
        });
        all.collect::<Vec<_>>().join("; ")
    }
}

impl Metric {
    fn why_not(&self, seen: &Unchanged<'_>) -> String {
        seen.of_source(Some(self.source), |text, name| match &self.value {
            Some(value) if *value != *text => format!("{name} is {}, not {}", quoted(text), quoted(value)),
            _ => format!("{name} is {}, which is not a number", quoted(text)),
        })
    }

    /// By how much, or to what, the metric changes; `None`: not at all.
    fn amount(&self, extracted: &mut Extracted, line_bytes: usize) -> Option<f64> {
        match self.action {
            Action::IncAll => return Some(1.0),
            Action::AddBytes => return Some(line_bytes as f64),
            _ => {}
        }
        extracted.get(self.source)?;
        if let Some(value) = &self.value
            && extracted.some_text(self.source)? != *value
        {
            return None;
        }
        match self.action {
            Action::Inc => Some(1.0),
            Action::Dec => Some(-1.0),
            Action::Sub => float(extracted.get(self.source)?).map(|value| -value),
            _ => float(extracted.get(self.source)?),
        }
    }
}

/// A number as Promtail makes it of any value: texts are numbers or durations in seconds.
fn float(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Null => None,
        Value::Number(number) => Some(number),
        Value::Bool(value) => Some(f64::from(u8::from(value))),
        Value::Text(text) => number::parse(text).or_else(|| {
            let nanoseconds = duration::parse(std::str::from_utf8(text).ok()?)?;
            // As Go's Duration.Seconds: the whole seconds, then the rest.
            Some((nanoseconds / 1_000_000_000) as f64 + (nanoseconds % 1_000_000_000) as f64 / 1e9)
        }),
    }
}
