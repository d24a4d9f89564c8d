//! `cargo xtask rollback --old PROGRAM`: an upgrade and a rollback between two versions, again and again, lose nothing.
//!
//! In: the collector of an older version, and one of this version. Out: an error unless every line arrived, in order at its first
//! arrival, with its exact text, time and labels, and unless each handover repeated no more than what may not have been saved.
//! Both take turns with one state folder, on logs that are rotated, compressed and removed meanwhile. Before this version hands
//! over, one of the two output streams is refused, so that the positions of the two differ. Knows no checkpoint format but the key
//! that shows that.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rig::{
    kubelet::{Live, LiveOptions, Node},
    metrics::Metrics,
    program::{Collector, Setup},
    receiver::{Keep, Limits, Options, Receiver, Refusal, Told, push},
};

use crate::{build, build::Profile, chaos::removals::Removals, interrupt::Interrupts, place::Place, process};

/// How long a program collects before the handover begins.
const TURN: Duration = Duration::from_secs(4);
/// How long one of the streams is refused.
const REFUSED: Duration = Duration::from_secs(2);
/// What must happen within this time, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(20);
/// In the checkpoint of a file where the positions of stdout and stderr differ.
const DIFFERING: &str = "\"channels\":";

/// Options of `rollback`.
#[derive(clap::Args)]
pub struct Args {
    /// The older version's collector
    #[arg(long, value_name = "PROGRAM")]
    old: PathBuf,
    /// The newer version's collector; this version is built by default
    #[arg(long, value_name = "PROGRAM")]
    new: Option<PathBuf>,
    /// How often the older one takes over; four times have each pair of conditions once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Determines the logs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Lines a second, over all containers
    #[arg(long, value_name = "LINES_PER_S", default_value_t = 2000)]
    rate: u32,
}

/// One rollback and the upgrade after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Round {
    /// What the newer one is refused before its end: "stdout" or "stderr".
    refused: &'static str,
    new_is_killed: bool,
    old_is_killed: bool,
}

impl Round {
    /// Of four rounds each has another pair of any two.
    fn nth(n: u32) -> Self {
        let (first, second) = (n & 1 == 0, n & 2 == 0);
        Self { refused: if second { "stderr" } else { "stdout" }, new_is_killed: first, old_is_killed: first == second }
    }
}

/// A node, a receiver, and the state folder that the programs share.
struct Proof {
    interrupts: Interrupts,
    receiver: Arc<Receiver>,
    removals: Removals,
    live: Live,
    folder: PathBuf,
    configuration: String,
    /// Lines that the next program may repeat: those that arrived after what is known to be saved.
    may_repeat: u64,
}

/// Builds, runs, judges.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let new = match &args.new {
        Some(new) => new.clone(),
        None => build::for_this_machine(Profile::Dev)?,
    };
    let place = Place::temporary(&process::target_dir().join("rollback"), "pilcrow-rollback-")?;
    println!("\nseed {}; logs: {}", args.seed, place.describe());
    let outcome = Proof::begin(args, place.path()).and_then(|proof| proof.prove(&args.old, &new, args.rounds));
    outcome.with_context(|| format!("logs, state and the programs' logs are kept in {}", place.keep().display()))
}

impl Proof {
    fn begin(args: &Args, folder: &Path) -> anyhow::Result<Self> {
        let interrupts = Interrupts::listen()?;
        let receiver = Arc::new(Receiver::start(Options {
            keep: Keep::Counts,
            answer_after: Duration::from_millis(2),
            ..Options::default()
        })?);
        let node = Node::new(folder, args.seed)?;
        // Keys that all versions have.
        let configuration = format!(
            "loki: {{url: {:?}, batch: {{age: 100ms, bytes: 256KiB}}, backoff: {{min: 20ms, max: 500ms}}}}\n\
             labels: {{cluster: rollback}}\npaths: {{pods: {:?}, state: {:?}}}\nkubernetes: {{enabled: false}}\n\
             checkpoint: {{interval: 200ms}}\nsweep: {{interval: 500ms}}\nshutdown: {{deadline: 2s}}\n",
            receiver.url(),
            node.pods(),
            folder.join("state"),
        );
        let removals = Removals::new(Arc::clone(&receiver));
        let options = LiveOptions {
            containers: 8,
            lines_per_second: args.rate,
            rotate_every: Duration::from_millis(900),
            restart_every: Duration::from_secs(8),
            docker_one_in: 3,
            long_one_in: 300,
            seed: args.seed,
            ..LiveOptions::default()
        };
        let live = Live::start_asking(node, options, removals.question()).context("cannot write logs")?;
        let folder = folder.to_owned();
        Ok(Self { interrupts, receiver, removals, live, folder, configuration, may_repeat: 0 })
    }

