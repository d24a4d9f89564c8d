//! The runtime of the sender side, and the threads for what may block it: saving positions and resolving names.
//!
//! In: nothing. Out: a tokio runtime whose blocking work never starts a thread while it runs. tokio starts one for it when there
//! is none, ends it after ten idle seconds, and panics where the next cannot be started: on a node without free PIDs, resolving a
//! name would end the collector. So all of them are started first, where a failure is only an error, and are kept.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};

/// Two, so that names are resolved while a save hangs on a disk.
const BLOCKING_THREADS: usize = 2;

/// Longer than any process runs.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// How long the start waits for all of them.
const START_PATIENCE: Duration = Duration::from_secs(1);

/// A current-thread runtime that has its threads for blocking work.
///
/// # Errors
/// Where it cannot be made, such as where the threads cannot be started.
pub fn runtime() -> anyhow::Result<Runtime> {
    can_start_threads()
        .context("cannot start threads: the limit of processes (pids.max of the cgroup, ulimit -u) is reached")?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(FOR_EVER)
        .thread_name("blocking")
        .build()?;
    // Each waits until all have started, or one thread could run both jobs.
    let begun = Arc::new(AtomicUsize::new(0));
    for _ in 0..BLOCKING_THREADS {
        let begun = Arc::clone(&begun);
        runtime.spawn_blocking(move || {
            begun.fetch_add(1, Ordering::AcqRel);
            wait_for_all(&begun);
        });
    }
    wait_for_all(&begun);
    Ok(runtime)
}

/// Waits until all have started, but not for ever: if another process took the last PID just now, one thread has to do.
fn wait_for_all(begun: &AtomicUsize) {
    let started = Instant::now();
    while begun.load(Ordering::Acquire) < BLOCKING_THREADS && started.elapsed() < START_PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
}

/// As many threads at one time as will be needed, by std, which gives an error where tokio would panic.
fn can_start_threads() -> io::Result<()> {
    let release = Arc::new(AtomicBool::new(false));
    let threads: Vec<io::Result<JoinHandle<()>>> = (0..BLOCKING_THREADS)
        .map(|_| {
            let release = Arc::clone(&release);
            thread::Builder::new().name("trial".into()).spawn(move || {
                while !release.load(Ordering::Acquire) {
                    thread::park();
                }
            })
        })
        .collect();
    release.store(true, Ordering::Release);
    let mut result = Ok(());
    for thread in threads {
        match thread {
            Ok(thread) => {
                thread.thread().unpark();
                // Its closure cannot panic.
                let _ = thread.join();
            }
            Err(error) => result = Err(error),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The numbers of this process's threads of that name.
    fn threads(name: &str) -> Vec<String> {
        let all = fs::read_dir("/proc/self/task").unwrap().flatten().map(|entry| entry.path());
        let named = all.filter(|path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name));
        let mut numbers: Vec<_> =
            named.filter_map(|path| path.file_name().map(|number| number.to_string_lossy().into_owned())).collect();
        numbers.sort();
        numbers
    }

    #[test]
    fn blocking_work_starts_no_thread_after_the_start() {
        let runtime = runtime().unwrap();
        let at_start = threads("blocking");
        assert_eq!(at_start.len(), BLOCKING_THREADS);
        runtime.block_on(async {
            let work: Vec<_> = (0..20).map(|_| tokio::task::spawn_blocking(thread::yield_now)).collect();
            for work in work {
                work.await.unwrap();
            }
        });
        assert_eq!(threads("blocking"), at_start);
        assert_eq!(threads("trial"), [""; 0]);
    }
}
