//! One container as the reader side holds it: whose it is, its streams' labels, its parser and its chain of files.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{
    batch::{Batch, StreamSlot},
    decode::{ContainerParser, Counts, Limits, Line, Scratch},
    pipeline::relabel::StreamLabels,
    source::kubernetes::PodName,
    tail::chain::Chain,
    tail::read::Position,
};

/// One container.
pub struct Container {
    /// Its pod.
    pub pod: PodName,
    /// Its name.
    pub name: String,
    /// Its files.
    pub chain: Chain,
    /// Waits in the queue of containers to be read.
    pub queued: bool,
    /// Has been read into the batch that is being filled.
    pub touched: bool,
    /// Its log folder is gone.
    pub gone: bool,
    /// No earlier run has saved anything of it.
    pub is_new: bool,
    /// Is in the round of reads that is being prepared: its file stays open.
    pub picked: bool,
    /// Numbers of files after whose end a line must not go on: the rest of them was given up.
    gaps: Vec<u64>,
    /// What its folder holds at the next scan is passed over: it was written while the container was left out.
    pub resumes_at_end: bool,
    /// Lines of a stream that a rule drops, since they were last asked for.
    pub dropped_lines: u64,
    /// Names in its folder that were passed over at the last scan.
    pub skipped: usize,
    /// Files in its folder that could not be opened at the last scan.
    pub unopened: usize,
    /// When bytes were last read.
    pub last_read: Instant,
    parser: ContainerParser,
    collection: Collection,
}

/// Whether its lines are collected.
enum Collection {
    /// Its pod's metadata is awaited.
    Undecided,
    /// They are left out, for this reason.
    Excluded(&'static str),
    /// Standard output and standard error.
    Streams([Destination; 2]),
}

/// What becomes of a stream's lines.
enum Destination {
    /// A rule drops them.
    Dropped,
    Stream(OpenStream),
}

/// A stream's labels, and its place in the batch of one generation.
struct OpenStream {
    labels: StreamLabels,
    slot: Option<(u64, StreamSlot)>,
}

impl Container {
    /// A container whose labels are not known yet.
    pub fn new(pod: PodName, name: String, chain: Chain, limits: Limits) -> Self {
        Self {
            pod,
            name,
            chain,
            queued: false,
            touched: false,
            gone: false,
            is_new: false,
            picked: false,
            gaps: Vec::new(),
            resumes_at_end: false,
            dropped_lines: 0,
            skipped: 0,
            unopened: 0,
            last_read: Instant::now(),
            parser: ContainerParser::new(limits),
            collection: Collection::Undecided,
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
        matches!(self.collection, Collection::Streams(_))
    }

    /// Why it is left out, if it is.
    pub fn exclusion(&self) -> Option<&'static str> {
        match self.collection {
            Collection::Excluded(reason) => Some(reason),
            Collection::Undecided | Collection::Streams(_) => None,
        }
    }

    /// Leaves it out from now on. Its files must be closed.
    pub fn exclude(&mut self, reason: &'static str) {
        self.collection = Collection::Excluded(reason);
    }

    /// Collects it again after it was left out: what its folder holds now is passed over.
    pub fn resume(&mut self, limits: Limits) {
        self.chain = Chain::default();
        self.parser = ContainerParser::new(limits);
        self.resumes_at_end = true;
    }

    /// Gives standard output and standard error their labels; one that has none is dropped. Streams that have them already
    /// go on unchanged.
    pub fn set_labels(&mut self, streams: [Option<StreamLabels>; 2]) {
        let mut known = match std::mem::replace(&mut self.collection, Collection::Undecided) {
            Collection::Streams(known) => known.map(Some),
            Collection::Undecided | Collection::Excluded(_) => [None, None],
        };
        let mut index = 0;
        self.collection = Collection::Streams(streams.map(|labels| {
            let known = known[index].take();
            index += 1;
            match (labels, known) {
                (Some(labels), Some(Destination::Stream(known))) if known.labels == labels => {
                    Destination::Stream(known)
                }
                (Some(labels), _) => Destination::Stream(OpenStream { labels, slot: None }),
                (None, _) => Destination::Dropped,
            }
        }));
    }

