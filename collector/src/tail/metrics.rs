//! What the tailer counts.
//!
//! The hot path counts per read and per batch, not per line.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Unit,
};

use super::lags::Lags;
use crate::status::{Backend, DroppedLines, Metrics, Reason};

/// The format of a log file's line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FormatLabel {
    /// `cri`, `docker` or `raw`.
    pub format: &'static str,
}

/// Every format.
const FORMATS: [&str; 3] = ["cri", "docker", "raw"];

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

/// A gauge of unsigned whole numbers.
pub type UnsignedGauge = Gauge<u64, AtomicU64>;

/// See the module.
#[derive(Debug)]
pub struct TailMetrics {
    pub read_bytes: Counter,
    pub parsed_lines: Family<FormatLabel, Counter>,
    pub malformed_lines: Family<Reason, Counter>,
    pub dropped_lines: DroppedLines,
    pub moved_label_lines: Counter,
    pub repeated_lines: Counter,
    pub annotation_errors: Counter,
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
    pub invalid_tenant_lines: Counter,
    pub stalled_calls: Counter,
    pub stalled_folders: Gauge,
    pub metadata_timeouts: Counter,
    pub kubernetes_pods: Gauge,
    /// What `lag_bytes` shows. Locked by [`Self::set_lags`] only.
    lags: Mutex<Lags>,
    lag_bytes_of_all: AtomicU64,
    reader: OnceLock<Backend>,
}

impl TailMetrics {
    /// All at zero, shown with `all`.
    pub fn new(all: &mut Metrics) -> Self {
        let dropped_lines = all.dropped_lines.clone();
        let mut part = all.part();
        Self {
            read_bytes: part.add_with_unit(Unit::Bytes, "read", "Bytes read from log files"),
            parsed_lines: part.add("parsed_lines", "Log records parsed, by format"),
            malformed_lines: part.add("malformed_lines", "Lines that were not as their format demands and were sent all the same, by reason"),
            dropped_lines,
            moved_label_lines: part.add("moved_label_lines", "Lines whose labels of pipeline_stages became structured metadata, as there were too many streams or Loki takes \
             no such label"),
            annotation_errors: part.add("annotation_errors", "Annotations of pods that have no effect, as they are wrong or too many"),
            repeated_lines: part.add("repeated_lines", "Lines that dedupe made one with the line before them"),
            invalid_tenant_lines: part.add("invalid_tenant_lines", "Lines for which a tenant stage chose a name that Loki would not take; they go to the tenant of \
             loki.tenant"),
            lag_bytes: part.add_with_unit(Unit::Bytes, "lag", "Bytes on the disk that Loki has not acknowledged, as of the last sweep; the containers that lag most"),
            containers: part.add("containers", "Containers whose logs are followed"),
            excluded_containers: part.add("excluded_containers", "Containers whose logs are left out, by reason, as of the last sweep"),
            open_files: part.add("open_files", "Log files that are open"),
            held_files: part.add("held_files", "Deleted log files that are held open because they are not read to their end"),
            held_bytes: part.add_with_unit(Unit::Bytes, "held", "Bytes on the disk of deleted log files that are held open"),
            abandoned_files: part.add("abandoned_files", "Log files that were given up before they were read to their end"),
            abandoned_bytes: part.add_with_unit(Unit::Bytes, "abandoned", "Bytes of log files that were given up unread"),
            signal_backend: part.add("signal_backend_info", "How growth of files is detected"),
            reader_backend: part.add("reader_backend_info", "How files are read"),
            wakeups: part.add("wakeups", "Times that the reader side woke up"),
            signals: part.add("signals", "Files that the signal reported as grown"),
            sweep_finds: part.add("sweep_finds", "Files whose growth the sweep found and the signal missed"),
            skipped_files: part.add("skipped_files", "Names in the folders of logs that are not read, by reason"),
            truncated_files: part.add("truncated_files", "Times that a file became shorter than what was read"),
            stalled_calls: part.add("stalled_calls", "Calls to the file system that did not return in time, for which a folder was set aside"),
            stalled_folders: part.add("stalled_folders", "Log folders that wait for a call to the file system that does not return"),
            metadata_timeouts: part.add("metadata_timeouts", "Containers whose pod's metadata did not come within kubernetes.wait"),
            kubernetes_pods: part.add("kubernetes_pods", "Pods of this node whose metadata is known"),
            lags: Mutex::default(),
            lag_bytes_of_all: AtomicU64::new(0),
            reader: OnceLock::new(),
        }
    }

    /// How files are read, and why not in a better way.
    pub fn reads_with(&self, backend: &str, fallback_reason: Option<String>) {
        let backend = self.reader.get_or_init(|| Backend::new(backend, fallback_reason));
        self.reader_backend.get_or_create(backend).set(1);
    }

    /// As [`Self::reads_with`] said; `None`: not yet known.
    pub fn reader(&self) -> Option<&Backend> {
        self.reader.get()
    }

    /// Log records parsed, of every format.
    pub fn lines_read(&self) -> u64 {
        let of = |format| self.parsed_lines.get(&FormatLabel { format }).map_or(0, |lines| lines.get());
        FORMATS.into_iter().map(of).sum()
    }

    /// What all containers lag behind together, as of the last sweep.
    pub fn lag_bytes_of_all(&self) -> u64 {
        self.lag_bytes_of_all.load(Ordering::Relaxed)
    }

    /// Shows how many bytes each container lags behind, as of now: those that lag most by name, the others as a sum. A container
    /// that is not among them any more is shown no longer. `labels` is called for those that may be shown by name.
    pub fn set_lags<T>(&self, lags: impl Iterator<Item = (T, u64)>, labels: impl Fn(T) -> ContainerLabels) {
        let lags: Vec<(T, u64)> = lags.collect();
        let sum = lags.iter().fold(0u64, |sum, (_, lag)| sum.saturating_add(*lag));
        self.lag_bytes_of_all.store(sum, Ordering::Relaxed);
        let mut all = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        all.set(lags, labels, &self.lag_bytes);
    }
}

impl Default for TailMetrics {
    fn default() -> Self {
        Self::new(&mut Metrics::new())
    }
}
