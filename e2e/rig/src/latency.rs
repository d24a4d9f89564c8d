//! A histogram of durations with 64 steps for each power of two: percentiles are exact to 1.6 percent.

use std::time::Duration;

const STEPS_BITS: u32 = 6;
const STEPS: u64 = 1 << STEPS_BITS;
/// Microseconds up to 2^40 (twelve days); longer ones count as that.
const BUCKETS: usize = ((40 - STEPS_BITS as usize) + 1) << STEPS_BITS;

/// Durations, counted in microseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max_us: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(us).min(BUCKETS - 1)] += 1;
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max_us)
    }

    /// The duration that a part `quantile` (0 to 1) of all are not longer than; zero when nothing was counted.
    pub fn quantile(&self, quantile: f64) -> Duration {
        let wanted = (self.count as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return Duration::from_micros(largest_in(bucket).min(self.max_us));
            }
        }
        Duration::ZERO
    }
}

fn bucket_of(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    let shift = us.ilog2() - STEPS_BITS;
    ((u64::from(shift) + 1) * STEPS + ((us >> shift) - STEPS)) as usize
}

fn largest_in(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    ((STEPS + bucket % STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_two_percent() {
        let mut histogram = Histogram::default();
        for ms in 1..=1000 {
            histogram.record(Duration::from_millis(ms));
        }
        for (quantile, expected_ms) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            let ms = histogram.quantile(quantile).as_secs_f64() * 1000.0;
            assert!((ms / expected_ms - 1.0).abs() < 0.02, "{quantile}: {ms}");
        }
        assert_eq!(histogram.max(), Duration::from_secs(1));
        assert_eq!(histogram.count(), 1000);
    }

    #[test]
    fn every_duration_falls_into_a_bucket_that_holds_it() {
        let mut last = 0;
        for us in (0..5000).chain((0..40).map(|bit| 1 << bit)) {
            let bucket = bucket_of(us);
            assert!(largest_in(bucket) >= us);
            assert!(bucket == 0 || largest_in(bucket - 1) < us);
            last = last.max(bucket);
        }
        assert!(last < BUCKETS);
    }

    #[test]
    fn nothing_counted_is_zero_and_endless_is_the_longest() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.99), Duration::ZERO);
        histogram.record(Duration::MAX);
        assert!(histogram.quantile(0.5) > Duration::from_secs(1_000_000));
    }
}
