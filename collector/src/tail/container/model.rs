//! A model of chain, checkpoint and acknowledgement: whatever is written, rotated, compressed, removed, read, sealed, pushed,
//! acknowledged and saved, in whatever order, and whenever Pilcrow is killed, every line is delivered, for the first time in
//! its order, and no other.
//!
//! The real chain, container, parser, batch and checkpoint file, on real files; the reader's loop and Loki are played. The model is no more than
//! the list of lines that were written to each stream. What nobody could do right does not happen: a file that is neither
//! open nor delivered is not removed; Pilcrow is not killed while it alone has lines of a removed file, nor before it has
//! saved its position behind a removed file whose last line goes on in the next one: the rest would look like a line.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::Write,
    os::{
        fd::AsFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::{
    batch::PushRequest,
    checkpoint::{Snapshot, Store, Unclaimed},
    config::Oversize,
    tail::chain::{ContainerId, Source, UnknownFile, list, plain_head},
};

/// What happens. Numbers choose among what there is, modulo their count.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// A record of a stream: a whole line, or a piece of one.
    Write { stderr: bool, whole: bool },
    /// The kubelet renames the log; the container goes on writing into it.
    Rename,
    /// The container opens a new log.
    Reopen,
    /// The container restarts: its next log has the next number.
    Restart,
    /// The kubelet compresses a rotated file.
    Compress(usize),
    /// The kubelet removes the oldest file, if nothing is lost by it.
    Remove,
    /// Pilcrow looks at the folder.
    Scan,
    /// Pilcrow reads up to so many bytes.
    Read(usize),
    /// The batch is sealed.
    Seal,
    /// The oldest sealed batch reaches Loki, and the answer is lost: it will be pushed again.
    PushUnanswered,
    /// It reaches Loki, which acknowledges it.
    Push,
    /// The positions are saved.
    Save,
    /// kill -9, and a new start.
    Kill,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (any::<bool>(), prop::bool::weighted(0.7)).prop_map(|(stderr, whole)| Op::Write { stderr, whole }),
        2 => Just(Op::Rename),
        2 => Just(Op::Reopen),
        1 => Just(Op::Restart),
        2 => any::<usize>().prop_map(Op::Compress),
        1 => Just(Op::Remove),
        3 => Just(Op::Scan),
        6 => (1..400usize).prop_map(Op::Read),
        3 => Just(Op::Seal),
        1 => Just(Op::PushUnanswered),
        3 => Just(Op::Push),
        2 => Just(Op::Save),
        1 => Just(Op::Kill),
    ]
}

/// The container's side: its folder, and what was written.
struct Node {
    folder: tempfile::TempDir,
    restart: u32,
    file: File,
    /// When the log was renamed and the container still writes to it.
    renamed: bool,
    records: usize,
    rotations: usize,
    /// For each stream the pieces of the line that has begun.
    begun: [String; 2],
    /// For each stream its lines.
    written: [Vec<String>; 2],
    /// The files that are closed, oldest first.
    files: Vec<ClosedFile>,
    /// What the open one is called.
    name: String,
}

