//! Figures, the ratio to the floor, and how they are shown: a table, JSON, docs/performance.md.

use std::fmt;

use rig::latency::Histogram;
use serde::Serialize;

use super::{
    comparison::{self, Compared},
    median_by,
    usage::{Cpu, Memory},
};
use crate::{docs::row, machine::Machine};

/// What one run took.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// What was run.
    pub scenario: String,
    /// How long it was measured.
    pub seconds: f64,
    /// Lines that were written or waited.
    pub lines: u64,
    /// Bytes: in the backlog of its files, in steady state of the lines' text.
    pub bytes: u64,
    /// CPU time by kind.
    pub cpu: Cpu,
    /// CPU time in all, as exactly as it can be measured.
    pub cpu_s: f64,
    /// Memory, at the end.
    pub memory: Memory,
    /// How often a thread waited and was woken.
    pub wakeups: u64,
    /// System calls; `None` where they cannot be counted.
    pub system_calls: Option<u64>,
    /// Allocations, counted in a run of their own that was as long.
    pub allocations: Option<f64>,
    /// From the line's timestamp to the sink.
    pub latency: Option<Latency>,
}

/// Some quantiles, milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Half of the lines are not slower.
    pub p50_ms: f64,
    /// 99% of the lines are not slower.
    pub p99_ms: f64,
    /// 99.9% of the lines are not slower.
    pub p999_ms: f64,
}

impl Latency {
    /// Of all lines.
    pub fn of(histogram: &Histogram) -> Self {
        let ms = |quantile| histogram.quantile(quantile).as_secs_f64() * 1e3;
        Self { p50_ms: ms(0.5), p99_ms: ms(0.99), p999_ms: ms(0.999) }
    }
}

/// A run of the floor and one of the collector after it, on the same files.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// The floor.
    pub floor: Figures,
    /// The collector.
    pub collector: Figures,
}

/// The collector's CPU time on the backlog in the floor's: the median of the pairs, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    median: f64,
    noise: f64,
}

impl Ratio {
    fn of(pairs: &[Pair]) -> Option<Self> {
        let ratios: Vec<f64> = pairs.iter().map(|pair| pair.collector.cpu_s / pair.floor.cpu_s).collect();
        let median = *median_by(&ratios, |ratio| *ratio)?;
        // Half of the runs lie within it, however far one is off.
        let deviations: Vec<f64> = ratios.iter().map(|ratio| (ratio - median).abs()).collect();
        Some(Self { median, noise: *median_by(&deviations, |deviation| *deviation)? })
    }

    /// What it is at least, noise taken off.
    pub fn least(&self) -> f64 {
        self.median - self.noise
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, noise } = self;
        write!(f, "the backlog takes {median:.2} (± {noise:.2}) times the floor's CPU time")
    }
}

impl Figures {
    /// The figures that say most, for a line.
    pub fn in_short(&self) -> Vec<String> {
        let peak = format!("peak {:.1} MiB", mib(self.memory.peak_bytes));
        match self.cpu_per_million_lines(self.cpu_s) {
            Some(per_million) => vec![
                format!("{:.0} lines/s", self.lines as f64 / self.seconds),
                format!("{per_million:.3} CPU-s per million lines"),
                peak,
            ],
            None => vec![format!("{:.3} % of a core", self.core_percent()), peak],
        }
    }

    /// CPU time in the terms of the table; nothing where there were no lines.
    pub fn cpu_per_million_lines(&self, cpu_s: f64) -> Option<f64> {
        (self.lines > 0).then(|| cpu_s * 1e6 / self.lines as f64)
    }

    /// CPU time as a part of one core.
    pub fn core_percent(&self) -> f64 {
        100.0 * self.cpu_s / self.seconds
    }
}

/// All that was measured.
#[derive(Serialize)]
pub struct Report {
    machine: Machine,
    /// One for each column of the table.
    figures: Vec<Figures>,
    backlog: Vec<Pair>,
    ratio: Option<Ratio>,
    /// Settings and other collectors, if they were asked for.
    compared: Vec<Compared>,
}

