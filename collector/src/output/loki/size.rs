//! How large a request may be, as far as Loki's answers have shown.

use std::time::{Duration, Instant};

/// For how long a size that was too large is not tried again.
pub(super) const REMEMBER_FOR: Duration = Duration::from_secs(600);

/// No request is made smaller than this because it took too long.
pub(super) const SLOW_BYTES_MIN: usize = 16 << 10;
/// From this size on requests are not limited for being slow.
const SLOW_BYTES_MAX: usize = 64 << 20;
/// After a request failed that passed in parts, how long no larger one is tried. Each trial may take a proxy's timeout.
const LARGER_AFTER: Duration = Duration::from_secs(60);

/// Learns from each answer, so that not every batch must be refused before it is split. Sizes are encoded bytes before
/// compression and without labels, as [`crate::batch::Part::encoded_bytes`].
#[derive(Debug, Default)]
pub(super) struct RequestSize {
    accepted_max: usize,
    too_large: Option<(usize, Instant)>,
    /// Requests of this size do not get through, within `loki.timeout` or through something on the way.
    too_slow: Option<usize>,
    /// When larger ones may be tried; `None`: as soon as they seem quick enough.
    larger_from: Option<Instant>,
}

impl RequestSize {
    /// A request of this size was accepted.
    pub(super) fn accepted(&mut self, bytes: usize) {
        self.accepted_max = self.accepted_max.max(bytes);
        if self.too_large.is_some_and(|(known, _)| known <= bytes) {
            self.too_large = None;
        }
    }

    /// A request of this size was too large.
    pub(super) fn refused(&mut self, bytes: usize, now: Instant) {
        // Not where larger ones pass: then the cause was its content, or how badly that compresses, and limiting all
        // batches to this size would multiply the requests.
        let smallest = self.limit(now).is_none_or(|known| bytes < known);
        if bytes > self.accepted_max && smallest {
            self.too_large = Some((bytes, now));
        }
    }

    /// A request of this size took longer than the timeout, and not because nothing gets through.
    pub(super) fn timed_out(&mut self, bytes: usize) {
        let known = self.too_slow.unwrap_or(usize::MAX);
        self.too_slow = Some(known.min(bytes).max(SLOW_BYTES_MIN));
    }

    /// A request of this size failed again and again, and a part of it got through.
    pub(super) fn failed(&mut self, bytes: usize, now: Instant) {
        self.timed_out(bytes);
        self.larger_from = Some(now + LARGER_AFTER);
    }

    /// A request of this size got through. Where one of twice the size would have taken less than half of the timeout, larger
    /// ones are tried again.
    pub(super) fn passed(&mut self, bytes: usize, took: Duration, timeout: Duration, now: Instant) {
        if let Some(slow) = self.too_slow
            && bytes >= slow / 4
            && took < timeout / 4
            && self.larger_from.is_none_or(|from| from <= now)
        {
            let larger = slow.saturating_mul(2);
            self.too_slow = (larger < SLOW_BYTES_MAX).then_some(larger);
            self.larger_from = self.larger_from.filter(|_| self.too_slow.is_some()).map(|_| now + LARGER_AFTER);
        }
    }

    /// Whether a request of this size is to be split without being tried.
    pub(super) fn is_too_large(&self, bytes: usize, now: Instant) -> bool {
        self.limit(now).is_some_and(|known| bytes >= known) || self.too_slow.is_some_and(|slow| bytes >= slow)
    }

    fn limit(&self, now: Instant) -> Option<usize> {
        let (known, at) = self.too_large?;
        (now.saturating_duration_since(at) < REMEMBER_FOR).then_some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_size_that_was_refused_is_not_tried_again_for_a_while() {
        let (mut size, now) = (RequestSize::default(), Instant::now());
        assert!(!size.is_too_large(usize::MAX, now));
        size.refused(1000, now);
        size.refused(500, now);
        size.refused(800, now);
        assert!(size.is_too_large(500, now) && !size.is_too_large(499, now));
        assert!(!size.is_too_large(500, now + REMEMBER_FOR));
    }

    #[test]
    fn a_refusal_of_less_than_what_passes_is_not_about_size() {
        let (mut size, now) = (RequestSize::default(), Instant::now());
        size.accepted(1000);
        size.refused(10, now);
        assert!(!size.is_too_large(900, now));
        size.refused(2000, now);
        assert!(size.is_too_large(2000, now));
        size.accepted(3000);
        assert!(!size.is_too_large(2000, now));
    }

    #[test]
    fn what_takes_too_long_is_made_smaller_and_grows_again_while_it_is_quick() {
        let (mut size, now, timeout) = (RequestSize::default(), Instant::now(), Duration::from_secs(10));
        size.timed_out(1 << 20);
        assert!(size.is_too_large(1 << 20, now) && !size.is_too_large((1 << 20) - 1, now));
        size.timed_out(100_000);
        size.passed(60_000, timeout / 2, timeout, now);
        assert!(size.is_too_large(100_000, now), "a slow one shows that larger ones would take too long");
        size.passed(60_000, timeout / 5, timeout, now);
        assert!(!size.is_too_large(199_999, now) && size.is_too_large(200_000, now));
        size.passed(1000, timeout / 5, timeout, now);
        assert!(size.is_too_large(200_000, now), "a small one shows nothing");
        (0..20).for_each(|_| size.passed(64 << 20, timeout / 5, timeout, now));
        assert!(!size.is_too_large(usize::MAX, now));
        size.timed_out(1);
        assert!(!size.is_too_large(SLOW_BYTES_MIN - 1, now));
    }

    #[test]
    fn what_passes_in_parts_only_is_tried_in_one_again_a_step_a_minute() {
        let (mut size, now, second) = (RequestSize::default(), Instant::now(), Duration::from_secs(1));
        size.accepted(1 << 20);
        size.failed(100_000, now);
        size.passed(90_000, Duration::ZERO, second, now + LARGER_AFTER / 2);
        assert!(size.is_too_large(100_000, now));
        for _ in 0..2 {
            size.passed(90_000, Duration::ZERO, second, now + LARGER_AFTER);
        }
        assert!(!size.is_too_large(199_999, now) && size.is_too_large(200_000, now));
    }
}
