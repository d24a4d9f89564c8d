//! A node on which nothing is written.

use std::{thread, time::Duration};

use rig::{
    kubelet::{ContainerOptions, Node, Stream},
    mark::Shape,
};

use super::{
    Place,
    report::Figures,
    say,
    subject::{Running, Subject},
    watch::Watch,
};

/// The kubelet's default limit of pods.
const CONTAINERS: usize = 110;
const LINES_EACH: usize = 20;
const LINE_BYTES: usize = 160;
const SEED: u64 = 3;
/// Longer than the collector keeps memory and threads for work that might come.
const SETTLING: Duration = Duration::from_secs(12);

/// Lets the collector send what a full node has written, waits until it has settled, and watches it do nothing.
///
/// # Errors
/// Where the collector fails, or not all lines arrive.
pub fn run(subject: &Subject, place: &Place, watched: Duration) -> anyhow::Result<Figures> {
    let mut node = Node::new(place.path(), SEED)?;
    for index in 0..CONTAINERS {
        let pod = node.pod("idle", &format!("writer-{index}"));
        let mut container = node.start(&pod, "app", ContainerOptions::default())?;
        for _ in 0..LINES_EACH {
            container.write_line(Stream::Stdout, Shape::Text, LINE_BYTES)?;
        }
    }
    let (mut running, _) = subject.start(place, &node.pods())?;
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
