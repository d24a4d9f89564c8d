//! How large a request may be, as far as Loki's answers have shown.

use std::time::{Duration, Instant};

/// For how long a size that was too large is not tried again.
pub(super) const REMEMBER_FOR: Duration = Duration::from_secs(600);

/// Learns from each answer, so that not every batch must be refused before it is split. Sizes are encoded bytes before
/// compression and without labels, as [`crate::batch::EntryRange::encoded_bytes`].
#[derive(Debug, Default)]
pub(super) struct RequestSize {
    accepted_max: usize,
    too_large: Option<(usize, Instant)>,
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
        // Not so where larger ones pass: then it was what stood in it, or how badly that compresses, and to cut all
        // batches down to it would multiply the requests.
        let smallest = self.limit(now).is_none_or(|known| bytes < known);
        if bytes > self.accepted_max && smallest {
            self.too_large = Some((bytes, now));
        }
    }

    /// Whether a request of this size had better be split without trying it.
    pub(super) fn is_too_large(&self, bytes: usize, now: Instant) -> bool {
        self.limit(now).is_some_and(|known| bytes >= known)
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
    fn a_refusal_of_less_than_what_passes_is_no_matter_of_size() {
        let (mut size, now) = (RequestSize::default(), Instant::now());
        size.accepted(1000);
        size.refused(10, now);
        assert!(!size.is_too_large(900, now));
        size.refused(2000, now);
        assert!(size.is_too_large(2000, now));
        size.accepted(3000);
        assert!(!size.is_too_large(2000, now));
    }
}
