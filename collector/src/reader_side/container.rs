//! One container as the reader side holds it: whose it is, its streams' labels, its parser and its chain of files.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Instant};

use crate::{
    batch::{self, Batch, StreamSlot},
    discover::{Chain, PodName},
    parse::{ContainerParser, Counts, Limits, Line, Scratch, Stream},
    read::Position,
};

/// One container.
pub struct Container {
    /// Its pod.
    pub pod: PodName,
    /// Its name.
    pub name: String,
    /// Its log folder.
    pub folder: PathBuf,
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
    /// Names in its folder that were passed over at the last scan.
    pub skipped: usize,
    /// Files in its folder that could not be opened at the last scan.
    pub unopened: usize,
    /// When bytes were last read.
    pub last_read: Instant,
    parser: ContainerParser,
    /// `None` while the pod's metadata is awaited.
    streams: Option<[OpenStream; 2]>,
}

/// A stream's label set, and its place in the batch of one generation.
struct OpenStream {
    labels: Arc<str>,
    slot: Option<(u64, StreamSlot)>,
}

impl Container {
    /// A container whose labels are not known yet.
    pub fn new(pod: PodName, name: String, folder: PathBuf, chain: Chain, limits: Limits) -> Self {
        Self {
            pod,
            name,
            folder,
            chain,
            queued: false,
            touched: false,
            gone: false,
            is_new: false,
            skipped: 0,
            unopened: 0,
            last_read: Instant::now(),
            parser: ContainerParser::new(limits),
            streams: None,
        }
    }

    /// The name under which its positions are saved, the end of its folder's path: `NAMESPACE_POD_UID/CONTAINER`.
    pub fn saved_name(&self) -> String {
        let PodName { namespace, pod, uid } = &self.pod;
        format!("{namespace}_{pod}_{uid}/{}", self.name)
    }

    /// Whether its labels are known, so that it can be read.
    pub fn is_labelled(&self) -> bool {
        self.streams.is_some()
    }

    /// Gives its streams their labels: the static ones and those of Kubernetes. Streams that have them already go on
    /// unchanged where they are the same.
    pub fn set_labels(&mut self, fixed: &BTreeMap<String, String>, app: Option<&str>) {
        let job = format!("{}/{}", self.pod.namespace, self.name);
        let streams = [Stream::Stdout, Stream::Stderr].map(|stream| {
            let mut labels: BTreeMap<&str, &str> =
                fixed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            labels.extend([
                ("namespace", self.pod.namespace.as_str()),
                ("pod", &self.pod.pod),
                ("container", &self.name),
                ("job", &job),
                ("stream", stream.name()),
            ]);
            labels.extend(app.map(|app| ("app", app)));
            OpenStream { labels: batch::label_set(&labels), slot: None }
        });
        let unchanged = self.streams.as_ref().is_some_and(|known| known[0].labels == streams[0].labels);
        if !unchanged {
            self.streams = Some(streams);
        }
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
        let Some(streams) = &mut self.streams else { return 0 };
        self.parser.feed(chunk, at, scratch, counts, &mut |line| append(streams, batch, line))
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
        if let Some(streams) = &mut self.streams {
            self.parser.feed_unterminated(rest, at, scratch, counts, &mut |line| append(streams, batch, line));
        }
    }

    /// Gives out the lines that wait for their rest, as they are.
    pub fn flush(&mut self, scratch: &mut Scratch, counts: &mut Counts, batch: &mut Batch) {
        if let Some(streams) = &mut self.streams {
            self.parser.flush(scratch, counts, &mut |line| append(streams, batch, line));
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

fn append(streams: &mut [OpenStream; 2], batch: &mut Batch, line: Line<'_>) {
    let stream = &mut streams[line.stream as usize];
    let slot = match stream.slot {
        Some((generation, slot)) if generation == batch.generation() => slot,
        _ => {
            let slot = batch.open_stream(&stream.labels);
            stream.slot = Some((batch.generation(), slot));
            slot
        }
    };
    batch.append(slot, line.timestamp_ns, line.text);
}

#[cfg(test)]
mod tests;
