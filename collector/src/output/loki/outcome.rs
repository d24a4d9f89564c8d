//! What a request's end means for its lines and for those that wait.
//!
//! In: verdicts. Out: lines that are done with, wait for another attempt, go in parts, are parked, or are given up and counted.
//! Lines are given up only where Loki refuses them for good, or refuses them while it takes others.

use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::{
    answer::{Obstacle, Pace, Place, StreamLimit, StreamRefusal, Unknown, Verdict, first_line},
    backoff::Backoff,
    parking::{reason_of, told},
    pieces::{Piece, Share, Tries},
    refusal::Refusal,
    schedule::{InFlight, Schedule},
    size::SLOW_BYTES_MIN,
    streams::StreamId,
};
use crate::batch::Part;

/// A stream is parked after this many refusals of requests with it alone.
const PARK_AFTER: u32 = 3;
/// A request with several streams is halved after this many failures while others pass.
const HALVE_AFTER: u32 = 2;
/// A request is halved after this many 400s that explain nothing.
const HALVE_UNKNOWN_AFTER: u32 = 3;
/// A request is halved after this many 429s: one that holds more than Loki takes at once (`ingestion_burst_size_mb`) would be
/// refused for ever.
const HALVE_AFTER_SLOWDOWNS: u32 = 5;
/// A request is halved after this many failures while probes, which have no lines, pass.
const HALVE_AFTER_PROBES: u32 = 5;
/// A smaller request, in encoded bytes, is not halved for that: many small ones are no help against a limit.
const HALVE_BYTES_MIN: usize = 32 << 10;
/// A single line of this many encoded bytes may be more than a server takes; a smaller one is not given up for that.
pub(super) const LARGE_LINE_BYTES: usize = 16 << 10;
/// What got through so long before a failure tells that Loki was there.
const LATELY: Duration = Duration::from_secs(30);
/// How many requests that got through are remembered.
const PASSED_MAX: usize = 8;
/// After an outage of this length without a connection Loki may have restarted and forgotten its streams.
const RESTART_TAKES: Duration = Duration::from_secs(2);

impl Schedule {
    /// A request has ended, `took` after its start.
    pub(super) fn finished(&mut self, request: u64, verdict: Verdict, took: Duration, now: Instant) {
        let Some(InFlight { batch, piece, .. }) = self.in_flight.remove(&request) else { return };
        // Everything else may have been stored, in part at least: a connection that broke, an answer 500.
        let is_not_stored = matches!(
            verdict,
            Verdict::TooLarge
                | Verdict::Unknown(_)
                | Verdict::Again(Obstacle { place: Place::Answer, pace: Pace::Slower, .. })
        );
        for share in &piece.shares {
            let stream = &mut self.streams[share.stream];
            stream.in_flight = false;
            if is_not_stored {
                stream.bucket.give_back(share.counted);
            }
        }
        let Some(index) = self.batches.iter().position(|live| live.id == batch) else { return };
        self.batches[index].in_flight -= 1;
        match verdict {
            Verdict::Accepted => self.accepted(&piece, took, now),
            Verdict::Refused(refusal) => {
                self.batches[index].lost_entries += refusal.entries();
                self.count_refused(&refusal);
                self.got_through(&piece, now);
            }
            Verdict::TooLarge => self.too_large(index, piece, now),
            Verdict::StreamRefused(refusal) => self.stream_refused(index, piece, &refusal, now),
            Verdict::Unknown(unknown) => self.unknown(index, piece, &unknown, now),
            Verdict::Again(obstacle) => self.again(index, piece, &obstacle, now),
        }
        self.leave_out_parked();
        self.settle(now);
    }

    /// Loki answers again, though perhaps not yet to lines: what waits for it is retried at once.
    pub(super) fn reached(&mut self, now: Instant) {
        self.note_passed(0, now);
        for piece in self.batches.iter_mut().flat_map(|live| &mut live.pieces).filter(|piece| piece.tries.wakes) {
            piece.tries.due = None;
        }
        self.hasten_trials(now);
    }

    fn accepted(&mut self, piece: &Piece, took: Duration, now: Instant) {
        for share in &piece.shares {
            let stream = &mut self.streams[share.stream];
            stream.certainty.acknowledged(&share.lines, &self.tenants.of(&stream.key.tenant), now);
            stream.begins_small = false;
            if std::mem::take(&mut stream.dropping) {
                info!("Loki accepts the stream {} again", stream.key);
            }
        }
        let bytes = piece.part.encoded_bytes();
        self.size.accepted(bytes);
        self.size.passed(bytes, took, self.settings.timeout, now);
        let Tries { first_failure: since, part_of_failed, .. } = piece.tries;
        if let Some((failed, since)) = part_of_failed.zip(since) {
            // Where another one nearly as large passed, the cause was a line and not the size.
            let is_for_size = self.passed.iter().all(|(at, other)| *at <= since || *other < failed / 4 * 3);
            if is_for_size {
                self.size.failed(failed, now);
            }
        }
        self.got_through(piece, now);
    }

