//! Which of the tracked files have new bytes.
//!
//! In: open files to track, each with a [`Slot`] that the caller chose. Out: the slots whose files may have grown. A
//! file's dirty mark is cleared by [`Signal::drain`], before the caller reads the file to its end, so a write during the
//! reading marks it again and is never lost. Knows no path's meaning, no container, no Kubernetes.
//!
//! [`open`] chooses the backend: `ebpf`, else `inotify`, else `poll`. A backend is not trusted until it has seen this
//! process's own writes ([`proof`]).

mod btf;
#[cfg(test)]
mod contract;
mod ebpf;
mod inotify;
mod lossy;
mod mounts;
mod poll;
mod proof;
mod readiness;

use std::{fmt, io, os::fd::BorrowedFd, path::Path};

use crate::config::SignalChoice;

pub use ebpf::EbpfSignal;
pub use inotify::InotifySignal;
pub use lossy::Lossy;
pub use poll::PollSignal;
use proof::LogFileSystem;
pub use proof::{Proof, Way};

/// Index of a tracked file: chosen by the caller, dense from 0, free to be used again after [`Signal::untrack`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// A way to learn that tracked files have grown.
///
/// Waiting needs a tokio runtime with time and I/O; tokio-uring's is one.
pub trait Signal {
    /// Begins to watch an open file. The slot counts as dirty from the start: the caller reads the file once anyway. A
    /// slot that is in use is untracked first. One file in two slots is not supported: one of them may get no marks.
    ///
    /// # Errors
    /// If this file cannot be watched: there are too many, or it is on a file system that the backend does not see. The
    /// other files are not affected, and the caller may leave this one to its sweep.
    fn track(&mut self, slot: Slot, file: BorrowedFd<'_>, path: &Path) -> io::Result<()>;

    /// Ends it. Marks of this slot that are still under way must not come out of a later [`Self::drain`] for another
    /// file in the same slot other than as a needless one.
    fn untrack(&mut self, slot: Slot);

    /// Resolves when a drain may find something. Cancel safe. A spurious return is allowed.
    fn wait(&mut self) -> impl Future<Output = io::Result<()>>;

    /// Descriptors that it holds for each tracked file, besides the caller's own.
    fn descriptors_per_file(&self) -> usize;

    /// Clears the marks and appends the slots that had one to `dirty`. Never blocks.
    fn drain(&mut self, dirty: &mut Vec<Slot>) -> io::Result<()>;
}

/// Any of the backends.
pub enum AnySignal {
    /// eBPF.
    Ebpf(Box<EbpfSignal>),
    /// inotify.
    Inotify(InotifySignal),
    /// Comparing.
    Poll(PollSignal),
}

impl Signal for AnySignal {
    fn track(&mut self, slot: Slot, file: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
        match self {
            Self::Ebpf(signal) => signal.track(slot, file, path),
            Self::Inotify(signal) => signal.track(slot, file, path),
            Self::Poll(signal) => signal.track(slot, file, path),
        }
    }

    fn untrack(&mut self, slot: Slot) {
        match self {
            Self::Ebpf(signal) => signal.untrack(slot),
            Self::Inotify(signal) => signal.untrack(slot),
            Self::Poll(signal) => signal.untrack(slot),
        }
    }

    fn descriptors_per_file(&self) -> usize {
        match self {
            Self::Ebpf(signal) => signal.descriptors_per_file(),
            Self::Inotify(signal) => signal.descriptors_per_file(),
            Self::Poll(signal) => signal.descriptors_per_file(),
        }
    }

    async fn wait(&mut self) -> io::Result<()> {
        match self {
            Self::Ebpf(signal) => signal.wait().await,
            Self::Inotify(signal) => signal.wait().await,
            Self::Poll(signal) => signal.wait().await,
        }
    }

    fn drain(&mut self, dirty: &mut Vec<Slot>) -> io::Result<()> {
        match self {
            Self::Ebpf(signal) => signal.drain(dirty),
            Self::Inotify(signal) => signal.drain(dirty),
            Self::Poll(signal) => signal.drain(dirty),
        }
    }
}

/// Why a backend, or a kind of eBPF program, cannot be used here, and what would fix it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was found.
    pub reason: String,
    /// What to do about it.
    pub fix: String,
}

impl Refusal {
    fn new(reason: impl fmt::Display, fix: impl Into<String>) -> Self {
        Self { reason: reason.to_string(), fix: fix.into() }
    }

    /// One for several that each have a name. The fix is that of the first, the most wanted one.
    fn of_all(refusals: Vec<(String, Self)>) -> Self {
        let fix = refusals.first().map(|(_, refusal)| refusal.fix.clone()).unwrap_or_default();
        let reasons: Vec<_> =
            refusals.into_iter().map(|(name, refusal)| format!("{name}: {}", refusal.reason)).collect();
        Self { reason: reasons.join("; "), fix }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.fix)
    }
}

impl std::error::Error for Refusal {}

