//! What is counted of the requests to Loki.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Unit,
};

use crate::status::{DroppedLines, Metrics, Reason};

/// How a push request ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PushStatus {
    /// The HTTP status, or `error` where there was none.
    pub status: String,
}

/// See the module.
#[derive(Debug)]
pub struct LokiMetrics {
    pub sent_lines: Counter,
    pub sent_bytes: Counter,
    pub dropped_lines: DroppedLines,
    pub acknowledged_lines: Counter,
    pub acknowledged_bytes: Counter,
    pub push_requests: Family<PushStatus, Counter>,
    pub push_duration_seconds: Histogram,
    pub parked_channels: Gauge,
    pub refused_streams: Family<Reason, Counter>,
    pub queue_batches: Gauge,
    pub queue_bytes: Gauge,
}

impl LokiMetrics {
    /// Registers them with `all`, at zero.
    pub fn new(all: &mut Metrics) -> Self {
        let dropped_lines = all.dropped_lines.clone();
        let mut part = all.part();
        Self {
            sent_lines: part.add("sent_lines", "Lines in push requests, repeated attempts not counted"),
            sent_bytes: part.add_with_unit(Unit::Bytes, "sent", "Compressed bytes of push requests, every attempt counted"),
            dropped_lines,
            acknowledged_lines: part.add("acknowledged_lines", "Lines that Loki has acknowledged"),
            acknowledged_bytes: part.add_with_unit(Unit::Bytes, "acknowledged", "Bytes of text of the acknowledged lines"),
            push_requests: part.add("push_requests", "Push requests by HTTP status; error: no answer"),
            push_duration_seconds: part.add_metric(Some(Unit::Seconds), "push_duration", "Time from a push request to its answer", Histogram::new(exponential_buckets(0.005, 2.0, 12))),
            parked_channels: part.add("parked_channels", "stdout and stderr of containers whose lines wait on the disk because Loki refuses one of their streams"),
            refused_streams: part.add("refused_streams", "Times that Loki refused a stream and its channels were parked, by reason"),
            queue_batches: part.add("queue_batches", "Sealed batches that are not acknowledged"),
            queue_bytes: part.add_with_unit(Unit::Bytes, "queue", "Encoded bytes of sealed batches that are not acknowledged"),
        }
    }
}

impl Default for LokiMetrics {
    fn default() -> Self {
        Self::new(&mut Metrics::new())
    }
}
