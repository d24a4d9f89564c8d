//! A model of the whole way: whatever is written, rotated, compressed, removed, read, refused, released and saved, in whatever
//! order batches end, and whenever Pilcrow is killed, every line is delivered, for the first time in its order, and no other. None is sent
//! again whose acknowledgement is known, and there are never more batches, or larger ones, than memory has room for.
//!
//! The real tailer on real files; the container, the kubelet and the output with Loki are played. What nobody could do right does
//! not happen: a file that is neither open nor saved is not removed, and Pilcrow is not killed before it saved what it read of a
//! removed file.

mod cases;
mod node;
mod run;

use std::{cell::Cell, collections::HashSet, fs, rc::Rc};

use proptest::prelude::*;
use prost::Message;

use self::{
    node::{ClosedFile, Node},
    run::{BATCH_BYTES, Pending, QUEUE_BYTES, Run, Way},
};
use super::*;
use crate::{
    batch::{BatchStream, PushRequest, StreamSlot},
    model::Stream,
};

/// What happens. Numbers choose among what there is, modulo their count.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// A record of a stream: a whole line, or a piece of one.
    Write { stderr: bool, whole: bool },
    /// Many whole lines at once.
    Burst { stderr: bool, lines: usize },
    /// The kubelet renames the log; the container goes on writing into it.
    Rename,
    /// The container opens a new log.
    Reopen,
    /// The container restarts: its next log has the next number.
    Restart,
    /// The container restarts, and the restart count begins again at 0.
    RestartCountAnew,
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
    /// Loki refuses a third of the tenants from now on, or takes all.
    Tenants { refused: Option<u8> },
    /// The output tries the first refused line of each parked channel.
    TryParked,
    /// The positions are saved.
    Save,
    /// kill -9, and a new start.
    Kill,
    /// SIGTERM while Loki does not answer, and a new start.
    Drain,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (any::<bool>(), prop::bool::weighted(0.7)).prop_map(|(stderr, whole)| Op::Write { stderr, whole }),
        1 => (any::<bool>(), 1..40_usize).prop_map(|(stderr, lines)| Op::Burst { stderr, lines }),
        2 => Just(Op::Rename),
        2 => Just(Op::Reopen),
        1 => Just(Op::Restart),
        1 => Just(Op::RestartCountAnew),
        2 => (0..4_usize).prop_map(Op::Compress),
        1 => Just(Op::Remove),
        8 => Just(Op::Turn),
        1 => any::<bool>().prop_map(|fails| Op::Disk { fails }),
        3 => Just(Op::Seal),
        4 => (0..4_usize).prop_map(Op::End),
        1 => (0..4_usize).prop_map(Op::DeliverUnanswered),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(stderr, refuses)| Op::Loki { stderr, refuses }),
        1 => prop::option::of(0..3_u8).prop_map(|refused| Op::Tenants { refused }),
        2 => Just(Op::TryParked),
        2 => Just(Op::Save),
        1 => Just(Op::Kill),
        1 => Just(Op::Drain),
    ]
}

/// Node, Pilcrow and Loki.
struct World {
    node: Node,
    fails: Rc<Cell<bool>>,
    run: Run,
    stored: Snapshot,
    way: Way,
    /// Whether Loki refuses standard output and standard error.
    refuses: [bool; 2],
    /// Loki refuses tenants whose digit leaves this remainder by three.
    refused_tenants: Option<u8>,
    /// What Loki took, in its order.
    delivered: [Vec<String>; 2],
    /// What this run knows that Loki took, and what is known after a kill.
    acknowledged: [HashSet<String>; 2],
    stored_acknowledged: [HashSet<String>; 2],
    /// Lines that were sent again although their acknowledgement was known.
    repeated: Vec<String>,
    /// This many lines must be behind the stored positions before a kill.
    owed: [usize; 2],
    /// The most batches at a time, and the most bytes in one.
    most_batches: usize,
    largest_batch: usize,
}

impl World {
    fn new(way: Way) -> Self {
        let (mut node, fails) = (Node::new(), Rc::new(Cell::new(false)));
        if way == Way::Held {
            node.is_dropped = |line| line.ends_with("3]") || line.ends_with("7]");
        }
        let run = Run::start(node.pods.path(), way, Snapshot::default(), &fails);
        Self {
            way,
            refused_tenants: None,
            node,
            fails,
            run,
            stored: Snapshot::default(),
            refuses: [false; 2],
            delivered: Default::default(),
            acknowledged: Default::default(),
            stored_acknowledged: Default::default(),
            repeated: Vec::new(),
            owed: [0; 2],
            most_batches: 0,
            largest_batch: 0,
        }
    }

