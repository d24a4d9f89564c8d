//! What every part of the program counts, in one place for who starts them.

use std::sync::Arc;

use crate::{
    checkpoint::CheckpointMetrics, output::loki::LokiMetrics, source::kubernetes::WatchMetrics, status::Metrics,
    tail::TailMetrics,
};

/// See the module.
#[derive(Debug)]
pub struct PartMetrics {
    /// Of the tailer.
    pub tail: Arc<TailMetrics>,
    /// Of the requests to Loki.
    pub loki: Arc<LokiMetrics>,
    /// Of the watch of this node's pods.
    pub watch: WatchMetrics,
    /// Of saving positions.
    pub checkpoint: CheckpointMetrics,
}

impl PartMetrics {
    /// All at zero, shown with `all`.
    pub fn new(all: &mut Metrics) -> Self {
        Self {
            tail: Arc::new(TailMetrics::new(all)),
            loki: Arc::new(LokiMetrics::new(all)),
            watch: WatchMetrics::new(all),
            checkpoint: CheckpointMetrics::new(all),
        }
    }
}
