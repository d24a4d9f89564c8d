//! The series of the `metrics` stages.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::pipeline::entry::Pairs;

/// All metrics of a pipeline; clones are the same ones.
#[derive(Clone, Debug, Default)]
pub struct Custom(Arc<Mutex<Registry>>);

#[derive(Clone, Copy, Debug)]
pub(super) struct Id(usize);

#[derive(Debug, Default)]
struct Registry {
    metrics: Vec<Metric>,
    series: usize,
    max_series: usize,
    refused: u64,
}

#[derive(Debug)]
struct Metric {
    name: Arc<str>,
    help: Arc<str>,
    kind: Kind,
    buckets: Vec<f64>,
    idle_ns: i64,
    /// By the hash of their labels.
    series: HashMap<u64, Series>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug)]
struct Series {
    labels: Vec<(String, String)>,
    changed_ns: i64,
    /// Of a histogram the sum.
    value: f64,
    count: u64,
    /// Values up to each bucket's bound, those of smaller ones not among them.
    buckets: Vec<u64>,
}

/// How a series changes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Add(f64),
    Set(f64),
    Observe(f64),
}

/// A series as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name, with its prefix.
    pub name: Arc<str>,
    pub help: Arc<str>,
    /// Sorted by name.
    pub labels: Vec<(String, String)>,
    pub measure: Measure,
}

/// What a series measures.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    Counter(f64),
    Gauge(f64),
    Histogram {
        count: u64,
        sum: f64,
        /// Bounds with how many values were not above them; the last bound, infinity, is left out and has `count`.
        buckets: Vec<(f64, u64)>,
    },
}

/// Prometheus' default buckets.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

impl Custom {
    /// None yet, and never more series than this.
    #[must_use]
    pub fn new(max_series: usize) -> Self {
        Self(Arc::new(Mutex::new(Registry { max_series, ..Registry::default() })))
    }

    /// All series that changed lately; those that are idle for too long go away.
    #[must_use]
    pub fn samples(&self, now_ns: i64) -> Vec<Sample> {
        let mut registry = self.lock();
        let mut samples = Vec::new();
        for metric in &mut registry.metrics {
            samples.extend(metric.series.values().map(|series| metric.sample(series)));
            metric.series.retain(|_, series| now_ns.saturating_sub(series.changed_ns) < metric.idle_ns);
        }
        registry.series = registry.metrics.iter().map(|metric| metric.series.len()).sum();
        samples
    }

    /// Changes that were not counted since there are too many series.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.lock().refused
    }

    /// The metric of this name.
    pub(super) fn find(&self, name: &str) -> Option<Id> {
        self.lock().metrics.iter().position(|metric| &*metric.name == name).map(Id)
    }

    pub(super) fn add(&self, name: &str, help: &str, kind: Kind, buckets: &[f64], idle_ns: i64) -> Result<Id, String> {
        let mut registry = self.lock();
        if registry.metrics.iter().any(|metric| &*metric.name == name) {
            return Err(format!("there is already a metric {name}"));
        }
        let mut buckets = if buckets.is_empty() { BUCKETS.to_vec() } else { buckets.to_vec() };
        if buckets.last().is_some_and(|last| *last == f64::INFINITY) {
            buckets.pop();
        }
        if !buckets.is_sorted_by(|one, other| one < other) {
            return Err("buckets must grow".into());
        }
        let (name, help) = (name.into(), help.into());
        registry.metrics.push(Metric { name, help, kind, buckets, idle_ns, series: HashMap::new() });
        Ok(Id(registry.metrics.len() - 1))
    }

    pub(super) fn change(&self, id: Id, labels: &Pairs, change: Change, now_ns: i64) {
        let mut guard = self.lock();
        let registry = &mut *guard;
        let metric = &mut registry.metrics[id.0];
        // A counter never falls; Promtail would stop with a panic.
        if let (Kind::Counter, Change::Add(amount)) = (metric.kind, change)
            && (amount.is_nan() || amount < 0.0)
        {
            return;
        }
        let key = labels.hash();
        if !metric.series.contains_key(&key) {
            if registry.series >= registry.max_series {
                registry.refused += 1;
                return;
            }
            registry.series += 1;
            let shown = labels.iter().filter(|(name, _)| !name.starts_with("__"));
            let labels = shown.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let buckets = vec![0; if metric.kind == Kind::Histogram { metric.buckets.len() } else { 0 }];
            metric.series.insert(key, Series { labels, changed_ns: now_ns, value: 0.0, count: 0, buckets });
        }
        let Some(series) = metric.series.get_mut(&key) else { return };
        series.changed_ns = now_ns;
        match change {
            Change::Add(amount) => series.value += amount,
            Change::Set(value) => series.value = value,
            Change::Observe(value) => {
                series.value += value;
                series.count += 1;
                let bucket = metric.buckets.iter().position(|bound| value <= *bound);
                if let Some(bucket) = bucket.and_then(|bucket| series.buckets.get_mut(bucket)) {
                    *bucket += 1;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metric {
    fn sample(&self, series: &Series) -> Sample {
        let measure = match self.kind {
            Kind::Counter => Measure::Counter(series.value),
            Kind::Gauge => Measure::Gauge(series.value),
            Kind::Histogram => {
                let mut below = 0;
                let buckets = self.buckets.iter().zip(&series.buckets).map(|(bound, count)| {
                    below += count;
                    (*bound, below)
                });
                Measure::Histogram { count: series.count, sum: series.value, buckets: buckets.collect() }
            }
        };
        Sample { name: self.name.clone(), help: self.help.clone(), labels: series.labels.clone(), measure }
    }
}
