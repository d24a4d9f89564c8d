//! The batches that are being filled, and the bound of all of them together.
//!
//! In: requests for a batch to append to, batches that came back. Out: sealed batches to the output. There are never more
//! batches than `memory.queue` has room for, and none exceeds its size by more than the last record. Quiet units share one
//! batch; a unit with a backlog has batches of its own, so that similar lines lie in one compression window and a busy stream does
//! not delay the others. Knows no files.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use tokio::sync::Notify;

use super::{Batch, Ledger, ToOutput};
use crate::{
    config::Config,
    model::{ChannelId, TenantName, UnitId},
};

/// At least this many batches exist: one to be filled while another is in flight, and one for quiet units.
const BATCHES_MIN: usize = 3;

/// Batches of one unit at a time: one in flight, one behind it, one that is filled. A stream's requests are sent one at a time, so
/// that more would only wait.
const OWN_MAX: usize = 3;

/// How many batches there may be, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchBudget {
    pub count: usize,
    /// A batch is full at this many encoded bytes.
    pub bytes: usize,
}

impl BatchBudget {
    /// What the configuration allows.
    pub fn of(config: &Config) -> Self {
        let bytes = config.loki.batch.bytes.0.max(1);
        let to_usize = |number| usize::try_from(number).unwrap_or(usize::MAX);
        Self { count: to_usize(config.memory.queue.0 / bytes).max(BATCHES_MIN), bytes: to_usize(bytes) }
    }
}

/// Which batch a unit's lines go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The batch that quiet units share.
    Shared,
    /// A batch of the unit's own.
    Own(UnitId),
}

/// A batch that is being filled.
#[derive(Debug)]
struct Open {
    lane: Lane,
    batch: Batch,
    since: Instant,
}

/// Whose lines a sealed batch has.
#[derive(Debug)]
struct Own {
    unit: UnitId,
    /// Of its first line.
    tenant: TenantName,
}

/// See the module.
#[derive(Debug)]
pub struct Lanes {
    budget: BatchBudget,
    age: Duration,
    free: Vec<Batch>,
    open: Vec<Open>,
    /// Own batches that are sealed and have not come back, by their generation.
    own: HashMap<u64, Own>,
    /// The tenant of the first line, and whether lines of another one came.
    first_tenant: Option<TenantName>,
    several_tenants: bool,
    ledger: Ledger,
    generation: u64,
    sealed: Sender<ToOutput>,
    sealed_notify: Arc<Notify>,
}

impl Lanes {
    /// All batches are free.
    pub fn new(config: &Config, sealed: Sender<ToOutput>, sealed_notify: Arc<Notify>) -> Self {
        let budget = BatchBudget::of(config);
        Self {
            budget,
            age: config.loki.batch.age.0,
            free: (0..budget.count).map(|_| Batch::new(0)).collect(),
            open: Vec::new(),
            own: HashMap::new(),
            first_tenant: None,
            several_tenants: false,
            ledger: Ledger::default(),
            generation: 0,
            sealed,
            sealed_notify,
        }
    }

    /// A batch is full at this many encoded bytes.
    pub fn batch_bytes(&self) -> usize {
        self.budget.bytes
    }

