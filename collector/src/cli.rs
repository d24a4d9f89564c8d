//! The command line of `pilcrow`, as clap knows it.
//!
//! In: arguments. Out: a command with its options. It imports nothing of the collector: `cargo xtask` includes this file to
//! make the man pages and the shell completions.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The log collector for ARM Kubernetes nodes.
#[derive(Parser)]
#[command(name = "pilcrow", version, arg_required_else_help = true)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Collect this node's container logs and send them to Loki
    Run(ConfigFile),
    /// Validate a configuration and show what it means, without starting
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// Print the whole configuration as well, defaults included, as YAML
        #[arg(long)]
        print: bool,
        /// Print only the rules that make the labels, built-in ones included, as YAML
        #[arg(long, conflicts_with = "print")]
        show_relabel: bool,
    },
    /// Import the positions file of Promtail, the Grafana Agent or Alloy, so that nothing is sent twice or left out
    ImportPositions {
        #[command(flatten)]
        config: ConfigFile,
        /// Promtail's positions.yaml, or the positions.yml of Alloy's loki.source.file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Only show what would be imported
        #[arg(long)]
        dry_run: bool,
        /// Replace positions that Pilcrow has saved itself
        #[arg(long)]
        force: bool,
        /// Succeed and do nothing where Pilcrow has saved positions already or FILE is not there: for an init container
        #[arg(long, conflicts_with = "force")]
        once: bool,
    },
    /// Show what this machine offers, what is missing and how to fix it
    Doctor {
        #[command(flatten)]
        config: ConfigFile,
        /// Print one JSON object (docs/doctor.md) instead of a table
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    /// Every command reads a configuration.
    pub fn config_file(&self) -> &ConfigFile {
        match self {
            Self::Run(file)
            | Self::Check { config: file, .. }
            | Self::ImportPositions { config: file, .. }
            | Self::Doctor { config: file, .. } => file,
        }
    }
}

#[derive(Args)]
pub struct ConfigFile {
    /// YAML file; without one, LOKI_URL and NODE_NAME in the environment are enough
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
