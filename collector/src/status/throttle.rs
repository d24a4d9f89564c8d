//! At most one log line per interval where the same thing may happen thousands of times a second.

use std::time::{Duration, Instant};

/// Lets one through per interval and counts the others.
#[derive(Debug)]
pub struct Throttle {
    interval: Duration,
    last: Option<Instant>,
    suppressed: u64,
    /// One passed since the last call of [`Self::is_over`].
    passed: bool,
}

impl Throttle {
    /// The first one passes, the next no sooner than `interval` later.
    pub const fn new(interval: Duration) -> Self {
        Self { interval, last: None, suppressed: 0, passed: false }
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
        self.passed = true;
        Some(std::mem::take(&mut self.suppressed))
    }

    /// What was reported is over. Whether that is worth a line: none of it that comes and goes was reported in vain, and of what was
    /// held back the end is held back too.
    pub const fn is_over(&mut self) -> bool {
        std::mem::replace(&mut self.passed, false)
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

    #[test]
    fn the_end_is_reported_of_what_was_reported_only() {
        let (mut throttle, start) = (Throttle::new(Duration::from_secs(60)), Instant::now());
        let mut told = Vec::new();
        for second in (0..180).step_by(10) {
            told.extend(throttle.permit_at(start + Duration::from_secs(second)).map(|_| "begun"));
            told.extend(throttle.is_over().then_some("over"));
        }
        assert_eq!(told, ["begun", "over", "begun", "over", "begun", "over"]);
    }
}
