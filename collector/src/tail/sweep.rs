//! The sweep: every few seconds every open file is looked at, whatever the signal said.
//!
//! A missed event, a full queue of events or a way of writing that no hook covers delays a line until here, and never
//! loses it. Files that are not open for lack of descriptors are looked at by their path. What else the sizes tell is found
//! here, too: truncated files, and what deleted ones cost.

use std::{
    collections::HashSet,
    io,
    time::{Duration, Instant},
};

use super::{
    ContainerLabels, State, Tailer, Unit,
    apart::{self, Left},
    folders::Folder,
    hold::Held,
    selection::Exclusion,
};
use crate::{
    decode::Scratch,
    memory,
    model::{FileKey, UnitId, modified_ns},
    status::Reason,
    tail::chain::{self, Source},
    tail::notify::{Signal, Slot},
    tail::read::RangeReader,
};

/// A container for which nothing was written for this long is quiet.
const QUIET_AFTER: Duration = Duration::from_secs(60);

/// Quiet containers are looked at in one of this many sweeps: what is written to them the signal tells.
const QUIET_SWEEPS: u32 = 12;

impl Unit {
    /// Whether nothing has happened for long, nothing is waited for, and what happens next will be told by watches.
    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        let happened = self.last_read.max(self.last_signal);
        let waits = self.queued || self.stalled || self.gone || self.unopened > 0 || self.waits_until.is_some();
        now.saturating_duration_since(happened) >= QUIET_AFTER
            && self.is_watched
            && !waits
            && !self.holds_text()
            && self.chain.is_settled()
    }
}

/// What a look at all files found.
#[derive(Default)]
pub(super) struct Found {
    /// Files to be read; the slot of those that the signal should have told of.
    pub(super) grown: Vec<(UnitId, Option<Slot>)>,
    /// Numbers of files that were written to after their end.
    regrown: Vec<(UnitId, u64)>,
    /// Numbers of files that became shorter, or begin otherwise than they did.
    truncated: Vec<(UnitId, u64)>,
    /// Containers of which a file is not where it was.
    moved: Vec<UnitId>,
    /// Containers whose file system does not answer.
    stalled: Vec<(UnitId, Left)>,
    /// Deleted files.
    held: Vec<Held>,
    open: usize,
}

impl<R: RangeReader> Tailer<R> {
    /// Looks at all files, gives up partial lines that waited too long, and refreshes the gauges, when it is time.
    pub(super) fn sweep_if_due(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if now < self.state.due.sweep {
            return Ok(());
        }
        self.state.due.sweep = now + self.state.config.sweep.interval.0;
        // What the signal knows of is no find: take its marks before and after the comparison.
        let mut dirty = Vec::new();
        self.mark_dirty(&mut dirty)?;
        let found = self.look_at_files(now);
        self.signal.drain(&mut dirty)?;
        for (id, left) in found.stalled {
            self.state.stall(Folder::Container(id), left);
        }
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
        for (id, file) in found.regrown {
            if let Some(unit) = self.state.units.get_mut(id) {
                unit.chain.reopen(file);
            }
            self.state.queue(id);
        }
        for (id, file) in found.truncated {
            self.begin_anew(id, file, now);
        }
        for id in found.moved {
            self.scan_container(id);
        }
        self.limit_held(found.held, now);
        self.give_up_vanished(now);
        self.state.count_held();
        self.state.flush_silent(now);
        self.publish_gauges(now);
        self.state.report_folders();
        self.close_saved_files();
        self.release_memory_if_idle();
        Ok(())
    }

