//! `cargo xtask soak`: runs a node for an hour, to see that memory does not grow and that no line is missing.
//!
//! In: how long, and how many lines a second. Out: what the release binary's resident size was over the time, and an error
//! where a line is missing or the size grew. Containers' logs are rotated and compressed, containers restart, pods come and
//! go; nothing goes wrong on purpose: that is [`crate::chaos`].

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rig::{
    kubelet::{Live, LiveOptions, Node},
    ledger::Ledger,
    metrics::{Metrics, Usage},
    program::{Collector, Setup},
    receiver::{Keep, Options, Receiver},
    tally::Report,
};
use serde::Serialize;

use crate::{
    build,
    figures::{bytes, thousands},
    interrupt::Interrupts,
    place::Place,
    process,
};

const SAMPLE_EVERY: Duration = Duration::from_secs(5);
const DRAIN_DEADLINE: Duration = Duration::from_secs(60);
/// Rows of the table at the end.
const ROWS: usize = 12;
/// The resident size has grown where the last tenth of the time has so much more than the second tenth.
const GROWTH_MAX_PERCENT: u64 = 10;
/// And so much more at least.
const GROWTH_MAX_BYTES: u64 = 1 << 20;

/// Options of `soak`.
#[derive(clap::Args)]
pub struct Args {
    /// How long lines are written
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// Lines a second, over all containers
    #[arg(long, value_name = "LINES_PER_S", default_value_t = 10_000)]
    rate: u32,
    /// Containers at any time
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    containers: u16,
    /// A release binary to take instead of building one
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Write all samples and the verdict as JSON to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

/// The collector at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    seconds: u64,
    resident_bytes: u64,
    cpu_seconds: f64,
    lines: u64,
    open_files: u64,
}

/// The JSON report.
#[derive(Serialize)]
struct Outcome<'a> {
    rate: u32,
    containers: u16,
    written: u64,
    acknowledged: u64,
    missing: u64,
    repeated: u64,
    samples: &'a [Sample],
}

/// Builds, runs, judges.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => build::build(None, false)?,
    };
    let interrupts = Interrupts::listen()?;
    let folder = process::target_dir().join("soak");
    let place = Place::temporary(&folder, "pilcrow-soak-")?;
    println!("\nlogs: {}", place.describe());
    let node = Node::new(place.path(), 1)?;
    let receiver = Receiver::start(Options { keep: Keep::Counts, ..Options::default() })?;
    let configuration = format!(
        "loki: {{url: {:?}}}\nlabels: {{cluster: soak}}\npaths: {{pods: {:?}, state: {:?}}}\nkubernetes: {{enabled: false}}\n",
        receiver.url(),
        node.pods(),
        place.path().join("state"),
    );
    let mut collector = Collector::start(&Setup::write(&program, place.path(), &configuration)?.in_own_group())?;
    collector.wait_for_start()?;
    let live = Live::start(node, live_options(args)).context("cannot write logs")?;
    let ledger = live.ledger().clone();
    let outcome = watch(args, &interrupts, &mut collector, &ledger).and_then(|samples| {
        live.stop().context("the log writer failed")?;
        drain(&mut collector, &receiver, &ledger)?;
        collector.terminate()?;
        Ok(samples)
    });
    let report = receiver.report(&ledger);
    let verdict = outcome.and_then(|samples| {
        println!("{}\n{report}", table(&samples));
        write_json(args, &samples, &report)?;
        judge(&samples, &report, &receiver.violations())
    });
    if verdict.is_err() {
        println!("logs, state and the collector's log are kept in {}", place.keep().display());
    }
    verdict
}

/// Files of the kubelet's usual size would be rotated every two minutes; this is faster.
fn live_options(args: &Args) -> LiveOptions {
    LiveOptions {
        containers: usize::from(args.containers),
        lines_per_second: args.rate,
        rotate_every: Duration::from_secs(20),
        restart_every: Duration::from_secs(120),
        replace_pod_every: Duration::from_secs(30),
        ..LiveOptions::default()
    }
}

/// Samples while lines are written; says one of them every minute.
fn watch(
    args: &Args,
    interrupts: &Interrupts,
    collector: &mut Collector,
    ledger: &Ledger,
) -> anyhow::Result<Vec<Sample>> {
    let (start, total) = (Instant::now(), Duration::from_secs(60 * args.minutes));
    let mut samples = Vec::new();
    while start.elapsed() < total && !interrupts.asked() {
        thread::sleep(SAMPLE_EVERY.min(total.saturating_sub(start.elapsed())));
        collector.check_running()?;
        let usage = Usage::of(collector.pid())?;
        let metrics = Metrics::fetch(collector.status_address()).unwrap_or_default();
        let sample = Sample {
            seconds: start.elapsed().as_secs(),
            resident_bytes: usage.resident_bytes,
            cpu_seconds: usage.cpu.as_secs_f64(),
            lines: ledger.lines(),
            open_files: metrics.sum("pilcrow_open_files"),
        };
        if samples.last().is_none_or(|last: &Sample| last.seconds / 60 != sample.seconds / 60) {
            println!("{}  lag {}", row(&sample), bytes(metrics.sum("pilcrow_lag_bytes")));
        }
        samples.push(sample);
    }
    Ok(samples)
}

