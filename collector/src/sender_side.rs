//! The sender side: the thread that pushes to Loki, saves positions and follows this node's pods.
//!
//! In: sealed batches and snapshots of positions from the tailer. Out: batches that ended, pod metadata, and the file of
//! positions. A tokio current-thread runtime; what may block (saving, resolving names) runs on threads of its own.

mod summary_log;

use std::{convert::Infallible, sync::Arc, time::Duration};

use crossbeam_channel::Receiver;
use tokio::sync::{Notify, mpsc};

use self::summary_log::SummaryLog;
use crate::{
    checkpoint::{CheckpointMetrics, Snapshot, Store},
    config::Config,
    metrics::PartMetrics,
    output::loki,
    source::kubernetes,
    status::{
        Health, Side, Throttle,
        view::{self, View},
    },
};

/// How often the sender side reports to [`Health`] that it runs, and takes a sample for the status page.
const BEAT_INTERVAL: Duration = view::STEP;

/// Positions that could not be saved are tried again after this long.
const SAVE_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// That they cannot be saved is reported again after this long.
const SAVING_FAILS_AGAIN_AFTER: Duration = Duration::from_secs(300);

/// The ends of the channels that join the sender side with the reader side.
pub struct Links {
    /// Batches to be pushed, and the way back.
    pub queue: loki::Queue,
    /// Positions to be saved.
    pub snapshots: Receiver<Snapshot>,
    /// Woken after a snapshot was made.
    pub snapshots_notify: Arc<Notify>,
    /// How this node's pods are watched, what is wanted of them and where updates go; `None`: they are not.
    pub pods: Option<(kubernetes::Access, kubernetes::Interest, kubernetes::Listener)>,
    /// Disconnected when the tailer has ended.
    pub tailer_ended: mpsc::Receiver<Infallible>,
    /// What the status page shows, for its samples.
    pub view: Arc<View>,
}

/// Runs until the reader side has ended and its last positions are saved.
///
/// # Errors
/// Where the push side cannot be set up (certificates, proxy).
pub async fn run(
    config: &Config,
    links: Links,
    store: Option<Store>,
    metrics: &PartMetrics,
    health: Arc<Health>,
) -> anyhow::Result<()> {
    let pushing = loki::Sender::new(&config.loki, Arc::clone(&metrics.loki), Arc::clone(&health))?.run(links.queue);
    let mut summary_log = SummaryLog::new(config.log.summary.0, &links.view);
    let beating = async {
        loop {
            health.beat(Side::Sender);
            links.view.beat();
            summary_log.beat(&links.view);
            tokio::time::sleep(BEAT_INTERVAL).await;
        }
    };
    let following = async {
        if let Some((access, interest, listener)) = links.pods {
            kubernetes::follow(access, interest, listener, &metrics.watch).await;
        }
        std::future::pending().await
    };
    let saving =
        Saving { snapshots: links.snapshots, notify: links.snapshots_notify, tailer_ended: links.tailer_ended };
    let saving = saving.until_the_end(store, &metrics.checkpoint);
    tokio::select! {
        () = saving => {}
        // Pushing ends when the reader side has ended; its last positions are still to be saved.
        () = async { pushing.await; std::future::pending().await } => {}
        () = beating => {}
        () = following => {}
    }
    Ok(())
}

/// What saving needs of the [`Links`].
struct Saving {
    snapshots: Receiver<Snapshot>,
    notify: Arc<Notify>,
    tailer_ended: mpsc::Receiver<Infallible>,
}

