//! Lines on their way through the stages of `pipeline_stages`, and the streams that those make of a channel.
//!
//! In: lines as they were decoded, with their channel. Out: entries in a batch, each in the stream of its labels. What a stage
//! holds back keeps the channel's position where it began ([`Staged::held_from`]); what it drops needs no entry and is done.
//! A channel has a bounded number of streams: past it, and where Loki would not take a label, labels become structured metadata, so
//! that no line is lost. Without `pipeline_stages` and `levels` there is none of this.

mod streams;

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

pub use self::streams::STREAMS_MAX;
use self::streams::Streams;

use super::pipelines::{PipelineId, Pipelines};
use crate::{
    batch::Batch,
    config::Config,
    model::{ChannelId, Line, Position, Stream, TenantName, now_ns},
    pipeline::{Annotated, Entry, LevelCounts, Origin, Pairs, Pipeline, State, Verdict, Which, relabel::Relabelled},
};

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
    /// Of the streams of all channels.
    stream_bytes: Arc<AtomicUsize>,
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
    /// Lines by level, but for those that `state` has counted.
    levels: LevelCounts,
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
            levels: LevelCounts::default(),
            has_new_labels: false,
            streams: Streams::default(),
        };
        staged.relabel(relabelled);
        staged
    }

    /// From now on its lines begin with these labels and metadata.
    pub fn relabel(&mut self, relabelled: &Relabelled) {
        let pairs = |(name, value)| -> (&str, &str) { (String::as_str(name), String::as_str(value)) };
        let mut labels: Pairs = relabelled.labels.iter().map(pairs).collect();
        self.metadata = relabelled.metadata.iter().map(pairs).collect();
        self.is_dropped = false;
        if self.labels != labels {
            labels.mark();
            self.streams = Streams::new(&labels);
            self.labels = labels;
            self.has_new_labels = true;
        }
    }

    /// That of its last entry.
    pub fn tenant(&self) -> &TenantName {
        self.streams.last_tenant()
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
        self.levels = self.levels();
        self.state = None;
    }

    /// Lines by level since the start; none where they are not counted.
    pub fn levels(&self) -> LevelCounts {
        let mut levels = self.levels;
        if let Some(counted) = self.state.as_ref().and_then(State::levels) {
            levels.add(counted);
        }
        levels
    }

    /// Goes on counting lines by level where this one did.
    pub fn continue_levels(&mut self, before: &Self) {
        self.levels = before.levels();
    }
}
