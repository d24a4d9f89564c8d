//! The reader side: the thread that notices, finds, reads, parses and batches.
//!
//! In: the pods folder, marks of grown files, acknowledged batches, pod metadata. Out: sealed batches to the sender side
//! and positions to be saved. Single-threaded, no locks on the way of a line. It never waits for the network: when every batch
//! is on its way, reading stops until one comes back, and the log files wait on the disk. Where there are several shards each
//! is such a thread with pods of its own ([`shard`]), and they share nothing but bounds and sums.

pub mod chain;
mod container;
mod descriptors;
mod folders;
mod gauges;
mod hold;
mod linger;
mod metadata;
pub mod notify;
pub mod read;
mod reading;
mod sealing;
mod selection;
mod shard;
mod slots;
mod sweep;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, VecDeque},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use self::{
    container::Container, descriptors::Descriptors, folders::Folder, gauges::Gauges, metadata::Metadata,
    reading::Round, selection::Changes, slots::Slots,
};
pub use self::{
    sealing::BatchBudget,
    shard::{Shard, shard_of},
};
use crate::{
    batch::Batch,
    checkpoint::{Snapshot, Unclaimed},
    config::Config,
    decode::{Counts, Limits, Scratch},
    pipeline::relabel::Relabel,
    source::kubernetes::{PodUpdate, Selector},
    status::{Health, Metrics, Side, Throttle},
    tail::chain::{ContainerId, FolderWatcher},
    tail::notify::{AnySignal, Lossy, Signal, Slot},
    tail::read::RangeReader,
};

/// A file that something came after is given up when nothing was written to it for this long: the runtime may still
/// write the last bytes to the old file after it opened the new one.
const ROTATION_GRACE: Duration = Duration::from_millis(250);

/// All folders are listed again this often, whatever the watches said.
const RESCAN_INTERVAL: Duration = Duration::from_secs(60);

/// The same where folders cannot be watched: a pod's logs may be gone some seconds after their last line.
const RESCAN_INTERVAL_UNWATCHED: Duration = Duration::from_secs(1);

/// The longest time without a round of the loop: how the status server knows that this side is alive.
const BEAT_INTERVAL: Duration = Duration::from_secs(15);

/// The least time between two words of the same trouble.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(60);

/// The same for odd lines, which are counted and no trouble: some programs write them all day.
const ODD_LINES_INTERVAL: Duration = Duration::from_secs(3600);

/// The ends of the channels that join the reader side with the sender side.
pub struct Links {
    /// Sealed batches go to the sender side. Never full: it holds as many as there are batches.
    pub sealed: crossbeam_channel::Sender<Batch>,
    /// Wakes the sender side after a batch was sealed.
    pub sealed_notify: Arc<Notify>,
    /// Acknowledged batches come back.
    pub done: crossbeam_channel::Receiver<Batch>,
    /// Woken after a batch came back.
    pub done_notify: Arc<Notify>,
    /// Positions to be saved, with the shard's index.
    pub snapshots: crossbeam_channel::Sender<(usize, Snapshot)>,
    /// Wakes the sender side after a snapshot was made.
    pub snapshots_notify: Arc<Notify>,
    /// News of this node's pods; `None`: they are not asked for, and labels come from the paths.
    pub pods: Option<crossbeam_channel::Receiver<PodUpdate>>,
    /// Woken after there was news of pods.
    pub pods_notify: Arc<Notify>,
    /// Says that it is time to drain and end.
    pub stop: Arc<Stop>,
}

/// What a reader side is given besides its backends.
pub struct Setup {
    /// The configuration.
    pub config: Arc<Config>,
    /// Which of the node's shards it is.
    pub shard: Shard,
    /// What joins it with the sender side.
    pub links: Links,
    /// What an earlier run saved for this shard.
    pub saved: Unclaimed,
    /// Shared by all.
    pub metrics: Arc<Metrics>,
    /// Shared by all.
    pub health: Arc<Health>,
}

