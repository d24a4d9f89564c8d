//! Growing files: which there are, which have new bytes, and what is in them.
//!
//! In: the pods folder, marks of grown files, pod metadata, batches that ended. Out: sealed batches to the output, and
//! positions to be saved. One thread, no locks on the way of a line. It never waits for the network: when every batch is in
//! flight, reading stops until one comes back, and the log files wait on the disk.

mod annotations;
mod answers;
pub mod apart;
mod archives;
pub mod chain;
mod channels;
mod descriptors;
mod destination;
mod feeding;
mod folders;
mod hold;
mod lags;
pub mod local;
mod metadata;
mod metrics;
pub mod notify;
mod partials;
mod passed_over;
mod pause;
mod pipelines;
mod positions;
mod quiet;
pub mod read;
mod reading;
mod releases;
mod schedule;
mod selection;
mod slots;
mod staged;
mod stalls;
mod stop;
pub mod survey;
mod sweep;
mod taps;
mod throttles;
mod unit;
mod units;

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

pub use self::metrics::{ContainerLabels, FormatLabel, TailMetrics};
use self::{
    chain::FolderWatcher,
    descriptors::Descriptors,
    folders::{Folder, RESCAN_INTERVAL, RESCAN_INTERVAL_UNWATCHED},
    metadata::Metadata,
    notify::{AnySignal, Lossy, Signal, Slot},
    read::RangeReader,
    reading::Round,
    schedule::Schedule,
    selection::Changes,
    slots::Slots,
    staged::Stages,
    stalls::Stalls,
    survey::Survey,
    taps::Taps,
    throttles::Throttles,
    unit::Unit,
    units::Units,
};
pub use self::{staged::STREAMS_MAX, stop::Stop};
use crate::{
    batch::{FromOutput, Lanes, ToOutput},
    checkpoint::{Snapshot, Unclaimed},
    config::Config,
    decode::{Counts, Limits, Scratch},
    model::UnitId,
    pipeline::{Annotated, Pipeline, relabel::Relabel},
    source::kubernetes::{PodUpdate, Selector},
    status::{Health, Side, view::QueryReceiver},
};

/// A file that something came after has ended when nothing was written to it for this long: the runtime may still
/// write the last bytes to the old file after it opened the new one.
const ROTATION_GRACE: Duration = Duration::from_millis(250);

/// The longest time without a round of the loop: how the status server knows that this thread is alive.
const BEAT_INTERVAL: Duration = Duration::from_secs(15);

/// How often is looked whether calls that were left behind have returned.
const LOOK_FOR_RETURNED: Duration = Duration::from_secs(1);

/// The ends of the channels that join the tailer with the output and the checkpoint.
pub struct Links {
    /// Sealed batches go to the output. Never full: it holds as many as there are batches.
    pub sealed: crossbeam_channel::Sender<ToOutput>,
    /// Wakes the output after something was sent to it.
    pub sealed_notify: Arc<Notify>,
    /// Batches that ended come back.
    pub done: crossbeam_channel::Receiver<FromOutput>,
    /// Woken after a batch came back.
    pub done_notify: Arc<Notify>,
    /// Positions to be saved.
    pub snapshots: crossbeam_channel::Sender<Snapshot>,
    /// Wakes who saves them.
    pub snapshots_notify: Arc<Notify>,
    /// Changes of this node's pods; `None`: they are not watched, and labels come from the paths.
    pub pods: Option<crossbeam_channel::Receiver<PodUpdate>>,
    /// Woken after a pod changed.
    pub pods_notify: Arc<Notify>,
    /// Queries of the status server.
    pub queries: QueryReceiver,
    /// Says that it is time to drain and end.
    pub stop: Arc<Stop>,
}

/// What a tailer is given besides its backends.
pub struct Setup {
    pub config: Arc<Config>,
    pub relabel: Relabel,
    /// `kubernetes.pod_selector`.
    pub pod_selector: Selector,
    /// What is done with each line, if anything.
    pub pipeline: Option<Pipeline>,
    /// What makes pipelines for pods with annotations; `None`: they may not ask for any.
    pub annotated: Option<Annotated>,
    /// What joins it with the others.
    pub links: Links,
    /// What an earlier run saved.
    pub saved: Unclaimed,
    /// Shared by all.
    pub metrics: Arc<TailMetrics>,
    /// Shared by all.
    pub health: Arc<Health>,
}

/// The tailer; `R` reads the bytes.
pub struct Tailer<R> {
    reader: R,
    signal: Lossy<AnySignal>,
    watcher: FolderWatcher<Folder>,
    state: State,
}