/// The backend that was taken.
pub struct Opened {
    /// The backend, tracking nothing yet.
    pub signal: AnySignal,
    /// Its name, as in the configuration, that of eBPF with its programs: `ebpf (tp_btf ext4_da_write_end)`.
    pub backend: String,
    /// Why none of the preferred ones was taken, with the fix; none for the first choice.
    pub fallback_reason: Option<String>,
}

/// Opens the chosen backend; `auto` takes the first of eBPF, inotify and polling that proves itself. Says in one line of
/// the log which it took and, if it is not the first choice, why not and what would fix it.
///
/// `pods` is the folder of logs, `state` one that may be written to; neither need exist. To be called before there is an
/// `io_uring` on this thread: loading an eBPF program fails while `io_uring` has work for the thread.
///
/// # Errors
/// If a backend other than `auto` was asked for and cannot be used.
pub fn open(choice: SignalChoice, pods: &Path, state: &Path) -> Result<Opened, Refusal> {
    let opened = choose(choice, pods, state)?;
    opened.announce();
    Ok(opened)
}

fn choose(choice: SignalChoice, pods: &Path, state: &Path) -> Result<Opened, Refusal> {
    Ok(match choice {
        SignalChoice::Auto => open_first(pods, state),
        SignalChoice::Ebpf => open_ebpf(pods, state)?,
        SignalChoice::Inotify => open_inotify(pods, state)?.0,
        SignalChoice::Poll => open_poll(),
    })
}

impl Opened {
    fn announce(&self) {
        let backend = self.backend.replacen("ebpf", "eBPF", 1);
        match &self.fallback_reason {
            None => tracing::info!("watching log files with {backend}"),
            Some(reason) => tracing::warn!("{reason}; watching log files with {backend}, which costs more"),
        }
    }
}

fn open_first(pods: &Path, state: &Path) -> Opened {
    let ebpf = match open_ebpf(pods, state) {
        Ok(opened) => return opened,
        Err(refusal) => refusal,
    };
    match open_inotify(pods, state) {
        Ok((opened, _)) => Opened { fallback_reason: Some(format!("eBPF is not available: {ebpf}")), ..opened },
        Err(inotify) => {
            let reason = format!("eBPF is not available: {ebpf}; inotify is not available: {inotify}");
            Opened { fallback_reason: Some(reason), ..open_poll() }
        }
    }
}

fn open_ebpf(pods: &Path, state: &Path) -> Result<Opened, Refusal> {
    let (signal, programs) = ebpf::open(&LogFileSystem::of(pods, state)?)?;
    let backend = format!("ebpf ({programs})");
    Ok(Opened { signal: AnySignal::Ebpf(Box::new(signal)), backend, fallback_reason: None })
}

fn open_inotify(pods: &Path, state: &Path) -> Result<(Opened, Proof), Refusal> {
    let mut signal = inotify::open()?;
    // Some file systems, network ones above all, do not notify. Without a place for a proof there it is believed.
    let place = LogFileSystem::of(pods, state).and_then(|logs| logs.place_of_same_type());
    let proof = match place {
        Ok(place) => proof::prove(&mut signal, &place)?,
        Err(_) => Proof::default(),
    };
    let opened = Opened { signal: AnySignal::Inotify(signal), backend: "inotify".into(), fallback_reason: None };
    Ok((opened, proof))
}

fn open_poll() -> Opened {
    let signal = AnySignal::Poll(PollSignal::new(poll::DEFAULT_INTERVAL));
    Opened { signal, backend: "poll".into(), fallback_reason: None }
}

/// Opens the eBPF backend with the programs of one name of [`survey`] instead of the best ones. For tests.
///
/// # Errors
/// If there is no such name, or it cannot be used.
pub fn open_ebpf_plan(name: &str, pods: &Path, state: &Path) -> Result<EbpfSignal, Refusal> {
    ebpf::open_plan(name, &LogFileSystem::of(pods, state)?)
}

/// What one backend or kind of eBPF program can do here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindReport {
    /// Such as `inotify`; for eBPF the kind and the first hook, `fexit vfs_write`.
    pub name: String,
    /// Which ways of writing it was seen to see and which not, or why it cannot be used.
    pub outcome: Result<Proof, Refusal>,
}

/// Tries every backend and every kind of eBPF program, for `pilcrow doctor`; the most wanted first. The folders are those
/// of [`open`], and so is what it says about `io_uring`.
#[must_use]
pub fn survey(pods: &Path, state: &Path) -> Vec<KindReport> {
    let ebpf = LogFileSystem::of(pods, state).and_then(|logs| ebpf::survey(&logs));
    let mut reports = ebpf.unwrap_or_else(|refusal| vec![KindReport { name: "ebpf".into(), outcome: Err(refusal) }]);
    let inotify = open_inotify(pods, state).map(|(_, proof)| proof);
    reports.push(KindReport { name: "inotify".into(), outcome: inotify });
    // What changes the size is seen in any case.
    reports.push(KindReport { name: "poll".into(), outcome: Ok(Proof::default()) });
    reports
}