#[derive(Clone)]
struct ClosedFile {
    name: String,
    /// How many lines of each stream were begun when it was closed.
    begun: [usize; 2],
    /// One of them goes on in the next file.
    splits_line: bool,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = open(&folder.path().join("0.log"));
        Self {
            folder,
            restart: 0,
            file,
            renamed: false,
            records: 0,
            rotations: 0,
            begun: Default::default(),
            written: Default::default(),
            files: Vec::new(),
            name: "0.log".into(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&mut self, stderr: bool, whole: bool) {
        let (stream, tag) = (if stderr { "stderr" } else { "stdout" }, if whole { 'F' } else { 'P' });
        let (number, begun) = (self.records, &mut self.begun[usize::from(stderr)]);
        self.records += 1;
        let piece = format!("[{stream} {number}]");
        begun.push_str(&piece);
        let (minute, second) = (number / 60, number % 60);
        writeln!(self.file, "2026-01-02T03:{minute:02}:{second:02}.5Z {stream} {tag} {piece}").unwrap();
        if whole {
            self.written[usize::from(stderr)].push(std::mem::take(begun));
        }
    }

    fn finish_lines(&mut self) {
        for stderr in [false, true] {
            if !self.begun[usize::from(stderr)].is_empty() {
                self.write(stderr, true);
            }
        }
    }

    /// The kubelet leaves an empty log alone.
    fn rename(&mut self) {
        if self.renamed || self.file.metadata().unwrap().len() == 0 {
            return;
        }
        let log = format!("{}.log", self.restart);
        self.rotations += 1;
        let name = format!("{log}.20260102-{:06}", self.rotations);
        fs::rename(self.path(&log), self.path(&name)).unwrap();
        self.name = name;
        self.renamed = true;
    }

    fn reopen(&mut self) {
        if self.renamed {
            self.begin_file(format!("{}.log", self.restart));
        }
    }

    fn restart(&mut self) {
        self.finish_lines();
        self.reopen();
        self.restart += 1;
        self.begin_file(format!("{}.log", self.restart));
    }

    fn begin_file(&mut self, name: String) {
        let begun = |stream: usize| self.written[stream].len() + usize::from(!self.begun[stream].is_empty());
        let begun = [begun(0), begun(1)];
        self.file = open(&self.path(&name));
        let name = std::mem::replace(&mut self.name, name);
        self.files.push(ClosedFile { name, begun, splits_line: self.begun.iter().any(|piece| !piece.is_empty()) });
        self.renamed = false;
    }

    fn compress(&mut self, which: usize) {
        let is_plain = |name: &str| !name.ends_with(".gz") && !name.ends_with(".log");
        let plain: Vec<_> = (0..self.files.len()).filter(|&index| is_plain(&self.files[index].name)).collect();
        if plain.is_empty() {
            return;
        }
        let index = plain[which % plain.len()];
        let name = self.files[index].name.clone();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&fs::read(self.path(&name)).unwrap()).unwrap();
        let unfinished = self.path(&format!("{name}.tmp"));
        fs::write(&unfinished, gzip.finish().unwrap()).unwrap();
        fs::rename(unfinished, self.path(&format!("{name}.gz"))).unwrap();
        fs::remove_file(self.path(&name)).unwrap();
        self.files[index].name = format!("{name}.gz");
    }
}

fn open(path: &Path) -> File {
    File::options().create(true).append(true).open(path).unwrap()
}

/// One run of Pilcrow, as far as one container is concerned.
struct Run {
    folder: PathBuf,
    container: Container,
    next_id: u64,
    batch: Batch,
    sealed: VecDeque<Sealed>,
    scratch: Scratch,
    counts: Counts,
}

struct Sealed {
    batch: Batch,
    /// A line that had begun holds the position, maybe before lines that are in the batch or in one before it.
    holds_position: bool,
}

impl Run {
    /// With what an earlier run saved.
    fn start(folder: &Path, store: &Store) -> Self {
        let pod = PodName { namespace: "ns".into(), pod: "pod".into(), uid: "uid".into() };
        let limits = Limits { max_line_bytes: 1 << 20, oversize: Oversize::Split };
        let mut container = Container::new(pod, "name".into(), Chain::default(), limits);
        let labels = |stream| StreamLabels { labels: format!("{{stream=\"{stream}\"}}").into(), metadata: [].into() };
        container.set_labels([Some(labels("stdout")), Some(labels("stderr"))]);
        let (snapshot, errors) = store.load();
        assert!(errors.is_empty(), "{errors:?}");
        let mut next_id = 0;
        if let Some(saved) = Unclaimed::from(snapshot).claim(&container.saved_name()) {
            container.chain = Chain::from_saved(&saved, &mut next_id, Instant::now());
        }
        let (scratch, counts) = Default::default();
        let folder = folder.into();
        let mut run =
            Self { folder, container, next_id, batch: Batch::new(1), sealed: VecDeque::new(), scratch, counts };
        run.scan();
        run
    }

    fn scan(&mut self) {
        self.extend_fingerprints();
        let listing = list(&self.folder, |_| {}).unwrap();
        let chain = &mut self.container.chain;
        let errors = chain.merge(&listing.files, UnknownFile::Beginning, usize::MAX, &mut self.next_id, Instant::now());
        assert!(errors.is_empty(), "{errors:?}");
    }

