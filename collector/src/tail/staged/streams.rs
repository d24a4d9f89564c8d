//! The streams of a channel that stages make.
//!
//! In: entries with their labels. Out: entries in a batch, each in the stream of its labels. Streams are bounded: in number by
//! channel, and in bytes over all of them, so that what a pod writes into its lines takes no more memory than that.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::Scratch;
use crate::{
    batch::{self, Batch, StreamSlot},
    model::{ChannelId, Position, TenantName, is_tenant_name},
    pipeline::{self, Entry, Pairs, TENANT_LABEL},
};

/// Streams of one channel. Those that had no line for [`FORGET_AFTER_NS`] make room for others.
pub const STREAMS_MAX: usize = 200;
/// Past them this many tenants of it have one stream more each, of the channel's own labels.
const TENANTS_MAX: usize = 50;
const FORGET_AFTER_NS: i64 = 3600 * 1_000_000_000;

/// What the streams of all channels may take together, past the first [`ALWAYS_ALLOWED`] of each.
const STREAM_BYTES_MAX: usize = 4 << 20;
/// What a stream takes beside its labels, here and in the output.
const STREAM_BYTES: usize = 512;
const ALWAYS_ALLOWED: usize = 8;

/// Sets of labels of a channel that are found without writing them.
const RECENT_MAX: usize = 4;

/// The streams of a channel.
#[derive(Default)]
pub(super) struct Streams {
    /// The first is that of the channel's own labels.
    known: Vec<Known>,
    own: Pairs,
    /// That of the last entry.
    last: Option<usize>,
    /// Labels of entries, and where they led: lines of several levels take turns.
    recent: Vec<(Pairs, Place)>,
    /// Which of these is the next to be replaced.
    oldest_recent: usize,
}

/// Where an entry goes.
#[derive(Clone, Copy)]
struct Place {
    known: usize,
    /// The labels that stages made become structured metadata.
    moves_labels: bool,
    invalid_tenant: bool,
}

struct Known {
    tenant: TenantName,
    /// The label set in LogQL's form.
    labels: Arc<str>,
    /// Of tenant and labels.
    hash: u64,
    used_ns: i64,
    /// Its place in the batch of one generation.
    slot: Option<(u64, StreamSlot)>,
    _bytes: Bytes,
}

