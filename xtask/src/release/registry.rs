//! A registry of this machine, to publish to as the release workflow does and to take from as users do.
//!
//! In: an archive of an image, a packed chart. Out: both under a name in a registry of Debian's, which is unpacked below the target
//! folder and never installed; dropping it ends it.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{
    apt::{self, Archive, PrivateApt},
    helm::Helm,
    process,
};

/// Also of its package.
const PROGRAM: &str = "docker-registry";
const SUITE: &str = "bookworm";
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// A running registry, without encryption and without accounts.
pub struct Registry {
    process: Child,
    address: String,
    /// Holds what it stores.
    _folder: tempfile::TempDir,
}

impl Registry {
    /// Starts it and waits until it answers.
    pub fn start() -> anyhow::Result<Self> {
        let program = program()?;
        let folder = tempfile::tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let storage = serde_json::json!({"filesystem": {"rootdirectory": folder.path()}});
        let config = serde_json::json!({"version": "0.1", "storage": storage, "http": {"addr": address}});
        let (path, log) = (folder.path().join("config.json"), folder.path().join("log"));
        // JSON is YAML.
        fs::write(&path, config.to_string())?;
        let log = File::create(log)?;
        let process = Command::new(&program).arg("serve").arg(path).stdout(log.try_clone()?).stderr(log).spawn();
        let process = process.with_context(|| format!("cannot start {}", program.display()))?;
        let registry = Self { process, address, _folder: folder };
        let (start, url) = (Instant::now(), format!("http://{}/v2/", registry.address));
        while !rig::http::get(&url, POLL).is_ok_and(|(status, _)| status == 200) {
            ensure!(start.elapsed() < READY_WITHIN, "the registry does not answer");
            thread::sleep(POLL);
        }
        Ok(registry)
    }

    /// The name of something in it.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Copies an image with all its architectures into it, as the workflow does, and returns the index that it then has of it.
    pub fn push_image(&self, archive: &Path, name: &str) -> anyhow::Result<String> {
        let from = format!("oci-archive:{}", archive.display());
        let to = format!("docker://{}", self.name(name));
        let mut copy = Command::new("skopeo");
        copy.args(["--insecure-policy", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", &from, &to]);
        process::output_of(&mut copy)?;
        let mut inspect = Command::new("skopeo");
        inspect.args(["inspect", "--tls-verify=false", "--raw", &to]);
        process::output_of(&mut inspect)
    }

    /// Pushes a packed chart, and returns what Helm installs it by.
    pub fn push_chart(&self, helm: &Helm, packed: &Path) -> anyhow::Result<String> {
        let folder = format!("oci://{}", self.name("charts"));
        let mut push = Command::new(helm.program());
        process::output_of(push.arg("push").arg(packed).args([&folder, "--plain-http"]))?;
        Ok(format!("{folder}/pilcrow"))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether one can be started here, or why not.
pub fn can_start() -> Result<(), String> {
    if process::find(PROGRAM).is_some() { Ok(()) } else { apt::can_fetch() }
}

/// The installed one, else unpacked.
fn program() -> anyhow::Result<PathBuf> {
    if let Some(installed) = process::find(PROGRAM) {
        return Ok(installed);
    }
    let folder = process::target_dir().join(PROGRAM);
    let program = folder.join("usr/bin").join(PROGRAM);
    if !program.is_file() {
        fs::create_dir_all(&folder)?;
        let apt = PrivateApt::new(&folder, &Archive { suites: &[SUITE], architecture: None })?;
        apt.run("apt-get", &["update"])?;
        apt.unpack(PROGRAM, &folder)?;
    }
    Ok(program)
}
