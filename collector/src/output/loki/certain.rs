//! Whether Loki will take a stream's lines wherever they stand in a request.
//!
//! Loki's ingester reports errors of a request's last stream only: if another one was refused, its lines are gone though the
//! answer is 204 (pkg/ingester/instance.go, `Push`). So only streams that Loki cannot refuse may share a request: it has them in
//! memory, they are far from their rate limit and from being sharded, and their lines are not too far behind.

use std::time::{Duration, Instant};

/// Loki forgets a stream that got nothing for 30 minutes (`chunk_idle_period`).
const CERTAIN_FOR: Duration = Duration::from_secs(15 * 60);
/// The same while the tenant is at its stream limit: once Loki forgets a stream, another client's may take its place at once.
const CERTAIN_WHILE_TIGHT: Duration = Duration::from_secs(30);
/// How long after a refusal at the stream limit the tenant is assumed to be at it.
pub(super) const TIGHT_FOR: Duration = Duration::from_secs(30 * 60);
/// A chunk of two hours of log time (`max_chunk_age`) is flushed, and the stream with it if it has no other.
const SPAN_MAX_NS: i64 = 3600 * 1_000_000_000;
/// Half of `max_chunk_age` behind its newest line a line is refused ("too far behind").
const BEHIND_MAX_NS: i64 = 50 * 60 * 1_000_000_000;
/// Loki shards a stream once its rate and the size of a push together pass 1,536 kB (`shard_streams.desired_rate`), and then
/// reports errors of the last shard only. Its rate is a moving average over some seconds; this is two thirds of its limit, since
/// Pilcrow averages differently and other clients may write to the same stream.
const HOT_BYTES: f64 = 1_000_000.0;
/// The rate is averaged over this many seconds.
const RATE_SECONDS: f64 = 2.0;

/// A stream's lines that are to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lines {
    /// Encoded bytes.
    pub(super) bytes: u64,
    /// Oldest timestamp, nanoseconds since 1970.
    pub(super) oldest_ns: i64,
    /// Newest timestamp.
    pub(super) newest_ns: i64,
}

/// What Loki's acknowledgements have shown of a stream.
#[derive(Debug, Default)]
pub(super) struct Certainty {
    acknowledged: Option<Acknowledged>,
    /// Bytes sent lately, decaying over [`RATE_SECONDS`].
    recent: f64,
    recent_at: Option<Instant>,
}

#[derive(Debug)]
struct Acknowledged {
    at: Instant,
    /// Counts Loki's restarts, as far as they can be detected.
    epoch: u32,
    newest_ns: i64,
}

/// What is known of the tenant.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tenant {
    /// Grows when Loki may have lost what it had in memory.
    pub(super) epoch: u32,
    /// Loki has refused a stream at the stream limit.
    pub(super) tight_until: Option<Instant>,
}

impl Certainty {
    /// Whether these lines may share a request.
    pub(super) fn is_certain(&self, lines: &Lines, tenant: &Tenant, now: Instant) -> bool {
        let Some(acknowledged) = &self.acknowledged else { return false };
        let is_tight = tenant.tight_until.is_some_and(|until| now < until);
        let certain_for = if is_tight { CERTAIN_WHILE_TIGHT } else { CERTAIN_FOR };
        // Together with what Loki has, as several sparse batches make one long chunk.
        let oldest_ns = lines.oldest_ns.min(acknowledged.newest_ns);
        acknowledged.epoch == tenant.epoch
            && now.saturating_duration_since(acknowledged.at) < certain_for
            && lines.newest_ns.saturating_sub(oldest_ns) <= SPAN_MAX_NS
            && acknowledged.newest_ns.saturating_sub(lines.oldest_ns) <= BEHIND_MAX_NS
            && self.recent(now) / RATE_SECONDS + lines.bytes as f64 <= HOT_BYTES
    }

    /// A request with this many bytes of the stream starts.
    pub(super) fn sent(&mut self, bytes: u64, now: Instant) {
        self.recent = self.recent(now) + bytes as f64;
        self.recent_at = Some(now);
    }

