//! `cargo xtask chaos`: everything goes wrong at once, and no line is lost.
//!
//! In: how long, and a seed. Out: a report, and an error unless every line of every container arrived, in order at its
//! first arrival, with its exact text and time, every refusal was counted, and no phase took more memory than allowed. It runs
//! the real program, a node that rotates its logs as the kubelet does, and a receiver with every fault that Loki and the
//! network have. The seed determines the plan of faults; timing differs from run to run.

mod memory;
mod observed;
mod plan;
pub mod removals;
mod report;
mod state_disk;
mod storm;
mod streams;
mod weather;

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use rig::read_errors::ReadErrors;

use crate::{build, build::Profile, interrupt::Interrupts, place::Place, process};
use state_disk::StateDisk;
use storm::{Length, Scale, Storm};

/// What `cargo xtask test` runs, so that the same plans are tested with every change: together they deal every kind of
/// weather, blow and backend.
const CI_SEEDS: [u64; 3] = [1, 2, 5];
const CI_EPISODES: usize = 6;

/// `resources.limits.memory` of the chart: a pod that takes more is killed.
const PEAK_MIB: u64 = 64;

/// Options of `chaos`.
#[derive(clap::Args)]
pub struct Args {
    /// How long things go wrong
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// End after this many episodes instead
    #[arg(long, conflicts_with = "minutes")]
    episodes: Option<usize>,
    /// Determines what goes wrong, and when; a new one by default
    #[arg(long)]
    seed: Option<u64>,
    /// Containers at any time
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..))]
    containers: u16,
    /// Lines a second, over all containers
    #[arg(long, value_name = "LINES_PER_S", default_value_t = 4000)]
    rate: u32,
    /// The most memory that a collector may take in any phase, in MiB
    #[arg(long, value_name = "MIB", default_value_t = PEAK_MIB)]
    peak: u64,
    /// Build the collector with optimization
    #[arg(long)]
    release: bool,
    /// A collector to take instead of building one
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Write the report as JSON to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

/// Builds, runs, judges.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => build::for_this_machine(if args.release { Profile::Release } else { Profile::Dev })?,
    };
    let seed = match args.seed {
        Some(seed) => seed,
        // Enough for seeds that differ, and short enough to be typed.
        None => u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos()),
    };
    let interrupts = Interrupts::listen()?;
    let scale = Scale { containers: usize::from(args.containers), lines_per_second: args.rate };
    let length = match args.episodes {
        Some(episodes) => Length::Episodes(episodes),
        None => Length::Time(Duration::try_from_secs_f64(args.minutes * 60.0).context("--minutes")?),
    };
    run_seed(&program, seed, scale, length, (args.peak, args.json.as_deref()), &interrupts).map(drop)
}

/// The fixed seeds, for `cargo xtask test`. Gives what could not be done on this machine.
pub fn run_ci_seeds() -> anyhow::Result<Option<&'static str>> {
    let program = build::for_this_machine(Profile::Dev)?;
    let interrupts = Interrupts::listen()?;
    let scale = Scale { containers: 12, lines_per_second: 3000 };
    let mut not_done = None;
    for seed in CI_SEEDS {
        not_done = run_seed(&program, seed, scale, Length::Episodes(CI_EPISODES), (PEAK_MIB, None), &interrupts)?;
    }
    Ok(not_done)
}

fn run_seed(
    program: &Path,
    seed: u64,
    scale: Scale,
    length: Length,
    (peak_mib, json): (u64, Option<&Path>),
    interrupts: &Interrupts,
) -> anyhow::Result<Option<&'static str>> {
    let place = Place::temporary(&process::target_dir().join("chaos"), "pilcrow-chaos-")?;
    let state = StateDisk::mount(place.path().join("state"))?;
    println!("\nseed {seed}, {length}; logs: {}", place.describe());
    let not_done = state.cannot_be_filled().or_else(ReadErrors::not_available);
    if let Some(reason) = not_done {
        println!("{reason}");
    }
    let outcome = Storm::begin(seed, scale, program, place.path(), &state, interrupts)
        .and_then(|storm| storm.rage(length))
        .and_then(|summary| {
            let report = report::ChaosReport::new(seed, scale, length, &summary, peak_mib);
            println!("{report}");
            if let Some(json) = json {
                report.write_json(json)?;
            }
            report.judge()
        });
    if let Err(error) = &outcome {
        state.copy_to(&place.path().join("state-at-the-end"))?;
        drop(state);
        let kept = place.keep();
        let again = report::again(seed, scale, length);
        let events = std::fs::read_to_string(kept.join(storm::EVENTS_FILE)).unwrap_or_default();
        bail!(
            "{error:#}\n{events}logs, state, pilcrow.log, storm.log and pushes.log are kept in {}\nagain: {again}",
            kept.display()
        );
    }
    Ok(not_done)
}
