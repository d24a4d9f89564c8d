//! The throughput benchmark of the whole pipeline; `cargo xtask bench pipeline` builds and starts it.

use std::process::ExitCode;

use benches::pipeline::{Args, run};
use clap::Parser;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