    async fn act(&mut self, op: Op) {
        match op {
            Op::Write { stderr, whole } => self.node.write(stderr, whole),
            Op::Burst { stderr, lines } => (0..lines).for_each(|_| self.node.write(stderr, true)),
            Op::Rename => self.node.rename(),
            Op::Reopen => self.node.reopen(),
            Op::Restart => self.restart(false),
            Op::RestartCountAnew => self.restart(true),
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
                    let _unanswered = self.deliver(index);
                }
            }
            Op::Loki { stderr, refuses } => self.refuses[usize::from(stderr)] = refuses,
            Op::Tenants { refused } => self.refused_tenants = refused.filter(|_| self.way == Way::Tenants),
            Op::TryParked => self.try_parked(),
            Op::Save => self.save(),
            Op::Kill if self.may_end() => self.start_again(),
            Op::Drain if self.may_end() => {
                self.run.tailer.drain().await.unwrap();
                self.run.receive();
                self.take_saved();
                self.look_at_memory();
                self.start_again();
            }
            Op::Kill | Op::Drain => {}
        }
        self.look_at_memory();
    }

    fn look_at_memory(&mut self) {
        self.most_batches = self.most_batches.max(self.run.batch_bytes().count());
        self.largest_batch = self.run.batch_bytes().fold(self.largest_batch, usize::max);
    }

    /// A log that an earlier restart with the same count left is written to again only when it was read to its end: else its old
    /// lines and its new ones are one piece, and what came between them follows.
    fn restart(&mut self, counts_anew: bool) {
        let is_saved = |stream: usize| {
            let written = &self.node.written[stream];
            self.node.begun[stream].is_empty()
                && written.iter().all(|line| self.stored_acknowledged[stream].contains(line))
        };
        let may_append = is_saved(0) && is_saved(1) && self.run.has_read_all_before(&self.node.newest());
        self.node.restart(counts_anew, may_append);
    }

    /// Whether the first lines of each stream, so many, are behind the stored positions. Of several tenants later ones may be
    /// acknowledged before them.
    fn are_saved(&self, lines: [usize; 2]) -> bool {
        (0..2).all(|stream| {
            let (written, stored) = (&self.node.written[stream], &self.stored_acknowledged[stream]);
            written.iter().take_while(|line| stored.contains(*line)).count() >= lines[stream]
        })
    }

    fn may_end(&self) -> bool {
        self.are_saved(self.owed)
    }

    fn start_again(&mut self) {
        self.run = Run::start(self.node.pods.path(), self.way, self.stored.clone(), &self.fails);
        self.acknowledged.clone_from(&self.stored_acknowledged);
    }

    /// Loki takes the lines of a batch that are not refused. Returns them, and those streams that are.
    fn deliver(&mut self, index: usize) -> ([Vec<String>; 2], Vec<StreamSlot>) {
        let pending = &self.run.pending[index];
        let mut taken = [const { Vec::new() }; 2];
        let is_refused = |stream: &BatchStream| {
            let remainder = stream.tenant.as_ref().map(|digit| digit.as_bytes()[0] % 3);
            self.refuses[stream.channel.stream as usize]
                || pending.refused.contains(&stream.channel)
                || self.refused_tenants.is_some() && self.refused_tenants == remainder
        };
        let (mut refused, mut sent) = (Vec::new(), Vec::new());
        for (slot, stream) in pending.batch.streams().iter().enumerate() {
            let slot = StreamSlot::at(slot);
            if is_refused(stream) {
                refused.push(slot);
                continue;
            }
            // One tenant in a request.
            let mut bytes = Vec::new();
            pending.batch.encode_push_request(&pending.batch.part_of([slot]), &mut bytes);
            sent.push((stream.channel.stream as usize, PushRequest::decode(&bytes[..]).unwrap()));
        }
        for (of, request) in sent {
            let entries = request.streams.iter().flat_map(|stream| &stream.entries);
            // Stages may have joined lines.
            for line in entries.flat_map(|entry| entry.line.split('\n')).map(str::to_owned) {
                if self.acknowledged[of].contains(&line) {
                    self.repeated.push(line.clone());
                }
                // Loki stores a repetition once.
                if !self.delivered[of].contains(&line) {
                    self.delivered[of].push(line.clone());
                }
                taken[of].push(line);
            }
        }
        (taken, refused)
    }

    fn end(&mut self, which: usize) {
        let Some(index) = self.run.next_to_end(which) else { return };
        let (taken, refused) = self.deliver(index);
        for (acknowledged, taken) in self.acknowledged.iter_mut().zip(taken) {
            acknowledged.extend(taken);
        }
        let Some(Pending { batch, .. }) = self.run.pending.remove(index) else { return };
        let channel = |slot: &StreamSlot| batch.streams()[slot.index()].channel;
        for channel in refused.iter().map(channel) {
            self.run.parked.insert(channel);
            for pending in &mut self.run.pending {
                pending.refused.insert(channel);
            }
        }
        self.run.done.send(FromOutput::Done { batch, refused }).unwrap();
    }

    fn try_parked(&mut self) {
        for channel in &self.run.parked {
            if !self.refuses[channel.stream as usize] && self.refused_tenants.is_none() {
                self.run.done.send(FromOutput::Taken(*channel)).unwrap();
            }
        }
    }

    fn save(&mut self) {
        self.run.tailer.snapshot();
        self.take_saved();
    }

    /// The positions that the tailer gave out last are stored.
    fn take_saved(&mut self) {
        let Some(snapshot) = self.run.snapshots.try_iter().last() else { return };
        self.stored = snapshot;
        for stream in Stream::ALL.into_iter().filter(|stream| self.run.is_acknowledged(*stream)) {
            self.stored_acknowledged[stream as usize].clone_from(&self.acknowledged[stream as usize]);
        }
    }

    fn remove(&mut self) {
        let Some(ClosedFile { name, begun }) = self.node.files.first().cloned() else { return };
        let path = self.node.path(&name);
        if !self.are_saved(begun) && !self.run.holds(&path) {
            return;
        }
        self.owed = std::array::from_fn(|stream| self.owed[stream].max(begun[stream]));
        fs::remove_file(path).unwrap();
        self.node.files.remove(0);
    }

    /// Nothing more is written, nothing fails, and Pilcrow reads and sends all that there is.
    async fn deliver_all(&mut self) {
        self.node.finish_lines();
        self.node.reopen();
        self.fails.set(false);
        self.refuses = [false; 2];
        self.refused_tenants = None;
        for _ in 0..100 {
            self.run.turn().await;
            self.run.give_out_held();
            self.run.tailer.state.lanes.seal_all();
            self.run.receive();
            while !self.run.pending.is_empty() {
                self.end(0);
            }
            self.try_parked();
            self.run.tailer.take_ended();
            self.run.receive();
            let is_done = self.is_delivered() && self.run.has_read_all();
            if is_done && self.run.parked.is_empty() && self.run.is_all_acknowledged() {
                return;
            }
        }
    }

    /// Whether every line came, those of a stream in order: lines of several tenants are several streams.
    fn is_delivered(&self) -> bool {
        let by_stream = |lines: &[Vec<String>; 2]| {
            lines.clone().map(|mut lines| {
                lines.sort_by_key(|line| if self.way == Way::Tenants { line.as_bytes()[line.len() - 2] } else { 0 });
                lines
            })
        };
        by_stream(&self.delivered) == by_stream(&self.node.written)
    }

    /// What is wrong, if anything is.
    fn check(&self) -> Result<(), String> {
        let (delivered, written) = (&self.delivered, &self.node.written);
        if !self.is_delivered() {
            return Err(format!("delivered: {delivered:?}\n  written: {written:?}"));
        }
        // A channel has one position: lines of other tenants behind the first refused one come again.
        if !self.repeated.is_empty() && self.way != Way::Tenants {
            return Err(format!("sent again without need: {:?}", self.repeated));
        }
        let batches = (QUEUE_BYTES / BATCH_BYTES) as usize;
        if self.most_batches > batches {
            return Err(format!("{} batches at a time, of {batches}", self.most_batches));
        }
        // A batch may be exceeded by its last line, or where held text is given out by the last one of each stream.
        let longest = written.iter().flatten().map(String::len).max().unwrap_or(0) + LINE_OVERHEAD;
        let lines = if self.way == Way::Held { JOINED_MAX } else { 1 };
        let bound = BATCH_BYTES as usize + 2 * lines * longest;
        if self.largest_batch > bound {
            return Err(format!("a batch of {} bytes, of {bound}", self.largest_batch));
        }
        Ok(())
    }
}

