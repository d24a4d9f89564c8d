//! Pilcrow, the log collector for ARM Kubernetes nodes: from a container's write to a line in Grafana Loki.
//!
//! One folder is one step of the way, in this order:
//! [`signal`] (which files have new bytes), [`discover`] (which files exist, whose they are, in which order),
//! [`read`] (their bytes), [`parse`] (their lines), [`process`] (their labels), [`batch`] (Loki's wire format), [`push`] (to
//! Loki and back),
//! [`checkpoint`] (how far Loki has them). Beside the way: [`config`] and [`status`].
//!
//! [`reader_side`] and [`sender_side`] are the two threads that walk it, the first of them several where
//! there are many cores ([`readers`]); [`run`] starts and stops them.

pub mod admin;
pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod decode;
pub mod logging;
pub mod memory;
pub mod model;
pub mod output;
pub mod pipeline;
pub mod proxy;
pub mod reader_side;
pub mod run;
pub mod sender_side;
pub mod source;
pub mod standby;
pub mod status;
pub mod tail;
pub mod threads;
