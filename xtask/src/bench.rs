//! `cargo xtask bench`: builds what is measured and what measures, and hands over to the latter (package `benches`).

use std::path::PathBuf;

use crate::{
    apt::{self, Package},
    build, process,
};

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(clap::Subcommand)]
enum Benchmark {
    /// Instructions that a line takes in each step, the same on a busy machine (-h shows the options)
    #[command(disable_help_flag = true)]
    Instructions {
        /// Handed on to the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
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
    match &args.benchmark {
        Benchmark::Instructions { arguments } => instructions(arguments),
        Benchmark::Pipeline { arguments } => pipeline(arguments),
    }
}

fn instructions(arguments: &[String]) -> anyhow::Result<()> {
    let target = value_of("--target", arguments);
    let counter = match target {
        None => Package { name: "valgrind", program: "valgrind" },
        Some(_) => Package { name: "qemu-user-static", program: "qemu-aarch64-static" },
    };
    if let Err(error) = apt::ensure(&[counter]) {
        println!("SKIPPED: nothing counts instructions here: {error:#}");
        return Ok(());
    }
    let program = build::build_benches_example("reader_side", target)?;
    let mut command = process::in_workspace(build_program("instructions")?);
    process::run(command.args(arguments).arg("--program").arg(program))
}

fn pipeline(arguments: &[String]) -> anyhow::Result<()> {
    let collector = build::build(None, false)?;
    let counting = build::build_benches_example("counting", None)?;
    let (pipeline, floor) = (build_program("pipeline")?, build_program("floor")?);
    let mut command = process::in_workspace(pipeline);
    command.args(arguments).arg("--collector").arg(collector).arg("--floor").arg(floor).arg("--counting").arg(counting);
    process::run(&mut command)
}

/// What stands behind an option, as its own word or after `=`.
fn value_of<'a>(option: &str, arguments: &'a [String]) -> Option<&'a str> {
    let behind = |(index, word): (usize, &'a String)| match word.strip_prefix(option)? {
        "" => arguments.get(index + 1).map(String::as_str),
        rest => rest.strip_prefix('='),
    };
    arguments.iter().enumerate().find_map(behind)
}

/// A program of package `benches`, of which the collector is no dependency.
fn build_program(name: &str) -> anyhow::Result<PathBuf> {
    process::run(process::cargo().args(["build", "--package", "benches", "--bin", name, "--release"]))?;
    Ok(process::target_dir().join("release").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_options_value_is_found_in_both_spellings() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(value_of("--target", &words("--json f --target a-b")), Some("a-b"));
        assert_eq!(value_of("--target", &words("--target=a-b")), Some("a-b"));
        assert_eq!(value_of("--target", &words("--targets a --target")), None);
    }
}
