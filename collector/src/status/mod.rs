//! What Pilcrow says of itself: metrics, readiness, health.
//!
//! In: counts from every step. Out: GET /metrics (Prometheus text), /ready, /healthz. Knows no step's internals; the
//! steps count into [`Metrics`].

mod metrics;
mod throttle;

pub use metrics::{Metrics, PushStatus, Reason};
pub use throttle::Throttle;
