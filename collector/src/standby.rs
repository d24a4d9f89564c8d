//! Waiting for the state folder while another Pilcrow has it: a DaemonSet with maxSurge starts the new pod beside the old one.
//!
//! In: the folder's lock. Out: the lock, taken when the other one ends, or that this one was asked to end. Meanwhile the status
//! server answers that Pilcrow is ready, as the old pod is ended only then. Reads no positions and collects nothing.

use std::{
    convert::Infallible,
    io,
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    checkpoint::{Lock, Store},
    signals::StopSignals,
    status::{
        Throttle,
        server::{self, Served},
    },
};

/// How often the lock is tried.
const TRY_EVERY: Duration = Duration::from_millis(250);
/// A rolling update is over by then; two that share a folder by mistake are reported this often.
const REMIND_EVERY: Duration = Duration::from_secs(600);

/// What is needed to answer probes while waiting.
pub struct Standby<'a> {
    /// `http.listen`.
    pub status: &'a TcpListener,
    pub served: &'a Served,
    /// Made where this one has to wait; a signal that comes after that is obeyed when both sides run.
    pub signals: &'a mut Option<StopSignals>,
}

/// How waiting ended.
#[derive(Debug)]
pub enum Standing {
    /// This process has the lock.
    Locked(Lock),
    /// The folder's file system has no locks.
    Unlockable(io::Error),
    /// A signal to end came first.
    Stopped,
}

impl Standby<'_> {
    /// Takes the lock of `folder`, at once where nobody has it.
    ///
    /// # Errors
    /// Where the status server or the signal handlers fail.
    pub async fn lock(&mut self, store: &Store, folder: &Path) -> anyhow::Result<Standing> {
        match store.lock() {
            Ok(Some(lock)) => return Ok(Standing::Locked(lock)),
            Ok(None) => {}
            Err(error) => return Ok(Standing::Unlockable(error)),
        }
        let folder = folder.display();
        tracing::info!(%folder,
            "standing by: another Pilcrow, such as the pod that this one replaces, has the state folder (paths.state); this \
             one takes over when it ends");
        let started = Instant::now();
        self.served.health.stand_by(true);
        let status = self.status.try_clone()?;
        let signals = self.signals.insert(StopSignals::new()?);
        let standing = tokio::select! {
            standing = until_locked(store, folder.to_string()) => standing,
            served = server::serve(status, self.served.clone()) => {
                let served: Infallible = served?;
                match served {}
            }
            name = signals.next() => {
                tracing::info!("{name}: ending; another Pilcrow has the state folder");
                Standing::Stopped
            }
        };
        self.served.health.stand_by(false);
        if !matches!(standing, Standing::Stopped) {
            tracing::info!(%folder, "took over the state folder after {:.1?}", started.elapsed());
        }
        Ok(standing)
    }
}

async fn until_locked(store: &Store, folder: String) -> Standing {
    let mut reminder = Throttle::new(REMIND_EVERY);
    let _first = reminder.permit();
    loop {
        tokio::time::sleep(TRY_EVERY).await;
        match store.lock() {
            Ok(Some(lock)) => return Standing::Locked(lock),
            Err(error) => return Standing::Unlockable(error),
            Ok(None) if reminder.permit().is_some() => tracing::warn!(
                folder,
                "still standing by: another Pilcrow has the state folder (paths.state). Two that are to run side by side on a \
                 node need a folder each"
            ),
            Ok(None) => {}
        }
    }
}
