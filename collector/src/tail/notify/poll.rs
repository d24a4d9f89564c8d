//! The backend of last resort: compares every tracked file with what it was, from time to time.
//!
//! In: tracked files, an interval. Out: a [`Signal`] that works everywhere, at the price of one fstat(2) per file and
//! interval.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::{Signal, Slot};
use crate::tail::apart::{self, Left};

/// The interval that [`super::open`] takes.
pub const DEFAULT_INTERVAL: Duration = Duration::from_millis(500);

/// The polling backend.
pub struct PollSignal {
    interval: Duration,
    /// When the wait that is under way, or was cancelled, ends.
    deadline: Option<Instant>,
    files: Vec<Option<Polled>>,
}

/// A tracked file.
struct Polled {
    file: OwnedFd,
    device: u64,
    seen: State,
    /// Its file system does not answer.
    unanswered: Option<Left>,
}

/// What a write changes.
#[derive(PartialEq, Eq)]
struct State {
    size_bytes: i64,
    modified_s: i64,
    modified_ns: u64,
}

impl State {
    fn of(found: &rustix::fs::Stat) -> Self {
        Self { size_bytes: found.st_size, modified_s: found.st_mtime, modified_ns: found.st_mtime_nsec }
    }
}

impl PollSignal {
    /// Compares once every `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, deadline: None, files: Vec::new() }
    }
}

impl Signal for PollSignal {
    fn track(&mut self, slot: Slot, file: BorrowedFd<'_>, _path: &Path) -> io::Result<()> {
        let file = file.try_clone_to_owned()?;
        let stat = apart::stat(&file, apart::device_of(&file))?;
        let (device, seen) = (stat.st_dev, State::of(&stat));
        let index = slot.0 as usize;
        if self.files.len() <= index {
            self.files.resize_with(index + 1, || None);
        }
        self.files[index] = Some(Polled { file, device, seen, unanswered: None });
        Ok(())
    }

    fn untrack(&mut self, slot: Slot) {
        if let Some(file) = self.files.get_mut(slot.0 as usize) {
            *file = None;
        }
    }

    fn descriptors_per_file(&self) -> usize {
        1
    }

    async fn wait(&mut self) -> io::Result<()> {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + self.interval);
        sleep_until(deadline).await;
        self.deadline = None;
        Ok(())
    }

    fn drain(&mut self, dirty: &mut Vec<Slot>) -> io::Result<()> {
        for (index, polled) in self.files.iter_mut().enumerate() {
            let Some(Polled { file, device, seen, unanswered }) = polled else { continue };
            if unanswered.as_ref().is_some_and(|left| !left.has_returned()) {
                continue;
            }
            *unanswered = None;
            let now = match apart::stat(file, *device) {
                Ok(stat) => State::of(&stat),
                Err(error) => {
                    *unanswered = Left::of(&error);
                    apart::take_left();
                    // Who reads it finds out why.
                    dirty.push(Slot(index as u32));
                    continue;
                }
            };
            if now != *seen {
                *seen = now;
                dirty.push(Slot(index as u32));
            }
        }
        Ok(())
    }
}
