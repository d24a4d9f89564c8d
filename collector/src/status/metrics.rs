//! All metrics of the program, as GET /metrics shows them.
//!
//! In: each part of the program declares what it counts, with a help text, by [`Metrics::part`], and keeps it. Out: the registry
//! of all. docs/metrics.md lists every metric; a test compares the two.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    collector::Collector,
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Metric, Registry, Unit},
};

use super::process::Process;

/// Why something was dropped, skipped or refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// A word of snake case.
    pub reason: &'static str,
}

/// Which backend is in use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Backend {
    /// Its name, as in the configuration; the eBPF backend adds the program kind, `ebpf (fexit)`.
    pub backend: String,
    /// Why it is not a preferred one; empty where the first choice is in use.
    pub fallback_reason: String,
}

impl Backend {
    #[must_use]
    pub fn new(backend: &str, fallback_reason: Option<String>) -> Self {
        Self { backend: backend.to_owned(), fallback_reason: fallback_reason.unwrap_or_default() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// See the module.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Counted by every part that drops lines.
    pub dropped_lines: DroppedLines,
}

/// `pilcrow_dropped_lines_total`, and its sum; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct DroppedLines {
    by_reason: Family<Reason, Counter>,
    all: Arc<AtomicU64>,
}

impl DroppedLines {
    /// Counts lines.
    pub fn add(&self, reason: &'static str, lines: u64) {
        self.by_reason.get_or_create(&Reason { reason }).inc_by(lines);
        self.all.fetch_add(lines, Ordering::Relaxed);
    }

    /// Lines of one reason.
    #[must_use]
    pub fn of(&self, reason: &'static str) -> u64 {
        self.by_reason.get(&Reason { reason }).map_or(0, |lines| lines.get())
    }

    /// Lines of every reason.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }
}

/// The metrics of one part of the program while it declares them.
#[derive(Debug)]
pub struct Part<'r>(&'r mut Registry);

impl Metrics {
    /// With the metrics that belong to no part of the program.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self { registry: Registry::default(), dropped_lines: DroppedLines::default() };
        metrics.collect(Box::new(Process));
        let mut part = metrics.part();
        let build: Family<Build, Gauge> = part.add("build_info", "The version of Pilcrow");
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        metrics.dropped_lines.by_reason =
            metrics.part().add("dropped_lines", "Lines that were not sent or that Loki refused, by reason");
        metrics
    }

    /// For the metrics of one part of the program; `pilcrow_` is put before their names.
    pub fn part(&mut self) -> Part<'_> {
        Part(self.registry.sub_registry_with_prefix("pilcrow"))
    }

    /// Adds a collector, which is asked at each scrape.
    pub fn collect(&mut self, collector: Box<dyn Collector>) {
        self.registry.register_collector(collector);
    }

    /// For the status server.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Part<'_> {
    /// A metric at zero. `_total` is put behind a counter's name.
    pub fn add<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.add_metric(None, name, help, M::default())
    }

    /// As [`Self::add`]; the unit is put behind its name.
    pub fn add_with_unit<M: Metric + Clone + Default>(&mut self, unit: Unit, name: &str, help: &str) -> M {
        self.add_metric(Some(unit), name, help, M::default())
    }

    /// As [`Self::add`], for a metric without a default.
    pub fn add_metric<M: Metric + Clone>(&mut self, unit: Option<Unit>, name: &str, help: &str, metric: M) -> M {
        match unit {
            Some(unit) => self.0.register_with_unit(name, help, unit, metric.clone()),
            None => self.0.register(name, help, metric.clone()),
        }
        metric
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_lines_of_all_reasons_are_added_up() {
        let dropped = DroppedLines::default();
        assert_eq!(dropped.all(), 0);
        [("relabel", 3), ("too_old", 40)].into_iter().for_each(|(reason, lines)| dropped.clone().add(reason, lines));
        assert_eq!((dropped.all(), dropped.of("too_old"), dropped.of("other")), (43, 40, 0));
    }
}
