//! One container as the tailer follows it: its streams' labels, its decoder, its files and where its channels stand.
//!
//! In: its bytes, in reading order; what becomes of its lines. Out: lines in a batch, and each channel's first position that is
//! not acknowledged.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    chain::Chain,
    channels::Channels,
    destination::{Append, Destination, LabelledStream},
    pipelines::PipelineId,
    selection::Exclusion,
    staged::{Staged, Stages},
    taps::Watch,
};
use crate::{
    batch::{Batch, Lane},
    decode::{Clock, ContainerParser, Counts, Limits, Scratch},
    model::{ChannelId, PerStream, PodName, Position, Stream, UnitId},
    pipeline::{Which, relabel::Relabelled},
};

mod shown;

/// A unit with so much unread has batches of its own.
const BACKLOG_BYTES: u64 = 512 << 10;

/// One container.
pub struct Unit {
    pub id: UnitId,
    pub pod: PodName,
    pub name: String,
    pub chain: Chain,
    /// What Loki refuses of it.
    pub channels: Channels,
    /// Waits in the queue of units to be read.
    pub queued: bool,
    /// Its log folder is gone.
    pub gone: bool,
    /// No earlier run has saved anything of it.
    pub is_new: bool,
    /// Its file system does not answer: nothing is asked of it until it does.
    pub stalled: bool,
    /// Is in the round of reads that is being prepared: its file stays open.
    pub picked: bool,
    /// What its folder holds at the next scan is passed over: it was written while the container was excluded.
    pub resumes_at_end: bool,
    /// Lines of a stream that a rule drops, since they were last asked for.
    pub dropped_lines: u64,
    /// Files in its folder that could not be opened at the last scan.
    pub unopened: usize,
    /// When bytes were last read.
    pub last_read: Instant,
    /// When the signal last told of one of its files.
    pub last_signal: Instant,
    /// The signal will tell when its open files grow.
    pub is_watched: bool,
    /// Bytes on the disk that Loki has not acknowledged, as of the last sweep that looked at it.
    pub lag: u64,
    /// How much was read of it since the start.
    pub read: Amount,
    /// A stage lets no line of it come before this time.
    pub waits_until: Option<Instant>,
    /// Bytes read since its end was last reached.
    unbroken_bytes: u64,
    lane: Lane,
    /// The turn of the cursor, and the number of the file that it is in.
    turn: u64,
    cursor: Option<u64>,
    parser: ContainerParser,
    selection: Selection,
}

/// Whether its lines are collected.
enum Selection {
    /// Its pod's metadata is awaited.
    Waiting,
    /// They are excluded, for this reason.
    Excluded(Exclusion),
    /// Standard output and standard error.
    Collected(PerStream<Destination>),
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Amount {
    pub lines: u64,
    pub bytes: u64,
}

/// What feeding needs of the tailer.
pub struct Feed<'f> {
    /// Where the lines go.
    pub batch: &'f mut Batch,
    /// The batch is full when it holds this many encoded bytes.
    pub batch_bytes: usize,
    /// Memory for decoding.
    pub scratch: &'f mut Scratch,
    /// What is counted.
    pub counts: &'f mut Counts,
    /// The stages, where there are any.
    pub stages: Option<&'f mut Stages>,
    /// Those who want to see lines as they are read.
    pub watch: Option<&'f mut Watch>,
}

impl Unit {
    /// A container whose labels are not known yet.
    pub fn new(id: UnitId, pod: PodName, name: String, chain: Chain, limits: Limits) -> Self {
        Self {
            id,
            pod,
            name,
            chain,
            channels: Channels::default(),
            queued: false,
            gone: false,
            is_new: false,
            stalled: false,
            picked: false,
            resumes_at_end: false,
            dropped_lines: 0,
            unopened: 0,
            last_read: Instant::now(),
            last_signal: Instant::now(),
            is_watched: true,
            lag: 0,
            read: Amount::default(),
            waits_until: None,
            unbroken_bytes: 0,
            lane: Lane::Shared,
            turn: 0,
            cursor: None,
            parser: ContainerParser::new(limits),
            selection: Selection::Waiting,
        }
    }

