//! A running `pilcrow run`: the collector as its own process, which never outlives the one that started it.
//!
//! In: the program, a folder for its configuration and its log, and the configuration's text. Out: a process that is
//! watched, asked to end or killed; one that ends by itself is an error with the end of its log. What the
//! configuration says is up to the caller, but for the status server's address.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    net::TcpListener,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::read_errors::ReadErrors;

/// More than the collector's own deadline for draining, which is 10 s.
const EXIT_DEADLINE: Duration = Duration::from_secs(30);
/// Where every instruction is emulated, attaching the probe takes its time.
const START_DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);
const LOG_LINES_SHOWN: usize = 15;

/// What a collector is started with, also again after its end.
pub struct Setup {
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    status_address: String,
    own_group: bool,
    read_errors: Option<ReadErrors>,
}

impl Setup {
    /// Writes `pilcrow.yaml` and an empty `pilcrow.log` into `folder`. `configuration` is YAML without `http`, which is
    /// added: a port that was free a moment ago.
    ///
    /// # Errors
    /// Where these cannot be written, or no port is free.
    pub fn write(program: &Path, folder: &Path, configuration: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let status_address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let (config, log) = (folder.join("pilcrow.yaml"), folder.join("pilcrow.log"));
        fs::write(&log, "")?;
        let setup =
            Self { program: program.to_owned(), config, log, status_address, own_group: false, read_errors: None };
        setup.reconfigure(configuration)?;
        Ok(setup)
    }

    /// Another configuration for collectors that are started from now on; the status server's address stays.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn reconfigure(&self, configuration: &str) -> anyhow::Result<()> {
        Ok(fs::write(&self.config, format!("{configuration}http: {{listen: {:?}}}\n", self.status_address))?)
    }

    /// Where the configuration is.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// A process group of its own: Ctrl-C is for the caller, which then ends the collector in good order.
    #[must_use]
    pub fn in_own_group(self) -> Self {
        Self { own_group: true, ..self }
    }

    /// Whether reads of collectors that are started from now on can fail.
    pub fn set_read_errors(&mut self, errors: Option<ReadErrors>) {
        self.read_errors = errors;
    }
}

/// A running collector; dropping it kills it.
#[derive(Debug)]
pub struct Collector {
    child: Child,
    status_address: String,
    log: PathBuf,
}

impl Collector {
    /// Starts `pilcrow run`; what it says is appended to the log.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(setup: &Setup) -> anyhow::Result<Self> {
        let log = File::options().append(true).open(&setup.log)?;
        let mut command = Command::new(&setup.program);
        command.args(["run", "--config"]).arg(&setup.config);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        if setup.own_group {
            command.process_group(0);
        }
        let child = match &setup.read_errors {
            Some(errors) => errors.spawn(&mut command)?,
            None => spawn(&mut command)?,
        };
        Ok(Self { child, status_address: setup.status_address.clone(), log: setup.log.clone() })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// HOST:PORT of its status server.
    pub fn status_address(&self) -> &str {
        &self.status_address
    }

