//! What is counted of saving positions.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::Counter, gauge::ConstGauge},
    registry::Unit,
};

use crate::{model::now_ms, status::Metrics};

/// See the module.
#[derive(Debug)]
pub struct CheckpointMetrics {
    pub writes: Counter,
    pub errors: Counter,
    current: Current,
}

/// When the saved positions were last current, or the start where none are saved yet; milliseconds since 1970.
#[derive(Clone, Debug)]
struct Current(Arc<AtomicI64>);

impl CheckpointMetrics {
    /// Registers them with `all`, at zero.
    pub fn new(all: &mut Metrics) -> Self {
        let current = Current(Arc::new(AtomicI64::new(now_ms())));
        all.collect(Box::new(current.clone()));
        let mut part = all.part();
        Self {
            writes: part.add("checkpoint_writes", "Checkpoints written"),
            errors: part.add("checkpoint_errors", "Checkpoints that could not be written"),
            current,
        }
    }

    pub fn saved(&self) {
        self.writes.inc();
        self.current.0.store(now_ms(), Relaxed);
    }
}

impl Collector for Current {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        // A clock that was set back makes no negative age.
        let age = ConstGauge::new((now_ms() - self.0.load(Relaxed)).max(0) as f64 / 1000.0);
        let help = "Time since the saved positions were current, or since the start where none are saved yet.";
        let unit = Some(&Unit::Seconds);
        age.encode(encoder.encode_descriptor("pilcrow_checkpoint_age", help, unit, age.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::exposition::{Format, encode};

    fn age(all: &Metrics) -> f64 {
        let text = encode(all.registry(), Format::Prometheus).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("pilcrow_checkpoint_age_seconds ")).unwrap();
        line.parse().unwrap()
    }

    #[test]
    fn the_age_of_the_checkpoint_counts_from_the_start_until_there_is_one() {
        let mut all = Metrics::new();
        let metrics = CheckpointMetrics::new(&mut all);
        metrics.current.0.fetch_sub(3_600_000, Relaxed);
        assert!(age(&all) >= 3600.0);
        metrics.saved();
        assert!(age(&all) < 3600.0);
        metrics.current.0.fetch_add(5000, Relaxed);
        assert_eq!(age(&all), 0.0);
    }
}
