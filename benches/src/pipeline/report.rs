//! Figures, the ratio to the floor, and how they are shown: a table, JSON, docs/performance.md.

use std::{
    env, fmt, fs, io,
    path::Path,
    process::Command,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use rig::latency::Histogram;
use serde::Serialize;

use super::{
    median_by,
    usage::{Cpu, Memory},
};

/// Between these lines docs/performance.md holds the table.
const DOCS_BEGIN: &str = "<!-- begin: written by `cargo xtask bench pipeline --write-docs` -->";
const DOCS_END: &str = "<!-- end -->";
/// Set to build faster, and the figures are no longer those of the released program.
const PROFILE_OVERRIDES: &str = "CARGO_PROFILE_RELEASE_";

/// What one run took.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// What was run.
    pub scenario: &'static str,
    /// How long it was measured.
    pub seconds: f64,
    /// Lines that were written or waited.
    pub lines: u64,
    /// Bytes: in the backlog of its files, in steady state of the lines' text.
    pub bytes: u64,
    /// CPU time by kind.
    pub cpu: Cpu,
    /// CPU time in all, as exact as it can be had.
    pub cpu_s: f64,
    /// Memory, at the end.
    pub memory: Memory,
    /// How often a thread waited and was woken.
    pub wakeups: u64,
    /// From the line's timestamp to the sink.
    pub latency: Option<Latency>,
}

/// Some quantiles, milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
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

    fn cpu_per_million_lines(&self, cpu_s: f64) -> Option<f64> {
        (self.lines > 0).then(|| cpu_s * 1e6 / self.lines as f64)
    }

    fn core_percent(&self) -> f64 {
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
}

impl Report {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self { machine: Machine::this_one(), figures: Vec::new(), backlog: Vec::new(), ratio: None }
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
        row(&mut out, "", self.figures.iter().map(|figures| figures.scenario.to_owned()));
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
        out.push_str(&format!("\n{}\n", self.machine));
        out
    }

    /// Puts the table into its place in `path`.
    ///
    /// # Errors
    /// Where the place is not there.
    pub fn write_docs(&self, path: &Path) -> anyhow::Result<()> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let Some((before, rest)) = text.split_once(DOCS_BEGIN) else { bail!("{} has no {DOCS_BEGIN}", path.display()) };
        let Some((_, after)) = rest.split_once(DOCS_END) else { bail!("{} has no {DOCS_END}", path.display()) };
        fs::write(path, format!("{before}{DOCS_BEGIN}\n\n{}\n{DOCS_END}{after}", self.markdown()))?;
        Ok(())
    }
}

type Cell = fn(&Figures) -> Option<String>;

const ROWS: [(&str, Cell); 11] = [
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
    ("latency p50 / p99 / p99.9 ms", |f| {
        f.latency.map(|latency| format!("{:.0} / {:.0} / {:.0}", latency.p50_ms, latency.p99_ms, latency.p999_ms))
    }),
];

fn row(out: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<_> = [name.to_owned()].into_iter().chain(cells).collect();
    out.push_str(&format!("| {} |\n", cells.join(" | ")));
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Where and of what the figures are.
#[derive(Serialize)]
struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    commit: String,
    /// Settings of the build that differ from the released program's.
    build: Vec<String>,
    command: String,
    /// Seconds since 1970.
    time_s: u64,
}

impl Machine {
    fn this_one() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let overridden = env::vars().filter(|(name, _)| name.starts_with(PROFILE_OVERRIDES));
        Self {
            cpu: cpu_model().unwrap_or_else(|_| "unknown".into()),
            cores: thread::available_parallelism().map_or(1, |cores| cores.get()),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            commit: commit().unwrap_or_else(|_| "unknown".into()),
            build: overridden.map(|(name, value)| format!("{name}={value}")).collect(),
            command: command(),
            time_s: since.as_secs(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, kernel, commit, command, .. } = self;
        write!(f, "{cpu}, {cores} cores, Linux {kernel}, commit {commit}, `{command}`")?;
        if !self.build.is_empty() {
            write!(f, ", built with {}", self.build.join(" "))?;
        }
        Ok(())
    }
}

fn cpu_model() -> io::Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    // x86 has a model name; arm64 only numbers, and the board's name elsewhere.
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    match name {
        Some((_, name)) => Ok(name.trim().to_owned()),
        None => Ok(fs::read_to_string("/proc/device-tree/model")?.trim_end_matches('\0').to_owned()),
    }
}

fn commit() -> anyhow::Result<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output()?;
    anyhow::ensure!(output.status.success(), "no git checkout");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// What a person would type: without the programs that xtask names.
fn command() -> String {
    let mut words = vec!["cargo xtask bench pipeline".to_owned()];
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--collector" || argument == "--floor" {
            arguments.next();
        } else if argument != "--write-docs" {
            words.push(argument);
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(scenario: &'static str, cpu_s: f64) -> Figures {
        Figures {
            scenario,
            seconds: 2.0,
            lines: 1_000_000,
            bytes: 200_000_000,
            cpu: Cpu { user_s: cpu_s / 2.0, system_s: cpu_s / 2.0 },
            cpu_s,
            memory: Memory { peak_bytes: 3 << 20, resident_bytes: 2 << 20, anonymous_bytes: 1 << 20 },
            wakeups: 5,
            latency: None,
        }
    }

    fn pair(floor_s: f64, collector_s: f64) -> Pair {
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
        assert!(!table.contains("latency"), "{table}");
        assert!(serde_json::from_str::<serde_json::Value>(&report.json().unwrap()).is_ok());
    }

    #[test]
    fn the_table_replaces_the_one_before_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("performance.md");
        fs::write(&path, format!("before\n{DOCS_BEGIN}\nold\n{DOCS_END}\nafter\n")).unwrap();
        let mut report = Report::new();
        report.add(figures("steady", 1.0));
        for _ in 0..2 {
            report.write_docs(&path).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("before\n") && text.ends_with("\nafter\n") && !text.contains("old"), "{text}");
        assert_eq!(text.matches("| lines/s |").count(), 1, "{text}");
        fs::write(&path, "no place").unwrap();
        assert!(report.write_docs(&path).is_err());
    }
}
