//! What is known of each stream, by the text of its labels.
//!
//! In: streams as batches bring them, acknowledgements and refusals. Out: their state. Bounded: a stream that nothing has used
//! for half an hour is forgotten, which only means that its next lines go alone.

use std::{
    collections::HashMap,
    ops::{Index, IndexMut},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{certain::Certainty, rate::Bucket};

const FORGET_AFTER: Duration = Duration::from_secs(30 * 60);
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// A stream's number here. Valid while a batch has the stream or it is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct StreamId(usize);

#[derive(Debug)]
pub(super) struct Stream {
    /// In LogQL's form.
    pub(super) labels: Arc<str>,
    /// Whether it may share a request.
    pub(super) certainty: Certainty,
    /// How fast it may go.
    pub(super) bucket: Bucket,
    /// A request with it is in flight.
    pub(super) in_flight: bool,
    /// Its channels are parked because of it.
    pub(super) parked: bool,
    /// Lines that Loki refuses because of the stream are dropped (`loki.refused_streams`).
    pub(super) dropping: bool,
    users: usize,
    last_used: Instant,
}

#[derive(Debug)]
pub(super) struct Streams {
    by_labels: HashMap<Arc<str>, StreamId>,
    all: Vec<Stream>,
    free: Vec<StreamId>,
    started: Instant,
    looked: Instant,
}

impl Streams {
    pub(super) fn new(now: Instant) -> Self {
        Self { by_labels: HashMap::new(), all: Vec::new(), free: Vec::new(), started: now, looked: now }
    }

    /// The stream with these labels; each call needs a [`Self::release`] later.
    pub(super) fn acquire(&mut self, labels: &Arc<str>, now: Instant) -> StreamId {
        let id = match self.by_labels.get(labels) {
            Some(id) => *id,
            None => self.add(labels, now),
        };
        self[id].users += 1;
        id
    }

    /// A batch or the parking does not need the stream any more.
    pub(super) fn release(&mut self, id: StreamId, now: Instant) {
        let stream = &mut self[id];
        stream.users -= 1;
        stream.last_used = now;
    }

    /// Forgets what has long been unused.
    pub(super) fn forget_unused(&mut self, now: Instant) {
        if now.saturating_duration_since(self.looked) < LOOK_EVERY {
            return;
        }
        self.looked = now;
        let (all, free) = (&self.all, &mut self.free);
        self.by_labels.retain(|_, id| {
            let stream = &all[id.0];
            let keep = stream.users > 0 || now.saturating_duration_since(stream.last_used) < FORGET_AFTER;
            if !keep {
                free.push(*id);
            }
            keep
        });
    }

    fn add(&mut self, labels: &Arc<str>, now: Instant) -> StreamId {
        let stream = Stream {
            labels: Arc::clone(labels),
            certainty: Certainty::default(),
            bucket: Bucket::new(self.started),
            in_flight: false,
            parked: false,
            dropping: false,
            users: 0,
            last_used: now,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self[id] = stream;
                id
            }
            None => {
                self.all.push(stream);
                StreamId(self.all.len() - 1)
            }
        };
        self.by_labels.insert(Arc::clone(labels), id);
        id
    }
}

impl Index<StreamId> for Streams {
    type Output = Stream;

    fn index(&self, id: StreamId) -> &Stream {
        &self.all[id.0]
    }
}

impl IndexMut<StreamId> for Streams {
    fn index_mut(&mut self, id: StreamId) -> &mut Stream {
        &mut self.all[id.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_known_by_its_labels_until_it_was_unused_for_half_an_hour() {
        let start = Instant::now();
        let mut streams = Streams::new(start);
        let a = streams.acquire(&"{a=\"1\"}".into(), start);
        let b = streams.acquire(&"{b=\"1\"}".into(), start);
        assert_eq!(streams.acquire(&"{a=\"1\"}".into(), start), a);
        streams[a].dropping = true;
        streams.release(a, start);
        streams.release(b, start);
        let later = start + FORGET_AFTER;
        streams.forget_unused(later);
        assert!(streams[a].dropping, "one is still in use");
        assert_eq!(streams.acquire(&"{c=\"1\"}".into(), later), b, "its place is used again");
        streams.release(a, later);
        streams.forget_unused(later + FORGET_AFTER / 2);
        assert_eq!(streams.acquire(&"{a=\"1\"}".into(), later), a);
        streams.release(a, later);
        streams.forget_unused(later + FORGET_AFTER);
        let again = streams.acquire(&"{a=\"1\"}".into(), later);
        assert!(!streams[again].dropping);
    }
}
