//! The metrics of every part of the program, made together at start.

use std::sync::Arc;

use prometheus_client::{encoding::text, registry::Registry};

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
            lag_bytes: self.tail.lag_bytes_of_all(),
            ..Totals::default()
        }
    }

    fn lines_dropped(&self) -> u64 {
        // A family cannot be asked for its series, but it can be written.
        let (mut alone, mut written) = (Registry::default(), String::new());
        alone.register("lines", "", self.loki.dropped_lines.clone());
        if text::encode(&mut written, &alone).is_err() {
            return 0;
        }
        let samples = written.lines().filter(|line| !line.starts_with('#'));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Reason;

    #[test]
    fn dropped_lines_of_all_reasons_are_added_up() {
        let metrics = PartMetrics::new(&mut Metrics::new());
        assert_eq!(metrics.lines_dropped(), 0);
        for (reason, lines) in [("relabel", 3), ("too_old 7", 40)] {
            metrics.loki.dropped_lines.get_or_create(&Reason { reason }).inc_by(lines);
        }
        assert_eq!(metrics.lines_dropped(), 43);
    }
}
