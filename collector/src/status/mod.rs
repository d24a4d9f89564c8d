//! What Pilcrow says of itself: metrics, readiness, health.
//!
//! In: counts from every step, stamps from both sides. Out: GET /metrics (Prometheus text), /ready, /healthz. Knows no
//! step's internals; the steps count into [`Metrics`] and stamp [`Health`]. docs/metrics.md lists every metric; a test
//! holds the two together.

pub mod exposition;
mod health;
mod lags;
mod metrics;
mod process;
pub mod server;
mod throttle;

pub use health::{Folders, Health, STUCK_AFTER, Side};
pub use metrics::{
    Backend, ContainerLabels, FormatLabel, LAG_CONTAINERS_MAX, Metrics, PushStatus, Reason, UnsignedGauge,
};
pub use throttle::Throttle;
