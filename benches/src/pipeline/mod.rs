//! `cargo xtask bench pipeline`: the collector as its own process, between a log writer and a null sink.
//!
//! In: the collector's and the floor's programs, which scenarios, how much. Out: a table of what they took from the
//! machine, and an error where a line is missing, repeated, damaged or out of order, or where the collector's distance
//! from the floor ([`crate::floor`]) is over the limit. This process writes the logs and is the sink (the rig's receiver:
//! it decodes every push and checks every line's number, checksum, timestamp and order), so none of that is in the figures.
//! Any other collector can stand in the collector's place ([`peer`]); then lines are only counted.
//!
//! Times depend on the machine and on who else uses it; the ratio to the floor, whose runs alternate with the
//! collector's on the same files in the page cache, hardly does.

mod backlog;
mod comparison;
mod floor;
mod idle;
mod live;
mod peer;
mod program;
mod report;
mod sink;
mod stages;
mod syscalls;
mod usage;
mod viewers;
mod watch;

use std::{
    fs, iter,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use rig::kubelet::Format;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::{
    backlog::Backlog,
    comparison::Compared,
    live::Rotation,
    peer::Peer,
    program::{Program, Running},
    report::{Figures, Pair, Report},
};
use crate::{docs, limits};

/// How the pipeline is measured.
#[derive(clap::Parser)]
#[command(name = "cargo xtask bench pipeline")]
pub struct Args {
    /// What is measured
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = DEFAULT)]
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
    /// `reader.backend` of the collector's configuration
    #[arg(long, default_value = "auto")]
    reader: String,
    /// Also measure every pair of signal and reader backends that this machine has
    #[arg(long)]
    matrix: bool,
    /// Also measure another collector: COMMAND, for sh, learns the places from {pods}, {state} and {url} or from PODS, STATE,
    /// LOKI_URL, LOKI_HOST and LOKI_PORT; ready ones are in benches/peers
    #[arg(long, value_name = "NAME=COMMAND")]
    peer: Vec<Peer>,
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
    /// Also count allocations per line, with another program that takes minutes to build
    #[arg(long, requires = "counting")]
    allocations: bool,
    /// The collector's program with an allocator that counts
    #[arg(long, value_name = "FILE")]
    counting: Option<PathBuf>,
}

/// All but those that take minutes.
const DEFAULT: [Scenario; 6] =
    [Scenario::Backlog, Scenario::Steady, Scenario::Idle, Scenario::Docker, Scenario::Many, Scenario::Rotate];
/// Files of the backlog.
const BACKLOG_FILES: usize = 10;
/// With a smaller backlog the collector's start, which the floor does not have, is a considerable part.
const JUDGED_BYTES: u64 = 200_000_000;
/// Files of the scenario that is about their number, and bytes of all of them: few, as many a file of a real node has.
const MANY_FILES: usize = 10_000;
const MANY_BYTES_MAX: u64 = 100_000_000;
/// A file is held open by the reader and by most signal backends.
const DESCRIPTORS_EACH: u64 = 2;
/// Connections, folders, the program's own.
const OTHER_DESCRIPTORS: u64 = 1_000;
/// How long allocations are counted.
const COUNTED: Duration = Duration::from_secs(5);
/// What `signal` and `reader.backend` of the configuration can be.
const SIGNALS: [&str; 3] = ["ebpf", "inotify", "poll"];
const READERS: [&str; 2] = ["io_uring", "pread"];

/// A situation that a collector is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Many bytes in 10 files wait, as after an outage
    Backlog,
    /// 10,000 lines a second over 30 files
    Steady,
    /// 110 containers that write nothing
    Idle,
    /// The backlog in docker's format
    Docker,
    /// A backlog in 10,000 files, and then nothing
    Many,
    /// As steady, while logs are rotated and compressed every few seconds
    Rotate,
    /// 110 containers that write a line a minute each: requests a minute; two minutes, and not by default
    Quiet,
    /// As steady, with 20 live tails and 200 slow or idle connections; not by default
    Viewers,
    /// A backlog through stages: JSON, regular expressions, multiline; not by default
    Stages,
}

