//! What is counted of the watch of this node's pods.

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use crate::status::{Backend, Metrics, Reason};

/// See the module.
#[derive(Debug)]
pub struct WatchMetrics {
    pub metadata_backend: Family<Backend, Gauge>,
    pub kubernetes_watching: Gauge,
    pub kubernetes_errors: Family<Reason, Counter>,
}

impl WatchMetrics {
    /// Registers them with `all`, at zero.
    pub fn new(all: &mut Metrics) -> Self {
        let mut part = all.part();
        Self {
            metadata_backend: part.add("metadata_backend_info", "Where pod metadata comes from"),
            kubernetes_watching: part.add(
                "kubernetes_watching",
                "1 while changes of this node's pods are followed, 0 while the Kubernetes API does not give them",
            ),
            kubernetes_errors: part
                .add("kubernetes_errors", "Lists and watches of this node's pods that failed, by reason"),
        }
    }
}
