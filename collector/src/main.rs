//! The command line of `pilcrow`: which command, with which configuration, and the exit code.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use collector::{
    admin::check,
    admin::doctor::{self, System, Trials},
    admin::import_positions,
    compiled::Compiled,
    config::{Config, ConfigError},
    logging, memory,
    output::loki::probe,
    source::kubernetes,
    tail::notify,
};

/// musl's own allocator is slow and glibc's keeps what it once had. The crate's feature `no_thp` switches transparent huge
/// pages off for this process: with them the same backlog of 231 MB took 40 MB of anonymous memory instead of 18
/// (x86_64, kernel 6.18 with `madvise`), at the same CPU time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something failed while running.
const EXIT_FAILURE: u8 = 1;
/// The configuration or the command line is wrong; clap exits with the same number.
const EXIT_USAGE: u8 = 2;

/// The log collector for ARM Kubernetes nodes.
#[derive(Parser)]
#[command(name = "pilcrow", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Collect this node's container logs and send them to Loki
    Run(ConfigFile),
    /// Validate a configuration and say what it means, without starting
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
        /// Only say what would be imported
        #[arg(long)]
        dry_run: bool,
        /// Replace positions that Pilcrow has saved itself
        #[arg(long)]
        force: bool,
        /// Succeed and do nothing where Pilcrow has saved positions already or FILE is not there: for an init container
        #[arg(long, conflicts_with = "force")]
        once: bool,
    },
    /// Say what this machine offers, what is missing and how to fix it
    Doctor {
        #[command(flatten)]
        config: ConfigFile,
        /// Print one JSON object (docs/doctor.md) instead of a table
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    fn config_file(&self) -> &ConfigFile {
        match self {
            Self::Run(file)
            | Self::Check { config: file, .. }
            | Self::ImportPositions { config: file, .. }
            | Self::Doctor { config: file, .. } => file,
        }
    }
}

#[derive(Args)]
struct ConfigFile {
    /// YAML file; without one, LOKI_URL and NODE_NAME in the environment are enough
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn load(&self) -> Result<Compiled, ConfigError> {
        Compiled::load(self.config.as_deref(), &Config::process_environment)
    }
}

fn main() -> ExitCode {
    memory::give_back_at_once();
    let command = CommandLine::parse().command;
    let compiled = match command.config_file().load() {
        Ok(compiled) => compiled,
        Err(error) => {
            logging::last_words(format_args!("{error}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let result = match command {
        Command::Run(_) => run(compiled),
        Command::Check { show_relabel: true, .. } => check::write_rules(&compiled.config, &mut io::stdout().lock()),
        Command::Check { print, .. } => check::write(&compiled, print, &mut io::stdout().lock()),
        Command::Doctor { json, .. } => diagnose(&compiled.config, json),
        Command::ImportPositions { file, dry_run, force, once, .. } => import_positions::run(
            &compiled.config,
            &import_positions::Request { file, dry_run, force, once },
            &mut io::stdout().lock(),
        ),
    };
    exit_code(result)
}

fn run(compiled: Compiled) -> anyhow::Result<()> {
    logging::start(&compiled.config.log);
    collector::run::run(compiled)
}

fn diagnose(config: &Config, json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (push, pods) =
        runtime.block_on(async { tokio::join!(probe(&config.loki), kubernetes::probe(&config.kubernetes)) });
    let push = push.map(|reached| format!("{} takes lines ({})", reached.url, reached.status));
    let trials = Trials {
        signal: Some(notify::survey(&config.paths.pods, &config.paths.state)),
        push: Some(push.map_err(|error| format!("{error:#}"))),
        pods: Some(pods),
    };
    let report = doctor::examine(config, &System::this_machine(), &trials);
    report.write(json, io::stdout().is_terminal(), &mut io::stdout().lock())?;
    anyhow::ensure!(report.can_work(), "Pilcrow cannot work here: see what is marked fail");
    Ok(())
}

fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough: `pilcrow check --print | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            logging::last_words(format_args!("pilcrow: {error:#}"));
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