    /// Reads up to `len` bytes of the current file, and finishes it at its end if another one followed. Returns whether it
    /// got on.
    fn read(&mut self, len: usize) -> bool {
        let Some(index) = self.container.chain.current() else { return false };
        let file = &mut self.container.chain.files_mut()[index];
        let at = Position { file: file.id, offset: file.parsed };
        let source = std::mem::replace(&mut file.source, Source::Closed);
        let (source, consumed, ended) = match source {
            Source::Opened(plain) => {
                let mut chunk = vec![0; len];
                let read = plain.read_at(&mut chunk, at.offset).unwrap();
                let consumed = self.feed(&chunk[..read], at);
                let ended = at.offset + consumed as u64 == plain.metadata().unwrap().len();
                (Source::Opened(plain), consumed, ended)
            }
            Source::Gzip(mut gzip) => {
                let (bytes, whole) = gzip.fill().unwrap();
                let chunk = bytes[..bytes.len().min(len)].to_vec();
                let ended = whole && chunk.len() == bytes.len();
                let consumed = self.feed(&chunk, at);
                gzip.consume(consumed);
                (Source::Gzip(gzip), consumed, ended && consumed == chunk.len())
            }
            other => panic!("the current file cannot be read: {other:?}"),
        };
        let file = &mut self.container.chain.files_mut()[index];
        file.parsed += consumed as u64;
        file.seen = file.parsed;
        file.source = source;
        let finished = ended && self.container.chain.is_superseded(index);
        if finished {
            self.extend_fingerprints();
            let file = &mut self.container.chain.files_mut()[index];
            file.finished = true;
            file.source = Source::Closed;
        }
        consumed > 0 || finished
    }

    fn feed(&mut self, chunk: &[u8], at: Position) -> usize {
        self.container.feed(chunk, at, &mut self.scratch, &mut self.counts, &mut self.batch)
    }

    fn extend_fingerprints(&mut self) {
        for file in self.container.chain.files_mut() {
            if let Source::Opened(plain) = &file.source {
                let head = plain_head(plain.as_fd());
                file.extend_fingerprint(|| head);
            }
        }
    }

    fn seal(&mut self) {
        let next = Batch::new(self.batch.generation() + 1);
        let mut batch = std::mem::replace(&mut self.batch, next);
        self.container.submit(|position| batch.push_progress(ContainerId(0), position));
        self.sealed.push_back(Sealed { batch, holds_position: self.container.holds_partial_line() });
    }

    fn acknowledge(&mut self) {
        let Some(Sealed { batch, .. }) = self.sealed.pop_front() else { return };
        for progress in batch.progress() {
            if let Some(file) = self.container.chain.file_mut(progress.position.file) {
                file.acknowledged = file.acknowledged.max(progress.position.offset);
            }
        }
    }

    fn save(&mut self, store: &Store) {
        self.extend_fingerprints();
        let followed = [(self.container.saved_name(), self.container.chain.saved().collect())];
        let nothing = Unclaimed::default();
        store.save(&Snapshot::new(followed.into_iter(), &nothing, 1)).unwrap();
    }

    /// Whether the file at `path` is open.
    fn holds(&self, path: &Path) -> bool {
        let inode = fs::metadata(path).unwrap().ino();
        self.container.chain.files().iter().any(|file| match &file.source {
            Source::Opened(plain) => plain.metadata().unwrap().ino() == inode,
            // Names of compressed files are not used twice.
            Source::Gzip(_) => file.path == path,
            _ => false,
        })
    }
}

/// Node, Pilcrow and Loki.
struct World {
    node: Node,
    state: tempfile::TempDir,
    run: Run,
    /// What Loki took, in its order.
    delivered: [Vec<String>; 2],
    /// So many lines of each stream are acknowledged.
    acknowledged: [usize; 2],
    /// Behind so many of them are the positions, and the saved positions.
    passed: [usize; 2],
    saved: [usize; 2],
    /// So many have to be delivered before Pilcrow may be killed, and so many saved.
    owed: [usize; 2],
    owed_to_disk: [usize; 2],
}