    /// Loki took a request.
    fn got_through(&mut self, piece: &Piece, now: Instant) {
        let tenant = self.tenant_of(piece);
        self.note_passed(piece.part.encoded_bytes(), now);
        self.tenants.note_passed(&tenant, now);
        let mut is_for_all = false;
        let waited = || self.batches.iter().map(|live| live.batch.entries()).sum();
        if let Some(ended) = self.outage.end(waited, now) {
            is_for_all = ended.without_connection;
            if ended.without_connection && ended.duration >= RESTART_TAKES {
                self.tenants.epoch += 1;
            }
            self.hasten_trials(now);
        }
        // A pause after the last attempt, or each success of others would retry what Loki refuses for its own content.
        let pause = self.settings.backoff.min.0 * 2;
        let streams = &self.streams;
        // What one tenant may send says nothing of what another may.
        let is_concerned = |piece: &&mut Piece| {
            let is_same = |share: &Share| streams[share.stream].key.tenant == tenant;
            piece.tries.wakes && (is_for_all || piece.shares.first().is_some_and(is_same))
        };
        for piece in self.batches.iter_mut().flat_map(|live| &mut live.pieces).filter(is_concerned) {
            if let Some(due) = &mut piece.tries.due {
                *due = (*due).min(now.max(piece.tries.started + pause));
            }
        }
    }

    fn note_passed(&mut self, bytes: usize, now: Instant) {
        if self.passed.len() >= PASSED_MAX {
            self.passed.pop_front();
        }
        self.passed.push_back((now, bytes));
    }

    /// Whether Loki refuses lines, and took no others since.
    pub(super) fn refuses_all(&self) -> bool {
        let passed = |since| self.passed.iter().any(|(at, bytes)| *at > since && *bytes > 0);
        self.parking.refused_since().is_some_and(|since| !passed(since))
    }

    /// Whether Loki took lines or a probe after that time.
    fn is_reached(&self, since: Instant) -> bool {
        self.passed.iter().any(|(at, _)| *at > since)
    }

    /// Whether Loki took other lines of the same tenant after that time.
    fn others_pass(&self, piece: &Piece, since: Instant) -> bool {
        self.tenants.passes(&self.tenant_of(piece), since)
    }

    fn too_large(&mut self, index: usize, mut piece: Piece, now: Instant) {
        let since = *piece.tries.first_failure.get_or_insert(piece.tries.started);
        let bytes = piece.part.encoded_bytes();
        if self.goes_in_halves(index, &piece, now, |_| ()) {
            self.size.refused(bytes, now);
            if self.too_large_throttle.permit_at(now).is_some() {
                warn!(
                    "a push request of {bytes} bytes (before compression) is too large for Loki or for a proxy before it; it \
                     is sent in parts. To avoid the detour, set loki.batch.bytes lower or the receiver's limit higher"
                );
            }
            return;
        }
        let text = format!("a single line of {bytes} bytes is too large for Loki");
        if bytes >= LARGE_LINE_BYTES {
            return self.give_up(index, &piece.part, "too_large", &text);
        }
        if self.others_pass(&piece, since) && !self.streams[piece.shares[0].stream].dropping {
            return self.park(index, &piece, "too_large", &text, now);
        }
        // No server has so low a limit: something is wrong with it, or on the way to it.
        let obstacle = Obstacle {
            summary: "Loki answers 413 Content Too Large".into(),
            detail: format!("even to a request of {bytes} bytes"),
            advice: Some("look at the limits of a proxy before Loki".into()),
            pace: Pace::Fix,
            place: Place::Answer,
            retry_after: None,
        };
        self.outage.note(&obstacle, now);
        self.wait(index, piece, &obstacle, now);
    }

    fn stream_refused(&mut self, index: usize, mut piece: Piece, refusal: &StreamRefusal, now: Instant) {
        if refusal.limit == StreamLimit::Streams {
            let tenant = self.tenant_of(&piece);
            self.tenants.note_tight(&tenant, now);
        }
        let [share] = &piece.shares[..] else {
            // At least one of them is refused; the answer reports only the last. Each goes alone.
            for share in &piece.shares {
                self.streams[share.stream].certainty.doubt();
            }
            self.batches[index].make_fresh(&piece.part);
            return;
        };
        let limit = self.limits.in_force();
        let stream = &mut self.streams[share.stream];
        stream.certainty.doubt();
        if let StreamLimit::Rate(named) = refusal.limit {
            stream.bucket.refused(named, limit, now);
        }
        let reason = refusal.limit.reason();
        if stream.dropping {
            return self.give_up(index, &piece.part, reason, &format!("Loki refuses a stream: {}", refusal.text));
        }
        piece.tries.refused += 1;
        if piece.tries.refused >= PARK_AFTER {
            return self.park(index, &piece, reason, &refusal.text, now);
        }
        piece.tries.wakes = false;
        piece.tries.due = Some(now + piece.tries.backoff.next(None));
        self.batches[index].pieces.push_front(piece);
    }