/// Measures, prints, judges.
///
/// # Errors
/// Lines that did not arrive as they were written, a ratio to the floor over the limit, and whatever keeps a scenario from
/// being run.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut report = Report::new();
    let pilcrow = args.pilcrow(&args.signal, &args.reader);
    for scenario in &args.scenario {
        args.measure(*scenario, &pilcrow, &mut report)?;
    }
    if args.matrix {
        for (signal, reader) in SIGNALS.iter().flat_map(|signal| READERS.map(|reader| (signal, reader))) {
            let name = format!("Pilcrow, {signal}, {reader}");
            let pilcrow = args.pilcrow(signal, reader);
            match pilcrow.try_start(&Place::new(&args.folder)?) {
                Ok(()) => report.add_compared(args.compare(name, &pilcrow)?),
                // Not every machine has every backend.
                Err(error) => println!("SKIPPED {name}: {error:#}"),
            }
        }
    }
    for peer in &args.peer {
        report.add_compared(args.compare(peer.name.clone(), &Program::Peer(peer.clone()))?);
    }
    println!("\n{}", report.markdown());
    if let Some(file) = &args.json {
        fs::write(file, report.json()?).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if args.write_docs {
        docs::write("pipeline", &report.markdown())?;
    }
    let Some(ratio) = report.ratio() else { return Ok(()) };
    if args.size < JUDGED_BYTES {
        println!("{ratio}; not held to the limit: with less than 200 MB the start weighs too much");
        return Ok(());
    }
    let limit = limits::of("backlog_ratio")?;
    println!("{ratio}; the limit is {limit:.2} (benches/limits.toml)");
    ensure!(ratio.least() <= limit, "the backlog costs more than the limit allows");
    Ok(())
}

/// A folder for one scenario, removed afterwards.
struct Place(tempfile::TempDir);

