//! The measured programs, as processes that never outlive the benchmark.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// More than the collector's own deadline for draining, which is 10 s.
const EXIT_DEADLINE: Duration = Duration::from_secs(20);
const START_DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);
const LOG_LINES_SHOWN: usize = 15;

/// A running collector; dropping it kills it.
pub struct Collector {
    child: Child,
    status_address: String,
    log: PathBuf,
}

/// What a collector is started with.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// The program.
    pub program: &'a Path,
    /// For the configuration, the log and the state, which are made anew.
    pub folder: &'a Path,
    /// `paths.pods`
    pub pods: &'a Path,
    /// `loki.url`
    pub loki: &'a str,
    /// `signal`
    pub signal: &'a str,
    /// `reader`
    pub reader: &'a str,
}

impl Collector {
    /// Starts `pilcrow run` without any positions of an earlier run.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(setup: &Setup<'_>) -> anyhow::Result<Self> {
        let state = setup.folder.join("state");
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        fs::create_dir_all(&state)?;
        let status_address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let config = setup.folder.join("pilcrow.yaml");
        // Rust's quoting of these strings is YAML's too.
        let text = format!(
            "loki: {{url: {:?}}}\nlabels: {{cluster: bench}}\npaths: {{pods: {:?}, state: {state:?}}}\n\
             kubernetes: {{enabled: false}}\nsignal: {}\nreader: {}\nhttp: {{listen: {status_address:?}}}\n",
            setup.loki, setup.pods, setup.signal, setup.reader
        );
        fs::write(&config, text)?;
        let log = setup.folder.join("pilcrow.log");
        let mut command = Command::new(setup.program);
        command.arg("run").arg("--config").arg(&config);
        command.stdin(Stdio::null()).stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?);
        let child = spawn(&mut command)?;
        Ok(Self { child, status_address, log })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Until it answers on /healthz.
    ///
    /// # Errors
    /// Where it ends, or does not answer in time.
    pub fn wait_for_start(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + START_DEADLINE;
        let url = format!("http://{}/healthz", self.status_address);
        while !rig::http::get(&url, Duration::from_secs(1)).is_ok_and(|(status, _)| status == 200) {
            self.check_running()?;
            ensure!(Instant::now() < end, "the collector does not answer {url}. Its log:\n{}", self.end_of_log());
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// An error with the end of its log if it has ended by itself.
    ///
    /// # Errors
    /// That one.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the collector ended by itself ({status}). Its log:\n{}", self.end_of_log()),
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// Where it does not end, or not well.
    pub fn terminate(mut self) -> anyhow::Result<()> {
        self.check_running()?;
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let end = Instant::now() + EXIT_DEADLINE;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the collector ended with {status}. Its log:\n{}", self.end_of_log()),
                None => ensure!(Instant::now() < end, "the collector still runs {EXIT_DEADLINE:?} after SIGTERM"),
            }
            thread::sleep(POLL);
        }
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A running floor program ([`crate::floor`]); dropping it kills it.
pub struct Floor {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Floor {
    /// Starts to ship `files` to `address`.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(program: &Path, address: &str, files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.arg(address).args(files).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(&mut command)?;
        let output = child.stdout.take().context("the floor has no output")?;
        Ok(Self { child, output: BufReader::new(output) })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Until all is sent; the number of records.
    ///
    /// # Errors
    /// Where it failed.
    pub fn wait(&mut self) -> anyhow::Result<u64> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        line.trim().parse().context("the floor failed")
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    // SAFETY: between fork and exec, the closure makes one system call and touches no memory.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
    command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))
}

fn end(child: &mut Child) {
    // Fails where it has ended already, which is as well.
    let _ = child.kill();
    let _ = child.wait();
}
