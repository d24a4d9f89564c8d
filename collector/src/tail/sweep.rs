//! The sweep: every few seconds every open file is looked at, whatever the signal said.
//!
//! A missed event, a full queue of events or a way of writing that no hook covers delays a line until here, and never
//! loses it. Files that are not open for lack of descriptors are looked at by their path. What else the sizes tell is found
//! here, too: truncated files, and what deleted ones cost.

use std::{collections::HashSet, io, time::Instant};

use super::{Container, ReaderSide, State, descriptors::len_and_named, hold::Held, selection::REASONS};
use crate::{
    status::ContainerLabels,
    tail::chain::{self, ChainFile, ContainerId, FileKey, Source},
    tail::notify::{Signal, Slot},
    tail::read::RangeReader,
};

/// What a look at all files found.
#[derive(Default)]
struct Found {
    /// Files to be read; the slot of those that the signal should have told of.
    grown: Vec<(ContainerId, Option<Slot>)>,
    /// Numbers of files that became shorter, or begin otherwise than they did.
    truncated: Vec<(ContainerId, u64)>,
    /// Containers of which a file is not where it was.
    moved: Vec<ContainerId>,
    /// Deleted files.
    held: Vec<Held>,
    open: usize,
}

impl<R: RangeReader> ReaderSide<R> {
    /// Looks at all files, gives up partial lines that waited too long, and refreshes the gauges, when it is time.
    pub(super) fn sweep_if_due(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if now < self.state.sweep_due {
            return Ok(());
        }
        self.state.sweep_due = now + self.state.config.sweep.interval.0;
        // What the signal knows of is no find: take its marks before and after the comparison.
        let mut dirty = Vec::new();
        self.mark_dirty(&mut dirty)?;
        let found = self.look_at_files(now);
        self.signal.drain(&mut dirty)?;
        let marked: HashSet<Slot> = dirty.iter().copied().collect();
        for (id, slot) in found.grown {
            if slot.is_some_and(|slot| !marked.contains(&slot)) {
                self.state.metrics.sweep_finds.inc();
            }
            self.state.queue(id);
        }
        for slot in dirty {
            self.state.queue_slot(slot);
        }
        for (id, file) in found.truncated {
            self.begin_anew(id, file, now);
        }
        for id in found.moved {
            self.scan_container(id);
        }
        self.limit_held(found.held, now);
        self.give_up_vanished(now);
        self.state.flush_silent(now);
        self.publish_gauges();
        self.state.release_memory_if_idle();
        Ok(())
    }

    fn look_at_files(&mut self, now: Instant) -> Found {
        let mut found = Found::default();
        for (&id, container) in &mut self.state.containers {
            let current = container.chain.current().filter(|_| !container.queued && container.is_labelled());
            for (index, file) in container.chain.files_mut().iter_mut().enumerate() {
                found.open += usize::from(file.is_open());
                let is_current = Some(index) == current;
                match &file.source {
                    Source::Slot(slot) => {
                        let slot = *slot;
                        let Some(descriptor) = self.reader.file(slot) else { continue };
                        let Some((len, named)) = len_and_named(descriptor) else { continue };
                        let was_written = len != std::mem::replace(&mut file.len, len);
                        note_name(file, named, now);
                        let head = || chain::plain_head(descriptor);
                        if len < file.parsed || (was_written && head().is_ok_and(|head| !file.begins_with(&head))) {
                            found.truncated.push((id, file.id));
                        } else if is_current && len != file.seen {
                            found.grown.push((id, Some(slot)));
                        }
                    }
                    Source::Gzip(gzip) => {
                        if let Some((len, named)) = gzip.file().and_then(len_and_named) {
                            file.len = len;
                            note_name(file, named, now);
                        }
                    }
                    Source::Listed if is_current => match rustix::fs::stat(&file.path) {
                        Ok(stat)
                            if file.listed_key() == (FileKey { device: stat.st_dev, inode: stat.st_ino })
                                && stat.st_size as u64 >= file.parsed =>
                        {
                            file.len = stat.st_size as u64;
                            if file.len != file.seen {
                                found.grown.push((id, None));
                            }
                        }
                        _ => found.moved.push(id),
                    },
                    Source::Listed | Source::Opened(_) | Source::Closed => {}
                }
                found.held.extend(Held::of(id, file));
            }
        }
        self.state.descriptors.open = found.open;
        found
    }

    /// A file was truncated: it is read from its new beginning, and what was unread from a copy, where one is listed.
    fn begin_anew(&mut self, id: ContainerId, file: u64, now: Instant) {
        let Some(container) = self.state.containers.get_mut(&id) else { return };
        let Some(before) = container.chain.file_mut(file) else { return };
        self.state.metrics.truncated_files.inc();
        tracing::warn!(path = %before.path.display(), read = before.parsed, now = before.len,
            "a log file was truncated; it is read from its new beginning, and what was not read from a copy if there is one");
        container.chain.split_truncated(file, &mut self.state.next_file, now);
        self.scan_container(id);
    }

    fn publish_gauges(&mut self) {
        let State { containers, gauges, metrics, descriptors, shard, .. } = &mut self.state;
        let all = containers.values();
        for (reason, gauge) in REASONS.iter().zip(&mut gauges.excluded_containers) {
            let excluded = all.clone().filter(|container| container.exclusion() == Some(reason)).count();
            gauge.set(excluded as i64);
        }
        let followed = all.filter(|container| container.exclusion().is_none());
        gauges.containers.set(followed.clone().count() as i64);
        gauges.open_files.set(descriptors.open as i64);
        let lags = followed.map(|container| (&**container, container.chain.lag_bytes()));
        metrics.set_lags(shard.index(), lags, |container: &Container| ContainerLabels {
            namespace: container.pod.namespace.clone(),
            pod: container.pod.pod.clone(),
            container: container.name.clone(),
        });
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
            // One that waits to be read, or has a further file, is not silent: the rest may be on the disk.
            .filter(|(_, container)| {
                let chain = &container.chain;
                !container.queued && chain.current().is_none_or(|index| !chain.is_superseded(index))
            })
            .map(|(&id, _)| id)
            .collect();
        for id in silent {
            self.flush(id);
        }
    }
}

fn note_name(file: &mut ChainFile, named: bool, now: Instant) {
    if named {
        file.deleted_since = None;
    } else {
        file.deleted_since.get_or_insert(now);
    }
}