impl Place {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        // The collector may have another working directory.
        let folder = folder.canonicalize()?;
        Ok(Self(tempfile::Builder::new().prefix("pipeline-").tempdir_in(folder)?))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Args {
    fn pilcrow(&self, signal: &str, reader: &str) -> Program {
        let program = self.collector.clone();
        Program::Pilcrow { program, signal: signal.to_owned(), reader: reader.to_owned() }
    }

    /// This collector in one scenario: the columns of the table.
    fn measure(&self, scenario: Scenario, program: &Program, report: &mut Report) -> anyhow::Result<()> {
        let place = Place::new(&self.folder)?;
        match scenario {
            Scenario::Backlog => {
                let backlog = Backlog::write("backlog", &place, (self.size, BACKLOG_FILES), Format::Cri)?;
                // A run of each that does not count: the files are in the page cache then.
                backlog.run_floor(self)?;
                let mut pairs = Vec::new();
                for _ in 0..self.runs {
                    let floor = backlog.run_floor(self)?;
                    pairs.push(Pair { floor, collector: backlog.run(program, &place)? });
                }
                report.add_backlog(&pairs);
            }
            Scenario::Docker => {
                let backlog = Backlog::write("docker", &place, (self.size, BACKLOG_FILES), Format::DockerJson)?;
                let runs = (0..self.runs).map(|_| backlog.run(program, &place)).collect::<anyhow::Result<Vec<_>>>()?;
                median_by(&runs, |run| run.cpu_s).into_iter().for_each(|run| report.add(run.clone()));
            }
            Scenario::Many => {
                let files = allowed_files(MANY_FILES);
                let bytes = self.size.min(MANY_BYTES_MAX);
                let backlog = Backlog::write(&format!("{files} files"), &place, (bytes, files), Format::Cri)?;
                let then_idle = |running: &Running| idle::watch("these, idle", running, self.watched());
                let (run, idle) = backlog.run_and_then(program, &place, then_idle)?;
                report.add(run);
                report.add(idle);
            }
            Scenario::Steady => {
                let figures = self.run_live(scenario, program, &place)?;
                let allocations = self.steady_allocations(program)?;
                report.add(Figures { allocations: allocations.map(|each| each * figures.lines as f64), ..figures });
            }
            Scenario::Idle | Scenario::Rotate | Scenario::Quiet | Scenario::Stages | Scenario::Viewers => {
                self.run_once(scenario, program, &place)?.into_iter().for_each(|figures| report.add(figures));
            }
        }
        Ok(())
    }

    /// A collector in those of the scenarios that say most, once each: a row of the comparison.
    fn compare(&self, name: String, program: &Program) -> anyhow::Result<Compared> {
        println!("{name}:");
        let mut figures = Vec::new();
        for scenario in &self.scenario {
            if !matches!(scenario, Scenario::Docker | Scenario::Many | Scenario::Quiet | Scenario::Viewers) {
                figures.extend(self.run_once(*scenario, program, &Place::new(&self.folder)?)?);
            }
        }
        Ok(Compared { name, figures })
    }

    fn run_once(&self, scenario: Scenario, program: &Program, place: &Place) -> anyhow::Result<Vec<Figures>> {
        let figures = match scenario {
            Scenario::Stages => return stages::run(program, &self.folder, self.size),
            Scenario::Viewers => return viewers::run(program, place, self.watched()),
            Scenario::Idle => idle::run(program, place, self.watched()),
            Scenario::Quiet => idle::quiet(program, place),
            Scenario::Steady | Scenario::Rotate => self.run_live(scenario, program, place),
            Scenario::Backlog | Scenario::Docker | Scenario::Many => {
                Backlog::write("backlog", place, (self.size, BACKLOG_FILES), Format::Cri)?.run(program, place)
            }
        };
        Ok(vec![figures?])
    }

    fn run_live(&self, scenario: Scenario, program: &Program, place: &Place) -> anyhow::Result<Figures> {
        let (name, rotation) = match scenario {
            Scenario::Rotate => ("rotate", Rotation::EveryFewSeconds),
            _ => ("steady", Rotation::No),
        };
        live::run(name, program, place, self.watched(), rotation, || None)
    }

    /// Allocations per line in steady state, in a run with the program that counts them, where they are asked for.
    fn steady_allocations(&self, program: &Program) -> anyhow::Result<Option<f64>> {
        let (Program::Pilcrow { signal, reader, .. }, Some(counting)) =
            (program, self.counting.as_ref().filter(|_| self.allocations))
        else {
            return Ok(None);
        };
        let (program, signal, reader) = (counting.clone(), signal.clone(), reader.clone());
        let counting = Program::Pilcrow { program, signal, reader };
        let place = Place::new(&self.folder)?;
        let counter = place.path().join("allocations");
        let read = || fs::read(&counter).ok()?.try_into().ok().map(u64::from_le_bytes);
        let figures = live::run("steady, allocations counted", &counting, &place, COUNTED, Rotation::No, read)?;
        Ok(figures.allocations.map(|count| count / figures.lines as f64))
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

/// How many log files a collector may follow here, at most `wanted`. The limit of open files, which what is started from now
/// on inherits, is raised for it where that is allowed.
fn allowed_files(wanted: usize) -> usize {
    let needed = wanted as u64 * DESCRIPTORS_EACH + OTHER_DESCRIPTORS;
    let raised = Rlimit { current: Some(needed), maximum: Some(needed) };
    match getrlimit(Resource::Nofile).maximum {
        Some(maximum) if maximum < needed && setrlimit(Resource::Nofile, raised).is_err() => {
            (maximum.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS_EACH) as usize
        }
        _ => wanted,
    }
}

/// Reports progress.
fn say(figures: &Figures) {
    let parts = iter::once(figures.scenario.clone()).chain(figures.in_short());
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