    /// Loki took these lines.
    pub(super) fn acknowledged(&mut self, lines: &Lines, tenant: &Tenant, now: Instant) {
        let before = self.acknowledged.as_ref().map_or(i64::MIN, |before| before.newest_ns);
        let newest_ns = before.max(lines.newest_ns);
        self.acknowledged = Some(Acknowledged { at: now, epoch: tenant.epoch, newest_ns });
    }

    /// Loki may refuse the stream after all.
    pub(super) fn doubt(&mut self) {
        self.acknowledged = None;
    }

    fn recent(&self, now: Instant) -> f64 {
        let Some(at) = self.recent_at else { return 0.0 };
        self.recent * (-now.saturating_duration_since(at).as_secs_f64() / RATE_SECONDS).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    fn lines(bytes: u64, oldest_s: i64, newest_s: i64) -> Lines {
        Lines { bytes, oldest_ns: oldest_s * SECOND_NS, newest_ns: newest_s * SECOND_NS }
    }

    fn known(now: Instant) -> Certainty {
        let mut certainty = Certainty::default();
        certainty.acknowledged(&lines(10, 9_999, 10_000), &Tenant::default(), now);
        certainty
    }

    #[test]
    fn a_stream_is_certain_for_a_quarter_of_an_hour_after_loki_took_it() {
        let (now, tenant, more) = (Instant::now(), Tenant::default(), lines(10, 10_000, 10_001));
        assert!(!Certainty::default().is_certain(&more, &tenant, now));
        let mut certainty = known(now);
        assert!(certainty.is_certain(&more, &tenant, now));
        assert!(!certainty.is_certain(&more, &tenant, now + CERTAIN_FOR));
        assert!(!certainty.is_certain(&more, &Tenant { epoch: 1, ..tenant }, now), "Loki was away");
        let tight = Tenant { tight_until: Some(now + TIGHT_FOR), ..tenant };
        assert!(certainty.is_certain(&more, &tight, now + CERTAIN_WHILE_TIGHT / 2));
        assert!(!certainty.is_certain(&more, &tight, now + CERTAIN_WHILE_TIGHT));
        certainty.doubt();
        assert!(!certainty.is_certain(&more, &tenant, now));
    }

    #[test]
    fn lines_that_span_an_hour_or_lie_far_behind_go_alone() {
        let (now, tenant) = (Instant::now(), Tenant::default());
        let certainty = known(now);
        assert!(certainty.is_certain(&lines(10, 10_000, 10_000 + 3600), &tenant, now));
        assert!(!certainty.is_certain(&lines(10, 10_000, 10_000 + 3601), &tenant, now));
        assert!(!certainty.is_certain(&lines(10, 14_000, 14_001), &tenant, now), "with what Loki has it spans an hour");
        assert!(certainty.is_certain(&lines(10, 7_000, 7_001), &tenant, now));
        assert!(!certainty.is_certain(&lines(10, 6_999, 10_000), &tenant, now));
        assert!(!certainty.is_certain(&Lines { bytes: 1, oldest_ns: i64::MIN, newest_ns: i64::MAX }, &tenant, now));
    }

    #[test]
    fn a_hot_stream_goes_alone_until_it_has_cooled_down() {
        let (now, tenant) = (Instant::now(), Tenant::default());
        let mut certainty = known(now);
        assert!(!certainty.is_certain(&lines(1 << 20, 10_000, 10_001), &tenant, now));
        let more = lines(300_000, 10_000, 10_001);
        for second in 0..10 {
            let now = now + Duration::from_secs(second);
            assert!(certainty.is_certain(&more, &tenant, now), "300 kB a second");
            certainty.sent(more.bytes, now);
        }
        for second in 10..15 {
            certainty.sent(1_200_000, now + Duration::from_secs(second));
        }
        assert!(!certainty.is_certain(&lines(1, 10_000, 10_001), &tenant, now + Duration::from_secs(14)));
        assert!(certainty.is_certain(&more, &tenant, now + Duration::from_secs(20)));
    }
}