    /// A 400 that Loki's texts do not explain may come from something on the way and pass. What stays is narrowed down to the line.
    fn unknown(&mut self, index: usize, mut piece: Piece, unknown: &Unknown, now: Instant) {
        let since = *piece.tries.first_failure.get_or_insert(piece.tries.started);
        let others_pass = self.others_pass(&piece, since);
        piece.tries.unknown += 1;
        if piece.tries.unknown >= HALVE_UNKNOWN_AFTER {
            if self.goes_in_halves(index, &piece, now, |tries| tries.unknown = HALVE_UNKNOWN_AFTER - 1) {
                return;
            }
            if others_pass {
                if self.unknown_throttle.permit_at(now).is_some() {
                    error!(
                        "Loki does not accept a line ({}); it is dropped. If it is not plainly wrong, this is a bug of Pilcrow \
                         or of something on the way to Loki: please report it",
                        unknown.text
                    );
                }
                return self.give_up(index, &piece.part, unknown.reason, &unknown.text);
            }
            if self.tenants.others_pass(&self.tenant_of(&piece), since) {
                return self.refuse_tenant(index, &piece, &unknown.text, now);
            }
        }
        let obstacle = Obstacle {
            summary: "Loki answers 400 Bad Request".into(),
            detail: unknown.text.clone(),
            advice: None,
            pace: Pace::Soon,
            place: Place::Answer,
            retry_after: None,
        };
        self.outage.note(&obstacle, now);
        if piece.tries.unknown >= HALVE_UNKNOWN_AFTER {
            // Nothing shows yet that the line is the cause.
            self.outage.wants_probe(now);
        }
        self.wait(index, piece, &obstacle, now);
    }

    fn again(&mut self, index: usize, mut piece: Piece, obstacle: &Obstacle, now: Instant) {
        let since = *piece.tries.first_failure.get_or_insert(piece.tries.started);
        piece.tries.attempts += 1;
        let others_pass = self.others_pass(&piece, since);
        // A limit, a ban or a wrong name of one tenant is no outage: after a few quick attempts it is known whether others pass.
        let (tenant, is_answer) = (self.tenant_of(&piece), obstacle.place == Place::Answer);
        let other_tenants_pass = is_answer && self.tenants.others_pass(&tenant, since);
        let lately = since.checked_sub(LATELY).unwrap_or(since);
        let may_be_of_tenant = other_tenants_pass
            || is_answer && piece.tries.attempts <= PARK_AFTER && self.tenants.others_pass(&tenant, lately);
        if !may_be_of_tenant {
            self.outage.note(obstacle, now);
        }
        if let Place::Timeout { all_sent } = obstacle.place
            && self.halves_after_timeout(&piece, all_sent)
            && self.goes_in_halves(index, &piece, now, |tries| tries.first_failure = None)
        {
            return self.size.timed_out(piece.part.encoded_bytes());
        }
        // Lines of other tenants must not wait with it in the same batch, nor in the queue.
        let delays_others = !others_pass || obstacle.pace == Pace::Slower && self.batches[index].shared;
        if other_tenants_pass && piece.tries.attempts >= HALVE_AFTER && delays_others {
            return self.refuse_tenant(index, &piece, &told(obstacle), now);
        }
        if may_be_of_tenant && !others_pass {
            return self.wait(index, piece, &Obstacle { pace: Pace::Soon, ..obstacle.clone() }, now);
        }
        if self.isolates(index, &piece, obstacle, others_pass, now) {
            return;
        }
        if obstacle.pace == Pace::Slower {
            piece.tries.slowdowns += 1;
            if piece.tries.slowdowns >= HALVE_AFTER_SLOWDOWNS
                && piece.part.encoded_bytes() >= HALVE_BYTES_MIN
                && self.goes_in_halves(index, &piece, now, |_| ())
            {
                return;
            }
        }
        self.wait(index, piece, obstacle, now);
    }

