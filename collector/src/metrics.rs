//! The metrics of every part of the program, made together at start.

use std::sync::Arc;

use crate::{
    checkpoint::CheckpointMetrics, output::loki::LokiMetrics, source::kubernetes::WatchMetrics, status::Metrics,
    tail::TailMetrics,
};

/// See the module.
#[derive(Debug)]
pub struct PartMetrics {
    pub tail: Arc<TailMetrics>,
    pub loki: Arc<LokiMetrics>,
    pub watch: WatchMetrics,
    pub checkpoint: CheckpointMetrics,
}

impl PartMetrics {
    /// Registers them with `all`, at zero.
    pub fn new(all: &mut Metrics) -> Self {
        Self {
            tail: Arc::new(TailMetrics::new(all)),
            loki: Arc::new(LokiMetrics::new(all)),
            watch: WatchMetrics::new(all),
            checkpoint: CheckpointMetrics::new(all),
        }
    }
}
