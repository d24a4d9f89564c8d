//! The threads of the reader side: one for each shard, started, ended together, joined.
//!
//! In: for each shard its signal and what an earlier run saved for it. Out: the far ends of all channels, for the sender side.
//! What ends one shard ends all of them: the program goes on whole or not at all.

use std::{
    convert::Infallible,
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::Context;
use tokio::sync::{Notify, mpsc};

use crate::{
    checkpoint::Snapshot,
    config::{Config, ReaderChoice},
    output::loki,
    source::kubernetes,
    status::{Backend, Health, Metrics, Side},
    tail::notify::AnySignal,
    tail::read::{PreadReader, UringReader, uring_refusal},
    tail::{BatchBudget, Links, ReaderSide, Setup, Shard, Stop},
};

/// What all shards are started with.
pub struct Common {
    /// The configuration.
    pub config: Arc<Config>,
    /// Shared by all.
    pub metrics: Arc<Metrics>,
    /// Of as many readers as there are shards.
    pub health: Arc<Health>,
    /// News of this node's pods will come.
    pub hears_of_pods: bool,
}

/// The shards at work.
pub struct Readers {
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
    stops: Stops,
}

/// What joins the shards with the sender side.
pub struct FarEnds {
    /// Sealed batches, and their way back.
    pub queue: loki::Queue,
    /// Positions to be saved, with the index of the shard whose they are.
    pub snapshots: crossbeam_channel::Receiver<(usize, Snapshot)>,
    /// Woken after a snapshot was made.
    pub snapshots_notify: Arc<Notify>,
    /// Where the news of pods go.
    pub pods: Vec<kubernetes::Listener>,
    /// Disconnected when every shard has ended.
    pub ended: mpsc::Receiver<Infallible>,
}

/// Asks all shards to end.
#[derive(Clone)]
pub struct Stops(Vec<Arc<Stop>>);

impl Stops {
    /// Asks them.
    pub fn ask(&self) {
        self.0.iter().for_each(|stop| stop.ask());
    }
}

/// Lives as long as a shard does.
struct Life {
    stops: Stops,
    _alive: mpsc::Sender<Infallible>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.stops.ask();
    }
}

impl Readers {
    /// Starts a thread for each of the signals, with its part of what an earlier run saved.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn start(common: &Common, signals: Vec<AnySignal>, saved: Vec<Snapshot>) -> anyhow::Result<(Self, FarEnds)> {
        let count = signals.len();
        let (alive, ended) = mpsc::channel(1);
        let (snapshots_tx, snapshots) = crossbeam_channel::unbounded();
        let (sealed_notify, snapshots_notify) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let batches = BatchBudget::of(&common.config, count).count;
        let stops = Stops((0..count).map(|_| Arc::default()).collect());
        let (mut threads, mut lanes, mut pods) = (Vec::new(), Vec::new(), Vec::new());
        for (((shard, signal), saved), stop) in Shard::all(count).into_iter().zip(signals).zip(saved).zip(&stops.0) {
            let (sealed_tx, sealed) = crossbeam_channel::bounded(batches);
            let (done, done_rx) = crossbeam_channel::bounded(batches);
            let (updates, pods_rx) = crossbeam_channel::unbounded();
            let (done_notify, pods_notify) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            lanes.push(loki::Lane { sealed, done, done_notify: Arc::clone(&done_notify) });
            pods.push(kubernetes::Listener { updates, notify: Arc::clone(&pods_notify) });
            let links = Links {
                sealed: sealed_tx,
                sealed_notify: Arc::clone(&sealed_notify),
                done: done_rx,
                done_notify,
                snapshots: snapshots_tx.clone(),
                snapshots_notify: Arc::clone(&snapshots_notify),
                pods: common.hears_of_pods.then_some(pods_rx),
                pods_notify,
                stop: Arc::clone(stop),
            };
            let name = Side::Reader(shard.index()).name(count);
            let setup = Setup {
                config: Arc::clone(&common.config),
                shard,
                links,
                saved: saved.into(),
                metrics: Arc::clone(&common.metrics),
                health: Arc::clone(&common.health),
            };
            let life = Life { stops: stops.clone(), _alive: alive.clone() };
            threads.push(thread::Builder::new().name(name).spawn(move || {
                let _life = life;
                run_shard(signal, setup)
            })?);
        }
        let queue = loki::Queue { lanes, sealed_notify };
        Ok((Self { threads, stops }, FarEnds { queue, snapshots, snapshots_notify, pods, ended }))
    }

    /// How they are asked to end.
    #[must_use]
    pub fn stops(&self) -> Stops {
        self.stops.clone()
    }

    /// Waits for their ends.
    ///
    /// # Errors
    /// The first one's that failed.
    pub fn join(self) -> anyhow::Result<()> {
        for thread in self.threads {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("the reader side panicked"))?
                .context("the reader side failed")?;
        }
        Ok(())
    }
}

/// Runs a shard by `io_uring`, else by pread, as the configuration allows.
fn run_shard(signal: AnySignal, setup: Setup) -> anyhow::Result<()> {
    let metrics = Arc::clone(&setup.metrics);
    let choice = setup.config.reader.backend;
    let fallback_reason = match choice {
        ReaderChoice::Pread => None,
        ReaderChoice::Auto | ReaderChoice::IoUring => match UringReader::open() {
            Ok((runtime, reader)) => {
                metrics.reader_backend.get_or_create(&Backend::new("io_uring", None)).set(1);
                if setup.shard.is_first_to_say("io_uring") {
                    tracing::info!("reading by io_uring");
                }
                let side = runtime.block_on(async { ReaderSide::new(reader, signal, setup) })?;
                return Ok(runtime.block_on(side.run())?);
            }
            Err(error) if choice == ReaderChoice::IoUring => {
                return Err(error)
                    .context("reader.backend: io_uring was asked for and is not to be had; auto would take pread");
            }
            Err(error) => {
                let reason = uring_refusal(&error);
                if setup.shard.is_first_to_say("no io_uring") {
                    tracing::warn!("io_uring is not to be had ({reason}); reading by pread, which costs a little more");
                }
                Some(reason)
            }
        },
    };
    metrics.reader_backend.get_or_create(&Backend::new("pread", fallback_reason)).set(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { ReaderSide::new(PreadReader::new(), signal, setup)?.run().await })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_one_shard_asks_all_of_them_to_end() {
        let stops = Stops((0..3).map(|_| Arc::default()).collect());
        let (alive, mut ended) = mpsc::channel(1);
        let mut lives: Vec<_> = (0..3).map(|_| Life { stops: stops.clone(), _alive: alive.clone() }).collect();
        drop(alive);
        // A thread that panics drops what it has, too.
        drop(lives.pop());
        assert!(stops.0.iter().all(|stop| stop.is_asked()));
        assert!(matches!(ended.try_recv(), Err(mpsc::error::TryRecvError::Empty)), "the others drain");
        drop(lives);
        assert!(matches!(ended.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
    }
}