    /// Takes a request that fails while something else passes apart from the others, where it was tried often enough: its streams
    /// from each other, then its lines, then it is parked. Returns whether it was.
    fn isolates(&mut self, index: usize, piece: &Piece, obstacle: &Obstacle, others_pass: bool, now: Instant) -> bool {
        let since = piece.tries.first_failure.unwrap_or(piece.tries.started);
        let attempts = piece.tries.attempts;
        let (may_be_cause, park_after) = match obstacle.pace {
            // Something on the way may break each connection that has a certain line on it; a probe without lines tells.
            Pace::Soon if obstacle.place == Place::Connection => (self.is_reached(since), PARK_AFTER),
            Pace::Soon => (others_pass, PARK_AFTER),
            // A firewall for web pages may dislike one line: the others must not wait for it, and only halves tell which.
            Pace::Fix => (obstacle.place == Place::Answer, HALVE_AFTER),
            Pace::Slower => return false,
        };
        let halve_after = match &piece.shares[..] {
            [share] if may_be_cause && others_pass && attempts >= park_after => {
                return self.isolates_stream(index, piece, share.stream, park_after, obstacle, now);
            }
            [_] if self.is_reached(since) && piece.part.encoded_bytes() > SLOW_BYTES_MIN => HALVE_AFTER_PROBES,
            [_, _, ..] if may_be_cause => HALVE_AFTER,
            _ => return false,
        };
        attempts >= halve_after && self.goes_in_halves(index, piece, now, |tries| tries.attempts = halve_after - 1)
    }

    /// Of a request with one stream: perhaps it is too large for something on the way, or one of its lines is the cause.
    fn isolates_stream(
        &mut self,
        index: usize,
        piece: &Piece,
        stream: StreamId,
        park_after: u32,
        obstacle: &Obstacle,
        now: Instant,
    ) -> bool {
        let part_of_failed = Some(piece.part.encoded_bytes());
        let is_halved = self.goes_in_halves(index, piece, now, |tries| {
            (tries.attempts, tries.part_of_failed) = (park_after - 1, part_of_failed);
        });
        if is_halved {
            return true;
        }
        match (self.streams[stream].dropping, obstacle.pace) {
            (false, _) => self.park_failing(index, piece, obstacle, now),
            (true, Pace::Soon) => self.give_up(index, &piece.part, reason_of(obstacle), &told(obstacle)),
            (true, _) => return false,
        }
        true
    }

    /// Loki refuses a tenant's lines while it takes those of others.
    fn refuse_tenant(&mut self, index: usize, piece: &Piece, text: &str, now: Instant) {
        match piece.shares.iter().all(|share| self.streams[share.stream].dropping) {
            true => self.give_up(index, &piece.part, "tenant", text),
            false => self.park(index, piece, "tenant", text, now),
        }
    }

    /// Whether a request timed out because of its size, and not because Loki is down.
    fn halves_after_timeout(&self, piece: &Piece, all_sent: bool) -> bool {
        let bytes = piece.part.encoded_bytes();
        let smaller_passed = self.passed.iter().any(|(at, other)| *at > piece.tries.started && *other < bytes);
        bytes > SLOW_BYTES_MIN && (all_sent || smaller_passed)
    }

    fn wait(&mut self, index: usize, mut piece: Piece, obstacle: &Obstacle, now: Instant) {
        let backoff = &mut piece.tries.backoff;
        let wait = match obstacle.pace {
            Pace::Soon | Pace::Slower => backoff.next(obstacle.retry_after),
            Pace::Fix => backoff.next_slow(obstacle.retry_after),
        };
        piece.tries.due = Some(now + wait);
        piece.tries.wakes = true;
        self.batches[index].pieces.push_front(piece);
    }

    /// Puts back a request as two halves; `set` says what counts for them as tried, so that a half can be tried once before it is
    /// halved. `false`: it is a single line.
    fn goes_in_halves(&mut self, index: usize, piece: &Piece, now: Instant, set: impl FnOnce(&mut Tries)) -> bool {
        let Some((first, second)) = self.batches[index].batch.halve(&piece.part) else { return false };
        let mut tries = piece.tries.of_part(Backoff::new(&self.settings.backoff), now);
        set(&mut tries);
        self.put_back(index, vec![first, second], &tries);
        true
    }

    fn give_up(&mut self, index: usize, part: &Part, reason: &'static str, text: &str) {
        self.batches[index].lost_entries += part.entries();
        self.count_refused(&Refusal::of_all(reason, part.entries(), text));
    }

    fn count_refused(&mut self, refusal: &Refusal) {
        for (reason, lines) in &refusal.counts {
            self.metrics.dropped_lines.add(reason, *lines);
        }
        let Some(not_logged) = self.refused_throttle.permit() else { return };
        let reasons: Vec<_> = refusal.counts.iter().map(|(reason, lines)| format!("{reason}: {lines}")).collect();
        let since =
            if not_logged == 0 { String::new() } else { format!("; {not_logged} more such answers were not logged") };
        warn!(
            "lines are dropped ({}): {}. pilcrow_dropped_lines_total counts them{since}",
            reasons.join(", "),
            first_line(&refusal.example)
        );
    }
}
