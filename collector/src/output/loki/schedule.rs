//! Which lines go next, and with which others.
//!
//! In: batches, the reader's message that a channel is in order again, how requests ended ([`super::outcome`]). Out: requests to
//! start, and batches that have ended. Guarantees: a stream is never in two requests at once and its lines go in order; a request
//! has one tenant, and either streams that Loki cannot refuse ([`super::certain`]) or exactly one; every slot of a batch ends once, as done or as
//! refused. Knows no HTTP and no clock: the time is an argument.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    limits::Limits,
    metrics::LokiMetrics,
    outage::Outage,
    parking::Parking,
    pieces::{Group, Live, Piece, Tries},
    size::RequestSize,
    streams::{Key, StreamId, Streams},
    tenants::Tenants,
};
use crate::{
    batch::{Batch, FromOutput, Part, StreamSlot},
    config,
    model::{ChannelId, TenantName},
    status::{Pushes, Throttle},
};

mod choosing;

/// Requests in flight at once. Enough to hide a network's round trip, where the batches have no stream in common.
pub(super) const REQUESTS_MAX: usize = 4;
/// One of them is kept for batches with several units, so that quiet containers stay on time whatever backlogs there are.
const REQUESTS_OF_SINGLE_UNITS_MAX: usize = REQUESTS_MAX - 1;

/// What the schedule takes from the configuration.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) backoff: config::Backoff,
    pub(super) timeout: Duration,
    /// After this long a refused stream's lines are dropped; `None`: never.
    pub(super) drop_refused_after: Option<Duration>,
}

/// All batches between the reader and Loki's acknowledgement.
pub(super) struct Schedule {
    pub(super) settings: Settings,
    pub(super) streams: Streams,
    pub(super) batches: VecDeque<Live>,
    pub(super) in_flight: HashMap<u64, InFlight>,
    pub(super) parking: Parking,
    pub(super) tenants: Tenants,
    pub(super) limits: Limits,
    pub(super) size: RequestSize,
    pub(super) outage: Outage,
    /// The last requests that got through: when, and their encoded bytes.
    pub(super) passed: VecDeque<(Instant, usize)>,
    /// What the reader is to be told.
    pub(super) messages: Vec<FromOutput>,
    pub(super) refused_throttle: Throttle,
    pub(super) unknown_throttle: Throttle,
    pub(super) too_large_throttle: Throttle,
    /// A published limit would help.
    pub(super) wants_limits: bool,
    pub(super) metrics: Arc<LokiMetrics>,
    /// What is told of refusals, for the status page.
    pub(super) pushes: Arc<Pushes>,
    next_id: u64,
    /// Scratch: streams of lines that wait before those looked at.
    claimed: HashSet<StreamId>,
    /// When something that waits for a time may go.
    wake_at: Option<Instant>,
}

/// A request in flight.
pub(super) struct InFlight {
    pub(super) batch: u64,
    shared: bool,
    pub(super) piece: Piece,
}

/// A request to be sent.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) request: u64,
    pub(super) tenant: TenantName,
    pub(super) batch: Arc<Batch>,
    pub(super) part: Part,
}

impl Settings {
    pub(super) fn of(config: &config::Loki) -> Self {
        let drop_refused_after = match config.refused_streams {
            config::RefusedStreams::Wait => None,
            config::RefusedStreams::DropAfter(after) => Some(after.0),
        };
        Self { backoff: config.backoff.clone(), timeout: config.timeout.0, drop_refused_after }
    }
}

impl Schedule {
    pub(super) fn new(settings: Settings, limits: Limits, metrics: Arc<LokiMetrics>, now: Instant) -> Self {
        Self {
            settings,
            streams: Streams::new(now),
            batches: VecDeque::new(),
            in_flight: HashMap::new(),
            parking: Parking::default(),
            tenants: Tenants::default(),
            limits,
            size: RequestSize::default(),
            outage: Outage::default(),
            passed: VecDeque::new(),
            messages: Vec::new(),
            refused_throttle: Throttle::new(Duration::from_secs(60)),
            unknown_throttle: Throttle::new(Duration::from_secs(60)),
            too_large_throttle: Throttle::new(super::size::REMEMBER_FOR),
            wants_limits: false,
            metrics,
            pushes: Arc::default(),
            next_id: 0,
            claimed: HashSet::new(),
            wake_at: None,
        }
    }

    /// Takes a batch from the reader.
    pub(super) fn push(&mut self, batch: Batch, now: Instant) {
        self.count_queued(&batch, 1);
        self.streams.forget_unused(now);
        let used = batch.streams().iter().filter(|stream| stream.entries > 0);
        let units: HashSet<_> = used.map(|stream| stream.channel.unit).collect();
        let mut live = Live {
            id: self.next_id(),
            shared: units.len() > 1,
            ids: vec![None; batch.streams().len()],
            fresh: Vec::new(),
            pieces: VecDeque::new(),
            in_flight: 0,
            counted: vec![false; batch.streams().len()],
            refused: vec![false; batch.streams().len()],
            refused_entries: 0,
            lost_entries: 0,
            batch: Arc::new(batch),
        };
        let mut groups: HashMap<StreamId, Group> = HashMap::new();
        for (index, stream) in live.batch.streams().iter().enumerate().filter(|(_, stream)| stream.entries > 0) {
            let key = Key { tenant: stream.tenant.clone(), labels: Arc::clone(&stream.labels) };
            let id = self.streams.acquire(key, now);
            live.ids[index] = Some(id);
            let group = groups.entry(id).or_insert_with(|| Group { stream: id, slots: Vec::new() });
            group.slots.push(StreamSlot::at(index));
        }
        live.fresh = groups.into_values().collect();
        live.fresh.sort_by_key(|group| group.slots[0]);
        self.batches.push_back(live);
        self.leave_out_parked();
        self.settle(now);
    }

