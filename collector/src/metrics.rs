//! The metrics of every part of the program, made together at start.

use std::sync::Arc;

use crate::{
    checkpoint::CheckpointMetrics,
    output::loki::LokiMetrics,
    source::kubernetes::WatchMetrics,
    status::{
        Metrics,
        view::{Counted, Totals},
    },
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

impl Counted for PartMetrics {
    fn totals(&self) -> Totals {
        Totals {
            lines_read: self.tail.lines_read(),
            bytes_read: self.tail.read_bytes.get(),
            lines_acknowledged: self.loki.acknowledged_lines.get(),
            lines_dropped: self.loki.dropped_lines.all(),
            lag_bytes: self.tail.lag_bytes_of_all(),
            ..Totals::default()
        }
    }

    fn reader(&self) -> Option<(String, String)> {
        self.tail.reader().map(|reader| (reader.backend.clone(), reader.fallback_reason.clone()))
    }

    fn waiting_bytes(&self) -> u64 {
        u64::try_from(self.loki.queue_bytes.get()).unwrap_or(0)
    }

    fn parked_streams(&self) -> u64 {
        u64::try_from(self.loki.parked_channels.get()).unwrap_or(0)
    }
}
