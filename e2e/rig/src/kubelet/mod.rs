//! Writes container logs as containerd, dockerd and the kubelet do.
//!
//! In: what a test wants to happen to a pod. Out: folders and files as on a node:
//!
//! ```text
//! pods/NAMESPACE_POD_UID/CONTAINER/N.log                          mode 0640, appended to
//! pods/NAMESPACE_POD_UID/CONTAINER/N.log.YYYYMMDD-HHMMSS[.gz]     rotated
//! docker/containers/ID/ID-json.log[.1[.gz]]                       docker; pods/.../N.log is a symbolic link to it
//! ```
//!
//! Lines are marked ([`crate::mark`]) and counted ([`Ledger`]). The same seed and [`Clock::steps`] give the
//! same bytes. Must not know the collector.

mod backlog;
pub mod clock;
mod container;
mod live;
pub mod record;
pub mod rotation;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use backlog::{BacklogOptions, generate_backlog};
pub use clock::Clock;
pub use container::{Container, ContainerOptions, WriteCall};
pub use live::{Live, LiveCounts, LiveOptions, MayRemove, Removal, Running};
pub use record::Format;

use crate::{ledger::Ledger, random::Random};

/// One of a program's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// As it stands in the logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A pod's name in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name within the namespace.
    pub name: String,
    /// Unique id: 36 characters with dashes, 32 without for a static pod.
    pub uid: String,
}

impl Pod {
    /// The name of its folder.
    pub fn folder(&self) -> String {
        format!("{}_{}_{}", self.namespace, self.name, self.uid)
    }
}

/// A node's log folders.
#[derive(Debug)]
pub struct Node {
    root: PathBuf,
    ledger: Arc<Ledger>,
    random: Random,
}

impl Node {
    /// Folders below `root`, which are made. `seed` decides on all that is random.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(root: &Path, seed: u64) -> io::Result<Self> {
        let node = Self { root: root.to_owned(), ledger: Arc::default(), random: Random::new(seed) };
        fs::create_dir_all(node.pods())?;
        Ok(node)
    }

    /// The folder that is /var/log/pods on a node.
    pub fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    /// The folder that is /var/lib/docker/containers on a node.
    fn docker(&self) -> PathBuf {
        self.root.join("docker/containers")
    }

    /// What was written.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// A pod with a random uid. Its folder comes with its first container.
    pub fn pod(&mut self, namespace: &str, name: &str) -> Pod {
        let hex = format!("{:016x}{:016x}", self.random.bits(), self.random.bits());
        let uid = format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..]);
        Pod { namespace: namespace.to_owned(), name: name.to_owned(), uid }
    }

    /// Starts a container: its folder and an empty 0.log.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn start(&mut self, pod: &Pod, name: &str, options: ContainerOptions) -> io::Result<Container> {
        let seed = self.random.bits();
        Container::start(&self.pods(), self.docker(), pod, name, options, &self.ledger, seed)
    }

    /// Removes a pod's folder with all that is in it, as the kubelet does some time after a pod is deleted; with docker
    /// also the containers' own folders.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove(&self, pod: &Pod) -> io::Result<()> {
        let folder = self.pods().join(pod.folder());
        for container in fs::read_dir(&folder)? {
            for log in fs::read_dir(container?.path())? {
                container::remove_log(&log?.path())?;
            }
        }
        fs::remove_dir_all(folder)
    }
}