/// Everything but the backends, so that a round of reads can borrow both.
struct State {
    config: Arc<Config>,
    links: Links,
    metrics: Arc<TailMetrics>,
    health: Arc<Health>,
    units: Units,
    selecting: Selecting,
    schedule: Schedule,
    stalls: Stalls,
    survey: Survey,
    lanes: Lanes,
    files: OpenFiles,
    decoding: Decoding,
    throttles: Throttles,
    taps: Taps,
    due: Due,
    /// Since when the growth is known of that the shared batch will hold.
    grown_since: Option<Instant>,
    /// Positions moved since the last snapshot.
    moved: bool,
    first_scan: bool,
}

/// What decides which containers are collected, and with which labels.
struct Selecting {
    relabel: Relabel,
    /// `kubernetes.pod_selector` takes pods without labels.
    selects_unknown_pods: bool,
    metadata: Metadata,
    changes: Changes,
}

/// The files that are open.
struct OpenFiles {
    slots: Slots,
    descriptors: Descriptors,
    /// Compressed files whose decompressor holds memory.
    open_gzips: usize,
    /// How often all files were looked at.
    sweeps: u32,
}

/// What reading and decoding need, used again and again.
#[derive(Default)]
struct Decoding {
    limits: Option<Limits>,
    scratch: Scratch,
    counts: Counts,
    round: Round,
    stages: Option<Stages>,
    /// Bytes of all units' unfinished lines, and of what stages hold back.
    held_bytes: usize,
    /// Memory was used since it was last given back.
    holds_memory: bool,
    /// Bytes were read since the last sweep.
    read_since_sweep: bool,
}

/// When what is done from time to time is due.
struct Due {
    snapshot: Instant,
    sweep: Instant,
    rescan: Instant,
    rescan_interval: Duration,
    /// The first rescan from then on leaves out no folder.
    thorough_rescan: Instant,
}

impl<R: RangeReader> Tailer<R> {
    /// A tailer that has not looked at any folder yet. Must be called inside the runtime that `reader` needs. Where
    /// there is no inotify instance left for the folders, they are only listed from time to time.
    ///
    /// # Errors
    /// Where a rule of the configuration is not valid.
    pub fn new(reader: R, signal: AnySignal, setup: Setup) -> io::Result<Self> {
        let Setup { config, relabel, pod_selector, pipeline, annotated, links, saved, metrics, health } = setup;
        let now = Instant::now();
        let (watcher, rescan_interval) = match FolderWatcher::new() {
            Ok(watcher) => (watcher, RESCAN_INTERVAL),
            Err(error) => {
                tracing::warn!(%error, interval = ?RESCAN_INTERVAL_UNWATCHED,
                    "cannot watch folders for new files; listing all of them instead, which costs more \
                     (raise the sysctl fs.inotify.max_user_instances)");
                (FolderWatcher::blind(), RESCAN_INTERVAL_UNWATCHED)
            }
        };
        let selecting = Selecting {
            relabel,
            selects_unknown_pods: pod_selector.matches(&BTreeMap::new()),
            metadata: Metadata::default(),
            changes: Changes::default(),
        };
        let state = State {
            lanes: Lanes::new(&config, links.sealed.clone(), Arc::clone(&links.sealed_notify)),
            links,
            metrics,
            health,
            units: Units::new(saved),
            selecting,
            schedule: Schedule::default(),
            stalls: Stalls::default(),
            survey: Survey::default(),
            files: OpenFiles {
                sweeps: 0,
                slots: Slots::default(),
                descriptors: Descriptors::of_process(1 + signal.descriptors_per_file()),
                open_gzips: 0,
            },
            // What the first scan needed is not needed again.
            decoding: Decoding {
                limits: Some(Limits::from(&config.lines)),
                stages: Stages::new(&config, pipeline, annotated),
                holds_memory: true,
                ..Decoding::default()
            },
            throttles: Throttles::default(),
            taps: Taps::default(),
            due: Due { snapshot: now, sweep: now, rescan: now, rescan_interval, thorough_rescan: now },
            grown_since: None,
            moved: false,
            first_scan: true,
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
        let mut pauses = false;
        while !self.state.links.stop.is_asked() {
            if pauses {
                // Not the runtime's sleep: that would be woken by every event of the signal, which the next round takes
                // all at once, and the writers of the logs would pay for waking it.
                let since_growth = self.state.grown_since.map_or(Duration::ZERO, |since| since.elapsed());
                std::thread::sleep(pause::after(since_growth, self.state.config.loki.batch.age.0));
            }
            self.follow_pods(Instant::now());
            self.follow_folders();
            self.sweep_if_due()?;
            self.mark_dirty(&mut dirty)?;
            self.turn().await;
            self.snapshot_if_due();
            let grown = !self.state.schedule.has_ready() && self.wait().await?;
            // Files that wait for a batch to come back are read when it does.
            pauses = grown && !self.state.schedule.has_ready();
        }
        self.drain().await
    }

    /// One turn of reading: what came back, what is read, what is sealed. The same while the program runs and while it drains.
    async fn turn(&mut self) {
        self.state.health.beat(Side::Reader);
        self.take_ended();
        self.state.answer_queries();
        self.follow_stalled();
        self.state.read_due_again(Instant::now());
        self.read_round().await;
        self.state.release_held();
        self.state.seal_if_due(Instant::now());
    }

    /// Waits for something to do. Returns whether files have grown.
    async fn wait(&mut self) -> io::Result<bool> {
        let due = tokio::time::Instant::from_std(self.state.next_due());
        let grown = tokio::select! {
            result = self.signal.wait() => { result?; true }
            result = self.watcher.wait() => { result?; false }
            () = self.state.links.done_notify.notified() => false,
            () = self.state.links.pods_notify.notified() => false,
            () = self.state.links.queries.notify.notified() => false,
            () = self.state.links.stop.notify.notified() => false,
            () = tokio::time::sleep_until(due) => false,
        };
        self.state.metrics.wakeups.inc();
        if grown {
            self.state.grown_since.get_or_insert_with(Instant::now);
        }
        Ok(grown)
    }

    /// Clears the marks of grown files and puts their units into the queue.
    fn mark_dirty(&mut self, dirty: &mut Vec<Slot>) -> io::Result<()> {
        self.signal.drain(dirty)?;
        self.state.metrics.signals.inc_by(dirty.len() as u64);
        for slot in dirty.drain(..) {
            self.state.queue_slot(slot);
        }
        Ok(())
    }

    /// Reads what is on the disk, waits until it is acknowledged, and saves the last positions; all within the deadline.
    async fn drain(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + self.state.config.shutdown.deadline.0;
        apart::wait_until(deadline);
        self.mark_dirty(&mut Vec::new())?;
        self.follow_pods(Instant::now());
        // What is held back of a container that is gone by now the next run could not read again.
        self.follow_folders();
        self.state.end_waiting();
        // Files that are not open have no mark.
        self.state.due.sweep = Instant::now();
        self.sweep_if_due()?;
        self.state.queue_all();
        loop {
            self.turn().await;
            if self.state.schedule.unread() == 0 {
                self.state.release_reports();
                self.state.lanes.seal_all();
            }
            let is_read = self.state.schedule.unread() == 0 && !self.state.holds_text_of_gone();
            let is_done = is_read && self.state.lanes.in_flight() == 0;
            if is_done || Instant::now() >= deadline {
                break;
            }
            if !self.state.schedule.has_ready() {
                let wake = self.state.drain_due().min(deadline);
                tokio::select! {
                    () = self.state.links.done_notify.notified() => {}
                    () = self.state.links.queries.notify.notified() => {}
                    () = tokio::time::sleep_until(wake.into()) => {}
                }
            }
        }
        self.take_ended();
        self.state.report_undrained();
        self.snapshot();
        Ok(())
    }
}

impl State {
    /// How long lines may be.
    fn limits(&self) -> Limits {
        self.decoding.limits.unwrap_or_else(|| Limits::from(&self.config.lines))
    }

