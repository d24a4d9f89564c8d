//! Pilcrow, the log collector for ARM Kubernetes nodes: from a container's write to a line in Grafana Loki.
//!
//! The folders are the steps of the data flow: [`source`] (what there is to read, and what is known of it), [`tail`] (growing
//! files: which have new bytes, and what is in them), [`decode`] (records to lines), [`pipeline`] (labels and rules), [`batch`]
//! (Loki's wire format, and which positions are not acknowledged), [`output`] (to Loki and back), [`checkpoint`] (which positions
//! Loki has acknowledged). All of them use [`model`], [`config`] and [`status`]. [`run`] starts the two threads, [`reader_side`]
//! and [`sender_side`]; [`admin`] has the other commands.

#![allow(missing_docs, reason = "one program: a comment says what a name cannot")]

pub mod admin;
pub mod batch;
pub mod checkpoint;
pub mod compiled;
pub mod config;
pub mod decode;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod output;
pub mod pipeline;
pub mod proxy;
pub mod reader_side;
pub mod run;
pub mod sender_side;
pub mod signals;
pub mod source;
pub mod standby;
pub mod status;
pub mod tail;
pub mod threads;
