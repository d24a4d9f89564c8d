//! Batches: filled, sealed, acknowledged, and what is saved then.

use std::time::{Instant, SystemTime};

use super::{ReaderSide, State};
use crate::{
    batch::Batch,
    checkpoint::Snapshot,
    config::Config,
    decode::Scratch,
    memory,
    tail::read::{BUFFER_BYTES, RangeReader},
};

/// At least this many batches exist: one to be filled while another is on its way.
const BATCHES_MIN: usize = 3;

/// A shard's share of `memory.queue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchBudget {
    /// How many batches exist.
    pub count: usize,
    /// A batch is full when it holds so many encoded bytes.
    pub bytes: usize,
}

impl BatchBudget {
    /// That of one of so many shards. Where its share has no room for [`BATCHES_MIN`] batches of `loki.batch.bytes`, several
    /// shards have smaller ones; a single one goes over `memory.queue`.
    pub fn of(config: &Config, shards: usize) -> Self {
        let (share, mut bytes) = (config.memory.queue.0 / shards.max(1) as u64, config.loki.batch.bytes.0);
        if shards > 1 {
            bytes = bytes.min(share / BATCHES_MIN as u64);
        }
        let bytes = bytes.max(1);
        let to_usize = |number| usize::try_from(number).unwrap_or(usize::MAX);
        Self { count: to_usize(share / bytes).max(BATCHES_MIN), bytes: to_usize(bytes) }
    }
}

impl<R: RangeReader> ReaderSide<R> {
    /// Hands the positions over to be saved, at most once in `checkpoint.interval` and only when they moved.
    pub(super) fn snapshot_if_due(&mut self) {
        if self.state.moved && Instant::now() >= self.state.snapshot_due {
            self.snapshot();
        }
    }

    /// Hands the positions over to be saved, each with what its file is recognised by: a position of a file that was empty
    /// when it was found would be worth nothing after a restart.
    pub(super) fn snapshot(&mut self) {
        let ids: Vec<_> = self.state.containers.keys().copied().collect();
        for id in ids {
            self.extend_fingerprints(id);
        }
        self.state.snapshot();
    }
}

impl State {
    /// The batch to be filled, a new one where there is none.
    pub(super) fn begin_filling(&mut self) -> bool {
        if self.filling.is_none()
            && let Some(mut batch) = self.free.pop()
        {
            self.generation += 1;
            batch.clear(self.generation);
            self.filling = Some(batch);
        }
        self.filling.is_some()
    }

    /// Gives back the memory of batches and parsing where nothing was read since the last sweep. A node that goes on to write
    /// pays for it with page faults once, not for each batch.
    pub(super) fn release_memory_if_idle(&mut self) {
        if std::mem::take(&mut self.read_since_sweep) {
            self.holds_memory = true;
        } else if std::mem::take(&mut self.holds_memory) {
            for batch in &mut self.free {
                // It still holds what was acknowledged.
                batch.clear(0);
                batch.release_spare();
            }
            self.filling.iter_mut().for_each(Batch::release_spare);
            self.scratch = Scratch::default();
            memory::give_back();
        }
    }

    /// How many buffers a round may read so that the batches at hand take their lines.
    pub(super) fn buffers_with_room(&self) -> usize {
        let limit = self.batches.bytes;
        let used = self.filling.as_ref().map_or(limit, Batch::encoded_bytes);
        let room = limit.saturating_sub(used) + self.free.len() * limit;
        (room / BUFFER_BYTES).max(1)
    }

    /// When the batch that is being filled has its age.
    pub(super) fn seal_due(&self) -> Option<Instant> {
        self.filling_since.filter(|_| self.is_worth_sealing()).map(|since| since + self.config.loki.batch.age.0)
    }

    /// Whether lines wait to be sent, or positions of such as rules dropped to be acknowledged.
    fn is_worth_sealing(&self) -> bool {
        self.holds_dropped || self.filling.as_ref().is_some_and(|batch| batch.entries() > 0)
    }

