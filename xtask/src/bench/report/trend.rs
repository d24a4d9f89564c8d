//! `cargo xtask bench report --trend FOLDER`: how the benchmark's figures changed from commit to commit.
//!
//! In: the JSON of runs anywhere below a folder, as CI keeps them. Out: one page with a small chart for each figure and a table of
//! the runs. It judges nothing: benches/limits.toml does. Ratios and instructions can be compared between machines; CPU time
//! only on the same one, and CI's machines are not the same.

mod page;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use super::source::{Instructions, Machine, Measured, Pipeline, mib};
use page::{Chart, Point, Series};

/// Reads the runs below `folder` and writes the page.
pub fn run(folder: &Path, output: &Path) -> anyhow::Result<()> {
    let runs = runs_below(folder)?;
    ensure!(!runs.is_empty(), "no JSON of a benchmark below {}", folder.display());
    if let Some(parent) = output.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(output, page::html(&charts(&runs), &runs))
        .with_context(|| format!("cannot write {}", output.display()))?;
    println!("{} runs: {}", runs.len(), output.display());
    Ok(())
}

/// All of them, oldest first. Other JSON is named and left out.
fn runs_below(folder: &Path) -> anyhow::Result<Vec<Measured>> {
    let mut runs = Vec::new();
    for file in json_below(folder)? {
        match super::read(&file) {
            Ok(run) => runs.push(run),
            Err(error) => println!("left out: {error:#}"),
        }
    }
    runs.sort_by_key(|run| run.machine().time_s);
    // The same run may have been downloaded twice.
    runs.dedup_by_key(|run| (run.machine().time_s, run.machine().commit.clone(), run.machine().command.clone()));
    Ok(runs)
}

fn json_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(json_below(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What a point is in.
type Places = BTreeMap<(usize, String), BTreeMap<String, Vec<Point>>>;

/// Collects points by chart and line.
#[derive(Default)]
struct Collected {
    /// By rank of its group and heading, then by what is compared.
    charts: Places,
}

impl Collected {
    fn add(&mut self, (rank, heading): (usize, &str), line: &str, machine: &Machine, value: f64) {
        let lines = self.charts.entry((rank, heading.to_owned())).or_default();
        let what = format!("{}, {}, {}", machine.commit, machine.day(), machine.name());
        lines.entry(line.to_owned()).or_default().push(Point { time_s: machine.time_s, value, what });
    }

    fn pipeline(&mut self, run: &Pipeline) {
        // A short backlog costs more for a line, as the start weighs more.
        let size = run.scenario("backlog").map_or(0, |figures| figures.bytes);
        let backlog = format!("{} MB", (size as f64 / 1e6).round());
        let machine = &run.machine;
        if let Some(ratio) = &run.ratio {
            self.add((0, "Backlog: CPU time in the floor's"), &backlog, machine, ratio.median);
            self.add((1, "Backlog: noise of that ratio"), &backlog, machine, ratio.noise);
        }
        for figures in &run.figures {
            let name = &figures.scenario;
            let line = if ["floor", "backlog"].contains(&name.as_str()) { backlog.as_str() } else { "" };
            if let Some(seconds) = figures.cpu_s_per_million_lines() {
                self.add((4, &format!("CPU-s per million lines: {name}")), line, machine, seconds);
            } else {
                self.add((5, &format!("% of a core: {name}")), line, machine, figures.core_percent());
            }
            self.add((6, &format!("Peak resident MiB: {name}")), line, machine, mib(figures.memory.peak_bytes));
        }
    }

    fn instructions(&mut self, run: &Instructions) {
        // Those of another architecture are no older or newer values of the same figure.
        let (_, target) = run.machine.command.split_once("--target ").unwrap_or_default();
        let target = target.split_whitespace().next().unwrap_or("this machine's");
        self.add((2, "A line's way: instructions in the floor's"), target, &run.machine, run.ratio);
        for step in &run.steps {
            let heading = format!("Instructions a line: {}", step.name);
            self.add((3, &heading), target, &run.machine, step.instructions_per_line);
        }
    }
}

fn charts(runs: &[Measured]) -> Vec<Chart> {
    let mut collected = Collected::default();
    for run in runs {
        match run {
            Measured::Pipeline(run) => collected.pipeline(run),
            Measured::Instructions(run) => collected.instructions(run),
        }
    }
    let chart = |((_, heading), lines): ((usize, String), BTreeMap<String, Vec<Point>>)| Chart {
        heading,
        series: lines.into_iter().map(|(name, points)| Series { name, points }).collect(),
    };
    collected.charts.into_iter().map(chart).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(commit: &str, time_s: i64, command: &str) -> serde_json::Value {
        serde_json::json!({"cpu": "<cpu>", "cores": 2, "kernel": "6", "commit": commit, "command": command, "time_s": time_s})
    }

    fn write_run(folder: &Path, name: &str, commit: &str, time_s: i64, mb: u64, median: f64) {
        let figures = |scenario| {
            serde_json::json!({"scenario": scenario, "seconds": 1.0, "lines": 1_000_000, "bytes": mb * 1_000_000 + 77, "cpu_s": 0.7,
                "memory": {"peak_bytes": 1 << 20, "resident_bytes": 1 << 20}})
        };
        let run = serde_json::json!({"machine": machine(commit, time_s, "bench pipeline"), "figures": [figures("floor"), figures("backlog")],
            "ratio": {"median": median, "noise": 0.01}});
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("bench-pipeline.json"), run.to_string()).unwrap();
    }

    #[test]
    fn a_page_shows_all_runs_in_the_order_of_time_and_leaves_out_other_files() {
        let folder = tempfile::tempdir().unwrap();
        write_run(folder.path(), "1/ci", "newer", 172_800, 300, 1.2);
        write_run(folder.path(), "2", "older", 86_400, 300, 1.3);
        write_run(folder.path(), "3", "long", 90_000, 1000, 1.1);
        write_run(folder.path(), "4", "older", 86_400, 300, 1.3);
        let instructions = serde_json::json!({"machine": machine("newer", 172_801, "bench instructions"), "counter": "x", "ratio": 0.5,
            "steps": [{"name": "snappy", "lines": 1, "bytes": 1, "instructions_per_line": 457.0, "vector_per_line": null}]});
        fs::write(folder.path().join("i.json"), instructions.to_string()).unwrap();
        fs::write(folder.path().join("other.json"), "{}").unwrap();

        let runs = runs_below(folder.path()).unwrap();
        let commits: Vec<_> = runs.iter().map(|run| run.machine().commit.as_str()).collect();
        assert_eq!(commits, ["older", "long", "newer", "newer"]);
        let charts = charts(&runs);
        let lines: Vec<_> = charts[0].series.iter().map(|it| (it.name.as_str(), it.points.len())).collect();
        assert_eq!(
            (charts[0].heading.as_str(), lines),
            ("Backlog: CPU time in the floor's", vec![("1000 MB", 1), ("300 MB", 2)])
        );
        assert!(charts.iter().any(|chart| chart.heading == "Instructions a line: snappy"));
        let html = page::html(&charts, &runs);
        assert!(html.contains("newer, 1970-01-03, &lt;cpu&gt;, 2 cores, Linux 6: 1.2"), "{html}");
        assert!(!html.contains("<script") && !html.contains("<cpu>"), "{html}");
    }

    #[test]
    fn a_folder_without_runs_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(folder.path(), &folder.path().join("index.html")).unwrap_err().to_string();
        assert!(error.contains("no JSON of a benchmark"), "{error}");
    }
}
