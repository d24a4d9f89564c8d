//! The configuration: one YAML file, every key with a default.
//!
//! In: a file's text and the environment. Out: a [`Draft`], with each unknown key or value that cannot be decoded, its line and the
//! nearest known key. Whether its [`Config`] can be used is decided by `crate::compiled`. Secrets are never printed. Imports nothing of
//! the rest of the program.
//! docs/configuration.md describes every key; a test compares the two.
//!
//! `load` calls `tree` (YAML with places, variables expanded), then `decode` (serde).

mod decode;
mod error;
mod load;
mod loki;
mod named_file;
mod nearest;
mod processing;
mod relabel;
mod reporting;
mod rule_test;
mod stage;
pub mod tree;
mod units;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use error::{ConfigError, Origin, Place, Problem};
pub use load::{Draft, Environment, Findings, TestsDraft, read, to_yaml};
pub use loki::{Backoff, BasicAuth, BatchLimits, Compression, Headers, Loki, RefusedStreams, Tls};
#[cfg(test)]
pub(crate) use named_file::tests::make_fifo;
pub use named_file::{open_named_file, read_named_file};
pub use nearest::{closest, nearest};
pub use processing::{AnnotationKey, Annotations, Budget, BudgetAction, Dedupe};
pub use relabel::{RelabelAction, RelabelConfig};
pub use reporting::{Http, Log, LogFormat, LogLevel, Ready};
pub use rule_test::{Expectation, RuleTest, TestContainer, TestLine, TestStream, TestTime};
pub use stage::{StageConfig, StageValue};
pub use units::{ByteSize, HumanDuration, Rate};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the lines go.
    pub loki: Loki,
    /// Static labels, put on every stream.
    pub labels: BTreeMap<String, String>,
    /// Whether the built-in rules, which make the default labels, come before [`Self::relabel_configs`].
    pub relabel_defaults: bool,
    /// Whose labels the built-in rules make.
    pub preset: Preset,
    /// The user's rules for labels and for what is left out.
    pub relabel_configs: Vec<RelabelConfig>,
    /// Promtail's stages, applied to each line.
    pub pipeline_stages: Vec<StageConfig>,
    /// Whether each line gets its level as structured metadata.
    pub levels: bool,
    /// Whether each stream gets the label `service_name`.
    pub service_name: bool,
    /// How much containers may send.
    pub budgets: Vec<Budget>,
    /// Equal lines in a row.
    pub dedupe: Dedupe,
    /// What the rules and stages shall make of lines, for `pilcrow test`.
    pub tests: Vec<RuleTest>,
    pub paths: Paths,
    /// Where pod metadata comes from.
    pub kubernetes: Kubernetes,
    /// How growth of a file is detected.
    pub signal: SignalChoice,
    pub reader: Reader,
    /// Where a file without a checkpoint is begun.
    pub start_at: StartAt,
    pub lines: Lines,
    pub memory: Memory,
    /// What deleted files that are not read to their end may cost.
    pub hold: Hold,
    /// How often positions are saved.
    pub checkpoint: Checkpoint,
    /// How often every tracked file is compared with its position, whatever the signal said.
    pub sweep: Sweep,
    pub shutdown: Shutdown,
    /// When `/ready` answers 503.
    pub ready: Ready,
    pub http: Http,
    pub log: Log,
    /// For tests of Pilcrow itself.
    pub debug: Debug,
}

/// `preset`: labels that another collector's chart makes by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Pilcrow's own.
    #[default]
    None,
    /// Those of Promtail's chart.
    PromtailChart,
    /// Those of the chart k8s-monitoring, as it sends pod logs to Loki.
    #[serde(rename = "k8s-monitoring")]
    K8sMonitoring,
}

impl Preset {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::PromtailChart => "promtail-chart",
            Self::K8sMonitoring => "k8s-monitoring",
        }
    }
}

/// `paths`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Paths {
    /// The kubelet's folder of pod logs.
    pub pods: PathBuf,
    /// Docker's folder of containers, to collect from these instead of pods; empty: pods are collected from.
    pub docker: PathBuf,
    /// The one folder that Pilcrow writes to.
    pub state: PathBuf,
}

impl Paths {
    /// Docker's folder of containers, where these are collected from.
    #[must_use]
    pub fn docker(&self) -> Option<&Path> {
        Some(self.docker.as_path()).filter(|docker| !docker.as_os_str().is_empty())
    }
}

/// `kubernetes`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    /// Whether the API is asked for pod metadata.
    pub enabled: Enabled,
    /// The node whose pods are watched.
    pub node_name: String,
    /// A kubeconfig file; empty: the service account of the pod that Pilcrow runs in.
    pub kubeconfig: PathBuf,
    /// How long a new pod's first lines wait for its metadata.
    pub wait: HumanDuration,
    /// Of which namespaces logs are collected.
    pub namespaces: Namespaces,
    /// A label selector in kubectl's syntax: of which pods logs are collected; empty: of all.
    pub pod_selector: String,
    pub annotations: Annotations,
}

