//! Offsets and acknowledgements: whatever was read, sealed and acknowledged when Pilcrow is killed, the acknowledged lines
//! and those that the next run reads are together all lines, and nothing else.

use std::{collections::VecDeque, fs, path::Path};

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::{
    batch::PushRequest,
    config::Oversize,
    discover::{ContainerId, UnknownFile, list},
};

const NAMES: [&str; 3] = ["0.log.20260102-030405", "0.log.20260102-040506", "0.log"];

/// CRI records of both streams, partial ones among them, and the lines that they make.
fn records(pieces: &[(bool, bool)]) -> (Vec<String>, Vec<String>) {
    let (mut records, mut lines, mut open) = (Vec::new(), Vec::new(), [String::new(), String::new()]);
    let ends = [(false, true), (true, true)];
    for (number, &(stderr, last)) in pieces.iter().chain(&ends).enumerate() {
        let (stream, tag) = (if stderr { "stderr" } else { "stdout" }, if last { 'F' } else { 'P' });
        let piece = format!("[{stream} {number}]");
        records.push(format!("2026-01-02T03:{:02}:{:02}.5Z {stream} {tag} {piece}\n", number / 60, number % 60));
        open[usize::from(stderr)].push_str(&piece);
        if last {
            lines.push(std::mem::take(&mut open[usize::from(stderr)]));
        }
    }
    lines.sort();
    (records, lines)
}

/// One run of Pilcrow, as far as one container is concerned.
struct Run {
    container: Container,
    batch: Batch,
    sealed: VecDeque<Batch>,
    delivered: Vec<String>,
    scratch: Scratch,
    counts: Counts,
}

impl Run {
    fn start(folder: &Path, mut chain: Chain, next_id: &mut u64) -> Self {
        let listing = list(folder, |_| {}).unwrap();
        assert!(chain.merge(&listing.files, UnknownFile::Beginning, usize::MAX, next_id, Instant::now()).is_empty());
        let pod = PodName { namespace: "ns".into(), pod: "pod".into(), uid: "uid".into() };
        let limits = Limits { max_line_bytes: 1 << 20, oversize: Oversize::Split };
        let mut container = Container::new(pod, "name".into(), folder.into(), chain, limits);
        let labels = StreamLabels { labels: "{job=\"ns/name\"}".into(), metadata: [].into() };
        container.set_labels([Some(labels.clone()), Some(labels)]);
        Self {
            container,
            batch: Batch::new(1),
            sealed: VecDeque::new(),
            delivered: Vec::new(),
            scratch: Scratch::default(),
            counts: Counts::default(),
        }
    }

    /// Reads up to `len` bytes of the current file. Returns whether there was a current file.
    fn read(&mut self, len: usize) -> bool {
        let Some(index) = self.container.chain.current() else { return false };
        let file = &self.container.chain.files()[index];
        let content = fs::read(&file.path).unwrap();
        let (at, end) = (file.parsed as usize, content.len().min(file.parsed as usize + len));
        let position = Position { file: file.id, offset: file.parsed };
        let consumed =
            self.container.feed(&content[at..end], position, &mut self.scratch, &mut self.counts, &mut self.batch);
        let superseded = self.container.chain.is_superseded(index);
        let file = &mut self.container.chain.files_mut()[index];
        file.parsed += consumed as u64;
        if file.parsed as usize == content.len() && superseded {
            file.finished = true;
            file.source = crate::discover::Source::Closed;
        }
        consumed > 0 || superseded
    }

    fn seal(&mut self) {
        let next = Batch::new(self.batch.generation() + 1);
        let mut batch = std::mem::replace(&mut self.batch, next);
        self.container.submit(|position| batch.push_progress(ContainerId(0), position));
        self.sealed.push_back(batch);
    }

    fn acknowledge(&mut self) {
        let Some(batch) = self.sealed.pop_front() else { return };
        let mut bytes = Vec::new();
        batch.encode_push_request(&batch.whole(), &mut bytes);
        let request = PushRequest::decode(&bytes[..]).unwrap();
        self.delivered.extend(request.streams.into_iter().flat_map(|stream| stream.entries).map(|entry| entry.line));
        for progress in batch.progress() {
            let file = self.container.chain.file_mut(progress.position.file).unwrap();
            file.acknowledged = file.acknowledged.max(progress.position.offset);
        }
    }
}

proptest! {
    #[test]
    fn a_kill_at_any_moment_loses_no_line_and_invents_none(
        pieces in prop::collection::vec((any::<bool>(), any::<bool>()), 0..40),
        cuts in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        steps in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let (records, lines) = records(&pieces);
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (cuts.0.index(records.len()), cuts.1.index(records.len()));
        let (first, second) = (one.min(two), one.max(two));
        for (name, part) in NAMES.iter().zip([&records[..first], &records[first..second], &records[second..]]) {
            fs::write(folder.path().join(name), part.concat()).unwrap();
        }

        let mut next_id = 0;
        let mut run = Run::start(folder.path(), Chain::default(), &mut next_id);
        for step in steps {
            match step % 4 {
                0 | 1 => { run.read(1 + usize::from(step) * 3); }
                2 => run.seal(),
                _ => run.acknowledge(),
            }
        }
        let mut delivered = run.delivered;
        let saved: Vec<_> = run.container.chain.saved().collect();

        let chain = Chain::from_saved(&saved, &mut next_id, Instant::now());
        let mut run = Run::start(folder.path(), chain, &mut next_id);
        while run.read(1 << 20) {}
        run.seal();
        run.acknowledge();
        delivered.extend(run.delivered);
        delivered.sort();
        delivered.dedup();
        prop_assert_eq!(delivered, lines);
    }
}
