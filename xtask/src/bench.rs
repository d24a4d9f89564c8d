//! `cargo xtask bench`: builds what is measured and what measures, and hands over to the latter (package `benches`).

use std::path::PathBuf;

use crate::{build, process};

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(clap::Subcommand)]
enum Benchmark {
    /// The whole pipeline: throughput, CPU time, memory, latency, and the distance from the floor (-h shows the options)
    #[command(disable_help_flag = true)]
    Pipeline {
        /// Handed on to the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Builds and measures.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let Benchmark::Pipeline { arguments } = &args.benchmark;
    let collector = build::build(None, false)?;
    let [pipeline, floor] = build_programs()?;
    let mut command = process::in_workspace(pipeline);
    command.args(arguments).arg("--collector").arg(collector).arg("--floor").arg(floor);
    process::run(&mut command)
}

/// The programs of package `benches`, of which the collector is no dependency.
fn build_programs() -> anyhow::Result<[PathBuf; 2]> {
    process::run(process::cargo().args(["build", "--package", "benches", "--bins", "--release"]))?;
    Ok(["pipeline", "floor"].map(|name| process::target_dir().join("release").join(name)))
}
