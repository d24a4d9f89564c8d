//! The metrics, one field each; names and help texts are registered in [`Metrics::new`].
//!
//! The hot path counts per read and per batch, not per line.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use super::{lags::Lags, process::Process};

/// Bounds the series of [`Metrics::lag_bytes`]: the containers that lag most are shown, the others are added up under
/// [`ContainerLabels::others`].
pub const LAG_CONTAINERS_MAX: usize = 100;

/// Why something was dropped, skipped or refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// A word of snake case.
    pub reason: &'static str,
}

/// The format of a log file's line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FormatLabel {
    /// `cri`, `docker` or `raw`.
    pub format: &'static str,
}

/// How a push request ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PushStatus {
    /// The HTTP status, or `error` where there was none.
    pub status: String,
}

/// Which backend is in use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Backend {
    /// Its name, as in the configuration; the eBPF backend adds the program kind, `ebpf (fexit)`.
    pub backend: String,
    /// Why none of the preferred ones; empty where the first choice was taken.
    pub fallback_reason: String,
}

impl Backend {
    /// This one.
    #[must_use]
    pub fn new(backend: &str, fallback_reason: Option<String>) -> Self {
        Self { backend: backend.to_owned(), fallback_reason: fallback_reason.unwrap_or_default() }
    }
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ContainerLabels {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Kubernetes pod name.
    pub pod: String,
    /// Container name.
    pub container: String,
}

impl ContainerLabels {
    /// Stands for the containers over [`LAG_CONTAINERS_MAX`].
    pub fn others() -> Self {
        Self { namespace: "(others)".into(), pod: "(others)".into(), container: "(others)".into() }
    }
}

/// This program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// A gauge of unsigned whole numbers.
pub type UnsignedGauge = Gauge<u64, AtomicU64>;

/// Everything that is counted.
#[derive(Debug)]
#[allow(missing_docs, reason = "each field's help text stands in `new`")]
pub struct Metrics {
    registry: Registry,
    pub read_bytes: Counter,
    pub parsed_lines: Family<FormatLabel, Counter>,
    pub malformed_lines: Family<Reason, Counter>,
    pub dropped_lines: Family<Reason, Counter>,
    pub moved_label_lines: Counter,
    pub sent_lines: Counter,
    pub sent_bytes: Counter,
    pub acknowledged_lines: Counter,
    pub acknowledged_bytes: Counter,
    pub push_requests: Family<PushStatus, Counter>,
    pub push_duration_seconds: Histogram,
    pub parked_channels: Gauge,
    pub refused_streams: Family<Reason, Counter>,
    pub queue_batches: Gauge,
    pub queue_bytes: Gauge,
    pub lag_bytes: Family<ContainerLabels, UnsignedGauge>,
    pub containers: Gauge,
    pub excluded_containers: Family<Reason, Gauge>,
    pub open_files: Gauge,
    pub held_files: Gauge,
    pub held_bytes: Gauge,
    pub abandoned_files: Counter,
    pub abandoned_bytes: Counter,
    pub signal_backend: Family<Backend, Gauge>,
    pub reader_backend: Family<Backend, Gauge>,
    pub wakeups: Counter,
    pub signals: Counter,
    pub sweep_finds: Counter,
    pub skipped_files: Family<Reason, Counter>,
    pub truncated_files: Counter,
    pub stalled_calls: Counter,
    pub stalled_folders: Gauge,
    pub metadata_backend: Family<Backend, Gauge>,
    pub metadata_timeouts: Counter,
    pub kubernetes_pods: Gauge,
    pub kubernetes_watching: Gauge,
    pub kubernetes_errors: Family<Reason, Counter>,
    pub checkpoint_writes: Counter,
    pub checkpoint_errors: Counter,
    /// Milliseconds since 1970 of the last checkpoint that was written or found current; 0: none yet.
    pub checkpoint_saved_at_ms: AtomicI64,
    pub checkpoint_age_seconds: Gauge<f64, AtomicU64>,
    build: Family<Build, Gauge>,
    /// What `lag_bytes` shows. Locked by [`Self::set_lags`] only.
    lags: Mutex<Lags>,
    /// Milliseconds since 1970.
    started_at_ms: i64,
}

impl Metrics {
    /// All metrics at zero, registered under the prefix `pilcrow`.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            read_bytes: Counter::default(),
            parsed_lines: Family::default(),
            malformed_lines: Family::default(),
            dropped_lines: Family::default(),
            moved_label_lines: Counter::default(),
            sent_lines: Counter::default(),
            sent_bytes: Counter::default(),
            acknowledged_lines: Counter::default(),
            acknowledged_bytes: Counter::default(),
            push_requests: Family::default(),
            push_duration_seconds: Histogram::new(exponential_buckets(0.005, 2.0, 12)),
            parked_channels: Gauge::default(),
            refused_streams: Family::default(),
            queue_batches: Gauge::default(),
            queue_bytes: Gauge::default(),
            lag_bytes: Family::default(),
            containers: Gauge::default(),
            excluded_containers: Family::default(),
            open_files: Gauge::default(),
            held_files: Gauge::default(),
            held_bytes: Gauge::default(),
            abandoned_files: Counter::default(),
            abandoned_bytes: Counter::default(),
            signal_backend: Family::default(),
            reader_backend: Family::default(),
            wakeups: Counter::default(),
            signals: Counter::default(),
            sweep_finds: Counter::default(),
            skipped_files: Family::default(),
            truncated_files: Counter::default(),
            stalled_calls: Counter::default(),
            stalled_folders: Gauge::default(),
            metadata_backend: Family::default(),
            metadata_timeouts: Counter::default(),
            kubernetes_pods: Gauge::default(),
            kubernetes_watching: Gauge::default(),
            kubernetes_errors: Family::default(),
            checkpoint_writes: Counter::default(),
            checkpoint_errors: Counter::default(),
            checkpoint_saved_at_ms: AtomicI64::new(0),
            checkpoint_age_seconds: Gauge::default(),
            build: Family::default(),
            lags: Mutex::default(),
            started_at_ms: now_ms(),
        };
        metrics.build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let r = registry.sub_registry_with_prefix("pilcrow");
        r.register_with_unit("read", "Bytes read from log files", Unit::Bytes, self.read_bytes.clone());
        r.register("parsed_lines", "Log records parsed, by format", self.parsed_lines.clone());
        r.register(
            "malformed_lines",
            "Lines that were not as their format demands and were sent all the same, by reason",
            self.malformed_lines.clone(),
        );
        r.register(
            "dropped_lines",
            "Lines that were not sent or that Loki refused, by reason",
            self.dropped_lines.clone(),
        );
        r.register(
            "moved_label_lines",
            "Lines whose labels of pipeline_stages became structured metadata, as there were too many streams or Loki takes \
             no such label",
            self.moved_label_lines.clone(),
        );
        r.register("sent_lines", "Lines in push requests, repeated attempts not counted", self.sent_lines.clone());
        r.register_with_unit(
            "sent",
            "Compressed bytes of push requests, every attempt counted",
            Unit::Bytes,
            self.sent_bytes.clone(),
        );
        r.register("acknowledged_lines", "Lines that Loki has acknowledged", self.acknowledged_lines.clone());
        r.register_with_unit(
            "acknowledged",
            "Bytes of text of the acknowledged lines",
            Unit::Bytes,
            self.acknowledged_bytes.clone(),
        );
        r.register("push_requests", "Push requests by HTTP status; error: no answer", self.push_requests.clone());
        r.register_with_unit(
            "push_duration",
            "Time from a push request to its answer",
            Unit::Seconds,
            self.push_duration_seconds.clone(),
        );
        r.register(
            "parked_channels",
            "stdout and stderr of containers whose lines wait on the disk because Loki refuses one of their streams",
            self.parked_channels.clone(),
        );
        r.register(
            "refused_streams",
            "Times that Loki refused a stream and its channels were parked, by reason",
            self.refused_streams.clone(),
        );
        r.register("queue_batches", "Sealed batches that are not acknowledged", self.queue_batches.clone());
        r.register_with_unit(
            "queue",
            "Encoded bytes of sealed batches that are not acknowledged",
            Unit::Bytes,
            self.queue_bytes.clone(),
        );
        r.register_with_unit(
            "lag",
            "Bytes on the disk that Loki has not acknowledged, as of the last sweep; the containers that lag most",
            Unit::Bytes,
            self.lag_bytes.clone(),
        );
        r.register("containers", "Containers whose logs are followed", self.containers.clone());
        r.register(
            "excluded_containers",
            "Containers whose logs are left out, by reason, as of the last sweep",
            self.excluded_containers.clone(),
        );
        r.register("open_files", "Log files that are open", self.open_files.clone());
        r.register(
            "held_files",
            "Deleted log files that are held open because they are not read to their end",
            self.held_files.clone(),
        );
        r.register_with_unit(
            "held",
            "Bytes on the disk of deleted log files that are held open",
            Unit::Bytes,
            self.held_bytes.clone(),
        );
        r.register(
            "abandoned_files",
            "Log files that were given up before they were read to their end",
            self.abandoned_files.clone(),
        );
        r.register_with_unit(
            "abandoned",
            "Bytes of log files that were given up unread",
            Unit::Bytes,
            self.abandoned_bytes.clone(),
        );
        r.register("signal_backend_info", "How growth of files is detected", self.signal_backend.clone());
        r.register("reader_backend_info", "How files are read", self.reader_backend.clone());
        r.register("wakeups", "Times that the reader side woke up", self.wakeups.clone());
        r.register("signals", "Files that the signal reported as grown", self.signals.clone());
        r.register("sweep_finds", "Files whose growth the sweep found and the signal missed", self.sweep_finds.clone());
        r.register(
            "skipped_files",
            "Names in a container's log folder that are not read, by reason",
            self.skipped_files.clone(),
        );
        r.register(
            "truncated_files",
            "Times that a file became shorter than what was read",
            self.truncated_files.clone(),
        );
        r.register(
            "stalled_calls",
            "Calls to the file system that did not return in time, for which a folder was set aside",
            self.stalled_calls.clone(),
        );
        r.register(
            "stalled_folders",
            "Log folders that wait for a call to the file system that does not return",
            self.stalled_folders.clone(),
        );
        r.register("metadata_backend_info", "Where pod metadata comes from", self.metadata_backend.clone());
        r.register(
            "metadata_timeouts",
            "Containers whose pod's metadata did not come within kubernetes.wait",
            self.metadata_timeouts.clone(),
        );
        r.register("kubernetes_pods", "Pods of this node whose metadata is known", self.kubernetes_pods.clone());
        r.register(
            "kubernetes_watching",
            "1 while changes of this node's pods are followed, 0 while the Kubernetes API does not give them",
            self.kubernetes_watching.clone(),
        );
        r.register(
            "kubernetes_errors",
            "Lists and watches of this node's pods that failed, by reason",
            self.kubernetes_errors.clone(),
        );
        r.register("checkpoint_writes", "Checkpoints written", self.checkpoint_writes.clone());
        r.register("checkpoint_errors", "Checkpoints that could not be written", self.checkpoint_errors.clone());
        r.register_with_unit(
            "checkpoint_age",
            "Time since the saved positions were current, or since the start where none are saved yet",
            Unit::Seconds,
            self.checkpoint_age_seconds.clone(),
        );
        r.register("build_info", "The version of Pilcrow", self.build.clone());
        self.registry = registry;
        self
    }

    /// Brings those gauges up to date that are a matter of the clock. To be called before each scrape.
    pub fn refresh(&self) {
        let saved = match self.checkpoint_saved_at_ms.load(Ordering::Relaxed) {
            0 => self.started_at_ms,
            saved => saved,
        };
        // A clock that was set back makes no negative age.
        self.checkpoint_age_seconds.set((now_ms() - saved).max(0) as f64 / 1000.0);
    }

    /// Shows how many bytes each container lags behind, as of now: the [`LAG_CONTAINERS_MAX`] that lag
    /// most by name, the others as a sum. A container that is not among them any more is shown no longer. `labels` is called
    /// for those that may be shown by name.
    pub fn set_lags<T>(&self, lags: impl Iterator<Item = (T, u64)>, labels: impl Fn(T) -> ContainerLabels) {
        let mut all = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        all.set(lags.collect(), labels, &self.lag_bytes);
    }

    /// Shows what this one collects, too.
    #[must_use]
    pub fn with_collector(mut self, collector: Box<dyn Collector>) -> Self {
        self.registry.register_collector(collector);
        self
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

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::exposition::{Format, encode};

    fn container(name: usize) -> ContainerLabels {
        ContainerLabels { namespace: "n".into(), pod: "p".into(), container: name.to_string() }
    }

    fn shown(metrics: &Metrics) -> Vec<String> {
        let text = encode(metrics.registry(), Format::Prometheus).unwrap();
        text.lines().filter(|line| line.starts_with("pilcrow_lag_bytes{")).map(str::to_owned).collect()
    }

    #[test]
    fn the_lags_of_most_containers_are_shown_and_the_rest_is_one_sum() {
        let metrics = Metrics::new();
        metrics.set_lags((0..LAG_CONTAINERS_MAX + 3).map(|i| (i, 10 + i as u64)), container);
        let lines = shown(&metrics);
        assert_eq!(lines.len(), LAG_CONTAINERS_MAX + 1);
        let others = "pilcrow_lag_bytes{namespace=\"(others)\",pod=\"(others)\",container=\"(others)\"} 33";
        assert!(lines.iter().any(|line| line == others), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("container=\"2\"")), "{lines:?}");
    }

    #[test]
    fn a_container_that_vanished_has_no_lag() {
        let metrics = Metrics::new();
        metrics.set_lags([(1, 5), (2, 0)].into_iter(), container);
        assert_eq!(shown(&metrics).len(), 2);
        metrics.set_lags([(2, 7)].into_iter(), container);
        assert_eq!(shown(&metrics), ["pilcrow_lag_bytes{namespace=\"n\",pod=\"p\",container=\"2\"} 7"]);
        metrics.set_lags(std::iter::empty(), container);
        assert_eq!(shown(&metrics), [""; 0]);
    }

    #[test]
    fn the_age_of_the_checkpoint_counts_from_the_start_until_there_is_one() {
        let metrics = Metrics { started_at_ms: now_ms() - 3_600_000, ..Metrics::new() };
        metrics.refresh();
        assert!(metrics.checkpoint_age_seconds.get() >= 3600.0);
        metrics.checkpoint_saved_at_ms.store(now_ms() + 5000, Ordering::Relaxed);
        metrics.refresh();
        assert_eq!(metrics.checkpoint_age_seconds.get(), 0.0);
    }
}