fn drain(collector: &mut Collector, receiver: &Receiver, ledger: &Ledger) -> anyhow::Result<()> {
    let start = Instant::now();
    while !receiver.wait_until(Duration::from_secs(1), |counts| counts.marked_lines >= ledger.lines()) {
        collector.check_running()?;
        if start.elapsed() > DRAIN_DEADLINE {
            println!("waited {DRAIN_DEADLINE:?} without success for the last lines");
            break;
        }
    }
    Ok(())
}

/// An evenly spaced choice of samples, the first and the last among them.
fn table(samples: &[Sample]) -> String {
    let last = samples.len().saturating_sub(1);
    let mut chosen: Vec<_> = (0..ROWS).map(|n| n * last / (ROWS - 1)).collect();
    chosen.dedup();
    let rows: Vec<_> = chosen.into_iter().filter_map(|at| samples.get(at)).map(row).collect();
    rows.join("\n")
}

fn row(sample: &Sample) -> String {
    format!(
        "{:>5} s  resident {:>9}  CPU {:>7.1} s  lines {:>12}  open files {}",
        sample.seconds,
        bytes(sample.resident_bytes),
        sample.cpu_seconds,
        thousands(sample.lines),
        sample.open_files,
    )
}

fn write_json(args: &Args, samples: &[Sample], report: &Report) -> anyhow::Result<()> {
    let Some(path) = &args.json else { return Ok(()) };
    let outcome = Outcome {
        rate: args.rate,
        containers: args.containers,
        written: report.written,
        acknowledged: report.acknowledged,
        missing: report.missing,
        repeated: report.faults.repeated,
        samples,
    };
    std::fs::write(path, serde_json::to_vec_pretty(&outcome)?).with_context(|| path.display().to_string())
}

fn judge(samples: &[Sample], report: &Report, violations: &[String]) -> anyhow::Result<()> {
    ensure!(violations.is_empty(), "pushes that were not as they must be: {violations:?}");
    ensure!(report.is_complete(), "not every line arrived as it was written");
    let (before, after) = growth(samples).context("too short to judge memory")?;
    println!("resident on average: second tenth {}, last tenth {}", bytes(before), bytes(after));
    if after > before + GROWTH_MAX_BYTES && after > before * (100 + GROWTH_MAX_PERCENT) / 100 {
        bail!("the resident size grew from {} to {}", bytes(before), bytes(after));
    }
    println!("every line arrived, and the resident size is flat");
    Ok(())
}

/// The mean resident size in the second tenth of the time, when all buffers have been used once, and in the last.
fn growth(samples: &[Sample]) -> Option<(u64, u64)> {
    let tenth = samples.len() / 10;
    let mean = |samples: &[Sample]| {
        let sum: u64 = samples.iter().map(|sample| sample.resident_bytes).sum();
        sum.checked_div(samples.len() as u64)
    };
    Some((mean(samples.get(tenth..2 * tenth)?)?, mean(samples.get(samples.len() - tenth..)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(resident_bytes: impl Fn(u64) -> u64) -> Vec<Sample> {
        let sample = |n| Sample {
            seconds: n * 5,
            resident_bytes: resident_bytes(n),
            cpu_seconds: 0.0,
            lines: n * 1000,
            open_files: 30,
        };
        (0..100).map(sample).collect()
    }

    #[test]
    fn growth_is_told_apart_from_filling_up_at_the_start() {
        let report = rig::tally::Tally::default().compare(&Ledger::default());
        assert!(judge(&samples(|n| if n < 5 { 5 << 20 } else { 14 << 20 }), &report, &[]).is_ok());
        assert!(judge(&samples(|n| (14 << 20) + n * 60_000), &report, &[]).is_err());
        assert!(judge(&samples(|_| 1)[..5], &report, &[]).is_err(), "too short");
    }

    #[test]
    fn the_table_begins_with_the_first_sample_and_ends_with_the_last() {
        let table = table(&samples(|_| 1 << 20));
        assert_eq!(table.lines().count(), ROWS);
        assert!(table.starts_with("    0 s") && table.lines().last().unwrap().starts_with("  495 s"), "{table}");
    }
}
