//! Deleted files that are held open because they are not read to their end, and what they may cost.
//!
//! In: what the sweep saw of the open files, `hold.bytes` and `hold.age`. Such a file takes its place on the disk for as long
//! as it is open. Past the limits that is ended first where it loses nothing: by reading the compressed form that is still
//! listed. Only then the files that were deleted first are given up, each with a warning and counted, never silently.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{ReaderSide, State};
use crate::{
    tail::chain::{Chain, ChainFile, ContainerId, Source},
    tail::read::RangeReader,
};

/// A file that is neither open nor listed is given up after this time; one that is renamed or compressed is found sooner.
const VANISHED_AFTER: Duration = Duration::from_secs(30);

/// A deleted file that is held open.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Since which sweep it is known to be deleted.
    since: Instant,
    container: ContainerId,
    /// Its number in the chain.
    file: u64,
    /// What it takes on the disk.
    bytes: u64,
}

impl Held {
    /// The file, where it is deleted and open. To be called at each sweep, after its length and its names were looked at.
    pub fn of(container: ContainerId, file: &ChainFile) -> Option<Self> {
        let since = file.deleted_since.filter(|_| file.is_open() && !file.finished)?;
        Some(Self { since, container, file: file.id, bytes: file.len })
    }
}

impl<R: RangeReader> ReaderSide<R> {
    /// Keeps what is held within the limits. A file that this sweep was the first to find deleted is let be: it may be read
    /// to its end within a moment.
    pub(super) fn limit_held(&mut self, mut held: Vec<Held>, now: Instant) {
        held.sort_unstable_by_key(|held| (held.since, held.container, held.file));
        held.retain(|held| held.since >= now || !self.close_if_read(*held));
        // Of all shards: `hold.bytes` bounds what the node holds.
        let node = Arc::clone(self.state.shard.node());
        let mut node_bytes = node.held_bytes();
        let others = node_bytes.saturating_sub(self.state.held_bytes);
        let mut bytes: u64 = others + held.iter().map(|held| held.bytes).sum::<u64>();
        let config = &self.state.config.hold;
        let (bytes_max, age_max) = (config.bytes.0, config.age.0);
        let is_too_old = |held: &Held| !age_max.is_zero() && now.saturating_duration_since(held.since) >= age_max;
        held.retain(|held| {
            let over = held.since < now && (bytes > bytes_max || is_too_old(held));
            let changed = over && self.change_to_compressed(*held);
            bytes -= if changed { held.bytes } else { 0 };
            !changed
        });
        held.retain(|held| {
            let why = if is_too_old(held) { "hold.age" } else { "hold.bytes" };
            let over = held.since < now && (bytes > bytes_max || is_too_old(held));
            if over {
                self.give_up(held.container, held.file, why);
                bytes -= held.bytes;
            }
            !over
        });
        self.state.held_bytes = bytes - others;
        *node_bytes = bytes;
        self.state.gauges.held_bytes.set((bytes - others) as i64);
        self.state.gauges.held_files.set(held.len() as i64);
    }

    /// Closes a deleted file that has nothing unread. The reader does so by itself, and not while every batch is on its way.
    fn close_if_read(&mut self, held: Held) -> bool {
        let Some((chain, index)) = self.state.chain_at(held.container, held.file) else { return false };
        let file = &chain.files()[index];
        let Source::Slot(_) = file.source else { return false };
        if file.parsed != file.len || file.is_listed() {
            return false;
        }
        self.end_file(held.container, index);
        true
    }

    /// Reads on in the compressed form of a file that is still listed. Returns whether it is so.
    fn change_to_compressed(&mut self, held: Held) -> bool {
        let Some((chain, index)) = self.state.chain_at(held.container, held.file) else { return false };
        let file = &mut chain.files_mut()[index];
        if !file.has_compressed_form() {
            return false;
        }
        let Ok(source) = file.open() else { return false };
        self.shut(held.container, index, Source::Closed);
        if let Some((chain, index)) = self.state.chain_at(held.container, held.file) {
            let file = &mut chain.files_mut()[index];
            file.deleted_since = None;
            file.take_source(source);
            self.state.descriptors.open += 1;
        }
        true
    }

    /// Gives up what is unread of a file: says it, counts it, and goes on with the next one.
    pub(super) fn give_up(&mut self, id: ContainerId, number: u64, why: &'static str) {
        let Some(container) = self.state.containers.get_mut(&id) else { return };
        let Some(index) = container.chain.files().iter().position(|file| file.id == number) else { return };
        let file = &container.chain.files()[index];
        let unread_bytes = match &file.source {
            Source::Gzip(gzip) => gzip.content_bytes().saturating_sub(file.parsed),
            _ => file.unread_bytes(),
        };
        let pod = &container.pod;
        tracing::warn!(namespace = pod.namespace, pod = pod.pod, container = container.name,
            file = %file.path.display(), unread_bytes, why, "{}", reason(why));
        self.state.metrics.abandoned_bytes.inc_by(unread_bytes);
        self.state.metrics.abandoned_files.inc();
        container.end_lines_after(number);
        self.end_file(id, index);
    }

    /// Nothing more is read of a file.
    fn end_file(&mut self, id: ContainerId, index: usize) {
        self.shut(id, index, Source::Closed);
        let Some(container) = self.state.containers.get_mut(&id) else { return };
        let file = &mut container.chain.files_mut()[index];
        file.finished = true;
        let (number, restart) = (file.id, file.name.restart);
        let next = container.chain.current().map(|next| container.chain.files()[next].name.restart);
        if next.is_some_and(|next| next != restart) {
            container.end_lines_after(number);
        }
        self.state.queue(id);
    }

    /// Gives up files that were closed for lack of descriptors, or truncated, and are nowhere to be found; at once where
    /// their whole folder is gone.
    pub(super) fn give_up_vanished(&mut self, now: Instant) {
        let mut vanished = Vec::new();
        for (&id, container) in self.state.containers.iter().filter(|(_, container)| container.exclusion().is_none()) {
            let wait = if container.gone { Duration::ZERO } else { VANISHED_AFTER };
            let files = container.chain.files().iter();
            let lost =
                files.filter(|file| !file.is_at_hand() && file.unread_bytes() > 0 && file.is_missing_for(wait, now));
            vanished.extend(lost.map(|file| (id, file.id)));
        }
        for (id, file) in vanished {
            self.give_up(id, file, "gone");
        }
    }
}

impl State {
    /// The chain of a container, and where in it the file with this number is.
    fn chain_at(&mut self, id: ContainerId, number: u64) -> Option<(&mut Chain, usize)> {
        let chain = &mut self.containers.get_mut(&id)?.chain;
        let index = chain.files().iter().position(|file| file.id == number)?;
        Some((chain, index))
    }
}

/// What happened, and the mend.
fn reason(why: &str) -> &'static str {
    match why {
        "hold.bytes" => {
            "gave up a deleted log file before it was read, as deleted files that are held open took more of the disk than \
             hold.bytes; look why Loki is slow or away, or raise hold.bytes"
        }
        "hold.age" => "gave up a deleted log file before it was read, as it was held open for longer than hold.age",
        _ => {
            "a log file was removed or truncated before it was read and while it was not held open; see \
             pilcrow_open_files and the limit of open files"
        }
    }
}