    /// The name under which its positions are saved, the end of its folder's path: `NAMESPACE_POD_UID/CONTAINER`.
    pub fn saved_name(&self) -> String {
        format!("{}/{}", self.pod.folder_name(), self.name)
    }

    /// Its log folder, in that of all pods.
    pub fn folder(&self, pods: &Path) -> PathBuf {
        pods.join(self.pod.folder_name()).join(&self.name)
    }

    /// Whether its labels are known, so that it can be read.
    pub fn is_labelled(&self) -> bool {
        matches!(self.selection, Selection::Collected(_))
    }

    /// Whether it has a file to read that answers, and is not held up until its cursor goes back.
    pub fn is_readable(&self) -> bool {
        self.is_labelled()
            && !self.stalled
            && !self.channels.wants_rewind()
            && self.chain.current().is_some()
            && self.waits_until.is_none_or(|until| until <= Instant::now())
    }

    /// Whether its pod's metadata has to come before it is decided whether it is collected.
    pub fn is_undecided(&self) -> bool {
        matches!(self.selection, Selection::Waiting)
    }

    /// Why it is excluded, if it is.
    pub fn exclusion(&self) -> Option<Exclusion> {
        match self.selection {
            Selection::Excluded(reason) => Some(reason),
            Selection::Waiting | Selection::Collected(_) => None,
        }
    }

    /// Excludes it from now on. Its files must be closed.
    pub fn exclude(&mut self, reason: Exclusion) {
        self.selection = Selection::Excluded(reason);
    }

    /// Collects it again after it was excluded: what its folder holds now is passed over.
    pub fn resume(&mut self, limits: Limits) {
        self.chain = Chain::default();
        self.cursor = None;
        self.parser = ContainerParser::new(limits);
        self.resumes_at_end = true;
    }

    /// Gives standard output and standard error their labels; one that has none is dropped. Streams that have them already
    /// go on unchanged. `pipeline`: their lines go through it; what another one holds back must have been given out.
    pub fn set_labels(&mut self, streams: PerStream<Option<Relabelled>>, pipeline: Option<&PipelineId>) {
        let mut known = match std::mem::replace(&mut self.selection, Selection::Waiting) {
            Selection::Collected(known) => known.map(Some),
            Selection::Waiting | Selection::Excluded(_) => [None, None],
        };
        let mut index = 0;
        self.selection = Selection::Collected(streams.map(|labels| {
            let known = known[index].take();
            index += 1;
            match (labels, known) {
                (Some(labels), Some(Destination::Staged(mut known))) if pipeline == Some(&known.pipeline) => {
                    known.relabel(&labels);
                    Destination::Staged(known)
                }
                (Some(labels), known) => {
                    if let Some(pipeline) = pipeline {
                        let mut staged = Box::new(Staged::new(&labels, pipeline.clone()));
                        if let Some(Destination::Staged(known)) = &known {
                            staged.continue_levels(known);
                        }
                        return Destination::Staged(staged);
                    }
                    let labels = labels.encoded();
                    match known {
                        Some(Destination::Labelled(known)) if known.labels == labels => Destination::Labelled(known),
                        _ => Destination::Labelled(LabelledStream { labels, slot: None }),
                    }
                }
                (None, Some(Destination::Staged(mut known))) => {
                    known.is_dropped = true;
                    Destination::Staged(known)
                }
                (None, _) => Destination::Dropped,
            }
        }));
    }

    /// Chooses which batch its lines go to. `has_own`: it has batches of its own already, and keeps to them until they are
    /// acknowledged, so that its lines stay in order.
    pub fn choose_lane(&mut self, has_own: bool) -> Lane {
        self.lane = if has_own || self.has_backlog() { Lane::Own(self.id) } else { Lane::Shared };
        self.lane
    }

