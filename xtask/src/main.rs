//! `cargo xtask`: Pilcrow's build, test and demo commands.

mod apt;
mod bench;
mod book;
mod build;
mod cargo_tool;
mod chaos;
mod chart_readme;
mod conformance;
mod cross;
mod demo;
mod diagrams;
mod e2e;
mod ebpf;
mod figures;
mod fuzz;
mod go;
mod helm;
mod image;
mod interrupt;
mod k3s;
mod links;
mod manifests;
mod manual;
mod musl;
mod package;
mod place;
mod process;
mod release;
mod remap;
mod rollback;
mod soak;
mod test;
mod versions;
mod vm;
mod words;
mod workflows;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Pilcrow's build, test and demo commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure the collector
    Bench(bench::Args),
    /// Make the documents a site, by mdBook
    Book(book::Args),
    /// Build the eBPF probe; gets bpf-linker and rust-src if they are missing
    BuildEbpf(ebpf::Args),
    /// Build the release binary, for this machine or for another one
    Build(build::Args),
    /// Let everything go wrong at once and look for lost lines
    Chaos(chaos::Args),
    /// Compare the pipeline stages with those of Promtail's own library
    Conformance(conformance::Args),
    /// Run the main job on this machine and watch it
    Demo(demo::Args),
    /// Draw the documents' diagrams from docs/diagrams, by Graphviz
    Diagrams(diagrams::Args),
    /// Run the collector against a real Loki and compare what Loki stored
    E2e(e2e::Args),
    /// Run the collector for an hour and watch its memory
    Soak(soak::Args),
    /// Fuzz the parsers, the checkpoint file and the configuration
    Fuzz(fuzz::Args),
    /// Make container images, as files, without Docker
    Image(image::Args),
    /// Render deploy/manifests from the Helm chart
    Manifests(manifests::Args),
    /// Make a deb and an rpm
    Package(package::Args),
    /// Make and check everything that a release has
    Release(release::Args),
    /// Build twice in two folders and compare every byte of the artefacts
    Reproduce(release::reproduce::Args),
    /// Prove that an upgrade and a rollback between two versions lose nothing
    Rollback(rollback::Args),
    /// Run all tests
    Test(test::Args),
    /// Boot Debian's kernels in QEMU and run the probe's tests and the collector in them
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::Book(args) => book::run(&args),
        Command::BuildEbpf(args) => ebpf::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Chaos(args) => chaos::run(&args),
        Command::Conformance(args) => conformance::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Diagrams(args) => diagrams::run(&args),
        Command::E2e(args) => e2e::run(&args),
        Command::Vm(args) => vm::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Image(args) => image::run(&args),
        Command::Manifests(args) => manifests::run(&args),
        Command::Package(args) => package::run(&args),
        Command::Release(args) => release::run(&args),
        Command::Reproduce(args) => release::reproduce::run(&args),
        Command::Rollback(args) => rollback::run(&args),
        // Its closing line has to be the last one, so it reports its own failures.
        Command::Test(args) => return test::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
