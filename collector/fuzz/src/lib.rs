//! What must hold for every input: one function per fuzz target, which panics where it does not.
//!
//! In: any bytes. The references that the collector is compared with are written for clearness, and share no code with
//! it. `collector/tests/fuzz_corpora.rs` includes these modules too, and replays the kept inputs in every test run.

pub mod alloy;
pub mod checkpoint;
pub mod config;
pub mod cri;
pub mod docker;
pub mod lines;
pub mod migrate;
mod parser;
pub mod positions;
pub mod snappy;
pub mod timestamps;