    /// Which batch its lines go to.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    fn has_backlog(&self) -> bool {
        let current = self.chain.current().map(|index| &self.chain.files()[index]);
        self.unbroken_bytes >= BACKLOG_BYTES
            || current.is_some_and(|file| file.name().gzip || file.unread_bytes() >= BACKLOG_BYTES)
    }

    /// Whether the cursor is in another file than this one.
    pub fn is_elsewhere(&self, file: u64) -> bool {
        self.cursor != Some(file)
    }

    /// The cursor enters a file, whose records without a time get theirs from `clock`.
    pub fn enter(&mut self, file: u64, clock: Clock) {
        self.turn += 1;
        self.cursor = Some(file);
        self.parser.enter(clock);
        if let Some(file) = self.chain.file_mut(file) {
            file.progress_mut().enter(self.turn);
        }
    }

    /// Records without a time get theirs from `clock` from here on.
    pub fn set_clock(&mut self, clock: Clock) {
        self.parser.enter(clock);
    }

    /// Whether a file before `next` ends its lines: what is held back must be flushed before that one is read.
    pub fn take_end_of_lines(&mut self, next: u64) -> bool {
        let mut ends = false;
        let before = self.chain.files_mut().iter_mut().take_while(|file| file.id() != next);
        for file in before.filter(|file| file.progress().has_ended()) {
            ends |= file.take_ends_lines();
        }
        ends
    }

    /// Parses whole records of `chunk`, which lies at `offset` of the file with the cursor, as long as the batch has room. Returns how
    /// many bytes that were.
    pub fn feed(&mut self, chunk: &[u8], offset: u64, feed: &mut Feed<'_>) -> usize {
        let at = self.begin_feeding(offset);
        let Some((parser, mut sink)) = self.sink(feed.batch, feed.batch_bytes, feed.stages.as_deref_mut()) else {
            return 0;
        };
        match feed.watch.as_deref_mut() {
            None => parser.feed(chunk, at, feed.scratch, feed.counts, &mut sink),
            Some(watch) => parser.feed(chunk, at, feed.scratch, feed.counts, &mut watch.before(sink)),
        }
    }

    /// Parses bytes that no newline will end.
    pub fn feed_unterminated(&mut self, rest: &[u8], offset: u64, feed: &mut Feed<'_>) {
        let at = self.begin_feeding(offset);
        if let Some((parser, mut sink)) = self.sink(feed.batch, feed.batch_bytes, feed.stages.as_deref_mut()) {
            match feed.watch.as_deref_mut() {
                None => parser.feed_unterminated(rest, at, feed.scratch, feed.counts, &mut sink),
                Some(watch) => parser.feed_unterminated(rest, at, feed.scratch, feed.counts, &mut watch.before(sink)),
            }
        }
    }

    /// Gives out the lines that wait for their rest, as they are.
    pub fn flush_partial(&mut self, feed: &mut Feed<'_>) {
        if let Some((parser, mut sink)) = self.sink(feed.batch, feed.batch_bytes, feed.stages.as_deref_mut()) {
            match feed.watch.as_deref_mut() {
                None => parser.flush(feed.scratch, feed.counts, &mut sink),
                Some(watch) => parser.flush(feed.scratch, feed.counts, &mut watch.before(sink)),
            }
        }
    }

    /// Gives out all that is held back, as it is.
    pub fn flush(&mut self, feed: &mut Feed<'_>) {
        self.flush_partial(feed);
        self.release(feed, Which::All);
    }

    /// Gives out what stages hold back, as far as it is wanted.
    pub fn release(&mut self, feed: &mut Feed<'_>, which: Which) {
        let (Selection::Collected(streams), Some(stages)) = (&mut self.selection, feed.stages.as_deref_mut()) else {
            return;
        };
        for (stream, destination) in Stream::ALL.into_iter().zip(streams) {
            if let Destination::Staged(staged) = destination {
                stages.release(staged, ChannelId { unit: self.id, stream }, which, feed.batch);
            }
        }
    }

    /// When what stages hold back is due by the node's clock, in nanoseconds since 1970.
    pub fn due_ns(&self) -> Option<i64> {
        self.staged().filter_map(|(_, staged)| staged.due_ns()).min()
    }

    fn staged(&self) -> impl Iterator<Item = (Stream, &Staged)> {
        let streams = match &self.selection {
            Selection::Collected(streams) => &streams[..],
            Selection::Waiting | Selection::Excluded(_) => &[],
        };
        Stream::ALL.into_iter().zip(streams).filter_map(|(stream, destination)| match destination {
            Destination::Staged(staged) => Some((stream, &**staged)),
            Destination::Dropped | Destination::Labelled(_) => None,
        })
    }

    fn begin_feeding(&mut self, offset: u64) -> Position {
        let file = self.cursor.and_then(|cursor| self.chain.file_mut(cursor));
        let from = Stream::ALL.map(|stream| match self.channels.is_passed_over(stream) {
            true => u64::MAX,
            false => file.as_ref().map_or(0, |file| file.progress().from(stream)),
        });
        self.parser.pass_over(from);
        Position { turn: self.turn, offset }
    }

    fn sink<'s>(
        &'s mut self,
        batch: &'s mut Batch,
        batch_bytes: usize,
        stages: Option<&'s mut Stages>,
    ) -> Option<(&'s mut ContainerParser, Append<'s>)> {
        let Selection::Collected(streams) = &mut self.selection else { return None };
        let (dropped, waits_until) = (&mut self.dropped_lines, &mut self.waits_until);
        let sink = Append { unit: self.id, streams, dropped, batch, batch_bytes, stages, waits_until };
        Some((&mut self.parser, sink))
    }

    /// Notes how much was read in one go; `at_end`: nothing more is there now.
    pub fn note_read(&mut self, bytes: u64, at_end: bool) {
        self.last_read = Instant::now();
        self.read.bytes += bytes;
        self.unbroken_bytes = if at_end { 0 } else { self.unbroken_bytes + bytes };
    }

    /// Whether a line waits for its rest.
    pub fn holds_partial_line(&self) -> bool {
        Stream::ALL.iter().any(|stream| self.parser.held_from(*stream).is_some())
    }

    /// Bytes of lines that wait for their rest, or are held back by stages.
    pub fn held_bytes(&self) -> usize {
        self.parser.held_bytes() + self.staged().map(|(_, staged)| staged.held_bytes()).sum::<usize>()
    }

    /// Whether anything is held back.
    pub fn holds_text(&self) -> bool {
        Stream::ALL.iter().any(|stream| self.held_from(*stream).is_some())
    }

    /// Whether another pipeline than this one holds text back.
    pub fn is_held_by_another(&self, pipeline: Option<&PipelineId>) -> bool {
        self.staged().any(|(_, staged)| staged.held_from().is_some() && pipeline != Some(&staged.pipeline))
    }

    /// Where the first line of a channel begins that is held back.
    fn held_from(&self, stream: Stream) -> Option<Position> {
        let mut staged = self.staged().filter(|(of, _)| *of == stream);
        let held = staged.next().and_then(|(_, staged)| staged.held_from());
        [self.parser.held_from(stream), held].into_iter().flatten().min()
    }

    /// Each channel's first position that is not acknowledged: the smallest of what it owes, what is held back of it and what is in
    /// a live batch. `None`: all that was parsed is acknowledged.
    pub fn next(&self, unacknowledged: &HashMap<ChannelId, Position>) -> PerStream<Option<Position>> {
        Stream::ALL.map(|stream| {
            let live = unacknowledged.get(&ChannelId { unit: self.id, stream }).copied();
            [live, self.held_from(stream), self.channels.debt(stream)].into_iter().flatten().min()
        })
    }

    /// The cursor goes back to the first byte of any channel that is not acknowledged. No line of the unit may be in a live batch.
    /// Returns the indexes of the files to be read again, and the channels whose lines are sent again from here on.
    pub fn rewind(&mut self) -> (Vec<usize>, Vec<Stream>) {
        let next = self.next(&HashMap::new());
        let again = self.chain.rewind(next);
        self.parser.forget_unfinished();
        if let Selection::Collected(streams) = &mut self.selection {
            for destination in streams {
                if let Destination::Staged(staged) = destination {
                    staged.forget_held();
                }
            }
        }
        self.cursor = None;
        (again, self.channels.rewound().collect())
    }

    /// Loki refused lines of a channel from `first` on.
    pub fn park(&mut self, stream: Stream, first: Position) {
        self.channels.refuse(stream, first);
    }
}
