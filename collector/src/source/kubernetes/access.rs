//! How the API is reached: a service account or a kubeconfig, and the node whose pods are asked for.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{
        self,
        connect::{HttpConnector, proxy::Tunnel},
    },
    rt::TokioExecutor,
};
use kube::{
    Client,
    client::{Body, ClientBuilder, ConfigExt},
    config::{KubeConfigOptions, Kubeconfig},
};
use tower::ServiceExt;

use super::{Interest, PodMetadata, Problem, ask::within, decode};
use crate::{
    config::{self, Enabled},
    proxy::{Proxies, Proxy},
};

/// How long `pilcrow doctor` and `pilcrow try` wait for an answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Stands in a kubeconfig for "no proxy of the environment".
const NOT_ASKED: &str = "http://not-asked.invalid";

/// A connection on which nothing came for this long is dead. Longer than the 290 s after which the API server ends a watch.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(300);

/// A client of the API, for the pods of one node.
pub struct Access {
    pub(super) client: Client,
    /// What kube reads again from time to time, such as the token.
    pub(super) files: Vec<PathBuf>,
    /// The node whose pods are asked for.
    pub node: String,
    pub server: String,
}

/// Where pod metadata comes from.
pub enum Origin {
    Api(Access),
    /// The logs' paths alone; with the reason where that is not what the configuration says.
    Path(Option<Impossible>),
}

/// Why the API cannot even be asked.
#[derive(Clone, Debug)]
pub struct Impossible {
    pub reason: String,
    pub fix: &'static str,
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.fix)
    }
}

/// The result of [`probe`].
#[derive(Debug)]
pub enum Probe {
    /// `kubernetes.enabled` is false.
    Off,
    Impossible(Impossible),
    /// The API did not give the pods.
    Refused {
        server: String,
        problem: Problem,
    },
    /// The API gave the pods.
    Answered {
        server: String,
        node: String,
        pods: usize,
    },
}

/// Access to the API, where it is enabled and possible; must be called inside the runtime that will follow the pods. Sends no
/// request yet.
///
/// # Errors
/// `kubernetes.enabled` is true, and the API cannot be used.
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
            .context("kubernetes.enabled is true and the Kubernetes API cannot be used"),
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
    let mut pods = 0;
    match within(PROBE_TIMEOUT, access.list(PROBE_TIMEOUT, |_| pods += 1)).await {
        Ok(_) => Probe::Answered { server: access.server, node: access.node, pods },
        Err(problem) => Probe::Refused { server: access.server, problem },
    }
}

/// Asks the API once for what is of interest of this node's pods; `None` where it is not to be asked.
///
/// # Errors
/// Why it gave none, for a person.
pub async fn list(config: &config::Kubernetes, interest: &Interest) -> Result<Option<Vec<PodMetadata>>, String> {
    if config.enabled == Enabled::False {
        return Ok(None);
    }
    let access = connect(config).await.map_err(|impossible| impossible.to_string())?;
    let mut pods = Vec::new();
    let each = |json: &[u8]| pods.extend(decode::object(json, interest).ok().and_then(|object| object.pod));
    let listed = within(PROBE_TIMEOUT, access.list(PROBE_TIMEOUT, each)).await;
    listed.map_err(|problem| format!("the Kubernetes API {problem}"))?;
    Ok(Some(pods))
}

