//! The sender side: the thread that pushes to Loki, saves positions, follows this node's pods and serves the status.
//!
//! In: sealed batches and snapshots of positions from each shard of the reader side. Out: acknowledged batches, back to the
//! shard that they came from, pod metadata to all of them, and one file of positions. A tokio current-thread runtime; what may
//! block (saving, resolving names) runs on threads of its own.

use std::{
    convert::Infallible,
    net::TcpListener,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use crossbeam_channel::Receiver;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use crate::{
    checkpoint::{Parts, Snapshot, Store},
    config::Config,
    output::loki,
    source::kubernetes,
    status::{Health, Metrics, Side, server},
};

/// How often the sender side says that it is alive.
const BEAT_INTERVAL: Duration = Duration::from_secs(10);

/// Positions that could not be saved are tried again after so long.
const SAVE_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The ends of the channels that join the sender side with the reader side.
pub struct Links {
    /// Batches to be pushed, and the way back.
    pub queue: loki::Queue,
    /// Positions to be saved, with the index of the shard whose they are.
    pub snapshots: Receiver<(usize, Snapshot)>,
    /// Woken after a snapshot was made.
    pub snapshots_notify: Arc<Notify>,
    /// What the shards' snapshots are put together in.
    pub parts: Parts,
    /// How this node's pods are asked for, what is wanted of them and where news of them go; `None`: they are not.
    pub pods: Option<(kubernetes::Access, kubernetes::Interest, Vec<kubernetes::Listener>)>,
    /// Disconnected when every shard of the reader side has ended.
    pub readers_ended: mpsc::Receiver<Infallible>,
}

/// Runs until the reader side has ended and its last positions are saved.
///
/// # Errors
/// Where the push side cannot be set up (certificates, proxy), or a server fails.
pub async fn run(
    config: Arc<Config>,
    links: Links,
    store: Option<Store>,
    status: TcpListener,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
) -> anyhow::Result<()> {
    let pushing = loki::Sender::new(&config.loki, Arc::clone(&metrics), Arc::clone(&health))?.run(links.queue);
    let beating = async {
        loop {
            health.beat(Side::Sender);
            tokio::time::sleep(BEAT_INTERVAL).await;
        }
    };
    let following = async {
        if let Some((access, interest, listeners)) = links.pods {
            kubernetes::follow(access, interest, listeners, &metrics).await;
        }
        std::future::pending().await
    };
    let saving = Saving {
        // A single shard keeps the interval by itself.
        pause: if links.parts.count() > 1 { config.checkpoint.interval.0 } else { Duration::ZERO },
        snapshots: links.snapshots,
        notify: links.snapshots_notify,
        parts: links.parts,
        readers_ended: links.readers_ended,
    };
    let saving = saving.until_the_end(store, &metrics);
    tokio::select! {
        () = saving => {}
        result = server::serve(status, Arc::clone(&metrics), Arc::clone(&health)) => { result?; }
        // Pushing ends when the reader side has ended; its last positions are still to be saved.
        () = async { pushing.await; std::future::pending().await } => {}
        () = beating => {}
        () = following => {}
    }
    Ok(())
}

/// What saving needs of the [`Links`].
struct Saving {
    snapshots: Receiver<(usize, Snapshot)>,
    notify: Arc<Notify>,
    parts: Parts,
    readers_ended: mpsc::Receiver<Infallible>,
    /// The least time between two saves, but for the last one.
    pause: Duration,
}

impl Saving {
    /// Saves positions until the reader side has ended and its last ones are saved. One after the other: a save that is
    /// under way is never left behind to overwrite a newer one. One that failed is tried again until a newer one takes its
    /// place: on a full disk there may be room later, when no more lines come.
    async fn until_the_end(mut self, store: Option<Store>, metrics: &Metrics) {
        let (mut unsaved, mut failing, mut ended) = (None, false, false);
        let mut next_save = Instant::now();
        while !ended {
            tokio::select! {
                () = self.notify.notified() => {}
                () = tokio::time::sleep(SAVE_AGAIN_AFTER), if unsaved.is_some() => {}
                _ = self.readers_ended.recv() => ended = true,
            }
            if !ended && Instant::now() < next_save {
                tokio::select! {
                    () = tokio::time::sleep_until(next_save) => {}
                    _ = self.readers_ended.recv() => ended = true,
                }
            }
            unsaved = self.newest().or(unsaved);
            let Some(store) = &store else {
                unsaved = None;
                continue;
            };
            if let Some(snapshot) = unsaved.take() {
                next_save = Instant::now() + self.pause;
                unsaved = save(store.clone(), snapshot, &mut failing, metrics).await;
            }
        }
    }

    /// What is to be saved, if any shard made a snapshot since the last call.
    fn newest(&mut self) -> Option<Snapshot> {
        let mut is_new = false;
        for (shard, snapshot) in self.snapshots.try_iter() {
            self.parts.put(shard, snapshot);
            is_new = true;
        }
        if is_new { self.parts.whole() } else { None }
    }
}

/// Saves a snapshot; returns it where that failed.
async fn save(store: Store, snapshot: Snapshot, failing: &mut bool, metrics: &Metrics) -> Option<Snapshot> {
    // An SD card may take seconds to save: not on this thread.
    let saving = tokio::task::spawn_blocking(move || (store.save(&snapshot), snapshot));
    let (saved, snapshot) = match saving.await {
        Ok((saved, snapshot)) => (saved, Some(snapshot)),
        Err(error) => (Err(error.into()), None),
    };
    match saved {
        Ok(()) => {
            metrics.checkpoint_writes.inc();
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            metrics.checkpoint_saved_at_ms.store(now.as_millis() as i64, Ordering::Relaxed);
            if std::mem::take(failing) {
                tracing::info!("the positions are saved again");
            }
            None
        }
        Err(error) => {
            metrics.checkpoint_errors.inc();
            if !std::mem::replace(failing, true) {
                tracing::error!(%error, "cannot save the positions (paths.state names the folder); trying again every few \
                                         seconds. Lines since the last save would be sent again after a restart");
            }
            snapshot
        }
    }
}
