//! `cargo xtask`: Pilcrow's build, test and demo commands.

mod demo;
mod ebpf;
mod test;

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
    /// Build the eBPF probe; gets bpf-linker and rust-src if they are missing
    BuildEbpf(ebpf::Args),
    /// Run the main job on this machine and watch it
    Demo(demo::Args),
    /// Run all tests
    Test(test::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::BuildEbpf(args) => ebpf::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
    }
}