    /// The reader has started again at the channel's first refused line.
    pub(super) fn unparked(&mut self, channel: ChannelId) {
        self.parking.unparked(channel);
        self.count_parked();
    }

    /// The tenant of a request that waits to be sent again.
    pub(super) fn waiting_tenant(&self) -> TenantName {
        self.tenant_of(self.batches.iter().find_map(|live| live.pieces.front())?)
    }

    /// A request has one tenant.
    pub(super) fn tenant_of(&self, piece: &Piece) -> TenantName {
        piece.shares.first().and_then(|share| self.streams[share.stream].key.tenant.clone())
    }

    /// Nothing waits and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.batches.is_empty()
    }

    /// When [`Self::next`] may have something that it had not, if nothing else happens before.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    /// The next request that may start; to be called until there is none.
    pub(super) fn next(&mut self, now: Instant) -> Option<Start> {
        self.wake_at = None;
        self.claimed.clear();
        if self.in_flight.len() >= REQUESTS_MAX {
            return None;
        }
        let of_single_units = self.in_flight.values().filter(|request| !request.shared).count();
        let mut index = 0;
        while index < self.batches.len() {
            let may_start = self.batches[index].shared || of_single_units < REQUESTS_OF_SINGLE_UNITS_MAX;
            let Some(choice) = self.choose(index, may_start, now) else {
                index += 1;
                continue;
            };
            let piece = self.take(index, choice, now);
            match self.divided(index, &piece, now) {
                None => return Some(self.start(index, piece, now)),
                Some(parts) => self.put_back(index, parts, &piece.tries),
            }
        }
        // Streams may have been parked for their rate.
        self.settle(now);
        None
    }

    /// Parts of a piece that go one after the other, before all that waits.
    pub(super) fn put_back(&mut self, index: usize, parts: Vec<Part>, tries: &Tries) {
        let live = &mut self.batches[index];
        for part in parts.into_iter().rev() {
            let shares = live.shares(&part);
            live.pieces.push_front(Piece { part, shares, tries: tries.clone() });
        }
    }

    fn start(&mut self, index: usize, mut piece: Piece, now: Instant) -> Start {
        piece.tries.started = now;
        let limit = self.limits.in_force();
        for share in &piece.shares {
            let stream = &mut self.streams[share.stream];
            stream.in_flight = true;
            stream.bucket.take(share.counted);
            stream.certainty.sent(share.lines.bytes, now);
            if stream.bucket.is_half_used(limit) && self.limits.should_ask(now) {
                self.wants_limits = true;
            }
        }
        let request = self.next_id();
        let tenant = self.tenant_of(&piece);
        let live = &mut self.batches[index];
        live.in_flight += 1;
        let start = Start { request, tenant, batch: Arc::clone(&live.batch), part: piece.part.clone() };
        self.in_flight.insert(request, InFlight { batch: live.id, shared: live.shared, piece });
        start
    }

    /// Ends the batches of which nothing is left.
    pub(super) fn settle(&mut self, now: Instant) {
        let is_left = |live: &Live| live.in_flight > 0 || !live.fresh.is_empty() || !live.pieces.is_empty();
        let mut index = 0;
        while let Some(live) = self.batches.get(index) {
            if is_left(live) {
                index += 1;
            } else if let Some(live) = self.batches.remove(index) {
                self.end(live, now);
            }
        }
    }

    fn end(&mut self, live: Live, now: Instant) {
        live.ids.iter().flatten().for_each(|id| self.streams.release(*id, now));
        // What makes a body of it drops its reference before the request ends.
        let Some(batch) = Arc::into_inner(live.batch) else {
            tracing::error!(
                "a batch is still in use after its last request has ended; please report this bug of Pilcrow"
            );
            return;
        };
        self.count_queued(&batch, -1);
        self.count_acknowledged(&batch, live.lost_entries + live.refused_entries);
        let refused = (0..live.refused.len()).filter(|slot| live.refused[*slot]).map(StreamSlot::at).collect();
        self.messages.push(FromOutput::Done { batch, refused });
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The queue's gauges: from the hand-over to the end.
    fn count_queued(&self, batch: &Batch, sign: i64) {
        self.metrics.queue_batches.inc_by(sign);
        self.metrics.queue_bytes.inc_by(sign * batch.encoded_bytes() as i64);
    }

    fn count_acknowledged(&self, batch: &Batch, others: u64) {
        let lines = batch.entries().saturating_sub(others);
        self.metrics.acknowledged_lines.inc_by(lines);
        // Which of the lines Loki refused is not always known: they count as average ones.
        let bytes = match others {
            0 => batch.text_bytes(),
            _ => (u128::from(batch.text_bytes()) * u128::from(lines) / u128::from(batch.entries().max(1))) as u64,
        };
        self.metrics.acknowledged_bytes.inc_by(bytes);
    }
}

/// The earlier of the two.
pub(super) fn note(wake_at: &mut Option<Instant>, at: Instant) {
    *wake_at = Some(wake_at.map_or(at, |known| known.min(at)));
}

#[cfg(test)]
mod tests;