/// Lines that a stage joins at most.
const JOINED_MAX: usize = 3;

/// Bytes of a batch for a line besides its text: labels, time and lengths.
const LINE_OVERHEAD: usize = 200;

/// Does what happens, and then has Pilcrow deliver everything. Returns what is wrong then.
fn play(ops: &[Op], way: Way) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(way);
        for op in ops {
            world.act(*op).await;
        }
        world.deliver_all().await;
        world.check()?;

        // And after a last kill the same again is all that comes.
        world.act(Op::Save).await;
        world.act(Op::Kill).await;
        world.deliver_all().await;
        world.check()
    })
}

proptest! {
    // Cases that failed are in `cases`, by name. PROPTEST_CASES=5000 tries more than usual.
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, failure_persistence: None, ..config() })]

    #[test]
    fn every_line_is_delivered_in_order_whatever_is_rotated_removed_refused_and_killed(
        ops in prop::collection::vec(op(), 0..140),
        way in prop::sample::select(Way::ALL.to_vec()),
    ) {
        play(&ops, way).map_err(TestCaseError::fail)?;
    }
}

fn config() -> ProptestConfig {
    let is_asked = std::env::var_os("PROPTEST_CASES").is_some();
    if is_asked { ProptestConfig::default() } else { ProptestConfig::with_cases(128) }
}
