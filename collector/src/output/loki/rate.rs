//! How fast one stream may go: a token bucket below Loki's `per_stream_rate_limit`, which it may exceed in silence
//! (docs/operations.md, "What Loki may refuse").

use std::time::{Duration, Instant};

/// How long a lower limit is kept that a refusal has shown.
const REMEMBER_FOR: Duration = Duration::from_secs(30 * 60);
/// A limit is not taken to be lower than this a second, so that a misread text cannot stop a stream.
const RATE_MIN: f64 = 16.0 * 1024.0;

/// Bytes a second, and at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RateLimit {
    /// Bytes a second.
    pub(super) rate: f64,
    /// Bytes at once.
    pub(super) burst: f64,
}

/// One stream's allowance. Bytes are counted as Loki does: text and structured metadata.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Bytes taken and not yet refilled; exceeds the burst by one request at most. Infinite: the whole burst, whatever
    /// that is.
    used: f64,
    /// As `used`, of what this program took.
    taken: f64,
    at: Instant,
    learned: Option<(RateLimit, Instant)>,
}

impl Bucket {
    /// Without allowance when the program started: the process before it may just have used all.
    pub(super) fn new(started: Instant) -> Self {
        Self { used: f64::INFINITY, taken: 0.0, at: started, learned: None }
    }

    /// How long a request of this many bytes has to wait; `None`: not at all. `limit`: the one in force for all streams, `None`
    /// where there is none.
    pub(super) fn wait(&mut self, bytes: f64, limit: Option<RateLimit>, now: Instant) -> Option<Duration> {
        let limit = self.limit(limit, now)?;
        self.refill(limit, now);
        let over = self.used + bytes.min(limit.burst) - limit.burst;
        (over > 0.0).then(|| Duration::from_secs_f64((over / limit.rate).min(3600.0)))
    }

    /// The most bytes that one request may have.
    pub(super) fn burst(&self, limit: Option<RateLimit>, now: Instant) -> Option<f64> {
        self.limit(limit, now).map(|limit| limit.burst)
    }

    /// Whether half of the burst is used, by this program.
    pub(super) fn is_half_used(&self, limit: Option<RateLimit>) -> bool {
        limit.is_some_and(|limit| self.taken > limit.burst / 2.0)
    }

    /// A request starts.
    pub(super) fn take(&mut self, bytes: f64) {
        self.used += bytes;
        self.taken += bytes;
    }

    /// Nothing of a request was stored.
    pub(super) fn give_back(&mut self, bytes: f64) {
        self.used = (self.used - bytes).max(0.0);
        self.taken = (self.taken - bytes).max(0.0);
    }

    /// Loki refused the stream at its rate limit, which may be the one that its text names.
    pub(super) fn refused(&mut self, named: Option<u64>, limit: Option<RateLimit>, now: Instant) {
        let known = self.limit(limit, now).unwrap_or(RateLimit { rate: f64::MAX, burst: f64::MAX });
        let half = RateLimit { rate: known.rate / 2.0, burst: known.burst / 2.0 };
        let learned = match named.map(|named| named as f64) {
            // The text does not name the burst; it is seldom less than one second of the rate.
            Some(named) if named * 0.8 < known.rate => {
                RateLimit { rate: named * 0.8, burst: known.burst.min(named * 0.8) }
            }
            Some(_) => half,
            None if known.rate == f64::MAX => RateLimit { rate: 1e6, burst: 1e6 },
            None => half,
        };
        let learned = RateLimit { rate: learned.rate.max(RATE_MIN), burst: learned.burst.max(RATE_MIN) };
        self.learned = Some((learned, now));
        (self.used, self.at) = (learned.burst, now);
    }

    fn limit(&self, limit: Option<RateLimit>, now: Instant) -> Option<RateLimit> {
        match self.learned {
            Some((learned, at)) if now.saturating_duration_since(at) < REMEMBER_FOR => Some(learned),
            _ => limit,
        }
    }

    fn refill(&mut self, limit: RateLimit, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        if self.used.is_infinite() {
            self.used = limit.burst;
        }
        self.used = (self.used - since * limit.rate).max(0.0);
        self.taken = (self.taken - since * limit.rate).max(0.0);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Option<RateLimit> = Some(RateLimit { rate: 1e6, burst: 4e6 });

    #[test]
    fn a_burst_goes_at_once_and_then_only_the_rate() {
        let start = Instant::now();
        let now = start + Duration::from_secs(4);
        let mut bucket = Bucket::new(start);
        for _ in 0..4 {
            assert_eq!(bucket.wait(1e6, LIMIT, now), None);
            bucket.take(1e6);
        }
        assert_eq!(bucket.wait(1e6, LIMIT, now), Some(Duration::from_secs(1)));
        let later = now + Duration::from_secs(1);
        assert_eq!(bucket.wait(1e6, LIMIT, later), None);
        bucket.take(1e6);
        bucket.give_back(1e6);
        assert_eq!(bucket.wait(1e6, LIMIT, later), None);
        assert_eq!(
            bucket.wait(9e6, LIMIT, now + Duration::from_secs(4)),
            None,
            "what is more than a burst goes at a full one"
        );
    }

    #[test]
    fn a_program_that_has_just_started_sends_no_burst_as_the_one_before_may_have_sent_it() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        assert_eq!(bucket.wait(1e6, LIMIT, start), Some(Duration::from_secs(1)));
        assert_eq!(bucket.wait(1e6, LIMIT, start + Duration::from_secs(1)), None);
        let mut later = Bucket::new(start);
        assert_eq!(
            later.wait(4e6, LIMIT, start + Duration::from_secs(4)),
            None,
            "for a stream that comes later it is over"
        );
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now);
        bucket.take(1e12);
        assert_eq!(bucket.wait(1e12, None, now), None);
        assert_eq!(bucket.burst(None, now), None);
    }

    #[test]
    fn a_refusal_lowers_the_rate_to_what_loki_names_or_to_half() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now);
        bucket.refused(Some(500_000), LIMIT, now);
        assert_eq!(bucket.burst(LIMIT, now), Some(400_000.0));
        assert_eq!(bucket.wait(400_000.0, LIMIT, now), Some(Duration::from_secs(1)));
        bucket.refused(None, LIMIT, now);
        assert_eq!(bucket.burst(LIMIT, now), Some(200_000.0));
        bucket.refused(Some(3 << 20), LIMIT, now);
        assert_eq!(bucket.burst(LIMIT, now), Some(100_000.0), "a limit above ours teaches to go slower all the same");
        (0..20).for_each(|_| bucket.refused(None, LIMIT, now));
        assert_eq!(bucket.burst(LIMIT, now), Some(RATE_MIN));
        assert_eq!(bucket.burst(LIMIT, now + REMEMBER_FOR), Some(4e6));
        let mut unlimited = Bucket::new(now);
        unlimited.refused(None, None, now);
        assert_eq!(unlimited.burst(None, now), Some(1e6));
    }
}
