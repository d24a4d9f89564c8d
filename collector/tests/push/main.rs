//! The sender against HTTP servers that answer in every way in which Loki and what stands before it may answer.

mod answers;
mod log;
mod order;
mod parking;
mod receiver;
mod tenants;
mod transport;

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use collector::{
    batch::{Batch, FromOutput, StreamSlot, ToOutput},
    config::{self, HumanDuration},
    model::{ChannelId, Position, Stream, UnitId},
    output::loki::{LokiMetrics, Proxies, PushStatus, Queue, Sender},
};
use tokio::{sync::Notify, task::JoinHandle};

/// A test that hangs fails after this; nothing else depends on it.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// Runs a test on one thread, as the sender side does.
fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let test = local.run_until(async { tokio::time::timeout(HANGS_AFTER, test).await });
    runtime.block_on(test).expect("the test hangs");
}

/// Settings that retry quickly.
fn config(url: &str) -> config::Loki {
    config::Loki {
        url: url.to_owned(),
        backoff: config::Backoff { min: HumanDuration::from_millis(1), max: HumanDuration::from_millis(5) },
        ..config::Loki::default()
    }
}

/// A running sender, seen from the reader side.
struct Running {
    sealed: Option<crossbeam_channel::Sender<ToOutput>>,
    sealed_notify: Arc<Notify>,
    done: crossbeam_channel::Receiver<FromOutput>,
    done_notify: Arc<Notify>,
    metrics: Arc<LokiMetrics>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(config: &config::Loki) -> Self {
        Self::start_through(config, &Proxies::builder().build())
    }

    fn start_through(config: &config::Loki, proxies: &Proxies) -> Self {
        let metrics = Arc::new(LokiMetrics::default());
        let sender = Sender::with_proxies(config, proxies, Arc::clone(&metrics), Arc::default()).unwrap();
        let (sealed_sender, sealed) = crossbeam_channel::bounded(1000);
        let (done, done_receiver) = crossbeam_channel::unbounded();
        let (sealed_notify, done_notify) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (notify, other_notify) = (Arc::clone(&sealed_notify), Arc::clone(&done_notify));
        let queue = Queue { sealed, sealed_notify: notify, done, done_notify: other_notify };
        let task = tokio::task::spawn_local(sender.run(queue));
        Self { sealed: Some(sealed_sender), sealed_notify, done: done_receiver, done_notify, metrics, task }
    }

    fn send(&self, batch: Batch) {
        self.tell(ToOutput::Batch(batch));
    }

    fn tell(&self, message: ToOutput) {
        self.sealed.as_ref().unwrap().send(message).unwrap();
        self.sealed_notify.notify_one();
    }

    async fn next_message(&self) -> FromOutput {
        loop {
            match self.done.try_recv() {
                Ok(message) => return message,
                Err(_) => self.done_notify.notified().await,
            }
        }
    }

    /// The next batch that ends, and its refused streams.
    async fn next_end(&self) -> (Batch, Vec<StreamSlot>) {
        match self.next_message().await {
            FromOutput::Done { batch, refused } => (batch, refused),
            other => panic!("{other:?}"),
        }
    }

    /// The next batch that ends, every line of which Loki took or refused for good.
    async fn next_done(&self) -> Batch {
        let (batch, refused) = self.next_end().await;
        assert_eq!(refused, []);
        batch
    }

    /// Sends one batch and waits until it is done.
    async fn deliver(&self, batch: Batch) -> Batch {
        self.send(batch);
        self.next_done().await
    }

    /// No more batches come; the sender ends when all are done.
    async fn finish(mut self) {
        self.sealed = None;
        self.sealed_notify.notify_one();
        self.task.await.unwrap();
    }

    fn dropped(&self, reason: &'static str) -> u64 {
        self.metrics.dropped_lines.of(reason)
    }

    fn requests(&self, status: &str) -> u64 {
        let status = PushStatus { status: status.to_owned() };
        self.metrics.push_requests.get_or_create(&status).get()
    }
}

/// A batch with lines of some containers, each with one stream.
fn batch(generation: u64, lines: &[(u32, &str)]) -> Batch {
    let mut batch = Batch::new(generation);
    let mut slots = BTreeMap::new();
    for (n, (container, text)) in lines.iter().enumerate() {
        let slot = *slots
            .entry(container)
            .or_insert_with(|| batch.open_stream(&labels(*container).into(), channel(*container)));
        let at = Position { turn: 1, offset: generation * 1000 + n as u64 };
        batch.append(slot, at, generation as i64 * 1_000_000 + n as i64, text.as_bytes(), &[]);
    }
    batch
}

fn channel(container: u32) -> ChannelId {
    ChannelId { unit: UnitId(container), stream: Stream::Stdout }
}

fn labels(container: u32) -> String {
    format!("{{container=\"{container}\"}}")
}