    /// Whether a unit whose last lines were of `tenants` may go on: [`Self::open`] would return a batch, and a tenant that is
    /// slowed down by Loki holds no more than half of them.
    pub fn has_room<'t>(&self, lane: Lane, tenants: impl Iterator<Item = &'t TenantName>) -> bool {
        let open = self.open.iter().find(|open| open.lane == lane);
        let full = open.is_none_or(|open| open.batch.encoded_bytes() >= self.budget.bytes);
        !full || self.may_take(lane) && (lane == Lane::Shared || self.have_room(tenants))
    }

    fn have_room<'t>(&self, mut tenants: impl Iterator<Item = &'t TenantName>) -> bool {
        let held = |tenant: &TenantName| self.own.values().filter(|own| own.tenant == *tenant).count();
        !self.several_tenants || tenants.all(|tenant| held(tenant) < (self.budget.count / 2).max(1))
    }

    /// Whether a free batch may be taken for this lane: the last one is for the quiet units.
    fn may_take(&self, lane: Lane) -> bool {
        match lane {
            Lane::Shared => !self.free.is_empty(),
            Lane::Own(unit) => {
                let shared_is_open = self.open.iter().any(|open| open.lane == Lane::Shared);
                let of_unit = self.own.values().filter(|own| own.unit == unit).count();
                self.free.len() > usize::from(!shared_is_open) && of_unit < OWN_MAX
            }
        }
    }

    /// The batch of a lane with room for one more record; `None`: the bound is reached until a batch comes back.
    pub fn open(&mut self, lane: Lane, now: Instant) -> Option<&mut Batch> {
        if let Some(index) = self.open.iter().position(|open| open.lane == lane) {
            if self.open[index].batch.encoded_bytes() < self.budget.bytes {
                return Some(&mut self.open[index].batch);
            }
            self.seal_at(index);
        }
        if let Lane::Own(unit) = lane {
            self.seal_shared_lines_of(unit);
        }
        if !self.may_take(lane) {
            return None;
        }
        let mut batch = self.free.pop()?;
        self.generation += 1;
        batch.clear(self.generation);
        self.open.push(Open { lane, batch, since: now });
        self.open.last_mut().map(|open| &mut open.batch)
    }

    /// What was read of a unit before must be sent before what goes into a batch of its own.
    fn seal_shared_lines_of(&mut self, unit: UnitId) {
        let holds = |open: &Open| {
            open.lane == Lane::Shared && open.batch.streams().iter().any(|stream| stream.channel.unit == unit)
        };
        if let Some(index) = self.open.iter().position(holds) {
            self.seal_at(index);
        }
    }

    /// Whether a unit has batches of its own, open or in flight.
    pub fn has_own(&self, unit: UnitId) -> bool {
        self.own.values().any(|own| own.unit == unit) || self.open.iter().any(|open| open.lane == Lane::Own(unit))
    }

    /// When the oldest open batch with lines reaches `loki.batch.age`. `grown_since`: when the growth was detected that the shared
    /// batch waits for.
    pub fn seal_due(&self, grown_since: Option<Instant>) -> Option<Instant> {
        let since = |open: &Open| match open.lane {
            Lane::Shared => grown_since.map_or(open.since, |grown| grown.min(open.since)),
            Lane::Own(_) => open.since,
        };
        self.open.iter().filter(|open| !open.batch.is_empty()).map(|open| since(open) + self.age).min()
    }

    /// Seals batches that are full or have reached their age. Returns whether no shared batch is open afterwards.
    pub fn seal_if_due(&mut self, now: Instant, grown_since: Option<Instant>) -> bool {
        for index in (0..self.open.len()).rev() {
            let open = &self.open[index];
            let since = match open.lane {
                Lane::Shared => grown_since.map_or(open.since, |grown| grown.min(open.since)),
                Lane::Own(_) => open.since,
            };
            let is_full = open.batch.encoded_bytes() >= self.budget.bytes;
            if is_full || open.batch.is_empty() || since + self.age <= now {
                self.seal_at(index);
            }
        }
        !self.open.iter().any(|open| open.lane == Lane::Shared)
    }

    /// Seals every open batch.
    pub fn seal_all(&mut self) {
        while !self.open.is_empty() {
            self.seal_at(self.open.len() - 1);
        }
    }

    /// Seals every open batch with lines of this unit.
    pub fn seal_lines_of(&mut self, unit: UnitId) {
        for index in (0..self.open.len()).rev() {
            if self.open[index].batch.streams().iter().any(|stream| stream.channel.unit == unit) {
                self.seal_at(index);
            }
        }
    }

    fn seal_at(&mut self, index: usize) {
        let Open { lane, batch, .. } = self.open.swap_remove(index);
        if batch.is_empty() {
            self.free.push(batch);
            return;
        }
        self.ledger.seal(&batch);
        for stream in batch.streams() {
            let first = self.first_tenant.get_or_insert_with(|| stream.tenant.clone());
            self.several_tenants |= *first != stream.tenant;
        }
        if let Lane::Own(unit) = lane {
            let tenant = batch.streams().first().and_then(|stream| stream.tenant.clone());
            self.own.insert(batch.generation(), Own { unit, tenant });
        }
        self.send(ToOutput::Batch(batch));
    }

    /// Tells the output that the unit was rewound to the first refused line of this channel.
    pub fn unpark(&mut self, channel: ChannelId) {
        self.send(ToOutput::Unparked(channel));
    }

    fn send(&self, message: ToOutput) {
        // Where the output is gone the program ends, and the lines are read again after the next start.
        if self.sealed.send(message).is_err() {
            tracing::debug!("the output has ended");
        }
        self.sealed_notify.notify_one();
    }

    /// Takes back a batch that has ended.
    pub fn take_back(&mut self, mut batch: Batch) {
        self.own.remove(&batch.generation());
        batch.clear(0);
        self.free.push(batch);
    }

    /// Which positions are not acknowledged.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// As [`Self::ledger`].
    pub fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// The smallest position of each channel with lines in a live batch.
    pub fn unacknowledged(&self) -> HashMap<ChannelId, crate::model::Position> {
        self.ledger.unacknowledged(self.open.iter().map(|open| &open.batch))
    }

    /// Whether a live batch has lines of this unit.
    pub fn holds(&self, unit: UnitId) -> bool {
        let is_open = |open: &Open| open.batch.streams().iter().any(|stream| stream.channel.unit == unit);
        self.ledger.holds(unit) || self.open.iter().any(is_open)
    }

    /// Batches that are sealed and have not come back.
    pub fn in_flight(&self) -> usize {
        self.budget.count - self.free.len() - self.open.len()
    }

    /// Frees the memory of batches that are not in use.
    pub fn release_spare(&mut self) {
        self.free.iter_mut().for_each(Batch::release_spare);
    }

    /// The batches that are being filled.
    #[cfg(test)]
    pub fn open_batches(&self) -> impl Iterator<Item = &Batch> {
        self.open.iter().map(|open| &open.batch)
    }

    /// Bytes of memory for entries, used or not.
    #[cfg(test)]
    pub fn reserved_bytes(&self) -> usize {
        self.free.iter().map(Batch::reserved_bytes).sum()
    }
}
