//! The collector as its own process, with a configuration file as a user would write it.
//!
//! In: its program and folders. Out: a process that is killed or asked to end; one that ends by itself is an error.

use std::{
    fs::{self, OpenOptions},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::process;

/// More than the default deadline for draining.
const END_WITHIN: Duration = Duration::from_secs(30);

/// Where every collector of this run writes its log.
pub fn log() -> PathBuf {
    process::target_dir().join("loki/pilcrow.log")
}

/// What all collectors of a run have in common: program, configuration, state.
pub struct Setup {
    program: PathBuf,
    config: PathBuf,
}

impl Setup {
    /// Writes the configuration below `folder`; `kubernetes` is that part of it.
    pub fn write(
        program: PathBuf,
        folder: &Path,
        pods: &Path,
        loki: &str,
        id: &str,
        kubernetes: &str,
    ) -> anyhow::Result<Self> {
        let state = folder.join("state");
        fs::create_dir_all(&state)?;
        let listen = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?; // free a moment ago
        let config = folder.join("pilcrow.yaml");
        let (pods, state) = (pods.display(), state.display());
        fs::write(
            &config,
            format!(
                "loki: {{url: {loki:?}, tenant: {id}}}\n\
                 labels: {{cluster: {id}}}\n\
                 paths: {{pods: {pods}, state: {state}}}\n\
                 kubernetes: {kubernetes}\n\
                 http: {{listen: \"{listen}\"}}\n"
            ),
        )?;
        let log = log();
        fs::create_dir_all(log.parent().context("a log lies in a folder")?)?;
        fs::write(log, "")?;
        Ok(Self { program, config })
    }
}

/// A running collector. Dropping it kills it.
pub struct Collector {
    process: Child,
}

impl Collector {
    /// `pilcrow run --config …`
    pub fn start(setup: &Setup) -> anyhow::Result<Self> {
        let log = OpenOptions::new().append(true).open(log())?;
        let process = Command::new(&setup.program)
            .args(["run", "--config"])
            .arg(&setup.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", setup.program.display()))?;
        Ok(Self { process })
    }

    /// kill -9.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.still_running()?;
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// SIGTERM, and an error unless it then ends well and in time.
    pub fn terminate(mut self) -> anyhow::Result<()> {
        self.still_running()?;
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.process), rustix::process::Signal::TERM)?;
        let status = self.wait_for_end()?;
        if !status.success() {
            bail!("the collector ended with {status} after SIGTERM; see {}", log().display());
        }
        Ok(())
    }

    fn still_running(&mut self) -> anyhow::Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the collector ended by itself with {status}; see {}", log().display()),
        }
    }

    fn wait_for_end(&mut self) -> anyhow::Result<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < END_WITHIN {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("the collector still runs {} s after SIGTERM; see {}", END_WITHIN.as_secs(), log().display())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
