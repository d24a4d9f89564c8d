//! Sealed batches go to Loki and come back acknowledged.
//!
//! In: [`crate::batch::Batch`]es from a bounded queue, in the order in which they were sealed. Out: the same batches,
//! once Loki has acknowledged every line in them (or has refused lines for good, which are counted). Several requests
//! are in flight, but never two that hold lines of one container, so that each stream stays in order. Retries for as
//! long as it takes. Knows no files.

mod answer;
mod backoff;
mod body;
mod client;
mod connector;
mod delivery;
mod endpoint;
mod failure;
mod files;
mod order;
mod outage;
mod probe;
mod refusal;
mod size;
mod tls;

use std::{sync::Arc, time::Duration};

use crossbeam_channel::TryRecvError;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::Notify;

pub use self::probe::{Reached, probe, probe_through};
use self::{delivery::Delivery, order::WaitingBatches};
pub use crate::proxy::Proxies;
use crate::{
    batch::{Batch, FromOutput, ToOutput},
    config,
    status::{Health, Metrics},
};

/// Requests in flight at once. Enough to hide a network's round trip, where the batches have no container in common.
const REQUESTS_MAX: usize = 4;
/// After the last request, its memory is kept so long for the next one.
const KEEP_MEMORY_FOR: Duration = Duration::from_secs(10);

/// The way of batches to a [`Sender`] and back.
#[derive(Debug)]
pub struct Queue {
    /// Sealed batches, in their order. Disconnected: no more will come.
    pub sealed: crossbeam_channel::Receiver<ToOutput>,
    /// `notify_one` after each send to `sealed`, and after its last sender was dropped.
    pub sealed_notify: Arc<Notify>,
    /// Batches that ended; unbounded.
    pub done: crossbeam_channel::Sender<FromOutput>,
    /// Notified after each send to `done`.
    pub done_notify: Arc<Notify>,
}

/// Sends batches to Loki. Lives on one thread.
pub struct Sender {
    delivery: Delivery,
    metrics: Arc<Metrics>,
}

impl Sender {
    /// Reads what `config` names (certificates, secrets) and the environment's proxies; connects to nothing yet.
    ///
    /// # Errors
    /// Names the key of the configuration that cannot be used, and why.
    pub fn new(config: &config::Loki, metrics: Arc<Metrics>, health: Arc<Health>) -> anyhow::Result<Self> {
        Self::with_proxies(config, &Proxies::from_env(), metrics, health)
    }

    /// As [`Self::new`], with other proxies than the environment's.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_proxies(
        config: &config::Loki,
        proxies: &Proxies,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
    ) -> anyhow::Result<Self> {
        let delivery = Delivery::new(config, proxies, Arc::clone(&metrics), health)?;
        Ok(Self { delivery, metrics })
    }

    /// Sends until every lane's `sealed` is disconnected and every batch is done. May be dropped at any moment: batches that
    /// are under way are lost then, and their lines are read again after a restart.
    ///
    /// Needs a tokio runtime with time and I/O. The future is not `Send`: it is awaited where it was made.
    pub async fn run(self, queue: Queue) {
        self.delivery.announce();
        let mut waiting = WaitingBatches::default();
        let mut under_way = FuturesUnordered::new();
        // The start has left some, too.
        let (mut open, mut memory_held) = (true, true);
        loop {
            if open {
                open = self.take_sealed(&queue.sealed, &mut waiting);
            }
            while under_way.len() < REQUESTS_MAX
                && let Some((batch, turn)) = waiting.start_next()
            {
                under_way.push(async { (self.delivery.deliver(batch).await, turn) });
            }
            // Nothing waits either: without a batch under way, the first one may always start.
            let idle = under_way.is_empty();
            if idle && !open {
                return;
            }
            memory_held |= !idle;
            tokio::select! {
                () = queue.sealed_notify.notified(), if open => {}
                () = tokio::time::sleep(KEEP_MEMORY_FOR), if idle && memory_held => {
                    self.delivery.release_memory();
                    memory_held = false;
                }
                Some((batch, turn)) = under_way.next() => {
                    waiting.finish(&turn);
                    self.count_queued(&batch, -1);
                    // Disconnected: the reader side is gone, and nobody waits for the batch.
                    let _ = queue.done.send(FromOutput::Done { batch, refused: Vec::new() });
                    queue.done_notify.notify_one();
                }
            }
        }
    }

    /// Takes what was sealed meanwhile; returns whether more can come.
    fn take_sealed(&self, sealed: &crossbeam_channel::Receiver<ToOutput>, waiting: &mut WaitingBatches) -> bool {
        loop {
            match sealed.try_recv() {
                Ok(ToOutput::Batch(batch)) => {
                    self.count_queued(&batch, 1);
                    waiting.push(batch);
                }
                Ok(ToOutput::Unparked(_)) => {}
                Err(TryRecvError::Empty) => break true,
                Err(TryRecvError::Disconnected) => break false,
            }
        }
    }

    /// The queue's gauges: from the hand-over to the acknowledgement.
    fn count_queued(&self, batch: &Batch, sign: i64) {
        self.metrics.queue_batches.inc_by(sign);
        self.metrics.queue_bytes.inc_by(sign * batch.encoded_bytes() as i64);
    }
}
