//! The program `pilcrow`: runs the command that was asked for, with its configuration, and chooses the exit code.

mod cli;

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use cli::{Command, CommandLine, DEFAULT_FILE, MigrateOptions, TailOptions, TryOptions};
use collector::{
    admin::check,
    admin::doctor::{self, System, Trials},
    admin::import_positions,
    admin::migrate::{self, output::Form, prove::Proof},
    admin::remote::{self, Remote},
    admin::terminal::{Paint, wants_colours},
    admin::test_rules,
    admin::try_rules,
    compiled::Compiled,
    config::{Config, ConfigError},
    logging, memory,
    output::loki::{SeriesQuery, probe, series},
    source::kubernetes,
    tail::notify,
    threads,
};
use rustix::io::Errno;

/// musl's own allocator is slow, and glibc's keeps freed memory. The crate's feature `no_thp` switches transparent huge
/// pages off for this process: with them the same backlog of 231 MB took 40 MB of anonymous memory instead of 18
/// (x86_64, kernel 6.18 with `madvise`), at the same CPU time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something failed while running.
const EXIT_FAILURE: u8 = 1;
/// Ends a message whose cause is the limit of open files.
const DESCRIPTORS_FIX: &str = "; raise the limit of open files to 256 or more: LimitNOFILE= of the systemd unit or of the container \
                               runtime, ulimit -n in a shell";

/// The configuration or the command line is wrong; clap exits with the same number.
const EXIT_USAGE: u8 = 2;

/// The file that a command reads; `None`: none, the environment is enough.
fn file_of(command: &Command) -> Option<PathBuf> {
    let named = command.config_file().and_then(|file| file.config.clone());
    named.or_else(|| Some(DEFAULT_FILE.into()).filter(|file: &PathBuf| command.has_default_file() && file.exists()))
}

/// Says which configuration is looked at, where nobody has named one.
fn say_which(command: &Command, file: Option<&Path>) {
    if command.is_check() && command.config_file().is_some_and(|file| file.config.is_none()) {
        match file {
            Some(file) => logging::last_words(format_args!("pilcrow: using {}", file.display())),
            None => logging::last_words(format_args!(
                "pilcrow: there is no {DEFAULT_FILE} and no --config: using the defaults and the environment"
            )),
        }
    }
}

fn main() -> ExitCode {
    memory::give_back_at_once();
    let command = CommandLine::parse().command;
    if let Some(url) = command.url() {
        return exit_code(Remote::at(url).and_then(|remote| look(&command, &remote)));
    }
    if let Command::Migrate(options) = command {
        return exit_code(migrate(options));
    }
    let file = file_of(&command);
    match Compiled::load(file.as_deref(), &Config::process_environment) {
        Ok(compiled) => {
            say_which(&command, file.as_deref());
            exit_code(with(command, compiled))
        }
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
        Command::Check { print: true, .. } => check::write_yaml(&compiled.config, &mut io::stdout().lock()),
        Command::Check { .. } => check::write(&compiled, &mut io::stdout().lock()),
        Command::Doctor { json, .. } => diagnose(&compiled.config, json),
        Command::Test { config, files } => test_rules::run(
            &compiled,
            &test_rules::Request { config: config.config, files },
            &Config::process_environment,
            wants_colours(),
            &mut io::stdout().lock(),
        ),
        Command::Try(options) => try_rules(&compiled, options),
        Command::Status { .. } | Command::Top { .. } | Command::Tail(_) => {
            look(&command, &Remote::of_config(&compiled.config))
        }
        Command::ImportPositions { file, dry_run, force, once, .. } => import_positions::run(
            &compiled.config,
            &import_positions::Request { file, dry_run, force, once },
            &mut io::stdout().lock(),
        ),
        Command::Migrate(options) => migrate(options),
    }
}

fn migrate(options: MigrateOptions) -> anyhow::Result<()> {
    let MigrateOptions { files, values, output, strict, json, job, prove, pods, lines, config, loki } = options;
    if prove {
        let request = migrate::prove::Request { pods, lines, loki };
        let new = config.map(|file| Compiled::load(Some(&file), &Config::process_environment)).transpose()?;
        let proof = Proof::new(&migrate::sources(&files)?, &migrate::convert::Options { job }, &request, new)?;
        let runtime = threads::runtime()?;
        let pods = runtime.block_on(kubernetes::list(&proof.config().kubernetes, &proof.interest()?));
        let ask = |query: &SeriesQuery| runtime.block_on(series(&proof.config().loki, query));
        return proof.run(&request, pods, &ask, &mut io::stdout().lock());
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
    let runtime = threads::runtime()?;
    let (push, pods) =
        runtime.block_on(async { tokio::join!(probe(&config.loki), kubernetes::probe(&config.kubernetes)) });
    let loki = push.as_ref().ok().cloned();
    let push = push.map(|reached| format!("{} takes lines ({})", reached.url, reached.status));
    let trials = Trials {
        signal: Some(notify::survey(&config.paths.pods, &config.paths.state)),
        push: Some(push.map_err(|error| format!("{error:#}"))),
        loki,
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
        let (rules, selector) = (compiled.relabel.clone(), compiled.pod_selector.clone());
        let interest = kubernetes::Interest { rules, selector, annotations: Vec::new() };
        let runtime = threads::runtime()?;
        runtime.block_on(kubernetes::list(&compiled.config.kubernetes, &interest))
    } else {
        Ok(None)
    };
    try_rules::run(compiled, &request, pods, wants_colours(), &mut io::BufWriter::new(io::stdout().lock()))
}

/// The commands that ask the running program.
fn look(command: &Command, remote: &Remote) -> anyhow::Result<()> {
    let (colours, mut out) = (wants_colours(), io::BufWriter::new(io::stdout()));
    let result = match command {
        Command::Status { json, .. } => remote::status::run(remote, *json, colours, &mut out),
        Command::Top { .. } => remote::top::run(remote, colours, &mut out),
        Command::Tail(TailOptions { target, raw, grep, json, .. }) => {
            let request = remote::tail::Request { target: target.clone(), raw: *raw, grep: grep.clone(), json: *json };
            remote::tail::run(remote, &request, colours, &mut out)
        }
        _ => Ok(()),
    };
    io::Write::flush(&mut out)?;
    result
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
            let fix = if lacks_descriptors(&error) { DESCRIPTORS_FIX } else { "" };
            logging::last_words(format_args!("pilcrow: {error:#}{fix}"));
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// Whatever it was that could not be opened, the fix is the same.
fn lacks_descriptors(error: &anyhow::Error) -> bool {
    let mut codes = error.chain().filter_map(|error| error.downcast_ref::<io::Error>()?.raw_os_error());
    codes.any(|code| [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error).contains(&code))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
