//! How many instructions a line takes; `cargo xtask bench instructions` builds and starts it.

use std::process::ExitCode;

use benches::instructions::{Args, run};
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
