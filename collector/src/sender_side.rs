//! The sender side: the thread that pushes to Loki, saves positions, follows this node's pods and serves the status.
//!
//! In: sealed batches and snapshots of positions from the reader side. Out: acknowledged batches and pod metadata, back to
//! it. A tokio current-thread runtime; what may block (saving, resolving names) runs on threads of its own.

use std::{
    net::TcpListener,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use crossbeam_channel::Receiver;
use tokio::sync::{Notify, oneshot};

use crate::{
    checkpoint::{Snapshot, Store},
    config::Config,
    discover::kubernetes,
    push,
    status::{Health, Metrics, Side, server},
};

/// How often the sender side says that it is alive.
const BEAT_INTERVAL: Duration = Duration::from_secs(10);

/// The ends of the channels that join the sender side with the reader side.
pub struct Links {
    /// Batches to be pushed, and the way back.
    pub queue: push::Queue,
    /// Positions to be saved; the channel ends with the reader side.
    pub snapshots: Receiver<Snapshot>,
    /// Woken after a snapshot was made.
    pub snapshots_notify: Arc<Notify>,
    /// How this node's pods are asked for, what is wanted of them and where news of them go; `None`: they are not.
    pub pods: Option<(kubernetes::Access, kubernetes::Interest, kubernetes::Updates)>,
    /// Resolves when the reader side has ended.
    pub reader_ended: oneshot::Receiver<()>,
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
    let pushing = push::Sender::new(&config.loki, Arc::clone(&metrics), Arc::clone(&health))?.run(links.queue);
    let beating = async {
        loop {
            health.beat(Side::Sender);
            tokio::time::sleep(BEAT_INTERVAL).await;
        }
    };
    let following = async {
        if let Some((access, interest, updates)) = links.pods {
            kubernetes::follow(access, interest, updates, &metrics).await;
        }
        std::future::pending().await
    };
    let saving = save_until_the_end(links.snapshots, links.snapshots_notify, links.reader_ended, store, &metrics);
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

/// Saves positions until the reader side has ended and its last ones are saved. One after the other: a save that is
/// under way is never left behind to overwrite a newer one.
async fn save_until_the_end(
    snapshots: Receiver<Snapshot>,
    notify: Arc<Notify>,
    mut reader_ended: oneshot::Receiver<()>,
    store: Option<Store>,
    metrics: &Metrics,
) {
    let mut ended = false;
    while !ended {
        tokio::select! {
            () = notify.notified() => {}
            _ = &mut reader_ended => ended = true,
        }
        save_newest(&snapshots, store.as_ref(), metrics).await;
    }
}

/// Saves the newest of the snapshots that wait.
async fn save_newest(snapshots: &Receiver<Snapshot>, store: Option<&Store>, metrics: &Metrics) {
    let (Some(snapshot), Some(store)) = (snapshots.try_iter().last(), store.cloned()) else { return };
    // An SD card may take seconds to save: not on this thread.
    let saved = tokio::task::spawn_blocking(move || store.save(&snapshot)).await;
    match saved.unwrap_or_else(|error| Err(error.into())) {
        Ok(()) => {
            metrics.checkpoint_writes.inc();
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            metrics.checkpoint_saved_at_ms.store(now.as_millis() as i64, Ordering::Relaxed);
        }
        Err(error) => {
            metrics.checkpoint_errors.inc();
            tracing::error!(%error, "cannot save the positions; lines since the last save would be sent again after a restart \
                                     (paths.state names the folder)");
        }
    }
}