/// A request to end.
#[derive(Debug, Default)]
pub struct Stop {
    asked: AtomicBool,
    notify: Notify,
}

impl Stop {
    /// Asks for the end.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Whether it was.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }
}

/// The reader side's whole state; `R` reads the bytes.
pub struct ReaderSide<R> {
    reader: R,
    signal: Lossy<AnySignal>,
    watcher: FolderWatcher<Folder>,
    state: State,
}

/// Everything but the backends, so that a round of reads can borrow both.
struct State {
    config: Arc<Config>,
    shard: Shard,
    links: Links,
    metrics: Arc<Metrics>,
    gauges: Gauges,
    health: Arc<Health>,
    /// Boxed, as a map of many keeps room for more.
    containers: HashMap<ContainerId, Box<Container>>,
    ids: HashMap<String, ContainerId>,
    relabel: Relabel,
    /// `kubernetes.pod_selector` takes pods without labels.
    selects_unknown_pods: bool,
    metadata: Metadata,
    /// Containers that are left out or taken in from now on.
    changes: Changes,
    slots: Slots,
    next_container: u32,
    next_file: u64,
    /// What an earlier run saved for containers that were not seen yet.
    unclaimed: Unclaimed,
    /// Containers with bytes to be read, each once.
    ready: VecDeque<ContainerId>,
    /// When to look again at containers whose file waits for its rotation grace.
    waiting: VecDeque<(Instant, ContainerId)>,
    /// The batch that is being filled; `None` while all are on their way.
    filling: Option<Batch>,
    free: Vec<Batch>,
    descriptors: Descriptors,
    /// Compressed files whose decompressor holds memory.
    open_gzips: usize,
    batches: BatchBudget,
    /// What this shard's part of [`shard::Node::held_bytes`] is.
    held_bytes: u64,
    generation: u64,
    /// Since when the oldest line of `filling` is known of.
    filling_since: Option<Instant>,
    /// Containers that were read into `filling`.
    touched: Vec<ContainerId>,
    /// Lines were read for `filling` that a rule dropped: their positions are to be acknowledged, if no line is.
    holds_dropped: bool,
    scratch: Scratch,
    round: Round,
    counts: Counts,
    troubles: Troubles,
    limits: Limits,
    /// Positions moved since the last snapshot.
    moved: bool,
    /// What is kept to read and batch with was used since it was last given back.
    holds_memory: bool,
    /// Bytes were read since the last sweep.
    read_since_sweep: bool,
    snapshot_due: Instant,
    sweep_due: Instant,
    rescan_due: Instant,
    rescan_interval: Duration,
    first_scan: bool,
}

/// Troubles that can come for every file and every time: each is said at most once in [`TROUBLE_INTERVAL`].
struct Troubles {
    pods_folder: Throttle,
    untracked_file: Throttle,
    unwatched_folder: Throttle,
    unopened_file: Throttle,
    unreadable_file: Throttle,
    odd_lines: Throttle,
    labels: RefCell<Throttle>,
}

impl Default for Troubles {
    fn default() -> Self {
        let [pods_folder, untracked_file, unwatched_folder, unopened_file, unreadable_file, labels] =
            std::array::from_fn(|_| Throttle::new(TROUBLE_INTERVAL));
        let (labels, odd_lines) = (RefCell::new(labels), Throttle::new(ODD_LINES_INTERVAL));
        Self { pods_folder, untracked_file, unwatched_folder, unopened_file, unreadable_file, odd_lines, labels }
    }
}

