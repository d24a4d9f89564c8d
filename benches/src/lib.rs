//! Pilcrow's benchmarks: the real program as its own process, between a log writer and a sink that checks every line
//! ([`pipeline`]), the floor that it is held against ([`floor`]), and how many instructions a line takes
//! ([`instructions`]). The micro-benchmarks are in `benches/benches`.

pub mod corpora;
mod docs;
pub mod floor;
pub mod instructions;
mod limits;
mod machine;
pub mod pipeline;
pub mod records;
pub mod staged;

/// Seconds of the fastest run, which other programs disturbed least.
pub fn fastest(runs: usize, mut run: impl FnMut()) -> f64 {
    let seconds = (0..runs).map(|_| {
        let started = std::time::Instant::now();
        run();
        started.elapsed().as_secs_f64()
    });
    seconds.fold(f64::MAX, f64::min)
}
