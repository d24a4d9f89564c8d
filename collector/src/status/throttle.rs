//! At most one log line per interval where the same thing may happen thousands of times a second.

use std::time::{Duration, Instant};

/// Lets one through per interval and counts the others.
#[derive(Debug)]
pub struct Throttle {
    interval: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// The first one passes, the next no sooner than `interval` later.
    pub const fn new(interval: Duration) -> Self {
        Self { interval, last: None, suppressed: 0 }
    }

    /// `Some` with the number of those held back since the last one that passed, if this one may pass.
    pub fn permit(&mut self) -> Option<u64> {
        self.permit_at(Instant::now())
    }

    /// As [`Self::permit`], at the moment `now`.
    pub fn permit_at(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < self.interval) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_passes_per_interval_and_says_how_many_did_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut throttle = Throttle::new(Duration::from_secs(10));
        assert_eq!(throttle.permit_at(at(0)), Some(0));
        assert_eq!(throttle.permit_at(at(1)), None);
        assert_eq!(throttle.permit_at(at(9)), None);
        assert_eq!(throttle.permit_at(at(10)), Some(2));
        assert_eq!(throttle.permit_at(at(30)), Some(0));
    }
}
