//! containerd as Debian has it.
//!
//! In: its programs and its configuration in the root file system, and archives of images. Out: a [`Cri`] that answers;
//! dropping it ends containerd, and the machine's end ends everything else.

use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::cri::{
    Cri,
    api::{Empty, ImageSpec, ImageStatusRequest, ImageStatusResponse, VersionResponse},
};

const PROGRAM: &str = "/usr/bin/containerd";
const SOCKET: &str = "/run/containerd/containerd.sock";
const LOG: &str = "/var/log/containerd.log";
/// Where containerd finds its shim and runc, and the shim finds them.
const PATH: &str = "/usr/sbin:/usr/bin";

/// Waiting longer is a failure.
const PATIENCE: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(50);
const LOG_LINES_SHOWN: usize = 20;

/// The running daemon.
pub struct Containerd {
    process: Child,
    cri: Cri,
    version: String,
}

impl Containerd {
    /// Starts it and waits until it answers.
    pub fn start() -> anyhow::Result<Self> {
        let log = File::create(LOG)?;
        let process = Command::new(PROGRAM)
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {PROGRAM}"))?;
        let mut containerd = Self { process, cri: Cri::at(SOCKET), version: String::new() };
        containerd.version = containerd.wait_for_version()?;
        println!("guest: {} answers", containerd.version);
        Ok(containerd)
    }

    /// Its Container Runtime Interface.
    pub fn cri(&self) -> &Cri {
        &self.cri
    }

    /// Its name and version, as it says them.
    pub fn version(&self) -> &str {
        &self.version
    }

    fn wait_for_version(&mut self) -> anyhow::Result<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.cri.runtime::<VersionResponse>("Version", &Empty {});
            match answer {
                Ok(answer) => return Ok(format!("{} {}", answer.runtime_name, answer.runtime_version)),
                Err(error) => ensure!(Instant::now() < end, "containerd does not answer: {error:#}\n{}", end_of_log()),
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("containerd ended with {status}:\n{}", end_of_log());
            }
            thread::sleep(POLL);
        }
    }

    /// Gives it the image `name`, by ctr, as one does on a node without a registry; then waits until the kubelet's side of
    /// containerd knows it, which learns of it by an event.
    pub fn import(&self, archive: &str, name: &str) -> anyhow::Result<()> {
        let output = Command::new("/usr/bin/ctr")
            .env("PATH", PATH)
            .args(["--namespace", "k8s.io", "images", "import", archive])
            .output()
            .context("cannot start ctr")?;
        ensure!(output.status.success(), "ctr cannot import {archive}: {}", String::from_utf8_lossy(&output.stderr));
        let request = ImageStatusRequest { image: Some(ImageSpec { image: name.to_owned() }) };
        let end = Instant::now() + PATIENCE;
        while self.cri.images::<ImageStatusResponse>("ImageStatus", &request)?.image.is_none() {
            ensure!(Instant::now() < end, "containerd does not know {name} after its import");
            thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The last lines that containerd wrote.
pub fn end_of_log() -> String {
    let log = fs::read_to_string(LOG).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}