    fn prove(mut self, old: &Path, new: &Path, rounds: u32) -> anyhow::Result<()> {
        for (n, round) in (0..rounds).map(|n| (n, Round::nth(n))) {
            println!("round {n}: {round:?}");
            self.turn("new", new, Some(round.refused), round.new_is_killed)?;
            self.turn("old", old, None, round.old_is_killed)?;
        }
        let mut collector = self.start("new", new)?;
        let ledger = Arc::clone(self.live.ledger());
        self.collect(&mut collector)?;
        let Self { live, receiver, .. } = self;
        live.stop().context("the log writer failed")?;
        let end = Instant::now() + PATIENCE;
        while receiver.report(&ledger).missing > 0 && Instant::now() < end {
            collector.check_running()?;
            thread::sleep(STEP);
        }
        collector.terminate()?;
        let (report, violations) = (receiver.report(&ledger), receiver.violations());
        println!("{report}");
        ensure!(violations.is_empty(), "pushes that were not as they must be: {violations:?}");
        ensure!(report.is_complete(), "not every line arrived as it was written, in order");
        println!("{rounds} rollbacks and upgrades: every line arrived, in order and as it was written");
        Ok(())
    }

    fn start(&self, name: &str, program: &Path) -> anyhow::Result<Collector> {
        let setup = Setup::write(program, &self.folder.join(name), &self.configuration)?.in_own_group();
        let mut collector = Collector::start(&setup)?;
        collector.wait_for_start()?;
        Ok(collector)
    }

    /// One program takes over, and ends. `refused`: of the two streams.
    fn turn(
        &mut self,
        name: &str,
        program: &Path,
        refused: Option<&'static str>,
        is_killed: bool,
    ) -> anyhow::Result<()> {
        let repeated_before = self.receiver.line_faults().repeated;
        let mut collector = self.start(name, program)?;
        let saved = self.collect(&mut collector)?;
        let repeated = self.receiver.line_faults().repeated - repeated_before;
        println!("  {name}: {repeated} lines repeated, {} may not have been saved", self.may_repeat);
        ensure!(repeated <= self.may_repeat, "{name} sent lines again that had been saved");
        if let Some(stream) = refused {
            let refuse = move |of: &push::Stream<'_>| {
                let is_it = of.labels.iter().any(|(label, value)| label == "stream" && value == stream);
                is_it.then(|| Refusal::stream_limit(of.labels_text))
            };
            // Loki would drop what it says nothing of; that is another test's matter.
            self.receiver.set_limits(Limits::default().refuse(refuse).told(Told::AnyStream));
            self.pass(REFUSED, &mut collector)?;
        }
        if is_killed {
            collector.kill()?
        } else {
            collector.terminate()?
        }
        self.may_repeat = self.receiver.counts().marked_lines - saved;
        self.receiver.set_limits(Limits::default());
        if let Some(stream) = refused {
            let checkpoint = fs::read(self.folder.join("state/checkpoint")).context("no positions were saved")?;
            let differ = String::from_utf8_lossy(&checkpoint).matches(DIFFERING).count();
            ensure!(differ > 0, "{stream} was refused, and no saved positions differ: nothing is proved");
            println!("  {name}: {differ} files with positions that differ, as {stream} was refused");
        }
        Ok(())
    }

    /// Lets a program collect, then waits until everything that was written so far has arrived and is saved. Returns how many
    /// lines had arrived then, at least.
    fn collect(&self, collector: &mut Collector) -> anyhow::Result<u64> {
        self.removals.permit(collector.pid());
        self.pass(TURN, collector)?;
        self.removals.forbid();
        self.wait("lines of removed files", collector, |_| Ok(!self.removals.is_owed()))?;
        let arrived = self.receiver.counts().marked_lines;
        let lines = self.live.ledger().written().into_iter().map(|(_, lines)| lines);
        let written: Vec<_> = (0..).zip(lines).collect();
        self.wait("all lines to arrive", collector, |_| Ok(self.receiver.has_all(&written)))?;
        let metrics = |of: &Collector| Metrics::fetch(of.status_address());
        let writes = |of: &Collector| metrics(of).map(|metrics| metrics.sum("pilcrow_checkpoint_writes_total"));
        // The first one may have been under way, and the second one soon after it.
        let enough = writes(collector)? + 3;
        self.wait("the positions to be saved", collector, |of| Ok(writes(of).is_ok_and(|n| n >= enough)))?;
        Ok(arrived)
    }

    fn pass(&self, time: Duration, collector: &mut Collector) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        self.wait("time to pass", collector, |_| Ok(Instant::now() >= end))
    }

    fn wait(
        &self,
        what: &str,
        collector: &mut Collector,
        is_so: impl Fn(&Collector) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !is_so(collector)? {
            let report = || self.receiver.report(self.live.ledger());
            ensure!(Instant::now() < end, "waited {PATIENCE:?} for {what}: {}", report());
            ensure!(self.live.is_at_work(), "a thread that writes logs has ended");
            ensure!(!self.interrupts.asked(), "interrupted");
            collector.check_running()?;
            thread::sleep(STEP);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn four_rounds_have_each_pair_of_any_two_conditions() {
        let rounds = [0, 1, 2, 3].map(Round::nth);
        let pairs: [fn(Round) -> (bool, bool); 3] = [
            |round| (round.new_is_killed, round.old_is_killed),
            |round| (round.new_is_killed, round.refused == "stderr"),
            |round| (round.old_is_killed, round.refused == "stderr"),
        ];
        for pair in pairs {
            assert_eq!(rounds.into_iter().map(pair).collect::<HashSet<_>>().len(), 4, "{rounds:?}");
        }
    }
}