impl Saving {
    /// Saves positions until the tailer has ended and its last ones are saved. One after the other: a save that is
    /// in flight is never left behind to overwrite a newer one, and of what came meanwhile only the newest is kept. One that failed is
    /// tried again until a newer one takes its place: on a full disk there may be room later, when no more lines come.
    async fn until_the_end(mut self, store: Option<Store>, metrics: &CheckpointMetrics) {
        let (mut unsaved, mut failing, mut ended) = (None, Throttle::new(SAVING_FAILS_AGAIN_AFTER), false);
        while !ended {
            tokio::select! {
                () = self.notify.notified() => {}
                () = tokio::time::sleep(SAVE_AGAIN_AFTER), if unsaved.is_some() => {}
                _ = self.tailer_ended.recv() => ended = true,
            }
            unsaved = self.snapshots.try_iter().last().or(unsaved);
            let Some(store) = &store else {
                unsaved = None;
                continue;
            };
            if let Some(snapshot) = unsaved.take() {
                unsaved = self.save(store.clone(), snapshot, &mut failing, metrics).await;
            }
        }
    }

    /// Saves a snapshot, and drops those that come meanwhile but for the newest: a disk that hangs must not fill the memory.
    /// Returns what is still to be saved.
    async fn save(
        &mut self,
        store: Store,
        snapshot: Snapshot,
        failing: &mut Throttle,
        metrics: &CheckpointMetrics,
    ) -> Option<Snapshot> {
        let mut newer = None;
        let mut saving = std::pin::pin!(save(store, snapshot, failing, metrics));
        loop {
            tokio::select! {
                failed = &mut saving => {
                    if newer.is_some() {
                        self.notify.notify_one();
                    }
                    return newer.or(failed);
                }
                () = self.notify.notified() => newer = self.snapshots.try_iter().last().or(newer),
            }
        }
    }
}

/// Saves a snapshot; returns it where that failed.
async fn save(
    store: Store,
    snapshot: Snapshot,
    failing: &mut Throttle,
    metrics: &CheckpointMetrics,
) -> Option<Snapshot> {
    // An SD card may take seconds to save: not on this thread.
    let folder = store.folder().to_owned();
    let saving = tokio::task::spawn_blocking(move || (store.save(&snapshot), snapshot));
    let (saved, snapshot) = match saving.await {
        Ok((saved, snapshot)) => (saved, Some(snapshot)),
        Err(error) => (Err(error.into()), None),
    };
    match saved {
        Ok(()) => {
            metrics.saved();
            if failing.is_over() {
                tracing::info!("the positions can be saved again");
            }
            None
        }
        Err(error) => {
            metrics.errors.inc();
            if failing.permit().is_some() {
                tracing::error!(folder = %folder.display(), %error,
                    "cannot save the positions (paths.state); trying again every few seconds. Lines since the last save would be \
                     sent again after a restart");
            }
            snapshot
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{checkpoint::SavedContainer, status::Metrics};

    fn snapshot(seen_at: u64) -> Snapshot {
        Snapshot { containers: vec![SavedContainer { name: "a_b_c/d".into(), seen_at, files: Vec::new() }] }
    }

    #[tokio::test]
    async fn a_state_disk_that_hangs_does_not_let_snapshots_pile_up_and_the_newest_is_saved_when_it_answers() {
        const SNAPSHOTS: u64 = 100;
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        // Opening a FIFO to write blocks until there is a reader.
        let fifo = store.unfinished();
        crate::config::make_fifo(&fifo);
        let (sender, snapshots) = crossbeam_channel::unbounded();
        let (waiting, notify) = (snapshots.clone(), Arc::new(Notify::new()));
        let (ended, tailer_ended) = mpsc::channel(1);
        let (metrics, saving) = (
            CheckpointMetrics::new(&mut Metrics::new()),
            Saving { snapshots, notify: Arc::clone(&notify), tailer_ended },
        );
        let tailing = async {
            for number in 1..=SNAPSHOTS {
                sender.send(snapshot(number)).unwrap();
                notify.notify_one();
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            }
            let piled_up = waiting.len();
            let hanging = fs::File::open(&fifo).unwrap();
            fs::remove_file(&fifo).unwrap();
            drop((hanging, ended));
            piled_up
        };
        let (piled_up, ()) = tokio::join!(tailing, saving.until_the_end(Some(store.clone()), &metrics));
        assert_eq!(piled_up, 0);
        assert_eq!(store.load().0, snapshot(SNAPSHOTS));
    }
}
