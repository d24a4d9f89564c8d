//! Pilcrow's throughput benchmark: the real program as its own process, between a log writer and a sink that checks
//! every line, and the floor that it is held against. The micro-benchmarks are in `benches/benches`.

pub mod floor;
pub mod pipeline;
