//! `cargo xtask bench`: builds what is measured and the benchmarks (package `benches`), and runs one of these; draws their figures.

mod report;

pub use report::figures_are_recent;

use crate::{
    apt::{self, Package},
    build, ebpf, process,
};

/// What takes the steps, as an example of the package that has all that they need, and what counts. Each of these commands
/// names an example: without one, features that only examples ask for would be left out, and the tree built once more.
const READER_SIDE: [&str; 4] = ["--package", "benches", "--example", "reader_side"];
const INSTRUCTIONS: [&str; 6] = ["--package", "benches", "--bin", "instructions", "--example", "reader_side"];
const PIPELINE: [&str; 12] = [
    "--package",
    "collector",
    "--package",
    "benches",
    "--bin",
    "pilcrow",
    "--bin",
    "pipeline",
    "--bin",
    "floor",
    "--example",
    "reader_side",
];
/// The whole collector once more, for `--allocations`.
const COUNTING: [&str; 2] = ["--example", "counting"];

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(clap::Subcommand)]
enum Benchmark {
    /// Only builds what the two benchmarks run
    Build,
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
    /// Draw the figures: the plots of the documents, or a page of how they changed over many runs
    Report(report::Args),
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.benchmark {
        Benchmark::Build => {
            ebpf::ensure_built()?;
            build::optimized(None, &[&INSTRUCTIONS[..], &PIPELINE].concat()).map(drop)
        }
        Benchmark::Instructions { arguments } => instructions(arguments),
        Benchmark::Pipeline { arguments } => pipeline(arguments),
        Benchmark::Report(args) => report::run(args),
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
    let here = build::optimized(None, &INSTRUCTIONS)?;
    let there = match target {
        None => here.clone(),
        Some(_) => build::optimized(target, &READER_SIDE)?,
    };
    let mut command = process::in_workspace(here.join("instructions"));
    process::run(command.args(arguments).arg("--program").arg(there.join("examples/reader_side")))
}

fn pipeline(arguments: &[String]) -> anyhow::Result<()> {
    ebpf::ensure_built()?;
    let counts = arguments.iter().any(|argument| argument == "--allocations");
    let built = build::optimized(None, &[&PIPELINE[..], if counts { &COUNTING } else { &[] }].concat())?;
    let mut command = process::in_workspace(built.join("pipeline"));
    command.args(arguments).arg("--collector").arg(built.join("pilcrow")).arg("--floor").arg(built.join("floor"));
    if counts {
        command.arg("--counting").arg(built.join("examples/counting"));
    }
    process::run(&mut command)
}

/// The value of an option, as its own word or after `=`.
fn value_of<'a>(option: &str, arguments: &'a [String]) -> Option<&'a str> {
    let behind = |(index, word): (usize, &'a String)| match word.strip_prefix(option)? {
        "" => arguments.get(index + 1).map(String::as_str),
        rest => rest.strip_prefix('='),
    };
    arguments.iter().enumerate().find_map(behind)
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
