//! The collector as a process of its own, which never outlives the demo.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use super::metrics::{Metrics, Usage};

/// More than the collector's own deadline for draining, which is 10 s.
const EXIT_DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
const LOG_LINES_SHOWN: usize = 15;

/// What the collector is started with.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The binary.
    pub program: &'a Path,
    /// Folder for the configuration and the log.
    pub folder: &'a Path,
    /// `paths.pods`.
    pub pods: &'a Path,
    /// `paths.state`.
    pub state: &'a Path,
    /// `loki.url`.
    pub loki: &'a str,
    /// `loki.tenant`.
    pub tenant: &'a str,
    /// `labels.cluster`.
    pub cluster: &'a str,
    /// `signal`.
    pub signal: &'a str,
    /// `reader`.
    pub reader: &'a str,
}

/// The running collector; dropping it kills it.
#[derive(Debug)]
pub struct Collector {
    child: Child,
    status_address: String,
    log: PathBuf,
}

impl Collector {
    /// Writes the configuration and starts `pilcrow run`.
    pub fn start(setup: &Setup<'_>) -> anyhow::Result<Self> {
        fs::create_dir_all(setup.state)?;
        let status_address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let config = setup.folder.join("pilcrow.yaml");
        fs::write(&config, configuration(setup, &status_address))?;
        let log = setup.folder.join("pilcrow.log");
        let mut command = Command::new(setup.program);
        command.args(["run", "--config"]).arg(&config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        // A group of its own: Ctrl-C is for the demo, which then ends the collector in good order.
        command.process_group(0);
        // SAFETY: between fork and exec only prctl(2) is called, which is async-signal-safe.
        unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
        let child = command.spawn().with_context(|| format!("cannot start {}", setup.program.display()))?;
        Ok(Self { child, status_address, log })
    }

    /// Its figures; nothing while it does not answer yet.
    pub fn metrics(&self) -> Option<Metrics> {
        Metrics::fetch(&self.status_address).ok()
    }

    /// What it uses, as far as it runs.
    pub fn usage(&self) -> Option<Usage> {
        Usage::of(self.child.id()).ok()
    }

    /// An error with the end of its log if it has ended by itself.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the collector ended by itself ({status}). Its log:\n{}", self.end_of_log()),
        }
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        self.check_running()?;
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let end = Instant::now() + EXIT_DEADLINE;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() < end => thread::sleep(POLL),
                None => bail!("the collector still runs {EXIT_DEADLINE:?} after SIGTERM"),
            }
        };
        self.check_exit(status)
    }

    fn check_exit(&self, status: ExitStatus) -> anyhow::Result<()> {
        if !status.success() {
            bail!("after SIGTERM the collector ended with {status}. Its log:\n{}", self.end_of_log());
        }
        Ok(())
    }

    /// Where its log is.
    pub fn log(&self) -> &Path {
        &self.log
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Fails where it has ended already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The configuration file. Rust's quoting of these strings is YAML's too.
fn configuration(setup: &Setup<'_>, status_address: &str) -> String {
    let Setup { loki, tenant, cluster, signal, reader, .. } = setup;
    let (pods, state) = (setup.pods.display().to_string(), setup.state.display().to_string());
    format!(
        "loki: {{url: {loki:?}, tenant: {tenant:?}}}\n\
         labels: {{cluster: {cluster:?}}}\n\
         paths: {{pods: {pods:?}, state: {state:?}}}\n\
         kubernetes: {{enabled: false}}\n\
         signal: {signal}\n\
         reader: {reader}\n\
         http: {{listen: {status_address:?}}}\n"
    )
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
        let (pods, state) = (folder.join("pods"), folder.join("state"));
        let setup = Setup {
            program: &program,
            folder,
            pods: &pods,
            state: &state,
            loki: "http://127.0.0.1:1",
            tenant: "",
            cluster: "demo",
            signal: "auto",
            reader: "pread",
        };
        Collector::start(&setup).unwrap()
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
        assert!(collector.usage().unwrap().resident_bytes > 0);
        collector.terminate().unwrap();
        assert_eq!(collector.end_of_log(), "run --config");
        let config = fs::read_to_string(folder.path().join("pilcrow.yaml")).unwrap();
        assert!(config.contains("reader: pread\n") && config.contains("cluster: \"demo\""), "{config}");
    }

    #[test]
    fn a_collector_that_ends_by_itself_is_reported_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut collector = start(folder.path(), "echo no such thing >&2; exit 2");
        let end = Instant::now() + Duration::from_secs(30);
        let error = loop {
            if let Err(error) = collector.check_running() {
                break error.to_string();
            }
            assert!(Instant::now() < end);
        };
        assert!(error.contains("exit status: 2") && error.contains("no such thing"), "{error}");
    }

    #[test]
    fn a_dropped_collector_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let collector = start(folder.path(), "trap '' TERM; while :; do sleep 0.01; done");
        let process = PathBuf::from(format!("/proc/{}", collector.child.id()));
        assert!(process.exists());
        drop(collector);
        assert!(!process.exists());
    }
}
