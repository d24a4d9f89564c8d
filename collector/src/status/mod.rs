//! What Pilcrow reports about itself: metrics, readiness, health.
//!
//! In: counts from every step, stamps from both sides. Out: GET /metrics (Prometheus text), /ready, /healthz. Knows no
//! step's internals: each step declares in [`Metrics`] what it counts, and stamps [`Health`].

pub mod exposition;
mod health;
mod metrics;
mod process;
pub mod server;
mod throttle;

pub use health::{Folders, Health, STUCK_AFTER, Side};
pub use metrics::{Backend, Metrics, Part, Reason};
pub use throttle::Throttle;
