//! How long to wait before the next attempt.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use crate::config;

/// Waits after answers that only a person can change are at least this long, where `loki.backoff.max` allows it.
const SLOW: Duration = Duration::from_secs(30);
/// A longer `Retry-After` is cut: what sends it cannot know when Loki will be back.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Exponential waiting with full jitter: the n-th wait is anywhere between nothing and min * 2^n, at most max, so that
/// the nodes of a cluster do not come back to a restarted Loki all at once.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    ceiling: Duration,
}

impl Backoff {
    pub(super) fn new(config: &config::Backoff) -> Self {
        let min = config.min.0.max(Duration::from_millis(1));
        let max = config.max.0.max(min);
        Self { min, max, ceiling: min }
    }

    /// The next wait; never shorter than what Loki asked for.
    pub(super) fn next(&mut self, retry_after: Option<Duration>) -> Duration {
        let wait = jittered(self.ceiling);
        self.ceiling = (self.ceiling * 2).min(self.max);
        match retry_after {
            Some(asked) => wait.max(asked.min(RETRY_AFTER_MAX) + wait.min(self.min)),
            None => wait,
        }
    }

    /// The next wait where somebody has to fix something first.
    pub(super) fn next_slow(&mut self, retry_after: Option<Duration>) -> Duration {
        self.ceiling = self.ceiling.max(SLOW).min(self.max);
        let floor = self.ceiling / 2;
        let wait = floor + jittered(self.ceiling - floor);
        self.ceiling = (self.ceiling * 2).min(self.max);
        wait.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
    }
}

/// Evenly spread between zero and `ceiling`.
fn jittered(ceiling: Duration) -> Duration {
    // Each RandomState has new keys, so this is as random as the hash maps' protection against chosen keys.
    let random = RandomState::new().hash_one(0u8);
    ceiling.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HumanDuration;

    fn backoff(min_ms: u64, max_ms: u64) -> Backoff {
        Backoff::new(&config::Backoff {
            min: HumanDuration::from_millis(min_ms),
            max: HumanDuration::from_millis(max_ms),
        })
    }

    #[test]
    fn waits_stay_under_a_ceiling_that_doubles_up_to_the_maximum() {
        for _ in 0..100 {
            let mut backoff = backoff(100, 1000);
            for ceiling_ms in [100, 200, 400, 800, 1000, 1000, 1000] {
                assert!(backoff.next(None) <= Duration::from_millis(ceiling_ms));
            }
        }
    }

    #[test]
    fn many_nodes_spread_over_the_whole_wait() {
        let waits: Vec<_> = (0..400).map(|_| backoff(1000, 1000).next(None).as_millis()).collect();
        for quarter in 0..4 {
            let inside = waits.iter().filter(|&&wait| wait / 250 == quarter).count();
            assert!(inside > 20, "{inside} of 400 in quarter {quarter}");
        }
    }

    #[test]
    fn what_loki_asks_for_is_honoured_and_an_absurd_wish_is_cut() {
        let mut backoff = backoff(100, 1000);
        let asked = Duration::from_secs(7);
        let wait = backoff.next(Some(asked));
        assert!(wait >= asked && wait <= asked + Duration::from_millis(100), "{wait:?}");
        assert!(backoff.next(Some(Duration::MAX)) <= RETRY_AFTER_MAX + Duration::from_secs(1));
        assert!(backoff.next_slow(Some(asked)) >= asked);
    }

    #[test]
    fn who_asks_for_no_wait_is_not_asked_again_at_once_for_ever() {
        let mut backoff = backoff(100, 10_000);
        let waits: Duration = (0..100).map(|_| backoff.next(Some(Duration::ZERO))).sum();
        // 92 of these waits are anywhere up to 10 s.
        assert!(waits > Duration::from_secs(200), "{waits:?}");
    }

    #[test]
    fn slow_waits_begin_at_half_a_minute_or_at_the_maximum_if_that_is_less() {
        let wait = backoff(100, 300_000).next_slow(None);
        assert!(wait >= SLOW / 2 && wait <= SLOW, "{wait:?}");
        assert!(backoff(1, 5).next_slow(None) <= Duration::from_millis(5));
    }

    #[test]
    fn a_minimum_over_the_maximum_or_of_zero_does_no_harm() {
        assert!(backoff(1000, 10).next(None) <= Duration::from_secs(1));
        assert!(backoff(0, 0).next(None) <= Duration::from_millis(1));
    }
}
