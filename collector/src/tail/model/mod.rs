//! A model of the whole way: whatever is written, rotated, compressed, removed, read, refused, released and saved, in whatever
//! order batches end, and whenever Pilcrow is killed, every line is delivered, for the first time in its order, and no other.
//!
//! The real tailer on real files; the container, the kubelet and the output with Loki are played. What nobody could do right does
//! not happen: a file that is neither open nor saved is not removed, and Pilcrow is not killed before it saved what it read of a
//! removed file.

mod node;

use std::{
    cell::Cell,
    collections::{HashSet, VecDeque},
    fs::{self, File},
    os::fd::BorrowedFd,
    path::Path,
    rc::Rc,
};

use proptest::prelude::*;
use prost::Message;

use self::node::{ClosedFile, Node};
use super::{
    chain::Source,
    notify::PollSignal,
    read::{PreadReader, Wanted},
    *,
};
use crate::{
    batch::{Batch, PushRequest, StreamSlot},
    checkpoint,
    compiled::Compiled,
    model::ChannelId,
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
    /// The tailer looks at the folder and reads.
    Turn,
    /// Reads fail from now on, or succeed again.
    Disk { fails: bool },
    /// What is batched goes to the output.
    Seal,
    /// A batch ends; which of them is open, but for the order of each stream.
    End(usize),
    /// A batch reaches Loki, and the answer is lost by a kill.
    DeliverUnanswered(usize),
    /// Loki refuses a stream from now on, or takes it again.
    Loki { stderr: bool, refuses: bool },
    /// The output tries the first refused line of each parked channel.
    TryParked,
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
        8 => Just(Op::Turn),
        1 => any::<bool>().prop_map(|fails| Op::Disk { fails }),
        3 => Just(Op::Seal),
        4 => any::<usize>().prop_map(Op::End),
        1 => any::<usize>().prop_map(Op::DeliverUnanswered),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(stderr, refuses)| Op::Loki { stderr, refuses }),
        2 => Just(Op::TryParked),
        2 => Just(Op::Save),
        1 => Just(Op::Kill),
    ]
}

/// Reads as pread does, unless the disk fails.
struct FailingReader {
    inner: PreadReader,
    fails: Rc<Cell<bool>>,
}

impl RangeReader for FailingReader {
    fn adopt(&mut self, slot: Slot, file: File) {
        self.inner.adopt(slot, file);
    }

    fn release(&mut self, slot: Slot) {
        self.inner.release(slot);
    }

    fn file(&self, slot: Slot) -> Option<BorrowedFd<'_>> {
        self.inner.file(slot)
    }

    async fn read_round(&mut self, wanted: &[Wanted], mut sink: impl FnMut(usize, io::Result<&[u8]>)) {
        if self.fails.get() {
            (0..wanted.len()).for_each(|index| sink(index, Err(io::Error::from_raw_os_error(5))));
            return;
        }
        self.inner.read_round(wanted, sink).await;
    }
}

/// A batch at the output.
struct Pending {
    batch: Batch,
    /// Channels that were parked when it came, or since.
    refused: HashSet<ChannelId>,
}

/// One run of Pilcrow.
struct Run {
    tailer: Tailer<FailingReader>,
    sealed: crossbeam_channel::Receiver<ToOutput>,
    done: crossbeam_channel::Sender<FromOutput>,
    snapshots: crossbeam_channel::Receiver<Snapshot>,
    pending: VecDeque<Pending>,
    parked: HashSet<ChannelId>,
}

impl Run {
    fn start(pods: &Path, saved: Snapshot, fails: &Rc<Cell<bool>>) -> Self {
        let mut config = Config::default();
        config.paths.pods = pods.into();
        let (sealed_tx, sealed) = crossbeam_channel::unbounded();
        let (done, done_rx) = crossbeam_channel::unbounded();
        let (snapshots_tx, snapshots) = crossbeam_channel::unbounded();
        let links = Links {
            sealed: sealed_tx,
            sealed_notify: Arc::default(),
            done: done_rx,
            done_notify: Arc::default(),
            snapshots: snapshots_tx,
            snapshots_notify: Arc::default(),
            pods: None,
            pods_notify: Arc::default(),
            stop: Arc::default(),
        };
        let Compiled { mut config, relabel, pod_selector, pipeline, .. } = Compiled::new(config).unwrap();
        // Smaller than a user may have them, so that a few lines fill them.
        config.loki.batch.bytes = crate::config::ByteSize(200);
        config.memory.queue = crate::config::ByteSize(1200);
        let saved = checkpoint::decode(&checkpoint::encode(&saved)).unwrap();
        let setup = Setup {
            config: Arc::new(config),
            links,
            saved: saved.into(),
            relabel,
            pod_selector,
            pipeline,
            metrics: Arc::default(),
            health: Arc::default(),
        };
        let reader = FailingReader { inner: PreadReader::new(), fails: Rc::clone(fails) };
        let signal = AnySignal::Poll(PollSignal::new(Duration::from_secs(60)));
        let tailer = Tailer::new(reader, signal, setup).unwrap();
        let mut run = Self { tailer, sealed, done, snapshots, pending: VecDeque::new(), parked: HashSet::new() };
        run.look();
        run
    }

