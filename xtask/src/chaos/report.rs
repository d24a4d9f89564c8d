//! What a run of `chaos` found, for people and as JSON.

use std::{collections::BTreeMap, fmt, path::Path};

use anyhow::{Context, ensure};
use serde::Serialize;

use super::{
    memory,
    removals::RemovalCounts,
    storm::{Length, Scale, Summary},
};
use crate::figures::thousands;

/// What was found.
#[derive(Serialize)]
pub struct ChaosReport {
    seed: u64,
    again: String,
    seconds: u64,
    written: u64,
    arrived: u64,
    missing: u64,
    repeated: u64,
    refused: u64,
    refused_entries: u64,
    limited_entries: u64,
    silently_dropped: u64,
    read_errors: u64,
    peak_bytes: BTreeMap<String, u64>,
    peak_mib_max: u64,
    is_complete: bool,
    blows: BTreeMap<String, u64>,
    weather: BTreeMap<String, u64>,
    node: BTreeMap<&'static str, u64>,
    removed_files: RemovalCounts,
    answers: BTreeMap<u16, u64>,
    starts: BTreeMap<String, u64>,
    metrics: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
    lines: String,
}

/// The command that repeats a run.
pub fn again(seed: u64, scale: Scale, length: Length) -> String {
    let Scale { containers, lines_per_second } = scale;
    let length = match length {
        Length::Time(time) => format!("--minutes {:.2}", time.as_secs_f64() / 60.0),
        Length::Episodes(episodes) => format!("--episodes {episodes}"),
    };
    format!("cargo xtask chaos --seed {seed} {length} --containers {containers} --rate {lines_per_second}")
}

impl ChaosReport {
    pub fn new(seed: u64, scale: Scale, length: Length, summary: &Summary, peak_mib_max: u64) -> Self {
        fn named<K: fmt::Debug>(counts: &BTreeMap<K, u64>) -> BTreeMap<String, u64> {
            counts.iter().map(|(kind, count)| (format!("{kind:?}"), *count)).collect()
        }
        let report = &summary.report;
        let [rotations, restarts, replaced_pods, removed_files] = summary.housekeeping;
        Self {
            seed,
            again: again(seed, scale, length),
            seconds: summary.took.as_secs(),
            written: report.written,
            arrived: report.acknowledged,
            missing: report.missing,
            repeated: report.faults.repeated,
            refused: report.refused,
            refused_entries: summary.refused_entries,
            limited_entries: summary.limited_entries,
            silently_dropped: summary.silently_dropped,
            read_errors: summary.read_errors,
            peak_bytes: summary.peaks.clone(),
            peak_mib_max,
            is_complete: report.is_complete_but_for_refused(),
            blows: named(&summary.blows),
            weather: named(&summary.weathers),
            node: [
                ("rotations", rotations),
                ("container restarts", restarts),
                ("replaced pods", replaced_pods),
                ("removed files", removed_files),
            ]
            .into(),
            removed_files: summary.removals,
            answers: summary.answers.clone(),
            starts: summary.observed.starts_by_backend().clone(),
            metrics: summary.observed.totals(),
            violations: summary.violations.clone(),
            lines: report.to_string(),
        }
    }

    /// An error unless all is as it must be.
    pub fn judge(&self) -> anyhow::Result<()> {
        ensure!(self.violations.is_empty(), "pushes that were not as they must be: {:?}", self.violations);
        ensure!(self.is_complete, "not every line arrived as it was written, in order: {}", self.lines);
        memory::judge(&self.peak_bytes, self.peak_mib_max)
    }

    /// As JSON.
    pub fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, serde_json::to_vec_pretty(self)?).with_context(|| path.display().to_string())
    }
}

impl fmt::Display for ChaosReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = |counts: &BTreeMap<String, u64>| {
            counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ")
        };
        let of = |counts: &BTreeMap<&str, u64>| {
            counts.iter().map(|(kind, count)| format!("{kind} {}", thousands(*count))).collect::<Vec<_>>().join(", ")
        };
        let answers: Vec<_> = self
            .answers
            .iter()
            .map(|(status, count)| match status {
                0 => format!("none {count}"),
                status => format!("{status}: {count}"),
            })
            .collect();
        let removed = self.removed_files;
        writeln!(f, "seed {}, {} s", self.seed, self.seconds)?;
        writeln!(f, "  lines      {}", self.lines)?;
        writeln!(f, "  refusals   {} entries refused with 400, counted alike", self.refused_entries)?;
        writeln!(
            f,
            "  streams    {} entries of streams that were new or too fast were not taken, {} of them silently",
            self.limited_entries, self.silently_dropped
        )?;
        let peaks: Vec<_> = self
            .peak_bytes
            .iter()
            .map(|(phase, bytes)| format!("{phase} {:.1}", *bytes as f64 / 1_048_576.0))
            .collect();
        writeln!(f, "  peak MiB   {} (at most {})", peaks.join(", "), self.peak_mib_max)?;
        writeln!(f, "  reads      {} failed", self.read_errors)?;
        writeln!(f, "  blows      {}", counts(&self.blows))?;
        writeln!(f, "  weather    {}", counts(&self.weather))?;
        writeln!(f, "  node       {}", of(&self.node))?;
        writeln!(
            f,
            "  removals   {} files after all their lines had arrived, {} while unread and open, {} times postponed",
            removed.after_arrival, removed.while_unread, removed.postponed
        )?;
        writeln!(f, "  answers    {}", answers.join(", "))?;
        writeln!(f, "  collectors {}", counts(&self.starts))?;
        writeln!(f, "  metrics    {}", of(&self.metrics))?;
        write!(f, "  again      {}", self.again)
    }
}