    /// Parses whole lines of `chunk`, which lies at `at`, into `batch`. Returns how many bytes that were.
    pub fn feed(
        &mut self,
        chunk: &[u8],
        at: Position,
        scratch: &mut Scratch,
        counts: &mut Counts,
        batch: &mut Batch,
    ) -> usize {
        self.flush_at_gap(at, scratch, counts, batch);
        let Collection::Streams(streams) = &mut self.collection else { return 0 };
        let dropped = &mut self.dropped_lines;
        self.parser.feed(chunk, at, scratch, counts, &mut |line| append(streams, dropped, batch, line))
    }

    /// Parses bytes that no newline will end.
    pub fn feed_unterminated(
        &mut self,
        rest: &[u8],
        at: Position,
        scratch: &mut Scratch,
        counts: &mut Counts,
        batch: &mut Batch,
    ) {
        self.flush_at_gap(at, scratch, counts, batch);
        if let Collection::Streams(streams) = &mut self.collection {
            let dropped = &mut self.dropped_lines;
            let mut append = |line: Line<'_>| append(streams, dropped, batch, line);
            self.parser.feed_unterminated(rest, at, scratch, counts, &mut append);
        }
    }

    /// Gives out the lines that wait for their rest, as they are.
    pub fn flush(&mut self, scratch: &mut Scratch, counts: &mut Counts, batch: &mut Batch) {
        if let Collection::Streams(streams) = &mut self.collection {
            let dropped = &mut self.dropped_lines;
            self.parser.flush(scratch, counts, &mut |line| append(streams, dropped, batch, line));
        }
    }

    /// Lines that wait for their rest do not go on after this file's end: what follows there was given up, or belongs to
    /// another run of the container.
    pub fn end_lines_after(&mut self, file: u64) {
        self.gaps.push(file);
    }

    fn flush_at_gap(&mut self, at: Position, scratch: &mut Scratch, counts: &mut Counts, batch: &mut Batch) {
        if self.gaps.iter().any(|&gap| gap < at.file) {
            self.gaps.retain(|&gap| gap >= at.file);
            self.flush(scratch, counts, batch);
        }
    }

    /// Whether a line waits for its rest.
    pub fn holds_partial_line(&self) -> bool {
        self.parser.held_from().is_some()
    }

    /// Moves up how far each file is done once everything that was parsed is acknowledged, and calls `moved` for each that
    /// moved. A line that waits for its rest holds the position at its first byte, and the positions of all later files.
    pub fn submit(&mut self, mut moved: impl FnMut(Position)) {
        let held = self.parser.held_from();
        for file in self.chain.files_mut() {
            let held_here = held.filter(|held| held.file == file.id);
            let done = held_here.map_or(file.parsed, |held| held.offset);
            if done > file.submitted {
                file.submitted = done;
                moved(Position { file: file.id, offset: done });
            }
            if held_here.is_some() {
                break;
            }
        }
    }
}

fn append(streams: &mut [Destination; 2], dropped: &mut u64, batch: &mut Batch, line: Line<'_>) {
    let Destination::Stream(stream) = &mut streams[line.stream as usize] else {
        *dropped += 1;
        return;
    };
    let slot = match stream.slot {
        Some((generation, slot)) if generation == batch.generation() => slot,
        _ => {
            let slot = batch.open_stream(&stream.labels.labels);
            stream.slot = Some((batch.generation(), slot));
            slot
        }
    };
    if stream.labels.metadata.is_empty() {
        batch.append(slot, line.timestamp_ns, line.text);
    } else {
        batch.append_with_metadata(slot, line.timestamp_ns, line.text, &stream.labels.metadata);
    }
}

#[cfg(test)]
mod model;
