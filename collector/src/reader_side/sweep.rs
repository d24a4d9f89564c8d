//! The sweep: every few seconds every open file's size is compared with what was read, whatever the signal said.
//!
//! A missed event, a full queue of events or a way of writing that no hook covers delays a line until here, and never
//! loses it.

use std::{io, os::fd::BorrowedFd, time::Instant};

use super::{ReaderSide, State, selection::REASONS};
use crate::{
    discover::{ContainerId, Source},
    read::RangeReader,
    signal::{Signal, Slot},
    status::{ContainerLabels, Reason},
};

impl<R: RangeReader> ReaderSide<R> {
    /// Compares sizes, gives up partial lines that waited too long, and refreshes the gauges, when it is time.
    pub(super) fn sweep_if_due(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if now < self.state.sweep_due {
            return Ok(());
        }
        self.state.sweep_due = now + self.state.config.sweep.interval.0;
        // What the signal knows of is no find: take its marks before and after the comparison.
        let mut dirty = Vec::new();
        self.mark_dirty(&mut dirty)?;
        let grown = self.find_grown();
        self.signal.drain(&mut dirty)?;
        for (id, slot) in grown {
            if !dirty.contains(&slot) {
                self.state.metrics.sweep_finds.inc();
            }
            self.state.queue(id);
        }
        for slot in dirty {
            self.state.queue_slot(slot);
        }
        self.state.flush_silent(now);
        self.publish_gauges();
        Ok(())
    }

    /// The current files of containers that are not in the queue whose size is not what was seen of them.
    fn find_grown(&mut self) -> Vec<(ContainerId, Slot)> {
        let mut grown = Vec::new();
        for (&id, container) in &mut self.state.containers {
            if container.queued || !container.is_labelled() {
                continue;
            }
            // The files after the current one are read in their turn.
            let Some(index) = container.chain.current() else { continue };
            let file = &mut container.chain.files_mut()[index];
            let Source::Slot(slot) = file.source else { continue };
            let Some(len) = self.reader.file(slot).and_then(file_len) else { continue };
            if len < file.parsed {
                self.state.metrics.truncated_files.inc();
                tracing::warn!(path = %file.path.display(), len, read = file.parsed,
                    "a log file became shorter than what was read of it; it is read again from its beginning");
                file.begin_anew(&mut self.state.next_file);
            }
            if len != file.seen {
                grown.push((id, slot));
            }
        }
        grown
    }

    fn publish_gauges(&self) {
        let metrics = &self.state.metrics;
        let all = self.state.containers.values();
        for reason in REASONS {
            let excluded = all.clone().filter(|container| container.exclusion() == Some(reason)).count();
            metrics.excluded_containers.get_or_create(&Reason { reason }).set(excluded as i64);
        }
        let followed = all.filter(|container| container.exclusion().is_none());
        metrics.containers.set(followed.clone().count() as i64);
        metrics.open_files.set(self.state.slots.taken() as i64);
        let len = |slot| self.reader.file(slot).and_then(file_len).unwrap_or(0);
        metrics.set_lags(followed.map(|container| {
            let labels = ContainerLabels {
                namespace: container.pod.namespace.clone(),
                pod: container.pod.pod.clone(),
                container: container.name.clone(),
            };
            (labels, container.chain.lag_bytes(len))
        }));
    }
}

impl State {
    /// Gives out partial lines of containers that have been silent for `lines.partial_timeout`.
    fn flush_silent(&mut self, now: Instant) {
        let timeout = self.config.lines.partial_timeout.0;
        let silent: Vec<_> = self
            .containers
            .iter()
            .filter(|(_, container)| container.holds_partial_line() && now - container.last_read >= timeout)
            .map(|(&id, _)| id)
            .collect();
        for id in silent {
            self.flush(id);
        }
    }
}

/// A file's present size in bytes.
pub(super) fn file_len(file: BorrowedFd<'_>) -> Option<u64> {
    rustix::fs::fstat(file).ok().map(|stat| stat.st_size as u64)
}