impl<R: RangeReader> ReaderSide<R> {
    /// A reader side that has not looked at any folder yet. Must be called inside the runtime that `reader` needs. Where
    /// there is no inotify instance left for the folders, they are only listed from time to time.
    ///
    /// # Errors
    /// Where a rule of the configuration is none.
    pub fn new(reader: R, signal: AnySignal, setup: Setup) -> io::Result<Self> {
        let Setup { config, shard, links, saved, metrics, health } = setup;
        let now = Instant::now();
        let (watcher, rescan_interval) = match FolderWatcher::new() {
            Ok(watcher) => (watcher, RESCAN_INTERVAL),
            Err(error) => {
                if shard.is_first_to_say("cannot watch folders") {
                    tracing::warn!(%error, interval = ?RESCAN_INTERVAL_UNWATCHED,
                        "cannot watch folders for new files; listing them all instead, which costs more \
                         (raise the sysctl fs.inotify.max_user_instances)");
                }
                (FolderWatcher::blind(), RESCAN_INTERVAL_UNWATCHED)
            }
        };
        let batches = BatchBudget::of(&config, shard.count());
        let state = State {
            limits: Limits::from(&config.lines),
            gauges: Gauges::of(&metrics),
            links,
            metrics,
            health,
            containers: HashMap::new(),
            ids: HashMap::new(),
            relabel: Relabel::new(&config)
                .map_err(|errors| io::Error::other(format!("relabel_configs: {errors:?}")))?,
            selects_unknown_pods: Selector::parse(&config.kubernetes.pod_selector)
                .map_err(io::Error::other)?
                .matches(&BTreeMap::new()),
            metadata: Metadata::default(),
            changes: Changes::default(),
            slots: Slots::default(),
            next_container: 0,
            next_file: 0,
            unclaimed: saved,
            ready: VecDeque::new(),
            waiting: VecDeque::new(),
            filling: None,
            free: (0..batches.count).map(|_| Batch::new(0)).collect(),
            descriptors: Descriptors::of_process(1 + signal.descriptors_per_file(), shard.count()),
            open_gzips: 0,
            batches,
            held_bytes: 0,
            generation: 0,
            filling_since: None,
            touched: Vec::new(),
            holds_dropped: false,
            scratch: Scratch::default(),
            round: Round::default(),
            counts: Counts::default(),
            troubles: Troubles::default(),
            moved: false,
            // What the first scan needed is not needed again.
            holds_memory: true,
            read_since_sweep: false,
            snapshot_due: now,
            sweep_due: now,
            rescan_due: now,
            rescan_interval,
            first_scan: true,
            shard,
            config,
        };
        let signal = Lossy::new(signal, state.config.debug.drop_signals);
        Ok(Self { reader, signal, watcher, state })
    }

    /// Runs until [`Stop::ask`], then drains within `shutdown.deadline`.
    ///
    /// # Errors
    /// Where a backend fails for good.
    pub async fn run(mut self) -> io::Result<()> {
        let mut dirty = Vec::new();
        let mut linger = false;
        while !self.state.links.stop.is_asked() {
            if linger {
                // Not the runtime's sleep: that would be woken by every event of the signal, which the next round takes
                // all at once, and the writers of the logs would pay for waking it.
                let since_growth = self.state.filling_since.map_or(Duration::ZERO, |since| since.elapsed());
                std::thread::sleep(linger::after(since_growth, self.state.config.loki.batch.age.0));
            }
            self.state.health.beat(Side::Reader(self.state.shard.index()));
            self.state.take_acknowledged();
            self.follow_pods(Instant::now());
            self.state.read_waiting_again(Instant::now());
            self.follow_folders();
            self.sweep_if_due()?;
            self.mark_dirty(&mut dirty)?;
            self.read_round().await;
            self.state.seal_if_due(Instant::now());
            self.snapshot_if_due();
            let grown = !self.state.can_read() && self.wait().await?;
            // Files that wait for a batch to come back are read when it does.
            linger = grown && self.state.ready.is_empty();
        }
        self.drain().await
    }

