//! The program `pilcrow`: runs the command that was asked for, with its configuration, and chooses the exit code.

mod cli;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::Parser;
use cli::{Command, CommandLine, ConfigFile, MigrateOptions, TryOptions};
use collector::{
    admin::check,
    admin::doctor::{self, System, Trials},
    admin::import_positions,
    admin::migrate::{self, output::Form, prove::Proof},
    admin::terminal::{Paint, wants_colours},
    admin::test_rules,
    admin::try_rules,
    compiled::Compiled,
    config::{Config, ConfigError},
    logging, memory,
    output::loki::probe,
    source::kubernetes,
    tail::notify,
};

/// musl's own allocator is slow, and glibc's keeps freed memory. The crate's feature `no_thp` switches transparent huge
/// pages off for this process: with them the same backlog of 231 MB took 40 MB of anonymous memory instead of 18
/// (x86_64, kernel 6.18 with `madvise`), at the same CPU time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something failed while running.
const EXIT_FAILURE: u8 = 1;
/// The configuration or the command line is wrong; clap exits with the same number.
const EXIT_USAGE: u8 = 2;

fn load(file: Option<&ConfigFile>) -> Result<Compiled, ConfigError> {
    Compiled::load(file.and_then(|file| file.config.as_deref()), &Config::process_environment)
}

fn main() -> ExitCode {
    memory::give_back_at_once();
    let command = CommandLine::parse().command;
    let command = match command {
        Command::Migrate(options) => return exit_code(migrate(options)),
        command => command,
    };
    match load(command.config_file()) {
        Ok(compiled) => exit_code(with(command, compiled)),
        Err(error) => {
            logging::last_words(format_args!("{error}"));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Runs a command that reads a configuration.
fn with(command: Command, compiled: Compiled) -> anyhow::Result<()> {
    match command {
        Command::Run(_) => run(compiled),
        Command::Check { show_relabel: true, .. } => check::write_rules(&compiled.config, &mut io::stdout().lock()),
        Command::Check { print, .. } => check::write(&compiled, print, &mut io::stdout().lock()),
        Command::Doctor { json, .. } => diagnose(&compiled.config, json),
        Command::Test { config, files } => test_rules::run(
            &compiled,
            &test_rules::Request { config: config.config, files },
            &Config::process_environment,
            wants_colours(),
            &mut io::stdout().lock(),
        ),
        Command::Try(options) => try_rules(&compiled, options),
        Command::ImportPositions { file, dry_run, force, once, .. } => import_positions::run(
            &compiled.config,
            &import_positions::Request { file, dry_run, force, once },
            &mut io::stdout().lock(),
        ),
        Command::Migrate(options) => migrate(options),
    }
}

fn migrate(options: MigrateOptions) -> anyhow::Result<()> {
    let MigrateOptions { files, values, output, strict, json, job, prove, pods, lines } = options;
    if prove {
        let request = migrate::prove::Request { pods, lines };
        let proof = Proof::new(&migrate::sources(&files)?, &migrate::convert::Options { job }, &request)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let pods = runtime.block_on(kubernetes::list(proof.kubernetes(), &proof.interest()?));
        return proof.run(&request, pods, &mut io::stdout().lock());
    }
    let form = if values { Form::Values } else { Form::Config };
    let request = migrate::Request { files, form, output, strict, json, job };
    let paint = Paint { colours: wants_colours() && io::stderr().is_terminal() };
    migrate::run(&request, paint, &mut io::stdout().lock(), &mut io::stderr().lock())
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
    report.write(json, wants_colours(), &mut io::stdout().lock())?;
    anyhow::ensure!(report.can_work(), "Pilcrow cannot work here: see what is marked fail");
    Ok(())
}

fn try_rules(compiled: &Compiled, options: TryOptions) -> anyhow::Result<()> {
    let TryOptions { namespace, pod, container, labels, lines, stdin, explain, json, files, .. } = options;
    let request = try_rules::Request { namespace, pod, container, labels, lines, stdin, files, explain, json };
    let pods = if request.is_of_containers() {
        let interest =
            kubernetes::Interest { rules: compiled.relabel.clone(), selector: compiled.pod_selector.clone() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(kubernetes::list(&compiled.config.kubernetes, &interest))
    } else {
        Ok(None)
    };
    try_rules::run(compiled, &request, pods, wants_colours(), &mut io::BufWriter::new(io::stdout().lock()))
}

fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough: `pilcrow check --print | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<ConfigError>() => {
            logging::last_words(format_args!("{error}"));
            ExitCode::from(EXIT_USAGE)
        }
        Err(error) => {
            logging::last_words(format_args!("pilcrow: {error:#}"));
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