    fn look(&mut self) {
        self.tailer.state.due.rescan = Instant::now();
        self.tailer.follow_folders();
    }

    async fn turn(&mut self) {
        self.look();
        self.tailer.state.queue_all();
        self.tailer.turn().await;
        self.receive();
    }

    /// Takes what the tailer sent, in its order.
    fn receive(&mut self) {
        for message in self.sealed.try_iter() {
            match message {
                ToOutput::Batch(batch) => {
                    self.pending.push_back(Pending { batch, refused: self.parked.clone() });
                }
                ToOutput::Unparked(channel) => drop(self.parked.remove(&channel)),
            }
        }
    }

    /// The index of a batch that may end: none before it has a stream in common.
    fn next_to_end(&self, which: usize) -> Option<usize> {
        let labels = |pending: &Pending| {
            pending.batch.streams().iter().map(|stream| Arc::clone(&stream.labels)).collect::<HashSet<_>>()
        };
        let may_end = |index: &usize| {
            let own = labels(&self.pending[*index]);
            self.pending.range(..*index).all(|before| labels(before).is_disjoint(&own))
        };
        let all: Vec<_> = (0..self.pending.len()).filter(may_end).collect();
        (!all.is_empty()).then(|| all[which % all.len()])
    }

    /// Whether nothing that was read is anywhere but in Loki.
    fn is_all_acknowledged(&self) -> bool {
        let unacknowledged = self.tailer.state.lanes.unacknowledged();
        self.tailer.state.units.iter().all(|unit| unit.next(&unacknowledged) == [None, None])
    }

    /// Whether the file at `path` is open, or would be opened by another name.
    fn holds(&self, path: &Path) -> bool {
        let files = self.tailer.state.units.iter().flat_map(|unit| unit.chain.files());
        files.filter(|file| matches!(file.source, Source::Slot(_) | Source::Gzip(_))).any(|file| file.path == path)
    }
}

/// Node, Pilcrow and Loki.
struct World {
    node: Node,
    fails: Rc<Cell<bool>>,
    run: Run,
    stored: Snapshot,
    /// Whether Loki refuses standard output and standard error.
    refuses: [bool; 2],
    /// What Loki took, in its order.
    delivered: [Vec<String>; 2],
    /// So many lines are behind the stored positions, and so many must be before a kill.
    saved: [usize; 2],
    owed: [usize; 2],
}

impl World {
    fn new() -> Self {
        let (node, fails) = (Node::new(), Rc::new(Cell::new(false)));
        let run = Run::start(node.pods.path(), Snapshot::default(), &fails);
        let (stored, refuses, delivered, saved, owed) = Default::default();
        Self { node, fails, run, stored, refuses, delivered, saved, owed }
    }

    async fn act(&mut self, op: Op) {
        match op {
            Op::Write { stderr, whole } => self.node.write(stderr, whole),
            Op::Rename => self.node.rename(),
            Op::Reopen => self.node.reopen(),
            Op::Restart => self.node.restart(),
            Op::Compress(which) => self.node.compress(which),
            Op::Remove => self.remove(),
            Op::Turn => self.run.turn().await,
            Op::Disk { fails } => self.fails.set(fails),
            Op::Seal => {
                self.run.tailer.state.lanes.seal_all();
                self.run.receive();
            }
            Op::End(which) => self.end(which),
            Op::DeliverUnanswered(which) => {
                if let Some(index) = self.run.next_to_end(which) {
                    self.deliver(index);
                }
            }
            Op::Loki { stderr, refuses } => self.refuses[usize::from(stderr)] = refuses,
            Op::TryParked => self.try_parked(),
            Op::Save => self.save(),
            Op::Kill if (0..2).all(|stream| self.saved[stream] >= self.owed[stream]) => {
                self.run = Run::start(self.node.pods.path(), self.stored.clone(), &self.fails);
            }
            Op::Kill => {}
        }
    }