    /// When something is due while it drains, which neither sweeps nor scans.
    fn drain_due(&self) -> Instant {
        let seal = self.lanes.seal_due(self.grown_since);
        let stalled = self.stalls.any().then(|| Instant::now() + LOOK_FOR_RETURNED);
        let all = [seal, self.schedule.next_due(), stalled, self.release_is_due()];
        all.into_iter().flatten().fold(Instant::now() + BEAT_INTERVAL, Instant::min)
    }

    /// When something is due, whatever happens before.
    fn next_due(&self) -> Instant {
        let snapshot = self.moved.then_some(self.due.snapshot);
        let metadata = self.selecting.metadata.wait_ends();
        let due = self.drain_due().min(self.due.sweep).min(self.due.rescan);
        [snapshot, metadata].into_iter().flatten().fold(due, Instant::min)
    }

    /// Puts a unit into the queue that has a file to read. One that has none must not wait there: while it does it is
    /// not forgotten.
    fn queue(&mut self, id: UnitId) {
        if let Some(unit) = self.units.get_mut(id)
            && !unit.queued
            && unit.is_readable()
        {
            unit.queued = true;
            self.schedule.push(id);
        }
    }

    fn queue_slot(&mut self, slot: Slot) {
        if let Some(id) = self.files.slots.unit(slot) {
            if let Some(unit) = self.units.get_mut(id) {
                unit.last_signal = Instant::now();
            }
            self.queue(id);
        }
    }

    fn queue_all(&mut self) {
        for id in self.units.ids() {
            self.queue(id);
        }
    }

    /// Puts units into the queue whose time has come.
    fn read_due_again(&mut self, now: Instant) {
        while let Some(id) = self.schedule.pop_due(now) {
            self.queue(id);
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod tests;
