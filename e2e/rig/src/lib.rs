//! What Pilcrow is tested with, and nothing of Pilcrow: this crate must not depend on the collector, so that the two
//! cannot share a mistake.
//!
//! - [`kubelet`] writes container logs as containerd, dockerd and the kubelet do. Every line says who it is
//!   ([`mark`]), and the [`ledger::Ledger`] knows how many were written.
//! - [`receiver`] takes the place of Loki. It decodes every push strictly and keeps a [`tally::Tally`] of the lines that
//!   came in.
//! - [`metrics`] reads what the collector reports about itself.
//! - [`program`] is the collector as a process, of which the path is all that is known.
//! - [`read_errors`] has a process's reads of chosen files fail.
//! - [`tally::Tally::compare`] compares the two: written, acknowledged, missing, repeated, out of order, late.

#![deny(unsafe_code)]

pub mod http;
pub mod kubelet;
pub mod latency;
pub mod ledger;
pub mod mark;
pub mod metrics;
pub mod program;
pub mod random;
pub mod read_errors;
pub mod receiver;
pub mod tally;
