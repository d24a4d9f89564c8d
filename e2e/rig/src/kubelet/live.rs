//! A running node: containers that log at a given rate, while their logs are rotated and they are restarted, and pods
//! that come and go.
//!
//! Writer threads play the programs and the runtime, one more thread plays the kubelet ([`housekeeping`]); it renames and
//! compresses while the writers go on.

mod housekeeping;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Container, Node, Stream};
use crate::{ledger::Ledger, mark::Shape, random::Random};
use housekeeping::Kubelet;

const WRITER_TICK: Duration = Duration::from_millis(2);
const WRITERS: usize = 2;
/// A writer that was held up catches up by no more than this, so as not to write a burst of seconds.
const CATCH_UP_MAX: Duration = Duration::from_millis(500);

/// What happens on the node.
#[derive(Clone, Copy, Debug)]
pub struct LiveOptions {
    /// Containers at any time; two share a pod.
    pub containers: usize,
    /// Lines in a second, over all containers.
    pub lines_per_second: u32,
    /// Time between two rotations of one log, on average; zero: none.
    pub rotate_every: Duration,
    /// Time between two restarts of one container, on average; zero: none.
    pub restart_every: Duration,
    /// Time after which one pod goes and another comes; zero: never.
    pub replace_pod_every: Duration,
    /// One container in this many writes docker's format; zero: none.
    pub docker_one_in: usize,
    /// One line in this many is longer than a record (16 to 48 KiB); zero: none.
    pub long_one_in: usize,
    /// One line in this many is written in two halves, so that a rotation may split it; zero: none.
    pub halved_one_in: usize,
    /// Files that rotation keeps of one log, the current one included.
    pub keep: usize,
    /// Decides on all that is random.
    pub seed: u64,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            containers: 12,
            lines_per_second: 5000,
            rotate_every: Duration::from_secs(4),
            restart_every: Duration::from_secs(15),
            replace_pod_every: Duration::from_secs(5),
            docker_one_in: 6,
            long_one_in: 1000,
            halved_one_in: 50,
            keep: 5,
            seed: 1,
        }
    }
}

/// Files that the kubelet is about to remove.
#[derive(Clone, Debug)]
pub struct Removal {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Of each source that wrote to them a number; all lines that they hold are before it.
    pub lines_before: Vec<(u32, u64)>,
}

/// Says whether files may go now. Where not, they stay and it is asked again later.
pub type MayRemove = Box<dyn FnMut(&Removal) -> bool + Send>;

/// How often each event happened.
#[derive(Debug, Default)]
pub struct LiveCounts {
    /// Logs that were rotated.
    pub rotations: AtomicU64,
    /// Containers that were restarted.
    pub restarts: AtomicU64,
    /// Pods that went.
    pub replaced_pods: AtomicU64,
    /// Files that were removed.
    pub removed_files: AtomicU64,
}

/// A running container.
#[derive(Debug)]
pub struct Running {
    /// Held by whoever rotates, restarts or truncates: one at a time. To be locked before `container`.
    turn: Mutex<()>,
    container: Mutex<Container>,
}

impl Running {
    /// Does something to the container while nobody writes to it and the kubelet leaves it alone.
    pub fn alone<T>(&self, act: impl FnOnce(&mut Container) -> T) -> T {
        let _turn = lock(&self.turn);
        act(&mut lock(&self.container))
    }
}

/// A running node; dropping it stops it.
#[derive(Debug)]
pub struct Live {
    shared: Arc<Shared>,
    pods: PathBuf,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    running: Mutex<Vec<Arc<Running>>>,
    ledger: Arc<Ledger>,
    counts: LiveCounts,
    options: LiveOptions,
}