    /// Waits for something to do. Returns whether files have grown.
    async fn wait(&mut self) -> io::Result<bool> {
        let due = tokio::time::Instant::from_std(self.state.next_due());
        let grown = tokio::select! {
            result = self.signal.wait() => { result?; true }
            result = self.watcher.wait() => { result?; false }
            () = self.state.links.done_notify.notified() => false,
            () = self.state.links.pods_notify.notified() => false,
            () = self.state.links.stop.notify.notified() => false,
            () = tokio::time::sleep_until(due) => false,
        };
        self.state.metrics.wakeups.inc();
        if grown {
            self.state.filling_since.get_or_insert_with(Instant::now);
        }
        Ok(grown)
    }

    /// Clears the marks of grown files and puts their containers into the queue.
    fn mark_dirty(&mut self, dirty: &mut Vec<Slot>) -> io::Result<()> {
        self.signal.drain(dirty)?;
        self.state.metrics.signals.inc_by(dirty.len() as u64);
        for slot in dirty.drain(..) {
            self.state.queue_slot(slot);
        }
        Ok(())
    }

    /// Reads what is on the disk, waits until it is acknowledged, and saves the last positions; all within the deadline.
    async fn drain(mut self) -> io::Result<()> {
        let deadline = Instant::now() + self.state.config.shutdown.deadline.0;
        self.mark_dirty(&mut Vec::new())?;
        self.follow_pods(Instant::now());
        self.state.end_waiting();
        // Files that are not open have no mark.
        self.state.sweep_due = Instant::now();
        self.sweep_if_due()?;
        self.state.queue_all();
        loop {
            self.state.health.beat(Side::Reader(self.state.shard.index()));
            self.state.take_acknowledged();
            self.read_round().await;
            if self.state.ready.is_empty() {
                self.state.seal();
            }
            if (self.state.ready.is_empty() && self.state.in_flight() == 0) || Instant::now() >= deadline {
                break;
            }
            if !self.state.can_read() {
                let wake = tokio::time::Instant::from_std(deadline);
                tokio::select! {
                    () = self.state.links.done_notify.notified() => {}
                    () = tokio::time::sleep_until(wake) => {}
                }
            }
        }
        self.state.take_acknowledged();
        self.state.report_undrained();
        self.snapshot();
        Ok(())
    }
}

impl State {
    /// Whether a round of reads would get on.
    fn can_read(&self) -> bool {
        !self.ready.is_empty() && (self.filling.is_some() || !self.free.is_empty())
    }

    /// When something is due, whatever happens before.
    fn next_due(&self) -> Instant {
        let seal = self.seal_due();
        let waiting = self.waiting.front().map(|(due, _)| *due);
        let snapshot = self.moved.then_some(self.snapshot_due);
        let metadata = self.metadata.wait_ends();
        let beat = Instant::now() + BEAT_INTERVAL;
        [seal, waiting, snapshot, metadata]
            .into_iter()
            .flatten()
            .fold(self.sweep_due.min(self.rescan_due).min(beat), Instant::min)
    }

    /// Puts a container into the queue that has a file to read. One that has none must not wait there: while it does it is
    /// not forgotten.
    fn queue(&mut self, id: ContainerId) {
        if let Some(container) = self.containers.get_mut(&id)
            && !container.queued
            && container.is_labelled()
            && container.chain.current().is_some()
        {
            container.queued = true;
            self.ready.push_back(id);
        }
    }

    fn queue_slot(&mut self, slot: Slot) {
        if let Some(id) = self.slots.container(slot) {
            self.queue(id);
        }
    }

    fn queue_all(&mut self) {
        let ids: Vec<_> = self.containers.keys().copied().collect();
        for id in ids {
            self.queue(id);
        }
    }

    /// Puts containers into the queue whose rotation grace is over.
    fn read_waiting_again(&mut self, now: Instant) {
        while let Some(&(due, id)) = self.waiting.front()
            && due <= now
        {
            self.waiting.pop_front();
            self.queue(id);
        }
    }
}

#[cfg(test)]
mod tests;