async fn connect(config: &config::Kubernetes) -> Result<Access, Impossible> {
    if config.node_name.is_empty() {
        let fix = "set kubernetes.node_name, or NODE_NAME in the environment (in a pod from spec.nodeName)";
        return Err(Impossible { reason: "the node's name is not known".into(), fix });
    }
    let path = config.kubeconfig.as_path();
    let (mut access, proxy, files) = if path.as_os_str().is_empty() {
        // Without a proxy, whatever the environment says: the address is one of the cluster's own, which no outside proxy reaches.
        (service_account()?, None, Vec::new())
    } else {
        kubeconfig(path, &Proxies::from_env()).await?
    };
    access.read_timeout = Some(SILENCE_MAX);
    access.reset_reader_on_write = true;
    let mut server = access.cluster_url.to_string();
    // It fails where one is installed already, which can only be the same: this binary has no other.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = match proxy {
        None => Client::try_from(access),
        Some(proxy) => {
            server = format!("{server} (through the proxy {})", proxy.uri);
            through(proxy, &access)
        }
    };
    let client = client.map_err(|error| Impossible {
        reason: format!("the credentials for the Kubernetes API cannot be used: {error}"),
        fix: "check the files that the kubeconfig names, or at the pod's service account",
    })?;
    Ok(Access { client, files, node: config.node_name.clone(), server })
}

/// A client whose connections go through a tunnel of the proxy.
fn through(proxy: Proxy, access: &kube::Config) -> kube::Result<Client> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let mut tunnel = Tunnel::new(proxy.uri, tcp);
    if let Some(auth) = proxy.auth {
        tunnel = tunnel.with_auth(auth);
    }
    let mut connector = TimeoutConnector::new(access.rustls_https_connector_with_connector(tunnel)?);
    connector.set_connect_timeout(access.connect_timeout);
    connector.set_read_timeout(access.read_timeout);
    connector.set_write_timeout(access.write_timeout);
    connector.set_reset_reader_on_write(access.reset_reader_on_write);
    let http = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let builder = ClientBuilder::new(http.map_err(tower::BoxError::from), &access.default_namespace);
    Ok(match access.auth_layer()? {
        Some(auth) => builder.with_layer(&auth).with_layer(&access.base_uri_layer()).build(),
        None => builder.with_layer(&access.base_uri_layer()).build(),
    })
}

/// What the file says, and the proxy: the cluster's own `proxy-url`, else the environment's.
async fn kubeconfig(path: &Path, proxies: &Proxies) -> Result<(kube::Config, Option<Proxy>, Vec<PathBuf>), Impossible> {
    let impossible = |error: kube::config::KubeconfigError| Impossible {
        reason: format!("the kubeconfig {} cannot be used: {error}", path.display()),
        fix: "name a good one in kubernetes.kubeconfig, or none in a pod with a service account",
    };
    check_files([path])?;
    let mut read = Kubeconfig::read_from(path).map_err(impossible)?;
    let files = current_files(&mut read);
    check_files(files.iter().map(PathBuf::as_path))?;
    // kube would take HTTPS_PROXY where the file names no proxy, whatever NO_PROXY says.
    let in_the_file = current_cluster(&mut read).and_then(|cluster| cluster.proxy_url.replace(NOT_ASKED.into()));
    let mut access =
        kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.map_err(impossible)?;
    access.proxy_url = None;
    let proxy = match in_the_file.filter(|url| !url.is_empty()) {
        Some(url) => Proxies::builder().all(url).build().to(&access.cluster_url),
        None => proxies.to(&access.cluster_url),
    };
    match proxy {
        Some(proxy) if proxy.uri.scheme_str() != Some("http") => Err(Impossible {
            reason: format!("the proxy for {} is not an http:// proxy", access.cluster_url),
            fix: "set proxy-url in the kubeconfig or HTTPS_PROXY to an http:// address, or add the API server to NO_PROXY",
        }),
        proxy => Ok((access, proxy, files)),
    }
}

/// kube would wait for a FIFO, and with it the whole sender side.
fn check_files<'p>(files: impl IntoIterator<Item = &'p Path>) -> Result<(), Impossible> {
    for path in files {
        config::open_named_file(path).map_err(|error| Impossible {
            reason: format!("{}, which a kubeconfig is or names, cannot be read: {error}", path.display()),
            fix: "name a good kubeconfig in kubernetes.kubeconfig, or none in a pod with a service account",
        })?;
    }
    Ok(())
}

