//! Lines on their way through the stages of `pipeline_stages`, and the streams that those make of a channel.
//!
//! In: lines as they were decoded, with their channel. Out: entries in a batch, each in the stream of its labels. What a stage
//! holds back keeps the channel's position where it began ([`Staged::held_from`]); what it drops needs no entry and is done.
//! A channel has a bounded number of streams: past it, and where Loki would not take a label, labels become structured metadata, so
//! that no line is lost. Without `pipeline_stages` and `levels` there is none of this.

use std::{sync::Arc, time::Duration};

use super::pipelines::{PipelineId, Pipelines};
use crate::{
    batch::{self, Batch, StreamSlot},
    config::Config,
    model::{ChannelId, Line, Position, Stream, TenantName, is_tenant_name, now_ns},
    pipeline::{
        self, Annotated, Entry, Origin, Pairs, Pipeline, State, TENANT_LABEL, Verdict, Which, relabel::Relabelled,
    },
};

/// Streams of one channel. Those that had no line for [`FORGET_AFTER_NS`] make room for others.
pub const STREAMS_MAX: usize = 200;
/// Past them so many tenants of it have one stream more each, of the channel's own labels.
const TENANTS_MAX: usize = 50;
const FORGET_AFTER_NS: i64 = 3600 * 1_000_000_000;

/// The pipelines, with memory that all channels use by turns.
pub struct Stages {
    pub pipelines: Pipelines,
    entry: Entry,
    scratch: Scratch,
    /// The node's clock, as of [`Self::begin`].
    now_ns: i64,
    /// When the first text that any channel holds back is due, by the node's clock.
    pub due_ns: Option<i64>,
    malformed: u64,
}

/// What appending needs for a moment, and what it counts.
#[derive(Default)]
struct Scratch {
    labels: String,
    metadata: Vec<u8>,
    now_ns: i64,
    max_bytes: usize,
    counts: StagedCounts,
}

/// What was counted since it was last asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StagedCounts {
    /// Entries that stages made longer than `lines.max_bytes`; they are cut.
    pub oversize: u64,
    /// Entries whose labels became structured metadata.
    pub moved_labels: u64,
    /// Lines that `dedupe` made one with the line before them.
    pub repeated: u64,
    /// Entries for a tenant whose name Loki would not take; they go to that of `loki.tenant`.
    pub invalid_tenants: u64,
    /// Entries that were dropped: a channel's lines went to too many tenants within an hour. Of the tenant of `loki.tenant` none is.
    pub too_many_tenants: u64,
}

impl Stages {
    /// `None`: no line goes through any stage.
    pub fn new(config: &Config, base: Option<Pipeline>, annotated: Option<Annotated>) -> Option<Self> {
        if base.is_none() && annotated.is_none() {
            return None;
        }
        let max_bytes = usize::try_from(config.lines.max_bytes.0).unwrap_or(usize::MAX);
        Some(Self {
            pipelines: Pipelines::new(base, annotated),
            entry: Entry::default(),
            scratch: Scratch { max_bytes, ..Scratch::default() },
            now_ns: 0,
            due_ns: None,
            malformed: 0,
        })
    }

    /// Looks at the clock. To be called before lines are given to it.
    pub fn begin(&mut self) {
        self.now_ns = now_ns();
        self.scratch.now_ns = self.now_ns;
    }

    /// How long it is until text that is held back is due.
    pub fn until_due(&self) -> Option<Duration> {
        let wait = self.due_ns?.saturating_sub(now_ns());
        Some(Duration::from_nanos(u64::try_from(wait).unwrap_or(0)))
    }

    /// The node's clock, as of [`Self::begin`].
    pub fn now_ns(&self) -> i64 {
        self.now_ns
    }

    /// Takes a line of a channel. Returns until when, in nanoseconds since 1970, no further line shall come of its unit.
    pub fn line(&mut self, staged: &mut Staged, channel: ChannelId, line: &Line<'_>, batch: &mut Batch) -> Option<i64> {
        let Self { pipelines, entry, scratch, now_ns, .. } = self;
        entry.at = (line.at.turn, line.at.offset);
        (entry.logged_ns, entry.timestamp_ns) = (line.timestamp_ns, line.timestamp_ns);
        entry.labels.copy_from(&staged.labels);
        entry.metadata.copy_from(&staged.metadata);
        entry.line.clear();
        entry.line.extend_from_slice(line.text);
        let Staged { labels, pipeline, state, streams, has_new_labels, .. } = staged;
        let pipeline = pipelines.of(pipeline);
        let is_stderr = channel.stream == Stream::Stderr;
        let origin = Origin { labels, container: channel.unit.0.into(), is_stderr };
        let state = match state {
            Some(state) => {
                if std::mem::take(has_new_labels) {
                    pipeline.take_origin(state, origin);
                }
                state
            }
            None => state.insert(pipeline.new_state(origin)),
        };
        let mut out = |entry: &Entry| streams.append(entry, channel, batch, scratch);
        let outcome = pipeline.process(state, entry, *now_ns, &mut out);
        if outcome.verdict == Verdict::Dropped("") {
            self.malformed += 1;
        }
        outcome.wait_until_ns
    }

