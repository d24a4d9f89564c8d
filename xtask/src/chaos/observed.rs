//! The collectors' own metrics, added up over all of them. A process that is killed takes what it counted since
//! the last look with it, so these are lower bounds.

use std::collections::BTreeMap;

use rig::{metrics::Metrics, program::Collector};

use super::plan::Start;

/// The metrics that are looked at.
const METRICS: [&str; 5] = [
    "pilcrow_dropped_lines_total",
    "pilcrow_truncated_files_total",
    "pilcrow_sweep_finds_total",
    "pilcrow_checkpoint_errors_total",
    "pilcrow_checkpoint_writes_total",
];

#[derive(Clone, Debug, Default)]
pub struct Observed {
    ended: BTreeMap<&'static str, u64>,
    present: BTreeMap<&'static str, u64>,
    starts: BTreeMap<String, u64>,
}

impl Observed {
    /// Another collector was started.
    pub fn begin(&mut self, start: Start) {
        for (metric, value) in std::mem::take(&mut self.present) {
            *self.ended.entry(metric).or_default() += value;
        }
        let Start { signal, reader, .. } = start;
        *self.starts.entry(format!("{signal} and {reader}")).or_default() += 1;
    }

    /// Looks at the running one, if it answers.
    pub fn look(&mut self, collector: &Collector) {
        let Ok(metrics) = Metrics::fetch(collector.status_address()) else { return };
        self.present = METRICS.map(|metric| (metric, metrics.sum(metric))).into();
    }

    /// Whether the running one sends every stream. An error where it does not answer.
    pub fn sends_all_streams(collector: &Collector) -> anyhow::Result<bool> {
        Ok(Metrics::fetch(collector.status_address())?.sum("pilcrow_parked_channels") == 0)
    }

    /// What the running one reported at the last look.
    pub fn now(&self, metric: &str) -> u64 {
        self.present.get(metric).copied().unwrap_or(0)
    }

    /// What all of them reported.
    pub fn totals(&self) -> BTreeMap<&'static str, u64> {
        METRICS.map(|metric| (metric, self.ended.get(metric).copied().unwrap_or(0) + self.now(metric))).into()
    }

    /// How many were started.
    pub fn starts(&self) -> u64 {
        self.starts.values().sum()
    }

    /// The same, by signal and reader.
    pub fn starts_by_backend(&self) -> &BTreeMap<String, u64> {
        &self.starts
    }
}
