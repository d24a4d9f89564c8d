//! A node on which nothing is written, or next to nothing.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rig::{
    kubelet::{ContainerOptions, Node, Stream},
    mark::Shape,
};

use super::{
    Place,
    program::{Program, Running},
    report::Figures,
    say,
    watch::Watch,
};

/// The kubelet's default limit of pods.
const CONTAINERS: usize = 110;
const LINES_EACH: usize = 20;
const LINE_BYTES: usize = 160;
const SEED: u64 = 3;
/// Longer than the collector keeps memory and threads for work that might come.
const SETTLING: Duration = Duration::from_secs(12);

/// How often each container of a quiet node writes a line.
const QUIET_EVERY: Duration = Duration::from_secs(60);
/// A batch waits a second for more lines, so some 60 requests are needed; a request for each container would be 110.
const QUIET_REQUESTS_MAX: u64 = 70;

/// Every container writes a line a minute, at its own time. Counts the requests of the second minute: in the first one each
/// stream is new to Loki, and its first line goes alone.
///
/// # Errors
/// Where the collector fails, or needs too many requests.
pub fn quiet(program: &Program, place: &Place) -> anyhow::Result<Figures> {
    let mut node = Node::new(place.path(), SEED)?;
    let mut containers = (0..CONTAINERS)
        .map(|index| {
            let pod = node.pod("quiet", &format!("writer-{index}"));
            node.start(&pod, "app", ContainerOptions::default())
        })
        .collect::<Result<Vec<_>, _>>()?;
    let (mut running, _) = program.start(place, &node.pods())?;
    let mut minute = |running: &Running| {
        let (started, before) = (Instant::now(), running.requests().context("a peer's requests are not counted")?);
        let watch = Watch::from_now(running.pid())?;
        for (index, container) in containers.iter_mut().enumerate() {
            let at = started + QUIET_EVERY * index as u32 / CONTAINERS as u32;
            thread::sleep(at.saturating_duration_since(Instant::now()));
            container.write_line(Stream::Stdout, Shape::Text, LINE_BYTES)?;
        }
        thread::sleep((started + QUIET_EVERY).saturating_duration_since(Instant::now()));
        let requests = running.requests().unwrap_or_default() - before;
        Ok::<_, anyhow::Error>((requests, watch.end("quiet", 0, 0)?))
    };
    let (first, _) = minute(&running)?;
    let (requests, figures) = minute(&running)?;
    println!(
        "{CONTAINERS} containers, a line a minute each: {first} requests in the first minute, {requests} in the second"
    );
    running.wait_for_all(node.ledger())?;
    running.finish(node.ledger())?;
    ensure!(requests < QUIET_REQUESTS_MAX, "{requests} requests a minute, {QUIET_REQUESTS_MAX} are too many");
    say(&figures);
    Ok(figures)
}

/// Lets the collector send what a full node has written, waits until it has settled, and watches it do nothing.
///
/// # Errors
/// Where the collector fails, or not all lines arrive.
pub fn run(program: &Program, place: &Place, watched: Duration) -> anyhow::Result<Figures> {
    let mut node = Node::new(place.path(), SEED)?;
    for index in 0..CONTAINERS {
        let pod = node.pod("idle", &format!("writer-{index}"));
        let mut container = node.start(&pod, "app", ContainerOptions::default())?;
        for _ in 0..LINES_EACH {
            container.write_line(Stream::Stdout, Shape::Text, LINE_BYTES)?;
        }
    }
    let (mut running, _) = program.start(place, &node.pods())?;
    running.wait_for_all(node.ledger())?;
    let figures = watch("idle", &running, watched)?;
    running.finish(node.ledger())?;
    Ok(figures)
}

/// What a collector that has nothing to do takes, after it has settled.
///
/// # Errors
/// Where it has ended.
pub fn watch(scenario: &str, running: &Running, watched: Duration) -> anyhow::Result<Figures> {
    thread::sleep(SETTLING);
    let watch = Watch::from_now(running.pid())?;
    thread::sleep(watched);
    let figures = watch.end(scenario, 0, 0)?;
    say(&figures);
    Ok(figures)
}