impl Live {
    /// Makes the containers on `node` and begins to write.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn start(node: Node, options: LiveOptions) -> io::Result<Self> {
        Self::start_asking(node, options, Box::new(|_| true))
    }

    /// As [`Self::start`]; `may_remove` is asked before files are removed.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn start_asking(mut node: Node, options: LiveOptions, may_remove: MayRemove) -> io::Result<Self> {
        let pods = node.pods();
        let ledger = Arc::clone(node.ledger());
        let mut kubelet = Kubelet::new(options, may_remove);
        let mut running = Vec::new();
        while running.len() < options.containers {
            let new = kubelet.start_pod(&mut node, (options.containers - running.len()).min(2))?;
            running.extend(new);
        }
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            running: Mutex::new(running),
            ledger,
            counts: LiveCounts::default(),
            options,
        });
        let mut threads = Vec::new();
        for writer in 0..WRITERS {
            let shared = Arc::clone(&shared);
            threads.push(thread::Builder::new().name("log-writer".into()).spawn(move || write(&shared, writer))?);
        }
        let with_kubelet = Arc::clone(&shared);
        let kubelet = move || kubelet.run(&mut node, &with_kubelet);
        threads.push(thread::Builder::new().name("kubelet".into()).spawn(kubelet)?);
        Ok(Self { shared, pods, threads })
    }

    /// What was written so far.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.shared.ledger
    }

    /// How often each event happened so far.
    pub fn counts(&self) -> &LiveCounts {
        &self.shared.counts
    }

    /// The containers that run now.
    pub fn running(&self) -> Vec<Arc<Running>> {
        lock(&self.shared.running).clone()
    }

    /// The folder that is /var/log/pods on a node.
    pub fn pods(&self) -> &PathBuf {
        &self.pods
    }

    /// Whether all threads run: one that has ended by itself leaves events out.
    pub fn is_at_work(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends all threads; no line stays half-written. The logs stay.
    ///
    /// # Errors
    /// The first error that ended a thread: then events are missing.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.shared.stop.store(true, Relaxed);
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("a writer thread panicked")));
            result = result.and(ended);
        }
        for running in lock(&self.shared.running).iter() {
            result = result.and(lock(&running.container).finish_lines());
        }
        result
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A writer thread: at this interval the lines that are due, to random containers.
fn write(shared: &Shared, writer: usize) -> io::Result<()> {
    let options = &shared.options;
    let mut random = Random::new(options.seed ^ (writer as u64 + 1) << 32);
    let per_second = f64::from(options.lines_per_second) / WRITERS as f64;
    let mut last = Instant::now();
    let mut due = 0.0;
    while !shared.stop.load(Relaxed) {
        thread::sleep(WRITER_TICK);
        let now = Instant::now();
        due += (now - last).min(CATCH_UP_MAX).as_secs_f64() * per_second;
        last = now;
        let running = lock(&shared.running).clone();
        while due >= 1.0 && !running.is_empty() {
            let container = &running[random.below(running.len())].container;
            // Programs write in small bursts.
            let burst = (1 + random.below(4)).min(due as usize);
            due -= burst as f64;
            // One that is held up, or that the other writer is at, writes less; the others do not wait for it.
            let Ok(mut container) = container.try_lock() else { continue };
            for _ in 0..burst {
                write_one(&mut container, options, &mut random)?;
            }
        }
    }
    Ok(())
}

fn write_one(container: &mut Container, options: &LiveOptions, random: &mut Random) -> io::Result<()> {
    let stream = if random.one_in(4) { Stream::Stderr } else { Stream::Stdout };
    let shape = [Shape::Json, Shape::Json, Shape::Text, Shape::Text, Shape::Unicode][random.below(5)];
    let mut once_in = |n: usize| n > 0 && random.one_in(n);
    let (long, halved) = (once_in(options.long_one_in), once_in(options.halved_one_in));
    let len = if long { 16_000 + random.below(32_000) } else { 110 + random.below(190) };
    if halved {
        container.begin_line(stream, shape, len, 1 + random.below(len))
    } else {
        container.write_line(stream, shape, len)
    }
}