impl World {
    fn new() -> Self {
        let (node, state) = (Node::new(), tempfile::tempdir().unwrap());
        let run = Run::start(node.folder.path(), &Store::open(state.path()).unwrap());
        let (delivered, [acknowledged, passed, saved, owed, owed_to_disk]) = Default::default();
        Self { node, state, run, delivered, acknowledged, passed, saved, owed, owed_to_disk }
    }

    fn store(&self) -> Store {
        Store::open(self.state.path()).unwrap()
    }

    fn act(&mut self, op: Op) {
        match op {
            Op::Write { stderr, whole } => self.node.write(stderr, whole),
            Op::Rename => self.node.rename(),
            Op::Reopen => self.node.reopen(),
            Op::Restart => self.node.restart(),
            Op::Compress(which) => self.node.compress(which),
            Op::Remove => self.remove(),
            Op::Scan => self.run.scan(),
            Op::Read(len) => drop(self.run.read(len)),
            Op::Seal => self.run.seal(),
            Op::PushUnanswered => drop(self.deliver()),
            Op::Push => {
                let delivered = self.deliver();
                let holds_position = self.run.sealed.front().is_none_or(|sealed| sealed.holds_position);
                self.run.acknowledge();
                self.acknowledged = std::array::from_fn(|stream| self.acknowledged[stream].max(delivered[stream]));
                if !holds_position {
                    self.passed = self.acknowledged;
                }
            }
            Op::Save => {
                let store = self.store();
                self.run.save(&store);
                self.saved = self.passed;
            }
            Op::Kill if self.has_delivered(self.owed) && is_reached(self.owed_to_disk, self.saved) => {
                self.run = Run::start(self.node.folder.path(), &self.store());
                (self.acknowledged, self.passed) = (self.saved, self.saved);
            }
            Op::Kill => {}
        }
    }

    /// The oldest sealed batch reaches Loki. Gives the number of each stream's line behind its last one.
    fn deliver(&mut self) -> [usize; 2] {
        let mut behind = [0, 0];
        let Some(Sealed { batch, .. }) = self.run.sealed.front() else { return behind };
        let mut bytes = Vec::new();
        batch.encode_push_request(&batch.whole(), &mut bytes);
        for stream in PushRequest::decode(&bytes[..]).unwrap().streams {
            let index = usize::from(stream.labels.contains("stderr"));
            let of_stream = &mut self.delivered[index];
            for entry in stream.entries {
                // Loki stores a repetition once.
                let known = of_stream.iter().position(|line| *line == entry.line);
                behind[index] = known.unwrap_or(of_stream.len()) + 1;
                if known.is_none() {
                    of_stream.push(entry.line);
                }
            }
        }
        behind
    }

    fn has_delivered(&self, lines: [usize; 2]) -> bool {
        is_reached(lines, self.delivered.each_ref().map(Vec::len))
    }

    fn remove(&mut self) {
        if self.node.files.is_empty() {
            return;
        }
        let ClosedFile { name, begun, splits_line } = self.node.files[0].clone();
        let path = self.node.path(&name);
        if !self.has_delivered(begun) {
            if !self.run.holds(&path) {
                return;
            }
            self.owed = begun;
        }
        if splits_line {
            self.owed_to_disk = begun;
        }
        fs::remove_file(path).unwrap();
        self.node.files.remove(0);
    }

    /// Nothing more is written, and Pilcrow reads all that there is.
    fn drain(&mut self) {
        self.node.finish_lines();
        self.node.reopen();
        self.run.scan();
        while self.run.read(1 << 20) {}
        self.run.seal();
        while !self.run.sealed.is_empty() {
            self.act(Op::Push);
        }
    }
}

fn is_reached(wanted: [usize; 2], there: [usize; 2]) -> bool {
    (0..2).all(|stream| there[stream] >= wanted[stream])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn every_line_is_delivered_in_order_whatever_is_rotated_removed_and_killed(ops in prop::collection::vec(op(), 0..120)) {
        let mut world = World::new();
        for op in ops {
            world.act(op);
        }
        world.drain();
        prop_assert_eq!(&world.delivered, &world.node.written);

        // And after a last kill the same again is all that comes.
        world.act(Op::Save);
        world.act(Op::Kill);
        world.drain();
        prop_assert_eq!(&world.delivered, &world.node.written);
    }
}
