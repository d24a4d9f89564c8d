//! Ctrl-C and SIGTERM: the first one ends the work early, the second one ends it at once.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use tokio::signal::unix::{SignalKind, signal};

/// How often this process was asked to end.
#[derive(Clone, Debug, Default)]
pub struct Interrupts(Arc<AtomicUsize>);

impl Interrupts {
    /// Listens from now on; the signals no longer end the process.
    pub fn listen() -> io::Result<Self> {
        let interrupts = Self::default();
        let count = interrupts.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate) = {
            let _guard = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    count.0.fetch_add(1, SeqCst);
                }
            });
        })?;
        Ok(interrupts)
    }

    /// It is time to end in good order.
    pub fn asked(&self) -> bool {
        self.0.load(SeqCst) > 0
    }

    /// It is time to end at once.
    pub fn insisted(&self) -> bool {
        self.0.load(SeqCst) > 1
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[test]
    fn the_first_signal_asks_and_the_second_insists() {
        let interrupts = Interrupts::listen().unwrap();
        assert!(!interrupts.asked());
        let wait_for = |condition: &dyn Fn() -> bool| {
            let end = Instant::now() + Duration::from_secs(30);
            while !condition() {
                assert!(Instant::now() < end, "no signal arrived");
                thread::sleep(Duration::from_millis(5));
            }
        };
        kill_process(getpid(), Signal::INT).unwrap();
        wait_for(&|| interrupts.asked());
        assert!(!interrupts.insisted());
        kill_process(getpid(), Signal::TERM).unwrap();
        wait_for(&|| interrupts.insisted());
    }
}