    /// Loki takes the lines of a batch that are not refused. Returns those streams that are.
    fn deliver(&mut self, index: usize) -> Vec<StreamSlot> {
        let pending = &self.run.pending[index];
        let mut bytes = Vec::new();
        pending.batch.encode_push_request(&pending.batch.whole(), &mut bytes);
        let streams = pending.batch.streams().iter().enumerate();
        let refused = streams.filter(|(_, stream)| {
            self.refuses[stream.channel.stream as usize] || pending.refused.contains(&stream.channel)
        });
        let slots: Vec<_> = refused.map(|(slot, _)| StreamSlot::at(slot)).collect();
        for stream in PushRequest::decode(&bytes[..]).unwrap().streams {
            let of = usize::from(stream.labels.contains("stderr"));
            let is_refused =
                slots.iter().any(|slot| pending.batch.streams()[slot.index()].channel.stream as usize == of);
            for entry in stream.entries.into_iter().filter(|_| !is_refused) {
                // Loki stores a repetition once.
                if !self.delivered[of].contains(&entry.line) {
                    self.delivered[of].push(entry.line);
                }
            }
        }
        slots
    }

    fn end(&mut self, which: usize) {
        let Some(index) = self.run.next_to_end(which) else { return };
        let refused = self.deliver(index);
        let Some(Pending { batch, .. }) = self.run.pending.remove(index) else { return };
        for slot in &refused {
            let channel = batch.streams()[slot.index()].channel;
            self.run.parked.insert(channel);
            for pending in &mut self.run.pending {
                pending.refused.insert(channel);
            }
        }
        self.run.done.send(FromOutput::Done { batch, refused }).unwrap();
    }

    fn try_parked(&mut self) {
        for channel in &self.run.parked {
            if !self.refuses[channel.stream as usize] {
                self.run.done.send(FromOutput::Taken(*channel)).unwrap();
            }
        }
    }

    fn save(&mut self) {
        let is_all_acknowledged = self.run.is_all_acknowledged();
        self.run.tailer.snapshot();
        if let Some(snapshot) = self.run.snapshots.try_iter().last() {
            self.stored = snapshot;
        }
        if is_all_acknowledged {
            self.saved = self.delivered.each_ref().map(Vec::len);
        }
    }

    fn remove(&mut self) {
        let Some(ClosedFile { name, begun }) = self.node.files.first().cloned() else { return };
        let path = self.node.path(&name);
        let is_saved = (0..2).all(|stream| self.saved[stream] >= begun[stream]);
        if !is_saved && !self.run.holds(&path) {
            return;
        }
        self.owed = std::array::from_fn(|stream| self.owed[stream].max(begun[stream]));
        fs::remove_file(path).unwrap();
        self.node.files.remove(0);
    }

    /// Nothing more is written, nothing fails, and Pilcrow reads and sends all that there is.
    async fn drain(&mut self) {
        self.node.finish_lines();
        self.node.reopen();
        self.fails.set(false);
        self.refuses = [false; 2];
        for round in 0..400 {
            if round > 40 {
                // A file that was written to lately has a grace before the next one is read.
                std::thread::sleep(Duration::from_millis(5));
            }
            self.run.turn().await;
            self.run.tailer.state.lanes.seal_all();
            self.run.receive();
            while !self.run.pending.is_empty() {
                self.end(0);
            }
            self.try_parked();
            self.run.tailer.take_ended();
            self.run.receive();
            if self.delivered == self.node.written && self.run.parked.is_empty() && self.run.is_all_acknowledged() {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn every_line_is_delivered_in_order_whatever_is_rotated_removed_refused_and_killed(
        ops in prop::collection::vec(op(), 0..140),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for op in ops {
                world.act(op).await;
            }
            world.drain().await;
            prop_assert_eq!(&world.delivered, &world.node.written);

            // And after a last kill the same again is all that comes.
            world.act(Op::Save).await;
            world.act(Op::Kill).await;
            world.drain().await;
            prop_assert_eq!(&world.delivered, &world.node.written);
            Ok(())
        })?;
    }
}
