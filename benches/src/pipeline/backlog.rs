//! As after an outage: many bytes wait in 10 files. The floor and the collector take turns on the same files.

use std::time::Instant;

use anyhow::ensure;
use rig::{
    kubelet::{BacklogOptions, Node, generate_backlog},
    ledger::Ledger,
};

use super::{
    Args, Place,
    floor::Floor,
    log_files,
    report::{Figures, Pair},
    say,
    sink::Sink,
    usage::{Cpu, Memory, Threads},
};

const FILES: usize = 10;
const SEED: u64 = 1;

/// Runs both programs in turns, after one run of each that does not count.
pub fn run(args: &Args, place: &Place) -> anyhow::Result<Vec<Pair>> {
    let mut node = Node::new(place.path(), SEED)?;
    let bytes = generate_backlog(&mut node, &BacklogOptions::new(args.size, FILES))?;
    println!("backlog: {} lines, {} MB in {FILES} files", node.ledger().lines(), bytes / 1_000_000);
    run_floor(args, &node, bytes)?;
    let mut pairs = Vec::new();
    for _ in 0..args.runs {
        let floor = run_floor(args, &node, bytes)?;
        let collector = run_collector(args, place, &node, bytes)?;
        say("floor", &floor);
        say("backlog", &collector);
        pairs.push(Pair { floor, collector });
    }
    Ok(pairs)
}

fn run_floor(args: &Args, node: &Node, bytes: u64) -> anyhow::Result<Figures> {
    let sink = Sink::start()?;
    let started = Instant::now();
    let mut floor = Floor::start(&args.floor, &sink.address(), &log_files(&node.pods())?)?;
    let records = floor.wait()?;
    let figures = measure("floor", started, floor.pid(), node.ledger(), bytes)?;
    sink.verify_protocol()?;
    let arrived = sink.counts().entries;
    ensure!(arrived == records, "the floor sent {records} records, and {arrived} arrived");
    Ok(figures)
}

fn run_collector(args: &Args, place: &Place, node: &Node, bytes: u64) -> anyhow::Result<Figures> {
    let sink = Sink::start()?;
    let started = Instant::now();
    let mut collector = args.start_collector(place, &node.pods(), &sink.url())?;
    sink.wait_for_all(node.ledger(), &mut collector)?;
    let figures = measure("backlog", started, collector.pid(), node.ledger(), bytes)?;
    collector.terminate()?;
    sink.verify(node.ledger())?;
    Ok(figures)
}

fn measure(scenario: &'static str, started: Instant, pid: u32, ledger: &Ledger, bytes: u64) -> anyhow::Result<Figures> {
    let seconds = started.elapsed().as_secs_f64();
    let (cpu, memory) = (Cpu::of(pid)?, Memory::of(pid)?);
    let (_, wakeups) = Threads::of(pid)?.since(&Threads::default());
    let cpu_s = cpu.total_s();
    Ok(Figures { scenario, seconds, lines: ledger.lines(), bytes, cpu, cpu_s, memory, wakeups, latency: None })
}
