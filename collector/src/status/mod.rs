//! What Pilcrow says of itself: metrics, readiness, health.
//!
//! In: counts from every step. Out: GET /metrics (Prometheus text), /ready, /healthz. Knows no step's internals; the
//! steps count into [`Metrics`].

mod metrics;

pub use metrics::Metrics;