    /// Seals the batch that is being filled where its size or age says so.
    pub(super) fn seal_if_due(&mut self, now: Instant) {
        let full = self.filling.as_ref().is_some_and(|batch| batch.encoded_bytes() >= self.batches.bytes);
        if full || self.seal_due().is_some_and(|due| due <= now) {
            self.seal();
        } else if !self.is_worth_sealing() {
            self.filling_since = None;
        }
    }

    /// Seals the batch that is being filled where it is full and another one is free.
    pub(super) fn seal_if_full(&mut self) {
        let full = self.filling.as_ref().is_some_and(|batch| batch.encoded_bytes() >= self.batches.bytes);
        if full && !self.free.is_empty() {
            self.seal();
            self.begin_filling();
        }
    }

    /// Hands the batch that is being filled to the sender side.
    pub(super) fn seal(&mut self) {
        let Some(mut batch) = self.filling.take() else { return };
        for id in self.touched.drain(..) {
            if let Some(container) = self.containers.get_mut(&id) {
                container.touched = false;
                container.submit(|position| batch.push_progress(id, position));
            }
        }
        self.filling_since = None;
        self.holds_dropped = false;
        if batch.is_empty() {
            self.free.push(batch);
            return;
        }
        if self.links.sealed.send(batch).is_err() {
            tracing::error!("the sender side is gone; its batches will be read again after the next start");
        }
        self.links.sealed_notify.notify_one();
    }

    /// Batches that are on their way.
    pub(super) fn in_flight(&self) -> usize {
        self.batches.count - self.free.len() - usize::from(self.filling.is_some())
    }

    /// Takes back what Loki has acknowledged, and moves the positions.
    pub(super) fn take_acknowledged(&mut self) {
        while let Ok(batch) = self.links.done.try_recv() {
            for progress in batch.progress() {
                let file = self
                    .containers
                    .get_mut(&progress.container)
                    .and_then(|container| container.chain.file_mut(progress.position.file));
                if let Some(file) = file {
                    file.acknowledged = file.acknowledged.max(progress.position.offset);
                    self.moved = true;
                }
            }
            self.free.push(batch);
        }
    }

    /// Hands the positions over to be saved.
    fn snapshot(&mut self) {
        self.moved = false;
        self.snapshot_due = Instant::now() + self.config.checkpoint.interval.0;
        let followed = self.containers.values();
        let followed = followed.map(|container| (container.saved_name(), container.chain.saved().collect()));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let snapshot = Snapshot::new(followed, &self.unclaimed, now.as_secs());
        // Gone only when the program ends at once; the positions then stay as they were last saved.
        let _ = self.links.snapshots.send((self.shard.index(), snapshot));
        self.links.snapshots_notify.notify_one();
    }

    /// Says what the deadline of the shutdown left behind.
    pub(super) fn report_undrained(&self) {
        let (in_flight, unread) = (self.in_flight(), self.ready.len());
        if in_flight > 0 || unread > 0 {
            tracing::warn!(
                batches_not_acknowledged = in_flight,
                containers_not_read_to_their_end = unread,
                "shutdown.deadline passed before everything was sent; the next start goes on from the last acknowledged line"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ByteSize;

    #[test]
    fn the_batches_of_all_shards_together_keep_within_the_queue() {
        let mut config = Config::default();
        assert_eq!(BatchBudget::of(&config, 1), BatchBudget { count: 4, bytes: 1 << 20 });
        for shards in 2..=16 {
            for queue in [64 << 10, 4 << 20, 100 << 20] {
                config.memory.queue = ByteSize(queue);
                let budget = BatchBudget::of(&config, shards);
                let all = shards * budget.count * budget.bytes;
                assert!(budget.count >= BATCHES_MIN && budget.bytes <= 1 << 20, "{shards}: {budget:?}");
                assert!(all as u64 <= queue && all as u64 > queue / 2, "{shards}, {queue}: {budget:?}");
            }
        }
    }
}
