//! A full node on which nothing is written: 110 containers, the kubelet's default limit of pods.

use std::{
    thread,
    time::{Duration, Instant},
};

use rig::{
    kubelet::{ContainerOptions, Node, Stream},
    mark::Shape,
};

use super::{
    Args, Place,
    report::Figures,
    say,
    sink::Sink,
    usage::{Cpu, Memory, Threads},
};

const CONTAINERS: usize = 110;
const LINES_EACH: usize = 20;
const LINE_BYTES: usize = 160;
const SEED: u64 = 3;
/// Longer than the collector keeps memory and threads for work that might come.
const SETTLING: Duration = Duration::from_secs(12);

/// Lets the collector send what is there, waits until it has settled, and watches it do nothing.
pub fn run(args: &Args, place: &Place) -> anyhow::Result<Figures> {
    let mut node = Node::new(place.path(), SEED)?;
    for index in 0..CONTAINERS {
        let pod = node.pod("idle", &format!("writer-{index}"));
        let mut container = node.start(&pod, "app", ContainerOptions::default())?;
        for _ in 0..LINES_EACH {
            container.write_line(Stream::Stdout, Shape::Text, LINE_BYTES)?;
        }
    }
    let sink = Sink::start()?;
    let mut collector = args.start_collector(place, &node.pods(), &sink.url())?;
    sink.wait_for_all(node.ledger(), &mut collector)?;
    thread::sleep(SETTLING);

    let pid = collector.pid();
    let (started, cpu, threads) = (Instant::now(), Cpu::of(pid)?, Threads::of(pid)?);
    thread::sleep(args.watched());
    let seconds = started.elapsed().as_secs_f64();
    let cpu = Cpu::of(pid)?.since(&cpu);
    let (run, wakeups) = Threads::of(pid)?.since(&threads);
    let memory = Memory::of(pid)?;
    collector.terminate()?;
    sink.verify(node.ledger())?;
    let cpu_s = run.as_secs_f64();
    let figures = Figures { scenario: "idle", seconds, lines: 0, bytes: 0, cpu, cpu_s, memory, wakeups, latency: None };
    say("idle", &figures);
    Ok(figures)
}