    pub(super) fn look_at_files(&mut self, now: Instant) -> Found {
        let mut found = Found::default();
        self.state.files.sweeps = self.state.files.sweeps.wrapping_add(1);
        let turn = self.state.files.sweeps % QUIET_SWEEPS;
        for unit in self.state.units.iter_mut() {
            let id = unit.id;
            found.open += unit.chain.open_files();
            if unit.stalled {
                continue;
            }
            if unit.is_quiet(now) && id.0 % QUIET_SWEEPS != turn {
                continue;
            }
            let current = unit.chain.current().filter(|_| !unit.queued && unit.is_readable());
            for (index, file) in unit.chain.files_mut().iter_mut().enumerate() {
                let is_current = Some(index) == current;
                match *file.source() {
                    Source::Slot(slot) => {
                        let Some(descriptor) = self.reader.file(slot) else { continue };
                        let Ok(stat) = apart::stat(descriptor, file.device()) else { continue };
                        let len = stat.st_size as u64;
                        file.note_named(stat.st_nlink > 0, now);
                        let was_written = file.note_written(len, modified_ns(&stat));
                        let head = || chain::plain_head(descriptor);
                        let is_truncated = len < file.progress().parsed()
                            || (was_written && head().is_ok_and(|head| !file.begins_with(&head)));
                        if is_truncated {
                            // Its length before tells what is lost of it.
                            found.truncated.push((id, file.id()));
                        } else {
                            file.note_len(len);
                            if file.progress().has_ended() && len > file.progress().parsed() {
                                // Written to after all, longer after it was rotated than any runtime should.
                                found.regrown.push((id, file.id()));
                            } else if is_current && len != file.progress().seen() {
                                found.grown.push((id, Some(slot)));
                            }
                        }
                    }
                    Source::Gzip(ref gzip) => {
                        if let Ok(stat) = apart::stat(gzip.file(), file.device()) {
                            file.note_len(stat.st_size as u64);
                            file.note_named(stat.st_nlink > 0, now);
                        }
                    }
                    Source::Listed if is_current => match apart::stat_path(file.path()) {
                        Ok(stat)
                            if file.listed_key() == FileKey::of(&stat)
                                && stat.st_size as u64 >= file.progress().parsed() =>
                        {
                            file.note_len(stat.st_size as u64);
                            if file.bytes_on_disk() != file.progress().seen() {
                                found.grown.push((id, None));
                            }
                        }
                        _ => found.moved.push(id),
                    },
                    Source::Closed if file.may_be_written_again() => match apart::stat_path(file.path()) {
                        Err(error) if Left::of(&error).is_some() => {}
                        Ok(stat) if stat.st_size as u64 <= file.progress().parsed() => {}
                        _ => found.moved.push(id),
                    },
                    Source::Listed | Source::Opened(_) | Source::Closed => {}
                }
                found.held.extend(Held::of(id, file));
            }
            found.stalled.extend(apart::take_left().map(|left| (id, left)));
        }
        self.state.files.descriptors.open = found.open;
        found
    }

    /// A file was truncated: it is read from its new beginning, and what was unread from a copy, where one is listed.
    fn begin_anew(&mut self, id: UnitId, file: u64, now: Instant) {
        let Some((container, last_file)) = self.state.units.with_last_file(id) else { return };
        let Some(before) = container.chain.file_mut(file) else { return };
        self.state.metrics.truncated_files.inc();
        if let Some(more) = self.state.throttles.truncated_file.permit() {
            tracing::warn!(path = %before.path().display(), bytes_before = before.bytes_on_disk(),
                read = before.progress().parsed(), unread = before.unread_bytes(), more,
                "a log file was truncated; it is read from its new beginning, and what was not read from a copy if there is one");
        }
        container.chain.split_truncated(file, last_file, now);
        self.scan_container(id);
    }

    fn publish_gauges(&mut self, now: Instant) {
        let State { units, metrics, files, lanes, .. } = &mut self.state;
        let unacknowledged = lanes.unacknowledged();
        let mut excluded = Exclusion::NAMES.map(|reason| (reason, 0));
        let mut lags = Vec::new();
        for unit in units.iter_mut() {
            if let Some(why) = unit.exclusion() {
                excluded.iter_mut().filter(|(reason, _)| *reason == why.name()).for_each(|(_, count)| *count += 1);
                continue;
            }
            if unit.lag > 0 || !unit.is_quiet(now) {
                unit.lag = unit.chain.lag_bytes(unit.next(&unacknowledged));
            }
            lags.push((unit.id, unit.lag));
        }
        for (reason, count) in excluded {
            metrics.excluded_containers.get_or_create(&Reason { reason }).set(count);
        }
        metrics.containers.set(lags.len() as i64);
        metrics.open_files.set(files.descriptors.open as i64);
        metrics.set_lags(lags.into_iter(), |id| {
            let unit = units.get(id);
            let labels = unit.map(|unit| [&unit.pod.namespace, &unit.pod.pod, &unit.name].map(String::clone));
            let [namespace, pod, container] = labels.unwrap_or_default();
            ContainerLabels { namespace, pod, container }
        });
    }

    /// Gives back the memory of batches and decoding where nothing was read since the last sweep. A node that goes on to write
    /// pays for it with page faults once, not for each batch.
    pub(super) fn release_memory_if_idle(&mut self) {
        let decoding = &mut self.state.decoding;
        if std::mem::take(&mut decoding.read_since_sweep) {
            decoding.holds_memory = true;
        } else if std::mem::take(&mut decoding.holds_memory) {
            decoding.scratch = Scratch::default();
            self.state.lanes.release_spare();
            memory::give_back();
        }
    }
}
