//! Sealed batches go to Loki and come back acknowledged.
//!
//! In: [`crate::batch::ToOutput`] from a bounded queue, in order. Out: the same batches, once Loki has acknowledged every line in
//! them, or has refused lines for good, which are counted, or has refused streams, whose lines are to be read again. [`schedule`]
//! decides what goes when, [`outcome`] what follows from an answer, [`parking`] what happens to refused streams, [`attempt`] talks
//! to Loki. Retries for as long as it takes. Knows no files.

mod answer;
mod attempt;
mod backoff;
mod body;
mod certain;
mod client;
mod connector;
mod endpoint;
mod failure;
mod files;
mod limits;
mod literals;
mod metrics;
mod outage;
mod outcome;
mod parking;
mod parking_log;
mod pieces;
mod probe;
mod published;
mod rate;
mod refusal;
mod schedule;
mod sent_body;
mod sentence;
mod series;
mod size;
mod streams;
mod tenants;
mod tls;
mod workers;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::TryRecvError;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::Notify;

pub use self::metrics::{LokiMetrics, PushStatus};
pub use self::probe::{Reached, probe, probe_through};
pub use self::published::PublishedLimits;
pub use self::series::{SeriesQuery, StreamLabels, series};
use self::{
    attempt::{Attempts, Event},
    limits::Limits,
    schedule::{Schedule, Settings},
};
pub use crate::proxy::Proxies;
use crate::{
    batch::{FromOutput, ToOutput},
    config,
    status::Health,
};

/// After the last request, its memory is kept so long for the next one.
const KEEP_MEMORY_FOR: Duration = Duration::from_secs(10);

/// The channels between the reader side and a [`Sender`].
#[derive(Debug)]
pub struct Queue {
    /// Sealed batches and released channels, in their order. Disconnected: no more will come.
    pub sealed: crossbeam_channel::Receiver<ToOutput>,
    /// `notify_one` after each send to `sealed`, and after its last sender was dropped.
    pub sealed_notify: Arc<Notify>,
    /// Finished batches. Unbounded, so that sending never blocks.
    pub done: crossbeam_channel::Sender<FromOutput>,
    /// Notified after each send to `done`.
    pub done_notify: Arc<Notify>,
}

/// Sends batches to Loki, on one thread.
pub struct Sender {
    attempts: Attempts,
    schedule: Schedule,
}

type Events<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Event> + 'a>>>;

impl Sender {
    /// Reads what `config` names (certificates, secrets) and the environment's proxies; connects to nothing yet.
    ///
    /// # Errors
    /// Names the key of the configuration that cannot be used, and why.
    pub fn new(config: &config::Loki, metrics: Arc<LokiMetrics>, health: Arc<Health>) -> anyhow::Result<Self> {
        Self::with_proxies(config, &Proxies::from_env(), metrics, health)
    }

    /// As [`Self::new`], with other proxies than the environment's.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_proxies(
        config: &config::Loki,
        proxies: &Proxies,
        metrics: Arc<LokiMetrics>,
        health: Arc<Health>,
    ) -> anyhow::Result<Self> {
        let attempts = Attempts::new(config, proxies, Arc::clone(&metrics), health)?;
        let mut schedule = Schedule::new(Settings::of(config), Limits::of(config), metrics, Instant::now());
        schedule.outage.url = attempts.url();
        schedule.pushes = Arc::clone(attempts.health.pushes());
        Ok(Self { attempts, schedule })
    }

    /// Sends until `sealed` is disconnected and every batch is done. May be dropped at any moment: batches in flight are then lost,
    /// and their lines are read again after a restart.
    ///
    /// Needs a tokio runtime with time and I/O. The future is not `Send`: it is awaited where it was made.
    pub async fn run(self, queue: Queue) {
        let Self { attempts, mut schedule } = self;
        attempts.announce();
        let mut events = Events::new();
        // Start-up has left memory to free, too.
        let (mut open, mut memory_held, mut watching) = (true, true, false);
        loop {
            if open {
                open = take_sealed(&queue, &mut schedule);
            }
            start_what_may(&mut schedule, &attempts, &mut events);
            if !watching && schedule.outage.waits_for_a_fix() && !schedule.is_idle() {
                watching = true;
                events.push(Box::pin(attempts.files_changed()));
            }
            hand_back(&queue, &mut schedule);
            let idle = schedule.is_idle();
            attempts.health.waiting(!idle || schedule.refuses_all());
            schedule.pushes.outage(schedule.outage.since());
            if idle && !open {
                return;
            }
            memory_held |= !idle;
            let wake_at = schedule.next_wake();
            tokio::select! {
                () = queue.sealed_notify.notified(), if open => {}
                () = tokio::time::sleep(KEEP_MEMORY_FOR), if idle && memory_held => {
                    attempts.release_memory();
                    memory_held = false;
                }
                () = sleep_until(wake_at), if wake_at.is_some() => {}
                Some(event) = events.next() => {
                    watching &= !matches!(event, Event::Files(_));
                    schedule.take_event(event);
                }
            }
        }
    }
}

/// Takes what the reader has sent meanwhile; returns whether more can come.
fn take_sealed(queue: &Queue, schedule: &mut Schedule) -> bool {
    loop {
        match queue.sealed.try_recv() {
            Ok(ToOutput::Batch(batch)) => schedule.push(batch, Instant::now()),
            Ok(ToOutput::Unparked(channel)) => schedule.unparked(channel),
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Disconnected) => return false,
        }
    }
}

fn start_what_may<'a>(schedule: &mut Schedule, attempts: &'a Attempts, events: &mut Events<'a>) {
    let now = Instant::now();
    while let Some(start) = schedule.next(now) {
        events.push(Box::pin(attempts.request(start)));
    }
    if let Some(trial) = schedule.next_trial(now) {
        events.push(Box::pin(attempts.trial(trial)));
    }
    if schedule.outage.probe_is_due(now) {
        events.push(Box::pin(attempts.probe(schedule.waiting_tenant())));
    }
    if std::mem::take(&mut schedule.wants_limits) {
        events.push(Box::pin(attempts.published_limits()));
    }
    schedule.remind(now);
}

/// Tells the reader what has ended.
fn hand_back(queue: &Queue, schedule: &mut Schedule) {
    if schedule.messages.is_empty() {
        return;
    }
    for message in schedule.messages.drain(..) {
        // Disconnected: the reader side is gone, and nobody waits for it.
        let _ = queue.done.send(message);
    }
    queue.done_notify.notify_one();
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}

impl Schedule {
    fn take_event(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Request(request, verdict, took) => self.finished(request, verdict, took, now),
            Event::Trial(stream, verdict) => self.trial_ended(stream, &verdict, now),
            Event::Probe(true) | Event::Files(true) => self.reached(now),
            Event::Probe(false) | Event::Files(false) | Event::Limits(None) => {}
            Event::Limits(Some(answer)) => self.limits.answered(&answer),
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let parking = self.parking.wake_at(self.settings.drop_refused_after);
        // While no lines wait, an outage needs neither probes nor reminders.
        let outage = if self.is_idle() { None } else { self.outage.wake_at() };
        [self.wake_at(), parking, outage].into_iter().flatten().min()
    }

    fn remind(&mut self, now: Instant) {
        let batches = || self.batches.iter().map(|live| &live.batch);
        let waiting = || {
            let lines = batches().map(|batch| batch.entries()).sum();
            (batches().count(), lines, batches().map(|batch| batch.encoded_bytes() as u64).sum())
        };
        self.outage.remind(waiting, now);
    }
}