/// `kubernetes.namespaces`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Namespaces {
    /// Only of these; empty: of all.
    pub include: Vec<String>,
    /// Not of these, whatever `include` says.
    pub exclude: Vec<String>,
}

impl Namespaces {
    /// Whether logs of this namespace are collected.
    #[must_use]
    pub fn contain(&self, namespace: &str) -> bool {
        let among = |names: &[String]| names.iter().any(|name| name == namespace);
        (self.include.is_empty() || among(&self.include)) && !among(&self.exclude)
    }
}

/// `kubernetes.enabled`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Enabled {
    /// On where it is possible.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// On, and an error where it is not possible.
    #[serde(rename = "true")]
    True,
    /// Off.
    #[serde(rename = "false")]
    False,
}

/// `signal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalChoice {
    /// eBPF, else inotify, else poll.
    #[default]
    Auto,
    /// eBPF or an error.
    Ebpf,
    /// inotify or an error.
    Inotify,
    /// Compare sizes periodically.
    Poll,
}

/// `reader`; a backend alone, `reader: pread`, means `reader.backend`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reader {
    pub backend: ReaderChoice,
}

/// `reader.backend`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReaderChoice {
    /// `io_uring`, else `pread`.
    #[default]
    Auto,
    /// `io_uring` or an error.
    IoUring,
    /// `pread`.
    Pread,
}

/// `start_at`: for files without a checkpoint that are there when Pilcrow starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// Every line that is on the disk.
    #[default]
    Beginning,
    /// Only what is written from now on.
    End,
}

/// `lines`: limits of a line.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lines {
    /// Longest text of one entry; Loki's own default is 256KB.
    pub max_bytes: ByteSize,
    /// What happens to a longer one.
    pub oversize: Oversize,
    /// How long the pieces of an unfinished line wait for the rest after the container fell silent.
    pub partial_timeout: HumanDuration,
}

/// `lines.oversize`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Oversize {
    /// Several entries; the first has the line's timestamp, each further one a nanosecond more.
    #[default]
    Split,
    /// One entry, the rest is dropped and counted.
    Cut,
}

/// `memory`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// Lines between reader and acknowledgement; reading waits when it is full.
    pub queue: ByteSize,
}

/// `hold`: deleted files that are held open because they are not read to their end.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hold {
    /// What they may take on the disk, all together; past it those that were deleted first are given up. 0: none is held.
    pub bytes: ByteSize,
    /// How long each may be held. 0: for as long as it takes.
    pub age: HumanDuration,
}

/// `checkpoint`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checkpoint {
    /// Least time between two writes; nothing is written when no position moved.
    pub interval: HumanDuration,
}

/// `sweep`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sweep {
    pub interval: HumanDuration,
}

/// `shutdown`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// How long draining may take after SIGTERM or SIGINT.
    pub deadline: HumanDuration,
}

/// `debug`: faults on purpose.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Debug {
    /// The share of the signal's marks that are thrown away, 0 to 1.
    pub drop_signals: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            loki: Loki::default(),
            labels: BTreeMap::new(),
            relabel_defaults: true,
            preset: Preset::default(),
            relabel_configs: Vec::new(),
            pipeline_stages: Vec::new(),
            levels: false,
            service_name: false,
            budgets: Vec::new(),
            dedupe: Dedupe::default(),
            tests: Vec::new(),
            paths: Paths::default(),
            kubernetes: Kubernetes::default(),
            signal: SignalChoice::default(),
            reader: Reader::default(),
            start_at: StartAt::default(),
            lines: Lines::default(),
            memory: Memory::default(),
            hold: Hold::default(),
            checkpoint: Checkpoint::default(),
            sweep: Sweep::default(),
            shutdown: Shutdown::default(),
            http: Http::default(),
            ready: Ready::default(),
            log: Log::default(),
            debug: Debug::default(),
        }
    }
}

impl Default for Paths {
    fn default() -> Self {
        Self { pods: "/var/log/pods".into(), docker: PathBuf::new(), state: "/var/lib/pilcrow".into() }
    }
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            enabled: Enabled::default(),
            node_name: String::new(),
            kubeconfig: PathBuf::new(),
            wait: HumanDuration::from_secs(5),
            namespaces: Namespaces::default(),
            pod_selector: String::new(),
            annotations: Annotations::default(),
        }
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize::kib(256),
            oversize: Oversize::default(),
            partial_timeout: HumanDuration::from_secs(15),
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { queue: ByteSize::mib(4) }
    }
}

impl Default for Hold {
    fn default() -> Self {
        Self { bytes: ByteSize::mib(256), age: HumanDuration::from_secs(0) }
    }
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self { interval: HumanDuration::from_secs(5) }
    }
}

impl Default for Sweep {
    fn default() -> Self {
        Self { interval: HumanDuration::from_secs(5) }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { deadline: HumanDuration::from_secs(10) }
    }
}
