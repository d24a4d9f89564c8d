//! `cargo xtask bench pipeline`: the collector as its own process, between a log writer and a null sink.
//!
//! In: the collector's and the floor's programs, which scenarios, how much. Out: a table of what they took from the
//! machine, and an error where a line is missing, repeated, damaged or out of order, or where the collector's distance
//! from the floor ([`crate::floor`]) is over the limit. This process writes the logs and is the sink (the rig's receiver:
//! it decodes every push and checks every line's number, checksum, timestamp and order), so none of that is in the figures.
//!
//! Times depend on the machine and on who else uses it; the ratio to the floor, whose runs alternate with the
//! collector's on the same files in the page cache, hardly does.

mod backlog;
mod floor;
mod idle;
mod limits;
mod report;
mod sink;
mod steady;
mod usage;

use std::{
    fs, iter,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use rig::program::{Collector, Setup};

use report::{Figures, Report};

/// How the pipeline is measured.
#[derive(clap::Parser)]
#[command(name = "cargo xtask bench pipeline")]
pub struct Args {
    /// What is measured
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Scenario::value_variants().to_vec())]
    scenario: Vec<Scenario>,
    /// Bytes of logs in the backlog, such as 300MB or 2GB
    #[arg(long, default_value = "300MB", value_parser = parse_bytes)]
    size: u64,
    /// Runs of the backlog, each after one of the floor; the table shows the medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How long the steady and the idle collector are watched
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// `signal` of the collector's configuration
    #[arg(long, default_value = "auto")]
    signal: String,
    /// `reader` of the collector's configuration
    #[arg(long, default_value = "auto")]
    reader: String,
    /// Also write everything, single runs included, to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the table into docs/performance.md
    #[arg(long)]
    write_docs: bool,
    /// Where the logs are written; ext4 allows the probe's tp_btf programs
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    folder: PathBuf,
    /// The collector's program
    #[arg(long, value_name = "FILE")]
    collector: PathBuf,
    /// The floor's program
    #[arg(long, value_name = "FILE")]
    floor: PathBuf,
}

/// A situation that a collector is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Many bytes in 10 files wait, as after an outage
    Backlog,
    /// 10,000 lines a second over 30 files
    Steady,
    /// 110 containers that write nothing
    Idle,
}

/// Measures, prints, judges.
///
/// # Errors
/// Lines that did not arrive as they were written, a ratio to the floor over the limit, and whatever keeps a scenario from
/// being run.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut report = Report::new();
    for scenario in &args.scenario {
        let place = Place::new(&args.folder)?;
        match scenario {
            Scenario::Backlog => {
                let pairs = backlog::run(args, &place)?;
                report.add_backlog(&pairs);
            }
            Scenario::Steady => report.add(steady::run(args, &place)?),
            Scenario::Idle => report.add(idle::run(args, &place)?),
        }
    }
    println!("\n{}", report.markdown());
    if let Some(file) = &args.json {
        fs::write(file, report.json()?).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if args.write_docs {
        report.write_docs(Path::new("docs/performance.md"))?;
    }
    let Some(ratio) = report.ratio() else { return Ok(()) };
    let limit = limits::backlog_ratio()?;
    println!("{ratio}; the limit is {limit:.2} (benches/limits.toml)");
    ensure!(ratio.least() <= limit, "the backlog costs more than the limit allows");
    Ok(())
}

/// A folder for one scenario, removed afterwards.
struct Place(tempfile::TempDir);

impl Place {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        // The collector has another working directory in mind than this one.
        let folder = folder.canonicalize()?;
        Ok(Self(tempfile::Builder::new().prefix("pipeline-").tempdir_in(folder)?))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Args {
    /// Starts a collector without any positions of an earlier run.
    fn start_collector(&self, place: &Place, pods: &Path, loki: &str) -> anyhow::Result<Collector> {
        let state = place.path().join("state");
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        fs::create_dir_all(&state)?;
        let Self { signal, reader, .. } = self;
        // Rust's quoting of these strings is YAML's too.
        let configuration = format!(
            "loki: {{url: {loki:?}}}\nlabels: {{cluster: bench}}\npaths: {{pods: {pods:?}, state: {state:?}}}\n\
             kubernetes: {{enabled: false}}\nsignal: {signal}\nreader: {reader}\n"
        );
        Collector::start(&Setup::write(&self.collector, place.path(), &configuration)?)
    }

    fn watched(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Bytes, with an optional unit: B, kB, MB, GB, KiB, MiB, GiB.
fn parse_bytes(text: &str) -> anyhow::Result<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => bail!("unknown unit {other:?}: B, kB, MB, GB, KiB, MiB or GiB"),
    };
    let number: u64 = number.parse().context("no number")?;
    number.checked_mul(factor).context("too many bytes")
}

/// The middle one, by `key`; of an even number the lower middle one.
fn median_by<T>(items: &[T], key: impl Fn(&T) -> f64) -> Option<&T> {
    let mut sorted: Vec<_> = items.iter().collect();
    sorted.sort_by(|a, b| key(a).total_cmp(&key(b)));
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

/// The log files below a pods folder, in a fixed order.
fn log_files(pods: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![pods.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let list = if entry.file_type()?.is_dir() { &mut folders } else { &mut files };
            list.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Says what goes on, so that nobody waits in the dark.
fn say(scenario: &str, figures: &Figures) {
    let parts = iter::once(scenario.to_owned()).chain(figures.in_short());
    println!("{}", parts.collect::<Vec<_>>().join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [("0", 0), ("7B", 7), ("300MB", 300_000_000), ("2GB", 2_000_000_000), ("1 MiB", 1 << 20)] {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "MB", "1mb", "-1", "1.5GB", "99999999999999999GB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_median_is_one_of_the_runs() {
        assert_eq!(median_by(&[3.0, 1.0, 2.0], |x| *x), Some(&2.0));
        assert_eq!(median_by(&[4.0, 1.0, 2.0, 3.0], |x| *x), Some(&2.0));
        assert_eq!(median_by(&[] as &[f64], |x| *x), None);
    }
}
