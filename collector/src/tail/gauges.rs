//! The gauges that a shard brings up to date with each sweep. What is shown is the sum over all shards.

use super::selection::REASONS;
use crate::status::{GaugeShare, Metrics, Reason};

/// This shard's shares.
#[derive(Debug)]
pub struct Gauges {
    pub containers: GaugeShare,
    /// By the place of their reason in [`REASONS`].
    pub excluded_containers: [GaugeShare; REASONS.len()],
    pub open_files: GaugeShare,
    pub held_files: GaugeShare,
    pub held_bytes: GaugeShare,
}

impl Gauges {
    /// All 0.
    pub fn of(metrics: &Metrics) -> Self {
        let excluded = |reason| GaugeShare::of(&metrics.excluded_containers.get_or_create(&Reason { reason }));
        Self {
            containers: GaugeShare::of(&metrics.containers),
            excluded_containers: REASONS.map(excluded),
            open_files: GaugeShare::of(&metrics.open_files),
            held_files: GaugeShare::of(&metrics.held_files),
            held_bytes: GaugeShare::of(&metrics.held_bytes),
        }
    }
}
