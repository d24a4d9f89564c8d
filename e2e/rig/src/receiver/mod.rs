//! A Loki-compatible receiver that verifies everything.
//!
//! In: POST /loki/api/v1/push with snappy-compressed protobuf. Out: Loki's answers, or those of a [`FaultScript`], and
//! for the test everything that arrived: entries by stream, a [`crate::tally::Tally`] of marked lines, and every
//! violation of the protocol, each of which is also answered with 400. Runs on a thread of its own; decodes more than 300 MB/s in a
//! release build. Also answers GET /ready.

mod faults;
pub mod labels;
mod limits;
pub mod push;
mod server;
mod store;
mod trace;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::UnboundedSender;

pub use faults::{Arrival, FaultScript, Verdict};
pub use limits::{Limits, Refusal, Told};
pub use store::{Keep, KeptEntry, StreamContents};

use crate::{
    ledger::Ledger,
    tally::{Faults, Report, Stamps},
};
use server::Control;
use store::Store;
use trace::Trace;

/// How a receiver behaves.
#[derive(Debug)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What it keeps.
    pub keep: Keep,
    /// What timestamps have to be.
    pub stamps: Stamps,
    /// What it does wrong on purpose.
    pub faults: FaultScript,
    /// What it refuses of pushes that the script accepts.
    pub limits: Limits,
    /// Time that every push stays in flight, as a real Loki needs some. Two pushes of one stream at the same time are
    /// only detected in this time.
    pub answer_after: Duration,
    /// A larger push (after decompression) is answered with 413 and is no violation.
    pub decoded_bytes_max: usize,
    /// A longer line is a violation; Loki's `max_line_size` is 256 KiB.
    pub line_bytes_max: usize,
    /// A file to be made, which tells of each push that could be read what it held.
    pub trace: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            keep: Keep::default(),
            stamps: Stamps::default(),
            faults: FaultScript::default(),
            limits: Limits::default(),
            answer_after: Duration::ZERO,
            decoded_bytes_max: 64 << 20,
            line_bytes_max: 256 << 10,
            trace: None,
        }
    }
}

/// How much came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pushes, whatever their outcome.
    pub pushes: u64,
    /// Entries that were stored, repeats included.
    pub entries: u64,
    /// Marked lines that were stored, each counted once.
    pub marked_lines: u64,
    /// Entries that were refused for good, as often as they came.
    pub refused_entries: u64,
    /// Entries that [`Limits`] refused, as often as they came.
    pub limited_entries: u64,
    /// Those of them whose push was answered with 204.
    pub silently_dropped: u64,
    /// Bytes of the largest push, decompressed, whatever its outcome.
    pub largest_push: u64,
    /// Bytes of stored pushes, decompressed.
    pub decoded_bytes: u64,
    /// Bytes of the bodies of stored pushes.
    pub wire_bytes: u64,
    /// Answers to pushes by HTTP status; 0 stands for a connection that was closed without one.
    pub answers: BTreeMap<u16, u64>,
}

/// A running receiver; dropping it stops it.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    control: UnboundedSender<Control>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What the server's thread and the tests share.
#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    changed: Condvar,
    answer_after: Duration,
    decoded_bytes_max: usize,
    line_bytes_max: usize,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    /// Listens and answers from now on.
    ///
    /// # Errors
    /// When the address cannot be listened on or no thread can be made.
    pub fn start(options: Options) -> io::Result<Self> {
        let mut store = Store::new(options.keep, options.stamps, options.faults, options.limits);
        store.trace = options.trace.as_deref().map(Trace::create).transpose()?;
        let shared = Arc::new(Shared {
            store: Mutex::new(store),
            changed: Condvar::new(),
            answer_after: options.answer_after,
            decoded_bytes_max: options.decoded_bytes_max,
            line_bytes_max: options.line_bytes_max,
        });
        let listener = std::net::TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (control, commands) = tokio::sync::mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let server = server::run(listener, address, commands, Arc::clone(&shared));
        let thread = thread::Builder::new().name("loki-receiver".into()).spawn(move || runtime.block_on(server))?;
        Ok(Self { address, shared, control, thread: Some(thread) })
    }

    /// The base URL, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// While down, connections are refused and those that were open are cut. Returns when that is so.
    pub fn set_down(&self, down: bool) {
        let (done, wait) = mpsc::channel();
        if self.control.send(Control::Down(down, done)).is_ok() {
            let _ = wait.recv();
        }
    }

    /// Replaces the fault script; pushes that already have their verdict keep it.
    pub fn set_faults(&self, faults: FaultScript) {
        self.shared.store().faults = faults;
    }

    /// Replaces the limits.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.store().limits = limits;
    }

    /// Has every stream created again by its next push ([`Limits::flush`]).
    pub fn flush_streams(&self) {
        self.shared.store().limits.flush();
    }

    /// Every violation of the protocol, as a sentence.
    pub fn violations(&self) -> Vec<String> {
        self.shared.store().violations.clone()
    }

    /// How much came in so far.
    pub fn counts(&self) -> Counts {
        counts(&self.shared.store())
    }

    /// The streams by their label set, `{app="nginx", stream="stderr"}`.
    pub fn streams(&self) -> BTreeMap<String, StreamContents> {
        self.shared.store().contents()
    }

    /// The texts of the streams with these labels, in the order of their first arrival (only with [`Keep::Entries`]).
    pub fn texts(&self, labels: &[(&str, &str)]) -> Vec<String> {
        let streams = self.streams();
        let fitting =
            streams.values().filter(|stream| labels.iter().all(|(name, value)| stream.label(name) == Some(value)));
        fitting.flat_map(|stream| stream.lines().into_iter().map(|(_, text)| text.to_owned())).collect()
    }

    /// Headers of the last push, names in lower case.
    pub fn last_headers(&self) -> Vec<(String, String)> {
        self.shared.store().last_headers.clone()
    }

    /// The marked lines that arrived, compared with those that were written.
    pub fn report(&self, ledger: &Ledger) -> Report {
        self.shared.store().tally.compare(ledger)
    }

    /// Whether of each source all lines before the given number arrived or were refused.
    pub fn has_all(&self, before: &[(u32, u64)]) -> bool {
        self.shared.store().tally.has_all(before)
    }

    /// What is wrong with the marked lines so far.
    pub fn line_faults(&self) -> Faults {
        self.shared.store().tally.faults().clone()
    }

    /// Waits until `enough` says so, which is asked after every push. False when it did not within `deadline`.
    pub fn wait_until(&self, deadline: Duration, enough: impl Fn(&Counts) -> bool) -> bool {
        let end = Instant::now() + deadline;
        let mut store = self.shared.store();
        loop {
            if enough(&counts(&store)) {
                return true;
            }
            let Some(left) = end.checked_duration_since(Instant::now()) else { return false };
            (store, _) = self.shared.changed.wait_timeout(store, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn counts(store: &Store) -> Counts {
    Counts {
        pushes: store.pushes,
        entries: store.entries,
        marked_lines: store.tally.lines(),
        refused_entries: store.refused_entries,
        limited_entries: store.limited_entries,
        silently_dropped: store.silently_dropped,
        largest_push: store.largest_push,
        decoded_bytes: store.decoded_bytes,
        wire_bytes: store.wire_bytes,
        answers: store.answers.clone(),
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.control.send(Control::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
