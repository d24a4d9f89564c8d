//! What Pilcrow reports about itself: metrics, readiness, health.
//!
//! In: counts from every step, stamps from both sides, rows of units that the reader gives when it is asked. Out: GET /metrics
//! (Prometheus text), /ready, /healthz, the status page and its JSON. Knows no step's internals: each step declares in
//! [`Metrics`] what it counts, stamps [`Health`], and answers [`view::Query`]s.

pub mod exposition;
mod health;
mod metrics;
mod process;
mod pushes;
pub mod server;
mod throttle;
pub mod view;

pub use health::{Folders, Health, STUCK_AFTER, Side};
pub use metrics::{Backend, DroppedLines, Metrics, Part, Reason};
pub use pushes::Pushes;
pub use throttle::Throttle;
