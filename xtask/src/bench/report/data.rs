//! The figures that the documents' plots are drawn from: docs/data/benchmarks.json.
//!
//! In: that file, and what a run of the benchmark wrote. Out: the figures, rounded as the documents show them. It holds figures of
//! other collectors too, which not every machine can measure, with all that is known of how they were taken: a figure without a
//! source has no place in it.

use serde::{Deserialize, Serialize};

use super::source::{Compared, Figures, Machine, Pipeline, mib};

/// Where it is in the repository.
pub const FILE: &str = "docs/data/benchmarks.json";

/// All of it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Benchmarks {
    pub this_version: ThisVersion,
    pub side_by_side: SideBySide,
    pub stages: Stages,
}

/// What the table of docs/performance.md shows, too.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ThisVersion {
    pub machine: String,
    pub day: String,
    pub commit: String,
    pub command: String,
    pub scenarios: Vec<Scenario>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_s_per_million_lines: Option<f64>,
    pub core_percent: f64,
    pub peak_mib: f64,
    pub resident_mib: f64,
    /// p50, p99, p99.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<[f64; 3]>,
}

/// Collectors on one machine with the same input.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SideBySide {
    pub machine: String,
    pub day: String,
    /// Who measured what, for the caption.
    pub source: String,
    /// The first collector's CPU time for a line in the floor's.
    pub floor_ratio: Option<f64>,
    /// MB or MiB.
    pub memory_unit: String,
    pub collectors: Vec<Collector>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Collector {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// What was done for its speed, or against it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tuned: String,
    /// Not all lines arrived.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loses_lines: bool,
    pub cpu_s_per_million_lines: Option<f64>,
    pub peak: Option<f64>,
    /// At 10,000 lines/s.
    pub core_percent: Option<f64>,
}

/// CPU-seconds per million lines with pipeline stages, of Pilcrow and one other.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stages {
    pub machine: String,
    pub commit: String,
    pub command: String,
    pub peer: String,
    pub version: String,
    pub rows: Vec<Stage>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    pub what: String,
    pub pilcrow: f64,
    pub peer: f64,
}

impl Benchmarks {
    /// Takes a run of `bench pipeline` instead of the one before; instead of the collectors side by side only where it had
    /// others beside it.
    pub fn take(&mut self, run: &Pipeline) {
        let Machine { commit, command, .. } = &run.machine;
        self.this_version = ThisVersion {
            machine: run.machine.name(),
            day: run.machine.day(),
            commit: commit.clone(),
            command: command.clone(),
            scenarios: run.figures.iter().map(Scenario::of).collect(),
        };
        // `--matrix` compares settings of this collector: no others.
        let is_other = |compared: &&Compared| !compared.name.starts_with("Pilcrow, ");
        let collectors: Vec<_> = run.compared.iter().filter(is_other).map(Collector::of).collect();
        if collectors.iter().any(|collector| collector.name != OURS) {
            self.side_by_side = SideBySide {
                machine: run.machine.name(),
                day: run.machine.day(),
                source: format!(
                    "Commit {commit}, {command}. Every line of each arrived, or the run would have failed."
                ),
                floor_ratio: run.ratio.as_ref().map(|ratio| rounded(ratio.median, 2)),
                memory_unit: "MiB".into(),
                collectors,
            };
        }
    }
}

/// What the benchmark calls this collector.
pub const OURS: &str = "Pilcrow";

impl Scenario {
    fn of(figures: &Figures) -> Self {
        Self {
            name: figures.scenario.clone(),
            cpu_s_per_million_lines: figures.cpu_s_per_million_lines().map(|seconds| rounded(seconds, 3)),
            core_percent: rounded(figures.core_percent(), 2),
            peak_mib: rounded(mib(figures.memory.peak_bytes), 1),
            resident_mib: rounded(mib(figures.memory.resident_bytes), 1),
            latency_ms: figures.latency.map(|it| [it.p50_ms, it.p99_ms, it.p999_ms].map(|ms| rounded(ms, 0))),
        }
    }
}

impl Collector {
    fn of(compared: &Compared) -> Self {
        let scenario = |name: &str| compared.figures.iter().find(|figures| figures.scenario == name);
        let backlog = scenario("backlog");
        let seconds = backlog.and_then(Figures::cpu_s_per_million_lines);
        Self {
            name: compared.name.clone(),
            version: String::new(),
            tuned: String::new(),
            loses_lines: false,
            cpu_s_per_million_lines: seconds.map(|seconds| rounded(seconds, 2)),
            peak: backlog.map(|figures| rounded(mib(figures.memory.peak_bytes), 0)),
            core_percent: scenario("steady").map(|figures| rounded(figures.core_percent(), 2)),
        }
    }
}

