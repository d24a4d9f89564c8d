//! A busy node: 10,000 lines a second.

use std::{net::SocketAddr, sync::Arc, thread, time::Duration};

use rig::{
    kubelet::{ContainerOptions, Live, LiveOptions, Node, Stream},
    ledger::Ledger,
    mark::Shape,
};

use super::{
    Place,
    program::{Program, Running},
    report::{Figures, Latency},
    say,
    watch::Watch,
};

const FILES: usize = 30;
const LINES_PER_SECOND: u32 = 10_000;
const LINE_BYTES: usize = 160;
const SEED: u64 = 2;
/// A kubelet rotates at 10 MiB; here each log is rotated every few seconds.
const ROTATE_EVERY: Duration = Duration::from_secs(5);
/// Enough that no line is deleted before it is read.
const KEEP: usize = 50;
/// The first batches find memory and connections that later ones have.
const WARM_UP: Duration = Duration::from_secs(3);

/// Whether the logs are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Nothing but lines.
    No,
    /// Each log every few seconds, with compression, as the kubelet does it.
    EveryFewSeconds,
}

/// A running collector.
pub struct Busy {
    running: Running,
    live: Live,
    ledger: Arc<Ledger>,
}

impl Busy {
    /// Starts the lines and the collector, and lets them run for a while.
    ///
    /// # Errors
    /// Where the collector fails.
    pub fn start(program: &Program, place: &Place, rotation: Rotation) -> anyhow::Result<Self> {
        let mut node = Node::new(place.path(), SEED)?;
        // A first line, and no more from this one: when it has arrived the collector is ready, which not every one says.
        let pod = node.pod("default", "first");
        node.start(&pod, "app", ContainerOptions::default())?.write_line(Stream::Stdout, Shape::Text, LINE_BYTES)?;
        let (mut running, _) = program.start(place, &node.pods())?;
        running.wait_for_all(node.ledger())?;
        let live = Live::start(node, options(rotation))?;
        let ledger = live.ledger().clone();
        running.announce()?;
        // Some take seconds until they follow what was announced.
        running.wait_for_all(&ledger)?;
        thread::sleep(WARM_UP);
        running.forget_latency();
        Ok(Self { running, live, ledger })
    }

    /// Where its status server is; `None`: it is a peer.
    pub fn status_address(&self) -> Option<SocketAddr> {
        self.running.status_address()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// What is taken for so long.
    ///
    /// # Errors
    /// Where the collector has ended.
    pub fn measure(&self, scenario: &str, watched: Duration) -> anyhow::Result<Figures> {
        let (lines, bytes) = (self.ledger.lines(), self.ledger.bytes());
        let watch = Watch::from_now(self.running.pid())?;
        thread::sleep(watched);
        Ok(watch.end(scenario, self.ledger.lines() - lines, self.ledger.bytes() - bytes)?)
    }

    /// Ends both. The time from each line's timestamp to the sink.
    ///
    /// # Errors
    /// Where not all lines arrive.
    pub fn finish(mut self) -> anyhow::Result<Latency> {
        self.live.stop()?;
        self.running.wait_for_all(&self.ledger)?;
        self.running.finish(&self.ledger)
    }
}

/// Lines for `watched` and the warm-up before. CPU time, wake-ups and a peer's latency are counted after the warm-up, latency
/// and memory otherwise from the first line on. `read` is called at the beginning of the count and at its end.
///
/// # Errors
/// Where the collector fails, or not all lines arrive.
pub fn run(
    scenario: &'static str,
    program: &Program,
    place: &Place,
    watched: Duration,
    rotation: Rotation,
    read: impl Fn() -> Option<u64>,
) -> anyhow::Result<Figures> {
    let busy = Busy::start(program, place, rotation)?;
    let before = read();
    let figures = busy.measure(scenario, watched)?;
    let allocations = read().zip(before).map(|(now, before)| (now - before) as f64);
    let latency = Some(busy.finish()?);
    let figures = Figures { allocations, latency, ..figures };
    say(&figures);
    Ok(figures)
}

/// CRI alone, and neither restarts nor new pods: they come in their own time on a real node, seldom in so few seconds.
fn options(rotation: Rotation) -> LiveOptions {
    LiveOptions {
        containers: FILES,
        lines_per_second: LINES_PER_SECOND,
        rotate_every: if rotation == Rotation::No { Duration::ZERO } else { ROTATE_EVERY },
        restart_every: Duration::ZERO,
        replace_pod_every: Duration::ZERO,
        docker_one_in: 0,
        long_one_in: 0,
        halved_one_in: 0,
        keep: KEEP,
        seed: SEED,
    }
}
