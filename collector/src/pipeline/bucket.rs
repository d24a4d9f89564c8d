//! A bucket of tokens that fills by a clock, for `limit` and budgets.

/// A clock that goes back by more was wrong before.
const SET_BACK_NS: i64 = 60_000_000_000;

/// Full until it is filled for the first time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    pub tokens: f64,
    /// When `tokens` was right; `None`: never.
    at_ns: Option<i64>,
}

impl Bucket {
    /// Adds what has come since the last time: `rate` tokens a second, up to `burst`.
    pub fn fill(&mut self, rate: f64, burst: f64, now_ns: i64) {
        // A clock that was ahead and was set back: nothing would be added until it is there again.
        let at_ns = self.at_ns.map(|at| if now_ns < at - SET_BACK_NS { now_ns } else { at });
        self.tokens = match at_ns {
            None => burst,
            Some(at) => burst.min(self.tokens + now_ns.saturating_sub(at).max(0) as f64 / 1e9 * rate),
        };
        self.at_ns = Some(at_ns.map_or(now_ns, |at| at.max(now_ns)));
    }

    /// Takes tokens that may not be there yet. `wait_until_ns` becomes when they are, if that is later.
    pub fn take_in_advance(&mut self, tokens: f64, rate: f64, now_ns: i64, wait_until_ns: &mut Option<i64>) {
        self.tokens -= tokens;
        if self.tokens < 0.0 {
            // Rounded up by a nanosecond at most.
            let until = now_ns.saturating_add((-self.tokens / rate * 1e9) as i64 + 1);
            *wait_until_ns = Some(wait_until_ns.map_or(until, |other| other.max(until)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_ahead_and_is_set_back_does_not_stop_the_filling() {
        let (mut bucket, second) = (Bucket::default(), 1_000_000_000);
        bucket.fill(1.0, 5.0, 7200 * second);
        bucket.tokens = 0.0;
        bucket.fill(1.0, 5.0, 7190 * second);
        bucket.fill(1.0, 5.0, 7201 * second);
        assert_eq!(bucket.tokens, 1.0, "a little back is waited for");
        bucket.fill(1.0, 5.0, 3600 * second);
        bucket.fill(1.0, 5.0, 3602 * second);
        assert_eq!(bucket.tokens, 3.0);
    }
}