    /// Where its log is.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Until it answers on /healthz.
    ///
    /// # Errors
    /// Where it ends, or does not answer in time.
    pub fn wait_for_start(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + START_DEADLINE;
        let url = format!("http://{}/healthz", self.status_address);
        while !crate::http::get(&url, Duration::from_secs(1)).is_ok_and(|(status, _)| status == 200) {
            self.check_running()?;
            ensure!(Instant::now() < end, "the collector does not answer {url}. Its log:\n{}", self.end_of_log());
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// That it has not ended.
    ///
    /// # Errors
    /// With the end of its log if it has ended by itself.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the collector ended by itself ({status}). Its log:\n{}", self.end_of_log()),
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// Where it ended before, does not end in time, or not well.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        self.terminate_watching(|_| {})
    }

    /// The same; `look` is called with its process every few milliseconds until the end.
    ///
    /// # Errors
    /// As [`Self::terminate`].
    pub fn terminate_watching(&mut self, mut look: impl FnMut(u32)) -> anyhow::Result<()> {
        self.check_running()?;
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let end = Instant::now() + EXIT_DEADLINE;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    bail!("after SIGTERM the collector ended with {status}. Its log:\n{}", self.end_of_log())
                }
                None => ensure!(Instant::now() < end, "the collector still runs {EXIT_DEADLINE:?} after SIGTERM"),
            }
            look(self.child.id());
            thread::sleep(POLL);
        }
    }

    /// SIGSTOP: the process stands still until [`Self::resume`].
    ///
    /// # Errors
    /// Where it ended before.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.check_running()?;
        Ok(kill_process(Pid::from_child(&self.child), Signal::STOP)?)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// Where it ended.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::CONT)?;
        self.check_running()
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// Where it ended before.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.check_running()?;
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Device and inode of every file that a process has open, deleted ones too.
///
/// # Errors
/// Where the process is gone, or somebody else's.
pub fn open_files(pid: u32) -> io::Result<HashSet<(u64, u64)>> {
    let mut files = HashSet::new();
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One that was closed meanwhile is not there any more.
        if let Ok(metadata) = fs::metadata(descriptor?.path()) {
            files.insert((metadata.dev(), metadata.ino()));
        }
    }
    Ok(files)
}

/// Starts a process that is killed when the calling thread ends.
///
/// # Errors
/// Where it cannot be started.
#[expect(unsafe_code, reason = "std cannot ask for a parent-death signal")]
pub fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    // SAFETY: between fork and exec only prctl(2) is called, which is async-signal-safe.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
    command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A shell script in the collector's place.
    fn start(folder: &Path, script: &str) -> Collector {
        let program = folder.join("pilcrow");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Collector::start(&Setup::write(&program, folder, "reader: pread\n").unwrap().in_own_group()).unwrap()
    }

    fn wait_for(path: &Path) {
        let end = Instant::now() + Duration::from_secs(30);
        while !path.exists() {
            assert!(Instant::now() < end, "{} did not come", path.display());
            thread::sleep(POLL);
        }
    }

    #[test]
    fn a_collector_is_started_with_its_configuration_and_ended_by_sigterm() {
        let folder = tempfile::tempdir().unwrap();
        let up = folder.path().join("up");
        let script =
            format!("trap 'exit 0' TERM; echo $1 $2 >&2; echo $3 > {}; while :; do sleep 0.01; done", up.display());
        let mut collector = start(folder.path(), &script);
        wait_for(&up);
        collector.check_running().unwrap();
        collector.terminate().unwrap();
        assert_eq!(collector.end_of_log(), "run --config");
        let config = fs::read_to_string(folder.path().join("pilcrow.yaml")).unwrap();
        assert_eq!(config, format!("reader: pread\nhttp: {{listen: \"{}\"}}\n", collector.status_address()));
    }

    #[test]
    fn a_collector_that_ends_by_itself_is_reported_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut collector = start(folder.path(), "echo no such thing >&2; exit 2");
        let error = collector.wait_for_start().unwrap_err().to_string();
        assert!(error.contains("exit status: 2") && error.contains("no such thing"), "{error}");
    }

    #[test]
    fn a_deleted_file_counts_as_open_as_long_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let file = File::create(&path).unwrap();
        let metadata = file.metadata().unwrap();
        fs::remove_file(&path).unwrap();
        let is_open = || open_files(std::process::id()).unwrap().contains(&(metadata.dev(), metadata.ino()));
        assert!(is_open());
        drop(file);
        assert!(!is_open());
    }

    #[test]
    fn a_dropped_collector_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let collector = start(folder.path(), "trap '' TERM; while :; do sleep 0.01; done");
        let process = PathBuf::from(format!("/proc/{}", collector.pid()));
        assert!(process.exists());
        drop(collector);
        assert!(!process.exists());
    }
}
