//! The way to the API: a service account or a kubeconfig, and the node whose pods are asked for.

use std::{fmt, path::Path, time::Duration};

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{ListParams, VersionMatch},
    config::{KubeConfigOptions, Kubeconfig},
    core::PartialObjectMeta,
    runtime::watcher,
};

use super::Trouble;
use crate::config::{self, Enabled};

/// How long a list may take.
pub(super) const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an attempt for `pilcrow doctor` may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection on which nothing came for so long is dead. Longer than the 290 s after which the API server ends a watch.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// How the API is asked, and for what.
pub struct Access {
    client: Client,
    /// The node whose pods are asked for.
    pub node: String,
    /// The API server.
    pub server: String,
}

/// Where pod metadata comes from.
pub enum Origin {
    /// The API.
    Api(Access),
    /// The logs' paths alone; with the reason where that is not what the configuration says.
    Path(Option<Impossible>),
}

/// Why the API can not even be asked.
#[derive(Clone, Debug)]
pub struct Impossible {
    /// What is missing.
    pub reason: String,
    /// What to do about it.
    pub mend: &'static str,
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.mend)
    }
}

/// What an attempt came to.
#[derive(Debug)]
pub enum Probe {
    /// Not wanted.
    Off,
    /// Not possible.
    Impossible(Impossible),
    /// The API did not give the pods.
    Refused {
        /// The API server.
        server: String,
        /// What it did instead.
        trouble: Trouble,
    },
    /// The API gave the pods.
    Answered {
        /// The API server.
        server: String,
        /// The node that was asked for.
        node: String,
        /// How many pods it has.
        pods: usize,
    },
}

/// The way to the API where it is wanted and possible; must be called inside the runtime that will follow the pods. Asks
/// nothing yet.
///
/// # Errors
/// It is `kubernetes.enabled: true` and not possible.
pub async fn open(config: &config::Kubernetes) -> anyhow::Result<Origin> {
    if config.enabled == Enabled::False {
        return Ok(Origin::Path(None));
    }
    match connect(config).await {
        Ok(access) => {
            tracing::info!(
                node = access.node,
                server = access.server,
                "pod metadata comes from the Kubernetes API, and with it the label app"
            );
            Ok(Origin::Api(access))
        }
        Err(impossible) if config.enabled == Enabled::Auto => {
            tracing::info!("labels come from the paths only, there is no app label: {impossible}");
            Ok(Origin::Path(Some(impossible)))
        }
        Err(impossible) => Err(anyhow::anyhow!("{impossible}"))
            .context("kubernetes.enabled is true and the Kubernetes API can not be asked"),
    }
}

/// Asks the API once for this node's pods.
pub async fn probe(config: &config::Kubernetes) -> Probe {
    if config.enabled == Enabled::False {
        return Probe::Off;
    }
    let access = match connect(config).await {
        Ok(access) => access,
        Err(impossible) => return Probe::Impossible(impossible),
    };
    // Version 0: what the API server has in memory will do.
    let any = ListParams::default().fields(&access.field_selector()).at("0").matching(VersionMatch::NotOlderThan);
    match tokio::time::timeout(PROBE_TIMEOUT, access.pods().list(&any)).await {
        Ok(Ok(pods)) => Probe::Answered { server: access.server, node: access.node, pods: pods.items.len() },
        Ok(Err(error)) => Probe::Refused { server: access.server, trouble: Trouble::of(&error) },
        Err(_) => Probe::Refused { server: access.server, trouble: Trouble::timeout(PROBE_TIMEOUT) },
    }
}

impl Access {
    pub(super) fn pods(&self) -> Api<PartialObjectMeta<Pod>> {
        Api::all(self.client.clone())
    }

    /// Lists from the API server's memory (version 0), not from etcd: hundreds of nodes may start at once. In one page, as
    /// kube leaves the version out of a request for pages.
    pub(super) fn watch_config(&self) -> watcher::Config {
        let config = watcher::Config::default().any_semantic().fields(&self.field_selector());
        watcher::Config { page_size: None, ..config }
    }

    fn field_selector(&self) -> String {
        format!("spec.nodeName={}", self.node)
    }
}

async fn connect(config: &config::Kubernetes) -> Result<Access, Impossible> {
    if config.node_name.is_empty() {
        let mend = "set kubernetes.node_name, or NODE_NAME in the environment (in a pod from spec.nodeName)";
        return Err(Impossible { reason: "the node's name is not known".into(), mend });
    }
    let path = config.kubeconfig.as_path();
    let mut access = if path.as_os_str().is_empty() { service_account()? } else { kubeconfig(path).await? };
    access.read_timeout = Some(SILENCE_MAX);
    access.reset_reader_on_write = true;
    let server = access.cluster_url.to_string();
    // The other result is that one is chosen already, by whom it does not matter: this binary has no other.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_from(access).map_err(|error| Impossible {
        reason: format!("the credentials for the Kubernetes API can not be used: {error}"),
        mend: "look at the files that the kubeconfig names, or at the pod's service account",
    })?;
    Ok(Access { client, node: config.node_name.clone(), server })
}

async fn kubeconfig(path: &Path) -> Result<kube::Config, Impossible> {
    let impossible = |error: kube::config::KubeconfigError| Impossible {
        reason: format!("the kubeconfig {} can not be used: {error}", path.display()),
        mend: "name a good one in kubernetes.kubeconfig, or none in a pod with a service account",
    };
    let read = Kubeconfig::read_from(path).map_err(impossible)?;
    kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.map_err(impossible)
}

fn service_account() -> Result<kube::Config, Impossible> {
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        let mend = "run it in a pod with a service account, or name a kubeconfig in kubernetes.kubeconfig";
        return Err(Impossible { reason: "Pilcrow does not run in a pod".into(), mend });
    }
    kube::Config::incluster().map_err(|error| Impossible {
        reason: format!("the pod has no service account: {error}"),
        mend: "do not set automountServiceAccountToken to false, or name a kubeconfig in kubernetes.kubeconfig",
    })
}