    /// Gives out what a channel holds back, as far as it is wanted.
    pub fn release(&mut self, staged: &mut Staged, channel: ChannelId, which: Which, batch: &mut Batch) {
        let Self { pipelines, scratch, now_ns, .. } = self;
        let Staged { state: Some(state), pipeline, streams, .. } = staged else { return };
        let mut out = |entry: &Entry| streams.append(entry, channel, batch, scratch);
        // `limit` behind a multiline stage took its token in advance; the next line waits for it.
        pipelines.of(pipeline).give(state, *now_ns, which, &mut out);
    }

    /// Notes when text that is held back is due.
    pub fn note_due(&mut self, due_ns: Option<i64>) {
        self.due_ns = [self.due_ns, due_ns].into_iter().flatten().min();
    }

    /// Calls `count` with each reason for which lines were dropped since the last call, and how many.
    pub fn take_dropped(&mut self, mut count: impl FnMut(&'static str, u64)) {
        self.pipelines.take_dropped(&mut count);
        if self.malformed > 0 {
            count("drop_malformed", std::mem::take(&mut self.malformed));
        }
    }

    /// For each stage of a pipeline its place, how many entries came to it and how many it dropped.
    pub fn ran(&self, pipeline: &PipelineId) -> impl Iterator<Item = (String, u64, u64)> {
        self.pipelines.get(pipeline).ran()
    }

    /// What else was counted since the last call.
    pub fn take_counts(&mut self) -> StagedCounts {
        StagedCounts { repeated: self.pipelines.take_repeated(), ..std::mem::take(&mut self.scratch.counts) }
    }
}

/// A channel whose lines go through the stages.
pub struct Staged {
    pub pipeline: PipelineId,
    labels: Pairs,
    metadata: Pairs,
    /// A rule drops its lines from now on; what is held back is still given out.
    pub is_dropped: bool,
    /// What stages keep for it; made for its first line.
    state: Option<State>,
    /// Its labels are not those of `state`.
    has_new_labels: bool,
    streams: Streams,
}

impl Staged {
    /// A channel of which nothing was read yet.
    pub fn new(relabelled: &Relabelled, pipeline: PipelineId) -> Self {
        let mut staged = Self {
            pipeline,
            labels: Pairs::default(),
            metadata: Pairs::default(),
            is_dropped: false,
            state: None,
            has_new_labels: false,
            streams: Streams::default(),
        };
        staged.relabel(relabelled);
        staged
    }

    /// From now on its lines begin with these labels and metadata.
    pub fn relabel(&mut self, relabelled: &Relabelled) {
        let pairs = |(name, value)| -> (&str, &str) { (String::as_str(name), String::as_str(value)) };
        let labels: Pairs = relabelled.labels.iter().map(pairs).collect();
        self.metadata = relabelled.metadata.iter().map(pairs).collect();
        self.is_dropped = false;
        if self.labels != labels {
            self.streams = Streams::new(&labels);
            self.labels = labels;
            self.has_new_labels = true;
        }
    }

    /// That of its last entry.
    pub fn tenant(&self) -> &TenantName {
        self.streams.last.map_or(&None, |known| &self.streams.known[known].tenant)
    }

    /// Where the first line that is held back begins.
    pub fn held_from(&self) -> Option<Position> {
        let (turn, offset) = self.state.as_ref()?.held_from()?;
        Some(Position { turn, offset })
    }

    /// Bytes of text that is held back.
    pub fn held_bytes(&self) -> usize {
        self.state.as_ref().map_or(0, State::held_bytes)
    }

    /// When what is held back is due by the node's clock, in nanoseconds since 1970.
    pub fn due_ns(&self) -> Option<i64> {
        self.state.as_ref()?.due_ns()
    }

    /// Its lines are read again from their first position that is not acknowledged: what is held back comes again, too.
    pub fn forget_held(&mut self) {
        self.state = None;
    }
}

/// Sets of labels of a channel that are found without writing them.
const RECENT_MAX: usize = 4;

/// The streams of a channel.
#[derive(Default)]
struct Streams {
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
}

impl Streams {
    fn new(own: &Pairs) -> Self {
        let mut labels = String::new();
        batch::write_label_set(own.iter(), &mut labels);
        let first = Known::new(None, &labels, 0);
        Self { known: vec![first], own: own.clone(), ..Self::default() }
    }

    fn append(&mut self, entry: &Entry, channel: ChannelId, batch: &mut Batch, scratch: &mut Scratch) {
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
        let new = Known::new(tenant.map(Arc::from), &scratch.labels, scratch.now_ns);
        if self.known.len() < most {
            self.known.push(new);
            return Some(self.known.len() - 1);
        }
        let oldest = (1..self.known.len()).min_by_key(|place| self.known[*place].used_ns)?;
        (scratch.now_ns - self.known[oldest].used_ns >= FORGET_AFTER_NS).then(|| {
            self.known[oldest] = new;
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
    fn new(tenant: TenantName, labels: &str, now_ns: i64) -> Self {
        let hash = batch::stream_hash(tenant.as_deref(), labels);
        Self { tenant, labels: labels.into(), hash, used_ns: now_ns, slot: None }
    }
}
