//! Pods and containers, by the calls that the kubelet makes, and what the kubelet does to their logs.
//!
//! In: a [`Cri`]. Out: containers that run and log to /var/log/pods, rotations that containerd itself carries out by
//! opening a new file, and removals. It must not know the collector.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use rig::kubelet::{Pod as Name, rotation::rotate_kubelet};
use serde_json::Value;

use crate::cri::{
    Cri,
    api::{
        ContainerConfig, ContainerMetadata, ContainerStatus, ContainerStatusRequest, ContainerStatusResponse,
        CreateContainerRequest, Empty, ExecSyncRequest, ExecSyncResponse, Id, LinuxPodSandboxConfig,
        LinuxSandboxSecurityContext, NamespaceOption, PodSandboxConfig, PodSandboxMetadata, RunPodSandboxRequest,
        StopContainerRequest, container_state, namespace_mode,
    },
};

/// Where containerd and the kubelet keep the logs of pods.
const LOGS: &str = "/var/log/pods";
/// The kubelet's containerLogMaxFiles, by default.
const LOG_FILES_MAX: usize = 5;

/// Waiting longer is a failure.
const PATIENCE: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(50);

/// Without a network plug-in there is only the node's network.
pub const NAMESPACES: NamespaceOption =
    NamespaceOption { network: namespace_mode::NODE, pid: namespace_mode::CONTAINER, ipc: namespace_mode::POD };

/// A pod's sandbox.
#[derive(Debug)]
pub struct Pod {
    cri: Cri,
    name: Name,
    config: PodSandboxConfig,
    id: String,
}

impl Pod {
    /// Runs a pod without containers.
    pub fn run(cri: &Cri, name: Name) -> anyhow::Result<Self> {
        let log_directory = format!("{LOGS}/{}", name.folder());
        fs::create_dir_all(&log_directory)?;
        let security_context = LinuxSandboxSecurityContext { namespace_options: Some(NAMESPACES) };
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.name.clone(),
                uid: name.uid.clone(),
                namespace: name.namespace.clone(),
                attempt: 0,
            }),
            log_directory,
            labels: HashMap::from([
                ("io.kubernetes.pod.name".to_owned(), name.name.clone()),
                ("io.kubernetes.pod.namespace".to_owned(), name.namespace.clone()),
                ("io.kubernetes.pod.uid".to_owned(), name.uid.clone()),
            ]),
            linux: Some(LinuxPodSandboxConfig { security_context: Some(security_context) }),
        };
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        let Id { id } = cri.runtime("RunPodSandbox", &request)?;
        Ok(Self { cri: cri.clone(), name, config, id })
    }

    /// Its name in full.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Starts a container; `attempt` is 0 at first and one more at each restart.
    pub fn start(&self, container: &str, attempt: u32, config: &ContainerConfig) -> anyhow::Result<Container> {
        let log_path = format!("{container}/{attempt}.log");
        let log = Path::new(&self.config.log_directory).join(&log_path);
        fs::create_dir_all(log.parent().context("a log lies in a folder")?)?;
        let mut config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: container.to_owned(), attempt }),
            log_path,
            ..config.clone()
        };
        config.labels.insert("io.kubernetes.container.name".to_owned(), container.to_owned());
        let request = CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        let id: Id = self.cri.runtime("CreateContainer", &request)?;
        let _: Empty = self.cri.runtime("StartContainer", &id)?;
        Ok(Container { cri: self.cri.clone(), id: id.id, log })
    }

    /// Ends what is left of it, and removes it with its logs.
    pub fn remove(self) -> anyhow::Result<()> {
        let id = Id { id: self.id };
        let _: Empty = self.cri.runtime("StopPodSandbox", &id)?;
        let _: Empty = self.cri.runtime("RemovePodSandbox", &id)?;
        Ok(fs::remove_dir_all(self.config.log_directory)?)
    }
}

/// A container that was started.
#[derive(Debug)]
pub struct Container {
    cri: Cri,
    id: String,
    log: PathBuf,
}

impl Container {
    fn status(&self, verbose: bool) -> anyhow::Result<(ContainerStatus, HashMap<String, String>)> {
        let request = ContainerStatusRequest { container_id: self.id.clone(), verbose };
        let answer: ContainerStatusResponse = self.cri.runtime("ContainerStatus", &request)?;
        Ok((answer.status.context("a container without status")?, answer.info))
    }

    /// How its program ended; none while it runs.
    pub fn exit_code(&self) -> anyhow::Result<Option<i32>> {
        let (status, _) = self.status(false)?;
        Ok((status.state == container_state::EXITED).then_some(status.exit_code))
    }

    /// Waits for its program to end.
    pub fn wait(&self) -> anyhow::Result<i32> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(code) = self.exit_code()? {
                return Ok(code);
            }
            ensure!(Instant::now() < end, "the container of {} does not end", self.log.display());
            thread::sleep(POLL);
        }
    }

    /// The number of its process on the node.
    pub fn process(&self) -> anyhow::Result<u32> {
        let (_, info) = self.status(true)?;
        let info: Value = serde_json::from_str(info.get("info").context("containerd gives no info")?)?;
        let pid = info["pid"].as_u64().context("containerd names no process")?;
        Ok(u32::try_from(pid)?)
    }

    /// What a program that is run in it writes to its standard output.
    pub fn exec(&self, command: &[&str]) -> anyhow::Result<Vec<u8>> {
        let cmd: Vec<_> = command.iter().map(|word| (*word).to_owned()).collect();
        let request = ExecSyncRequest { container_id: self.id.clone(), cmd, timeout: PATIENCE.as_secs() as i64 };
        let answer: ExecSyncResponse = self.cri.runtime("ExecSync", &request)?;
        ensure!(!answer.stdout.is_empty(), "{command:?} says {}", String::from_utf8_lossy(&answer.stderr));
        Ok(answer.stdout)
    }

    /// SIGTERM, and after `grace` SIGKILL.
    pub fn stop(&self, grace: Duration) -> anyhow::Result<()> {
        let request = StopContainerRequest { container_id: self.id.clone(), timeout: grace.as_secs() as i64 };
        let _: Empty = self.cri.runtime("StopContainer", &request)?;
        Ok(())
    }

    /// Rotates its log, as the kubelet's container_log_manager.go does: rotated files are compressed, the log is renamed,
    /// and containerd is asked to open a new one. Says whether it was; a container that ended meanwhile keeps its log.
    pub fn rotate(&self) -> anyhow::Result<bool> {
        if self.exit_code()?.is_some() {
            return Ok(false);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let rotated = rotate_kubelet(&self.log, LOG_FILES_MAX, i64::try_from(now.as_secs())?)?;
        if let Err(error) = self.cri.runtime::<Empty>("ReopenContainerLog", &Id { id: self.id.clone() }) {
            fs::rename(&rotated, &self.log)?;
            ensure!(self.exit_code()?.is_some(), "{}: {error:#}", self.log.display());
            return Ok(false);
        }
        Ok(true)
    }

    /// Removes it, and its log with all rotated files of it.
    pub fn remove(self) -> anyhow::Result<()> {
        let _: Empty = self.cri.runtime("RemoveContainer", &Id { id: self.id.clone() })?;
        Ok(remove_log(&self.log)?)
    }

    /// Its log's last lines, for people.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn remove_log(log: &Path) -> io::Result<()> {
    let folder = log.parent().unwrap_or(Path::new("/"));
    let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_with_its_rotated_files_and_without_its_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["0.log", "0.log.20261122-110908.gz", "0.log.20261122-110909", "1.log"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        remove_log(&folder.path().join("0.log")).unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["1.log"]);
    }
}
