//! The reader side: the thread that runs the tailer.
//!
//! In: the signal, and what an earlier run saved. Out: the other ends of all channels. When the thread ends, for whatever
//! reason, the program does.

use std::{
    convert::Infallible,
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::Context;
use tokio::sync::{Notify, mpsc};

use crate::{
    batch::BatchBudget,
    checkpoint::Snapshot,
    config::{Config, ReaderChoice},
    output::loki,
    pipeline::{Annotated, Pipeline},
    source::kubernetes,
    status::{
        Health, Side,
        view::{self, QuerySender},
    },
    tail::{
        Links, Setup, Stop, TailMetrics, Tailer,
        notify::AnySignal,
        read::{PreadReader, UringReader, uring_refusal},
    },
};

/// What the tailer is started with.
pub struct Common {
    pub config: Arc<Config>,
    /// Rules for labels, and which pods are selected.
    pub interest: kubernetes::Interest,
    /// `None`: there are no `pipeline_stages`.
    pub pipeline: Option<Pipeline>,
    /// What makes pipelines for pods with annotations; `None`: they may not ask for any.
    pub annotated: Option<Annotated>,
    pub metrics: Arc<TailMetrics>,
    pub health: Arc<Health>,
    /// Updates of this node's pods will come from the Kubernetes API.
    pub watches_pods: bool,
}

pub struct Reader {
    thread: JoinHandle<anyhow::Result<()>>,
}

/// The sender side's ends of the channels to the tailer.
pub struct OtherEnds {
    /// Sealed batches, and the channel that returns them.
    pub queue: loki::Queue,
    /// Positions to be saved.
    pub snapshots: crossbeam_channel::Receiver<Snapshot>,
    /// Woken after a snapshot was made.
    pub snapshots_notify: Arc<Notify>,
    /// Takes updates of this node's pods.
    pub pods: kubernetes::Listener,
    /// Disconnected when the tailer has ended.
    pub ended: mpsc::Receiver<Infallible>,
    /// Queries the tailer for its units.
    pub queries: QuerySender,
    /// Asks the tailer to drain and end.
    pub stop: Arc<Stop>,
}

impl Reader {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(common: Common, signal: AnySignal, saved: Snapshot) -> anyhow::Result<(Self, OtherEnds)> {
        let (alive, ended) = mpsc::channel::<Infallible>(1);
        let (snapshots_tx, snapshots) = crossbeam_channel::unbounded();
        let batches = BatchBudget::of(&common.config).count;
        // Room for every batch, and for the channels that are released behind them.
        let (sealed_tx, sealed) = crossbeam_channel::unbounded();
        let (done, done_rx) = crossbeam_channel::unbounded();
        let (updates, pods_rx) = crossbeam_channel::unbounded();
        let notify: [Arc<Notify>; 4] = std::array::from_fn(|_| Arc::default());
        let [sealed_notify, done_notify, snapshots_notify, pods_notify] = notify;
        let stop = Arc::new(Stop::default());
        let (queries, receiver) = view::channel();
        let links = Links {
            sealed: sealed_tx,
            sealed_notify: Arc::clone(&sealed_notify),
            done: done_rx,
            done_notify: Arc::clone(&done_notify),
            snapshots: snapshots_tx,
            snapshots_notify: Arc::clone(&snapshots_notify),
            pods: common.watches_pods.then_some(pods_rx),
            pods_notify: Arc::clone(&pods_notify),
            queries: receiver,
            stop: Arc::clone(&stop),
        };
        let setup = Setup {
            config: common.config,
            relabel: common.interest.rules,
            pod_selector: common.interest.selector,
            pipeline: common.pipeline,
            annotated: common.annotated,
            links,
            saved: saved.into(),
            metrics: common.metrics,
            health: common.health,
        };
        let thread = thread::Builder::new().name(Side::Reader.name().to_owned()).spawn(move || {
            let _alive = alive;
            run(signal, setup)
        })?;
        tracing::debug!(batches, "the reader side has started");
        let queue = loki::Queue { sealed, sealed_notify, done, done_notify };
        let pods = kubernetes::Listener { updates, notify: pods_notify };
        Ok((Self { thread }, OtherEnds { queue, snapshots, snapshots_notify, pods, ended, queries, stop }))
    }

    /// Waits until the thread has ended.
    ///
    /// # Errors
    /// Where it failed.
    pub fn join(self) -> anyhow::Result<()> {
        let ended = self.thread.join().map_err(|_| anyhow::anyhow!("the reader side panicked"))?;
        ended.context("the reader side failed")
    }
}

/// Runs the tailer with `io_uring`, or with pread, as `reader.backend` says.
fn run(signal: AnySignal, setup: Setup) -> anyhow::Result<()> {
    let metrics = Arc::clone(&setup.metrics);
    let choice = setup.config.reader.backend;
    let fallback_reason = match choice {
        ReaderChoice::Pread => None,
        ReaderChoice::Auto | ReaderChoice::IoUring => match UringReader::open() {
            Ok((runtime, reader)) => {
                metrics.reads_with("io_uring", None);
                tracing::info!("reading log files with io_uring");
                let tailer = runtime.block_on(async { Tailer::new(reader, signal, setup) })?;
                let ended = runtime.block_on(tailer.run());
                // Dropping it waits for every read, also for those that never return. The process ends next anyway.
                std::mem::forget(runtime);
                return Ok(ended?);
            }
            Err(error) if choice == ReaderChoice::IoUring => {
                return Err(error).context("reader.backend is io_uring, which is not available; auto would use pread");
            }
            Err(error) => {
                let reason = uring_refusal(&error);
                tracing::warn!("io_uring is not available ({reason}); using pread, which costs a little more");
                Some(reason)
            }
        },
    };
    metrics.reads_with("pread", fallback_reason);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Tailer::new(PreadReader::new(), signal, setup)?.run().await })?;
    Ok(())
}
