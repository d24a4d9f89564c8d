//! What is known of each stream, by its tenant and the text of its labels.
//!
//! In: streams as batches bring them, acknowledgements and refusals. Out: their state. Bounded: a stream that nothing has used
//! for half an hour is forgotten, which only means that its next lines go alone.

use std::{
    collections::HashMap,
    fmt,
    ops::{Index, IndexMut},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{certain::Certainty, rate::Bucket};
use crate::model::TenantName;

const FORGET_AFTER: Duration = Duration::from_secs(30 * 60);
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// A stream's number here. Valid while a batch has the stream or it is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct StreamId(usize);

/// What makes a stream to Loki.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) tenant: TenantName,
    /// In LogQL's form.
    pub(super) labels: Arc<str>,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) key: Key,
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
    /// It was parked: whether larger requests with it pass is not known.
    pub(super) begins_small: bool,
    users: usize,
    last_used: Instant,
}

#[derive(Debug)]
pub(super) struct Streams {
    by_key: HashMap<Key, StreamId>,
    all: Vec<Stream>,
    free: Vec<StreamId>,
    started: Instant,
    looked: Instant,
}

impl Streams {
    pub(super) fn new(now: Instant) -> Self {
        Self { by_key: HashMap::new(), all: Vec::new(), free: Vec::new(), started: now, looked: now }
    }

    /// The stream of this key; each call needs a [`Self::release`] later.
    pub(super) fn acquire(&mut self, key: Key, now: Instant) -> StreamId {
        let id = match self.by_key.get(&key) {
            Some(id) => *id,
            None => self.add(key, now),
        };
        self[id].users += 1;
        id
    }

    /// Whether both may stand in one request.
    pub(super) fn of_one_tenant(&self, a: StreamId, b: StreamId) -> bool {
        self[a].key.tenant == self[b].key.tenant
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
        self.by_key.retain(|_, id| {
            let stream = &all[id.0];
            let keep = stream.users > 0 || now.saturating_duration_since(stream.last_used) < FORGET_AFTER;
            if !keep {
                free.push(*id);
            }
            keep
        });
    }

    fn add(&mut self, key: Key, now: Instant) -> StreamId {
        let stream = Stream {
            key: key.clone(),
            certainty: Certainty::default(),
            bucket: Bucket::new(self.started),
            in_flight: false,
            parked: false,
            dropping: false,
            begins_small: false,
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
        self.by_key.insert(key, id);
        id
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tenant {
            None => f.write_str(&self.labels),
            Some(tenant) => write!(f, "{} of tenant {tenant}", self.labels),
        }
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

    fn key(labels: &str) -> Key {
        Key { tenant: None, labels: labels.into() }
    }

    #[test]
    fn a_stream_is_known_by_its_labels_until_it_was_unused_for_half_an_hour() {
        let start = Instant::now();
        let mut streams = Streams::new(start);
        let a = streams.acquire(key("{a=\"1\"}"), start);
        let b = streams.acquire(key("{b=\"1\"}"), start);
        assert_eq!(streams.acquire(key("{a=\"1\"}"), start), a);
        let of_tenant = streams.acquire(Key { tenant: Some("t".into()), ..key("{a=\"1\"}") }, start);
        assert_ne!(of_tenant, a);
        streams[a].dropping = true;
        streams.release(a, start);
        streams.release(b, start);
        let later = start + FORGET_AFTER;
        streams.forget_unused(later);
        assert!(streams[a].dropping, "one is still in use");
        assert_eq!(streams.acquire(key("{c=\"1\"}"), later), b, "its place is used again");
        streams.release(a, later);
        streams.forget_unused(later + FORGET_AFTER / 2);
        assert_eq!(streams.acquire(key("{a=\"1\"}"), later), a);
        streams.release(a, later);
        streams.forget_unused(later + FORGET_AFTER);
        let again = streams.acquire(key("{a=\"1\"}"), later);
        assert!(!streams[again].dropping);
    }
}