fn rounded(number: f64, digits: i32) -> f64 {
    let power = 10f64.powi(digits);
    (number * power).round() / power
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bench::report::tests::committed, process};

    /// What `bench pipeline --json` writes, with fields that are not read.
    fn run(others: &[&str]) -> Pipeline {
        let figures = |scenario| {
            serde_json::json!({
                "scenario": scenario, "seconds": 2.0, "lines": 1_000_000, "bytes": 200_000_000, "cpu": {"user_s": 0.5}, "cpu_s": 0.12345,
                "memory": {"peak_bytes": 3 << 20, "resident_bytes": 2 << 20, "anonymous_bytes": 0},
                "wakeups": 5, "latency": null,
            })
        };
        let compared =
            |name: &&str| serde_json::json!({"name": name, "figures": [figures("backlog"), figures("steady")]});
        serde_json::from_value(serde_json::json!({
            "machine": {"cpu": "a", "cores": 2, "kernel": "6", "commit": "c0ffee", "build": [], "command": "x", "time_s": 86_400},
            "figures": [figures("backlog")], "backlog": [], "ratio": {"median": 1.2345, "noise": 0.0},
            "compared": others.iter().map(compared).collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    #[test]
    fn a_run_replaces_the_one_before_and_others_only_where_it_had_some() {
        let mut benchmarks = committed();
        let before = benchmarks.side_by_side.collectors.len();
        benchmarks.take(&run(&["Pilcrow", "Pilcrow, poll, pread"]));
        let ThisVersion { commit, day, scenarios, .. } = &benchmarks.this_version;
        assert_eq!((commit.as_str(), day.as_str(), scenarios.len()), ("c0ffee", "1970-01-02", 1));
        assert_eq!(scenarios[0].cpu_s_per_million_lines, Some(0.123));
        assert_eq!(benchmarks.side_by_side.collectors.len(), before);
        benchmarks.take(&run(&["Pilcrow", "Vector 0.57"]));
        let others = &benchmarks.side_by_side;
        assert_eq!(others.collectors.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["Pilcrow", "Vector 0.57"]);
        assert_eq!((others.floor_ratio, others.collectors[1].peak), (Some(1.23), Some(3.0)));
    }

    #[test]
    fn the_table_of_comparison_md_has_the_figures_of_the_other_collectors() {
        let text = std::fs::read_to_string(process::workspace_root().join("docs/comparison.md")).unwrap();
        let cell = |figure: Option<f64>| figure.map_or("-".into(), |figure| figure.to_string());
        for it in committed().side_by_side.collectors {
            let name = format!("{} {}", it.name, it.version);
            let name =
                [name.trim(), &it.tuned].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ");
            let figures = [it.cpu_s_per_million_lines, it.peak, it.core_percent].map(cell).join(" | ");
            let row = format!("| {name} | {figures} |");
            assert!(text.contains(&row), "docs/comparison.md has no row {row}");
        }
    }

    #[test]
    fn the_figures_are_those_of_the_table_in_performance_md() {
        let text = std::fs::read_to_string(process::workspace_root().join("docs/performance.md")).unwrap();
        let begin = "<!-- begin: written by `cargo xtask bench pipeline --write-docs` -->";
        let table = text.split_once(begin).unwrap().1.split_once("<!-- end -->").unwrap().0;
        let ThisVersion { machine, commit, command, scenarios, .. } = committed().this_version;
        let row = |name: &str, cell: &dyn Fn(&Scenario) -> String| {
            let cells: Vec<_> = scenarios.iter().map(cell).collect();
            format!("| {name} | {} |", cells.join(" | "))
        };
        let milliseconds = |[p50, p99, p999]: [f64; 3]| format!("{p50} / {p99} / {p999}");
        for expected in [
            row("", &|it| it.name.clone()),
            row("CPU-s per million lines", &|it| {
                it.cpu_s_per_million_lines.map_or("-".into(), |it| format!("{it:.3}"))
            }),
            row("% of a core", &|it| format!("{:.2}", it.core_percent)),
            row("peak resident MiB", &|it| format!("{:.1}", it.peak_mib)),
            row("resident MiB at the end", &|it| format!("{:.1}", it.resident_mib)),
            row("latency p50 / p99 / p99.9 ms", &|it| it.latency_ms.map_or("-".into(), milliseconds)),
            format!("{machine}, commit {commit}, `{command}`"),
        ] {
            assert!(
                table.contains(&expected),
                "run `cargo xtask bench report --json FILE` too; no {expected:?} in {table}"
            );
        }
    }
}
