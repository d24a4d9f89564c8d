//! A busy node: 10,000 lines a second over 30 files.

use std::{
    thread,
    time::{Duration, Instant},
};

use rig::kubelet::{Live, LiveOptions, Node};

use super::{
    Args, Place,
    report::{Figures, Latency},
    say,
    sink::Sink,
    usage::{Cpu, Memory, Threads},
};

const FILES: usize = 30;
const LINES_PER_SECOND: u32 = 10_000;
const SEED: u64 = 2;
/// The first batches find memory and connections that later ones have.
const WARM_UP: Duration = Duration::from_secs(3);

/// Runs it; CPU time and wake-ups are counted after the warm-up, latency and memory from the first line on.
pub fn run(args: &Args, place: &Place) -> anyhow::Result<Figures> {
    let node = Node::new(place.path(), SEED)?;
    let sink = Sink::start()?;
    let mut collector = args.start_collector(place, &node.pods(), &sink.url())?;
    collector.wait_for_start()?;
    let live = Live::start(node, options())?;
    let ledger = live.ledger().clone();
    thread::sleep(WARM_UP);

    let pid = collector.pid();
    let (started, lines, bytes) = (Instant::now(), ledger.lines(), ledger.bytes());
    let (cpu, threads) = (Cpu::of(pid)?, Threads::of(pid)?);
    thread::sleep(args.watched());
    let seconds = started.elapsed().as_secs_f64();
    let (lines, bytes) = (ledger.lines() - lines, ledger.bytes() - bytes);
    let cpu = Cpu::of(pid)?.since(&cpu);
    let (run, wakeups) = Threads::of(pid)?.since(&threads);
    let memory = Memory::of(pid)?;

    live.stop()?;
    sink.wait_for_all(&ledger, &mut collector)?;
    collector.terminate()?;
    let latency = Some(Latency::of(&sink.verify(&ledger)?.latency));
    let cpu_s = run.as_secs_f64();
    let figures = Figures { scenario: "steady", seconds, lines, bytes, cpu, cpu_s, memory, wakeups, latency };
    say("steady", &figures);
    Ok(figures)
}

/// CRI alone, and nothing but lines: rotations and restarts come in their own time on a real node, seldom in so few seconds.
fn options() -> LiveOptions {
    LiveOptions {
        containers: FILES,
        lines_per_second: LINES_PER_SECOND,
        rotate_every: Duration::ZERO,
        restart_every: Duration::ZERO,
        replace_pod_every: Duration::ZERO,
        docker_one_in: 0,
        long_one_in: 0,
        halved_one_in: 0,
        seed: SEED,
        ..LiveOptions::default()
    }
}
