//! What `cargo xtask bench pipeline --json` and `bench instructions --json` write, as far as plots need it.
//!
//! In: their JSON (`benches/src/pipeline/report.rs`, `benches/src/instructions/mod.rs`). Out: the same as structs. Fields that are
//! not read here may come and go.

use serde::Deserialize;

/// Either of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Measured {
    Pipeline(Pipeline),
    Instructions(Instructions),
}

/// Where and when.
#[derive(Debug, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub kernel: String,
    pub commit: String,
    pub command: String,
    /// Seconds since 1970.
    pub time_s: i64,
}

impl Machine {
    /// The processor and the kernel.
    pub fn name(&self) -> String {
        format!("{}, {} cores, Linux {}", self.cpu, self.cores, self.kernel)
    }

    /// The day in UTC, such as 2026-11-29.
    pub fn day(&self) -> String {
        jiff::Timestamp::from_second(self.time_s).map_or_else(|_| "unknown".into(), |at| at.strftime("%F").to_string())
    }
}

#[derive(Debug, Deserialize)]
pub struct Pipeline {
    pub machine: Machine,
    pub figures: Vec<Figures>,
    pub ratio: Option<Ratio>,
    #[serde(default)]
    pub compared: Vec<Compared>,
}

/// The backlog's CPU time in the floor's.
#[derive(Debug, Deserialize)]
pub struct Ratio {
    pub median: f64,
    pub noise: f64,
}

/// One scenario.
#[derive(Debug, Deserialize)]
pub struct Figures {
    pub scenario: String,
    pub seconds: f64,
    pub lines: u64,
    pub bytes: u64,
    pub cpu_s: f64,
    pub memory: Memory,
    pub latency: Option<Latency>,
}

#[derive(Debug, Deserialize)]
pub struct Memory {
    pub peak_bytes: u64,
    pub resident_bytes: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
}

/// Another collector, or other settings.
#[derive(Debug, Deserialize)]
pub struct Compared {
    pub name: String,
    pub figures: Vec<Figures>,
}

impl Figures {
    /// Nothing where there were no lines.
    pub fn cpu_s_per_million_lines(&self) -> Option<f64> {
        (self.lines > 0).then(|| self.cpu_s * 1e6 / self.lines as f64)
    }

    pub fn core_percent(&self) -> f64 {
        100.0 * self.cpu_s / self.seconds
    }
}

impl Pipeline {
    /// The figures of a scenario.
    pub fn scenario(&self, name: &str) -> Option<&Figures> {
        self.figures.iter().find(|figures| figures.scenario == name)
    }
}

#[derive(Debug, Deserialize)]
pub struct Instructions {
    pub machine: Machine,
    pub steps: Vec<Step>,
    /// Of a line's whole way, in the floor's.
    pub ratio: f64,
}

#[derive(Debug, Deserialize)]
pub struct Step {
    pub name: String,
    pub instructions_per_line: f64,
}

impl Measured {
    pub fn machine(&self) -> &Machine {
        match self {
            Self::Pipeline(pipeline) => &pipeline.machine,
            Self::Instructions(instructions) => &instructions.machine,
        }
    }
}

/// Bytes in MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
