//! One run of Pilcrow: the real tailer, and the batches that it handed over.

use std::{
    cell::Cell,
    collections::{HashSet, VecDeque},
    fs::File,
    os::fd::BorrowedFd,
    path::Path,
    rc::Rc,
};

use super::super::{
    chain::Source,
    read::{PreadReader, Wanted},
    rig::{self, Ends},
    *,
};
use crate::{
    batch::Batch,
    checkpoint,
    compiled::Compiled,
    config::{ByteSize, HumanDuration},
    model::{ChannelId, FileKey, Stream},
};

/// Smaller than a user may have them, so that a few lines fill them.
pub const BATCH_BYTES: u64 = 200;
pub const QUEUE_BYTES: u64 = 1200;

/// What lines go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    NoStages,
    /// The last digit of a line is its tenant.
    Tenants,
    /// Some lines are dropped, others joined and held back until then.
    Held,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::NoStages, Self::Tenants, Self::Held];

    fn stages(self) -> &'static str {
        match self {
            Self::NoStages => "",
            Self::Tenants => TENANTS,
            Self::Held => HELD,
        }
    }
}

const HELD: &str = r"
pipeline_stages: [{drop: {expression: '[37]]$'}}, {multiline: {firstline: '[0258]]$', max_wait_time: 1h, max_lines: 3}}]";

const TENANTS: &str = r"pipeline_stages: [{regex: {expression: '(?P<digit>\d)]$'}}, {tenant: {source: digit}}]";

/// Reads as pread does, unless the disk fails.
pub struct FailingReader {
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
pub struct Pending {
    pub batch: Batch,
    /// Channels that were parked when it came, or since.
    pub refused: HashSet<ChannelId>,
}

/// One run of Pilcrow.
pub struct Run {
    pub tailer: Tailer<FailingReader>,
    sealed: crossbeam_channel::Receiver<ToOutput>,
    pub done: crossbeam_channel::Sender<FromOutput>,
    pub snapshots: crossbeam_channel::Receiver<Snapshot>,
    pub pending: VecDeque<Pending>,
    pub parked: HashSet<ChannelId>,
}

impl Run {
    pub fn start(pods: &Path, way: Way, saved: Snapshot, fails: &Rc<Cell<bool>>) -> Self {
        let mut compiled = Compiled::parse(way.stages(), &|_| None).unwrap();
        compiled.config.paths.pods = pods.into();
        compiled.config.loki.batch.bytes = ByteSize(BATCH_BYTES);
        compiled.config.memory.queue = ByteSize(QUEUE_BYTES);
        compiled.config.shutdown.deadline = HumanDuration(Duration::ZERO);
        let saved = checkpoint::decode(&checkpoint::encode(&saved)).unwrap();
        let reader = FailingReader { inner: PreadReader::new(), fails: Rc::clone(fails) };
        let (tailer, ends) = rig::tailer(compiled, saved.into(), reader);
        let Ends { sealed, done, snapshots, .. } = ends;
        // This thread may have drained before.
        apart::wait_until(Instant::now() + Duration::from_secs(3600));
        let mut run = Self { tailer, sealed, done, snapshots, pending: VecDeque::new(), parked: HashSet::new() };
        run.look();
        run
    }

    fn look(&mut self) {
        self.tailer.state.due.rescan = Instant::now();
        self.tailer.follow_folders();
    }

    pub async fn turn(&mut self) {
        self.look();
        self.tailer.state.due.sweep = Instant::now();
        self.tailer.sweep_if_due().unwrap();
        self.tailer.state.queue_all();
        self.tailer.turn().await;
        self.receive();
    }

    /// Containers fall silent: what stages hold back is given out.
    pub fn give_out_held(&mut self) {
        let state = &mut self.tailer.state;
        let held: Vec<_> = state.units.iter().filter(|unit| unit.due_ns().is_some()).map(|unit| unit.id).collect();
        for id in held {
            state.release_all(id);
        }
    }

    /// Takes what the tailer sent, in its order.
    pub fn receive(&mut self) {
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
    pub fn next_to_end(&self, which: usize) -> Option<usize> {
        let labels = |pending: &Pending| {
            pending
                .batch
                .streams()
                .iter()
                .map(|stream| (stream.tenant.clone(), Arc::clone(&stream.labels)))
                .collect::<HashSet<_>>()
        };
        let may_end = |index: &usize| {
            let own = labels(&self.pending[*index]);
            self.pending.range(..*index).all(|before| labels(before).is_disjoint(&own))
        };
        let all: Vec<_> = (0..self.pending.len()).filter(may_end).collect();
        (!all.is_empty()).then(|| all[which % all.len()])
    }

    /// Whether nothing that was read is anywhere but in Loki.
    pub fn is_all_acknowledged(&self) -> bool {
        Stream::ALL.iter().all(|stream| self.is_acknowledged(*stream))
    }

    /// Whether all that was read of a stream is acknowledged.
    pub fn is_acknowledged(&self, stream: Stream) -> bool {
        let unacknowledged = self.tailer.state.lanes.unacknowledged();
        self.tailer.state.units.iter().all(|unit| unit.next(&unacknowledged)[stream as usize].is_none())
    }

    /// Whether nothing more is to be read: lines that stages drop are never delivered.
    pub fn has_read_all(&self) -> bool {
        let mut units = self.tailer.state.units.iter();
        units.all(|unit| match unit.chain.current() {
            Some(index) => !unit.chain.is_superseded(index) && unit.chain.files()[index].unread_bytes() == 0,
            None => true,
        })
    }

    /// Whether all files were read to their end but the newest one, and that is known.
    pub fn has_read_all_before(&self, newest: &Path) -> bool {
        let mut units = self.tailer.state.units.iter().peekable();
        units.peek().is_some()
            && units.all(|unit| match unit.chain.files() {
                [before @ .., last] => last.path() == newest && before.iter().all(|file| file.progress().has_ended()),
                [] => false,
            })
    }

    /// Whether the file at `path` is open.
    pub fn holds(&self, path: &Path) -> bool {
        let key = FileKey::of(&rustix::fs::stat(path).unwrap());
        let mut files = self.tailer.state.units.iter().flat_map(|unit| unit.chain.files());
        files.any(|file| matches!(file.source(), Source::Slot(_) | Source::Gzip(_)) && file.listed_key() == key)
    }

    /// Bytes of each batch that is being filled or did not come back.
    pub fn batch_bytes(&self) -> impl Iterator<Item = usize> {
        let pending = self.pending.iter().map(|pending| &pending.batch);
        self.tailer.state.lanes.open_batches().chain(pending).map(Batch::encoded_bytes)
    }
}