impl Report {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self {
            machine: Machine::this_one("pipeline"),
            figures: Vec::new(),
            backlog: Vec::new(),
            ratio: None,
            compared: Vec::new(),
        }
    }

    /// Adds a scenario.
    pub fn add(&mut self, figures: Figures) {
        self.figures.push(figures);
    }

    /// Adds the backlog: the runs with the median CPU time become its columns.
    pub fn add_backlog(&mut self, pairs: &[Pair]) {
        let floor = median_by(pairs, |pair| pair.floor.cpu_s).map(|pair| pair.floor.clone());
        let collector = median_by(pairs, |pair| pair.collector.cpu_s).map(|pair| pair.collector.clone());
        self.figures.extend([floor, collector].into_iter().flatten());
        self.ratio = Ratio::of(pairs);
        self.backlog.extend_from_slice(pairs);
    }

    /// Adds a row to the comparison, whose first one is this collector as it was measured for the table.
    pub fn add_compared(&mut self, compared: Compared) {
        if self.compared.is_empty() {
            self.compared.push(Compared { name: "Pilcrow".into(), figures: self.figures.clone() });
        }
        self.compared.push(compared);
    }

    /// The collector's distance from the floor, if the backlog was run.
    pub fn ratio(&self) -> Option<Ratio> {
        self.ratio
    }

    /// Everything.
    ///
    /// # Errors
    /// None in practice: all of it can be JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// The table, the ratio, and where it comes from.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        row(&mut out, "", self.figures.iter().map(|figures| figures.scenario.clone()));
        row(&mut out, "---", self.figures.iter().map(|_| "---:".to_owned()));
        for (name, cell) in ROWS {
            let cells: Vec<_> = self.figures.iter().map(cell).collect();
            if cells.iter().any(Option::is_some) {
                row(&mut out, name, cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".into())));
            }
        }
        if let Some(ratio) = self.ratio {
            out.push_str(&format!("\n{}.\n", capitalized(&ratio.to_string())));
        }
        if !self.compared.is_empty() {
            out.push_str(&format!("\n{}", comparison::markdown(&self.compared)));
        }
        out.push_str(&format!("\n{}\n", self.machine));
        out
    }
}

type Cell = fn(&Figures) -> Option<String>;

const ROWS: [(&str, Cell); 13] = [
    ("lines/s", |f| (f.lines > 0).then(|| format!("{:.0}", f.lines as f64 / f.seconds))),
    ("MB/s", |f| (f.bytes > 0).then(|| format!("{:.1}", f.bytes as f64 / 1e6 / f.seconds))),
    ("CPU-s per million lines", |f| f.cpu_per_million_lines(f.cpu_s).map(|s| format!("{s:.3}"))),
    ("of that in user space", |f| f.cpu_per_million_lines(f.cpu.user_s).map(|s| format!("{s:.3}"))),
    ("and in the kernel", |f| f.cpu_per_million_lines(f.cpu.system_s).map(|s| format!("{s:.3}"))),
    ("% of a core", |f| Some(format!("{:.2}", f.core_percent()))),
    ("peak resident MiB", |f| Some(format!("{:.1}", mib(f.memory.peak_bytes)))),
    ("resident MiB at the end", |f| Some(format!("{:.1}", mib(f.memory.resident_bytes)))),
    ("of that anonymous", |f| Some(format!("{:.1}", mib(f.memory.anonymous_bytes)))),
    ("wake-ups/s", |f| Some(format!("{:.1}", f.wakeups as f64 / f.seconds))),
    ("system calls per million lines", |f| {
        let calls = f.system_calls.filter(|_| f.lines > 0)?;
        Some(format!("{:.0}", calls as f64 * 1e6 / f.lines as f64))
    }),
    ("allocations per line", |f| f.allocations.map(|count| format!("{:.4}", count / f.lines as f64))),
    ("latency p50 / p99 / p99.9 ms", |f| {
        f.latency.map(|latency| format!("{:.0} / {:.0} / {:.0}", latency.p50_ms, latency.p99_ms, latency.p999_ms))
    }),
];

/// Bytes in MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
impl Figures {
    /// Round numbers.
    pub fn example(scenario: &str) -> Self {
        Self {
            scenario: scenario.into(),
            seconds: 2.0,
            lines: 1_000_000,
            bytes: 200_000_000,
            cpu: Cpu { user_s: 0.5, system_s: 0.5 },
            cpu_s: 1.0,
            memory: Memory { peak_bytes: 3 << 20, resident_bytes: 2 << 20, anonymous_bytes: 1 << 20 },
            wakeups: 5,
            system_calls: Some(70),
            allocations: None,
            latency: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(floor_s: f64, collector_s: f64) -> Pair {
        let figures = |scenario, cpu_s| Figures { cpu_s, ..Figures::example(scenario) };
        Pair { floor: figures("floor", floor_s), collector: figures("backlog", collector_s) }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_pairs_and_one_bad_run_does_not_move_it() {
        let ratio = Ratio::of(&[pair(1.0, 2.0), pair(1.0, 2.1), pair(1.0, 9.0)]).unwrap();
        assert!((ratio.median - 2.1).abs() < 1e-9 && (ratio.noise - 0.1).abs() < 1e-9, "{ratio}");
        assert!((ratio.least() - 2.0).abs() < 1e-9);
        assert_eq!(Ratio::of(&[]), None);
    }

    #[test]
    fn a_row_that_no_scenario_has_is_left_out() {
        let mut report = Report::new();
        report.add_backlog(&[pair(0.5, 1.0)]);
        let table = report.markdown();
        assert!(
            table.starts_with("|  | floor | backlog |\n| --- | ---: | ---: |\n| lines/s | 500000 | 500000 |\n"),
            "{table}"
        );
        assert!(table.contains("| CPU-s per million lines | 0.500 | 1.000 |\n"), "{table}");
        assert!(table.contains("takes 2.00 (± 0.00) times"), "{table}");
        assert!(table.contains("| system calls per million lines | 70 | 70 |\n"), "{table}");
        assert!(!table.contains("latency"), "{table}");
        assert!(serde_json::from_str::<serde_json::Value>(&report.json().unwrap()).is_ok());
    }
}
