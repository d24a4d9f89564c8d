//! Threads for what takes CPU time, where the machine has cores for them.
//!
//! In: closures. Out: their results. Where no thread can be started (no process id or memory is left) the closure runs on the
//! caller's: slower, but nothing stops.

use std::{cell::Cell, io, thread};

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::oneshot;
use tracing::warn;

type Job = Box<dyn FnOnce() + Send>;

/// Starts a thread that runs this until it ends.
type Spawn = fn(Box<dyn FnOnce() + Send>) -> io::Result<()>;

/// Up to this many threads, each started when it is first needed.
#[derive(Debug)]
pub(super) struct Workers {
    jobs: Sender<Job>,
    waiting: Receiver<Job>,
    started: Cell<usize>,
    threads_max: usize,
    spawn: Spawn,
    warned: Cell<bool>,
}

impl Workers {
    /// One thread for each core but two (the reader's and the caller's), and at most `threads_max`: on small machines none.
    pub(super) fn where_cores_allow(threads_max: usize) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self::new(threads_max.min(cores.saturating_sub(2)), spawn)
    }

    #[cfg(test)]
    pub(super) fn with_threads(threads_max: usize) -> Self {
        Self::new(threads_max, spawn)
    }

    fn new(threads_max: usize, spawn: Spawn) -> Self {
        let (jobs, waiting) = crossbeam_channel::unbounded();
        Self { jobs, waiting, started: Cell::new(0), threads_max, spawn, warned: Cell::new(false) }
    }

    /// Runs `work` on a thread, or here and now where there is none. `None`: it panicked.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        if self.started.get() < self.threads_max {
            self.start_one();
        }
        if self.started.get() == 0 {
            return Some(work());
        }
        let (done, result) = oneshot::channel();
        // Not wanted any more: the request was given up.
        let job = Box::new(move || drop(done.send(work())));
        // Cannot fail: this side holds a receiver too.
        let _ = self.jobs.send(job);
        result.await.ok()
    }

    fn start_one(&self) {
        let waiting = self.waiting.clone();
        match (self.spawn)(Box::new(move || waiting.iter().for_each(|job| job()))) {
            Ok(()) => self.started.set(self.started.get() + 1),
            Err(error) if !self.warned.replace(true) => {
                warn!(%error, "cannot start a thread for compression; compressing on fewer threads");
            }
            Err(_) => {}
        }
    }
}

fn spawn(work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    thread::Builder::new().name("pilcrow-body".into()).spawn(work).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_on_other_threads_and_on_no_more_than_allowed() {
        let workers = Workers::new(2, spawn);
        let here = thread::current().id();
        for n in 0..10 {
            let (result, there) = workers.run(move || (n * n, thread::current().id())).await.unwrap();
            assert_eq!(result, n * n);
            assert_ne!(there, here);
        }
        assert_eq!(workers.started.get(), 2);
    }

    #[tokio::test]
    async fn without_a_thread_the_work_is_done_here() {
        let no_more: Spawn = |_| Err(io::ErrorKind::WouldBlock.into());
        for workers in [Workers::new(0, spawn), Workers::new(2, no_more)] {
            let there = workers.run(|| thread::current().id()).await.unwrap();
            assert_eq!(there, thread::current().id());
        }
    }
}