/// A part of the memory that all streams may take, given back when it is dropped.
struct Bytes {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Bytes {
    fn of(labels: &str, all: &Arc<AtomicUsize>) -> Self {
        let bytes = labels.len() + STREAM_BYTES;
        all.fetch_add(bytes, Ordering::Relaxed);
        Self { bytes, all: Arc::clone(all) }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Streams {
    pub(super) fn new(own: &Pairs) -> Self {
        let mut labels = String::new();
        batch::write_label_set(own.iter(), &mut labels);
        // What there is without stages does not count.
        let first = Known::new(None, &labels, 0, &Arc::default());
        Self { known: vec![first], own: own.clone(), ..Self::default() }
    }

    pub(super) fn append(&mut self, entry: &Entry, channel: ChannelId, batch: &mut Batch, scratch: &mut Scratch) {
        let recent = self.recent.iter().find(|(labels, _)| *labels == entry.labels).map(|(_, place)| *place);
        let Some(place) = recent.or_else(|| self.find(&entry.labels, scratch)) else {
            scratch.counts.too_many_tenants += 1;
            return;
        };
        self.last = Some(place.known);
        if recent.is_none() {
            self.remember(&entry.labels, place);
        }
        scratch.metadata.clear();
        for (name, value) in entry.metadata.iter() {
            batch::append_structured_metadata(name, value, &mut scratch.metadata);
        }
        scratch.counts.invalid_tenants += u64::from(place.invalid_tenant);
        if place.moves_labels {
            scratch.counts.moved_labels += 1;
            let made = entry.labels.iter().filter(|(name, value)| self.own.get(name) != Some(value));
            for (name, value) in made.filter(|(name, _)| *name != TENANT_LABEL && !entry.metadata.contains(name)) {
                batch::append_structured_metadata(name, value, &mut scratch.metadata);
            }
        }
        let known = &mut self.known[place.known];
        known.used_ns = scratch.now_ns;
        let slot = match known.slot {
            Some((generation, slot)) if generation == batch.generation() => slot,
            _ => {
                let slot = batch.open_stream_of(&known.tenant, &known.labels, channel);
                known.slot = Some((batch.generation(), slot));
                slot
            }
        };
        let (turn, offset) = entry.at;
        let at = Position { turn, offset };
        match simdutf8::basic::from_utf8(&entry.line) {
            Ok(text) if text.len() <= scratch.max_bytes => {
                batch.append(slot, at, entry.timestamp_ns, text.as_bytes(), &scratch.metadata);
            }
            _ => {
                let text = String::from_utf8_lossy(&entry.line);
                let end = text.floor_char_boundary(scratch.max_bytes);
                scratch.counts.oversize += u64::from(end < text.len());
                batch.append(slot, at, entry.timestamp_ns, text[..end].as_bytes(), &scratch.metadata);
            }
        }
    }

    /// The tenant of the last entry.
    pub(super) fn last_tenant(&self) -> &TenantName {
        self.last.map_or(&None, |known| &self.known[known].tenant)
    }

    /// Which stream these labels are. Where they can be none of their own, the channel's own labels are, of the same tenant.
    /// `None`: there are too many tenants.
    fn find(&mut self, labels: &Pairs, scratch: &mut Scratch) -> Option<Place> {
        let named = labels.get(TENANT_LABEL);
        let tenant = named.filter(|name| is_tenant_name(name));
        let invalid_tenant = tenant.is_none() && named.is_some();
        batch::write_label_set(pipeline::sent(labels), &mut scratch.labels);
        if let Some(known) = self.known(tenant, &scratch.labels) {
            return Some(Place { known, moves_labels: false, invalid_tenant });
        }
        if pipeline::is_taken(labels, self.own.len())
            && let Some(known) = self.add(tenant, STREAMS_MAX, scratch)
        {
            return Some(Place { known, moves_labels: false, invalid_tenant });
        }
        scratch.labels.clear();
        scratch.labels.push_str(&self.known[0].labels);
        // The tenant decides who may see a line: there is room for it whatever it takes.
        let most = STREAMS_MAX + TENANTS_MAX;
        let known = self.known(tenant, &scratch.labels).or_else(|| self.add(tenant, most, scratch))?;
        Some(Place { known, moves_labels: true, invalid_tenant })
    }

    fn known(&self, tenant: Option<&str>, labels: &str) -> Option<usize> {
        let hash = batch::stream_hash(tenant, labels);
        self.known
            .iter()
            .position(|known| known.hash == hash && *known.labels == *labels && known.tenant.as_deref() == tenant)
    }

    /// Adds the stream of `scratch.labels`, in the place of one that had no line for long where there are so many.
    fn add(&mut self, tenant: Option<&str>, most: usize, scratch: &Scratch) -> Option<usize> {
        let new = || Known::new(tenant.map(Arc::from), &scratch.labels, scratch.now_ns, &scratch.stream_bytes);
        let is_room = self.known.len() <= ALWAYS_ALLOWED
            || most > STREAMS_MAX
            || scratch.stream_bytes.load(Ordering::Relaxed) < STREAM_BYTES_MAX;
        if self.known.len() < most && is_room {
            self.known.push(new());
            return Some(self.known.len() - 1);
        }
        let oldest = (1..self.known.len()).min_by_key(|place| self.known[*place].used_ns)?;
        (scratch.now_ns - self.known[oldest].used_ns >= FORGET_AFTER_NS).then(|| {
            self.known[oldest] = new();
            self.recent.retain(|(_, place)| place.known != oldest);
            oldest
        })
    }

    fn remember(&mut self, labels: &Pairs, place: Place) {
        if self.recent.len() < RECENT_MAX {
            return self.recent.push((labels.clone(), place));
        }
        let (known, led_to) = &mut self.recent[self.oldest_recent];
        known.copy_from(labels);
        *led_to = place;
        self.oldest_recent = (self.oldest_recent + 1) % RECENT_MAX;
    }
}

impl Known {
    fn new(tenant: TenantName, labels: &str, now_ns: i64, all: &Arc<AtomicUsize>) -> Self {
        let hash = batch::stream_hash(tenant.as_deref(), labels);
        Self { tenant, labels: labels.into(), hash, used_ns: now_ns, slot: None, _bytes: Bytes::of(labels, all) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_all_channels_are_bounded_in_bytes_and_each_has_some() {
        let mut scratch = Scratch::default();
        let fill = |scratch: &mut Scratch| {
            let mut streams = Streams::new(&Pairs::default());
            let added = (0..STREAMS_MAX).filter(|n| {
                scratch.labels = format!("{{trace=\"{n:02000}\"}}");
                streams.add(None, STREAMS_MAX, scratch).is_some()
            });
            (added.count(), streams)
        };
        let channels: Vec<_> = (0..100).map(|_| fill(&mut scratch)).collect();
        assert_eq!(channels[0].0, STREAMS_MAX - 1, "beside that of its own labels");
        assert!(channels.iter().all(|(added, _)| *added >= ALWAYS_ALLOWED));
        let bytes = scratch.stream_bytes.load(Ordering::Relaxed);
        assert!(bytes < STREAM_BYTES_MAX + 100 * ALWAYS_ALLOWED * 2600, "{bytes}");
        drop(channels);
        assert_eq!(scratch.stream_bytes.load(Ordering::Relaxed), 0);
        assert_eq!(fill(&mut scratch).0, STREAMS_MAX - 1);
    }
}