/// The files that the current context's cluster and user name.
fn current_files(kubeconfig: &mut Kubeconfig) -> Vec<PathBuf> {
    let user = kubeconfig.contexts.iter().find(|context| Some(&context.name) == kubeconfig.current_context.as_ref());
    let user = user.and_then(|context| context.context.as_ref()?.user.clone());
    let mut files = Vec::new();
    if let Some(user) = kubeconfig.auth_infos.iter().find(|info| Some(&info.name) == user.as_ref())
        && let Some(info) = &user.auth_info
    {
        files.extend([&info.token_file, &info.client_certificate, &info.client_key].into_iter().flatten().cloned());
    }
    files.extend(current_cluster(kubeconfig).and_then(|cluster| cluster.certificate_authority.clone()));
    files.into_iter().map(PathBuf::from).collect()
}

/// The cluster that the current context names.
fn current_cluster(kubeconfig: &mut Kubeconfig) -> Option<&mut kube::config::Cluster> {
    let current = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == *current)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter_mut().find(|cluster| cluster.name == context.cluster)?;
    cluster.cluster.as_mut()
}

fn service_account() -> Result<kube::Config, Impossible> {
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        let fix = "run it in a pod with a service account, or name a kubeconfig in kubernetes.kubeconfig";
        return Err(Impossible { reason: "Pilcrow does not run in a pod".into(), fix });
    }
    kube::Config::incluster().map_err(|error| Impossible {
        reason: format!("the pod has no service account: {error}"),
        fix: "do not set automountServiceAccountToken to false, or name a kubeconfig in kubernetes.kubeconfig",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = "apiVersion: v1\nkind: Config\ncurrent-context: home\n\
        contexts: [{name: home, context: {cluster: home, user: me}}]\nusers: [{name: me, user: {token: t}}]\n\
        clusters: [{name: home, cluster: {server: 'https://api.example.com:6443'PROXY}}]\n";

    /// The proxy for the API server of a kubeconfig.
    fn proxy(in_the_file: &str, environment: &Proxies) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, KUBECONFIG.replace("PROXY", in_the_file)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (access, proxy, _) = runtime.block_on(kubeconfig(&path, environment)).unwrap();
        assert_eq!(access.proxy_url, None);
        proxy.map(|proxy| proxy.uri.to_string())
    }

    #[test]
    fn the_environments_proxy_leads_to_the_api_unless_no_proxy_names_its_host() {
        let https = || Proxies::builder().https("http://proxy:3128");
        assert_eq!(proxy("", &https().build()).as_deref(), Some("http://proxy:3128/"));
        assert_eq!(proxy("", &https().no("*.example.com").build()), None);
        assert_eq!(proxy("", &https().no("api.example.com:6443, ,").build()), None);
        assert_eq!(proxy("", &Proxies::builder().build()), None);
    }

    #[test]
    fn a_token_file_that_is_a_fifo_is_an_error_that_names_the_fix_and_waits_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let [path, token] = ["kubeconfig", "token"].map(|name| folder.path().join(name));
        crate::config::make_fifo(&token);
        let text = KUBECONFIG.replace("PROXY", "").replace("{token: t}", "{tokenFile: token}");
        std::fs::write(&path, text).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for path in [&path, &token] {
            let refused = runtime.block_on(kubeconfig(path, &Proxies::builder().build())).map(drop).unwrap_err();
            assert!(
                refused.reason.contains("token, which a kubeconfig is or names, cannot be read: it is a FIFO"),
                "{refused}"
            );
        }
    }

    #[test]
    fn the_kubeconfigs_own_proxy_goes_before_the_environments() {
        let environment = Proxies::builder().https("http://proxy:3128").no("*").build();
        let in_the_file = ", proxy-url: 'http://own:8080'";
        assert_eq!(proxy(in_the_file, &environment).as_deref(), Some("http://own:8080/"));
    }
}
