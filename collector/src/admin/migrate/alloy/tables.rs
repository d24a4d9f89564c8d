//! What becomes of Alloy's components and their arguments (grafana/alloy, docs/sources/reference).
//!
//! docs/migration.md shows the same tables; a test compares the two. Arguments that need more than their value moved are
//! [`Way::Read`].

use crate::admin::migrate::promtail::keys::{
    DOCKER, HTTP, Meaning as M, NO_API,
    Unit::{Bytes, Duration, Text},
    Way::{self, ByItself, Changed, NotPossible, Read, To},
    joined,
};

use super::arguments::Table;

const OWN_POSITIONS: &str = "Pilcrow keeps its positions in paths.state";
const KERNEL: &str = "the kernel reports new and growing files; sweep.interval is the safety net";
pub const KUBECONFIG: &str = "put it into a kubeconfig, and its path into kubernetes.kubeconfig";
const KEEP: &str = "Pilcrow collects pod logs and nothing else: keep Alloy for this";
const OWN_NODE: &str = "Pilcrow reads the files of its own node, so that nodes need not share the work";
const OF_THE_API: &str = "Pilcrow asks the Kubernetes API as its service account, or as kubernetes.kubeconfig says";

/// `loki.write`.
pub const WRITE: Table = &[
    ("endpoint", Read(M::Taken)),
    ("external_labels", Read(M::Taken)),
    ("max_streams", Changed("what stages may make is bounded by container: 200 streams an hour")),
    ("wal", ByItself("Pilcrow needs none: a line stays in its file until Loki has accepted it")),
];

/// An `endpoint` of it.
pub const ENDPOINT: Table = &joined::<{ OWN_ENDPOINT.len() + HTTP.len() }>(OWN_ENDPOINT, HTTP);

const OWN_ENDPOINT: Table = &[
    ("url", To("loki.url", Text)),
    ("name", ByItself("there is one client, and its metrics need no name")),
    ("tenant_id", To("loki.tenant", Text)),
    ("headers", Read(M::Taken)),
    ("http_headers", Read(M::Taken)),
    ("batch_size", To("loki.batch.bytes", Bytes)),
    ("batch_wait", To("loki.batch.age", Duration)),
    ("remote_timeout", To("loki.timeout", Duration)),
    ("min_backoff_period", To("loki.backoff.min", Duration)),
    ("max_backoff_period", To("loki.backoff.max", Duration)),
    (
        "max_backoff_retries",
        Changed("a push is repeated until Loki accepts it; meanwhile the lines wait on the disk and are not dropped"),
    ),
    ("retry_on_http_429", Read(M::Taken)),
    ("tls_config.ca_pem", Read(M::Changed)),
    ("tls_config.cert_pem", Read(M::Changed)),
    ("tls_config.key_pem", Read(M::Changed)),
    ("proxy_connect_header", NotPossible("Pilcrow sends a proxy no headers of its own")),
    (
        "queue_config",
        Changed("memory.queue (4MiB) bounds what waits in memory; the rest waits on the disk, and nothing is dropped"),
    ),
];

/// `loki.source.kubernetes`.
pub const SOURCE_KUBERNETES: Table = &[
    ("targets", Read(M::Taken)),
    ("forward_to", Read(M::Taken)),
    ("preserve_discovered_labels", ByItself("rules can read what is known of a pod wherever they stand")),
    ("client", Changed("logs are read from the node's files, not from the Kubernetes API")),
    ("clustering", ByItself(OWN_NODE)),
    ("position", ByItself(OWN_POSITIONS)),
];

/// `loki.source.podlogs`.
pub const SOURCE_PODLOGS: Table = &[
    ("forward_to", Read(M::Taken)),
    ("preserve_discovered_labels", ByItself("rules can read what is known of a pod wherever they stand")),
    ("client", Changed("logs are read from the node's files, not from the Kubernetes API")),
    ("clustering", ByItself(OWN_NODE)),
    ("position", ByItself(OWN_POSITIONS)),
    ("node_filter", ByItself(OWN_NODE)),
    (
        "selector",
        NotPossible(
            "PodLogs objects are not read: kubernetes.namespaces, kubernetes.pod_selector and rules select pods",
        ),
    ),
    (
        "namespace_selector",
        NotPossible(
            "PodLogs objects are not read: kubernetes.namespaces, kubernetes.pod_selector and rules select pods",
        ),
    ),
];

/// `loki.source.file`.
pub const SOURCE_FILE: Table = &[
    ("targets", Read(M::Taken)),
    ("forward_to", Read(M::Taken)),
    ("tail_from_end", Read(M::Taken)),
    ("encoding", Read(M::Taken)),
    ("legacy_positions_file", Changed("`pilcrow import-positions` reads this file too")),
    ("on_positions_file_error", ByItself("a damaged file of positions is reported and set aside")),
    ("decompression", ByItself("rotated files that are compressed are read as such")),
    ("file_watch", ByItself(KERNEL)),
    ("file_match", ByItself(KERNEL)),
];

/// `local.file_match`.
pub const FILE_MATCH: Table = &[
    ("path_targets", Read(M::Taken)),
    ("sync_period", ByItself(KERNEL)),
    ("ignore_older_than", Changed("old files are read too; start_at: end begins with what is written from now on")),
];

/// `discovery.kubernetes`.
pub const DISCOVERY_KUBERNETES: Table = &[
    ("role", Read(M::Taken)),
    ("namespaces.names", To("kubernetes.namespaces.include", Text)),
    ("namespaces.own_namespace", Read(M::NotPossible)),
    ("selectors", Read(M::Taken)),
    ("kubeconfig_file", To("kubernetes.kubeconfig", Text)),
    ("attach_metadata.node", Read(M::Changed)),
    ("attach_metadata.namespace", Read(M::Changed)),
    ("api_server", Read(M::NotPossible)),
    ("basic_auth", NotPossible(KUBECONFIG)),
    ("authorization", NotPossible(KUBECONFIG)),
    ("oauth2", NotPossible(KUBECONFIG)),
    ("bearer_token", NotPossible(KUBECONFIG)),
    ("bearer_token_file", ByItself(OF_THE_API)),
    ("tls_config", ByItself(OF_THE_API)),
    ("proxy_url", NotPossible("the Kubernetes API is asked without a proxy")),
    ("no_proxy", ByItself("the Kubernetes API is asked without a proxy")),
    ("proxy_from_environment", Changed("the Kubernetes API is asked without a proxy")),
    ("proxy_connect_header", NotPossible("the Kubernetes API is asked without a proxy")),
    ("http_headers", NotPossible("the Kubernetes API is asked without headers of its own")),
    ("follow_redirects", ByItself(OF_THE_API)),
    ("enable_http2", ByItself(OF_THE_API)),
];

/// A `selectors` of it.
pub const SELECTORS: Table = &[("role", Read(M::Taken)), ("label", Read(M::Taken)), ("field", Read(M::Taken))];

/// `discovery.kubelet`.
pub const DISCOVERY_KUBELET: Table = &[
    ("namespaces", To("kubernetes.namespaces.include", Text)),
    ("url", ByItself("this node's pods are found by their log folders, and named by the Kubernetes API")),
    ("refresh_interval", ByItself("the Kubernetes API reports changes")),
    ("bearer_token", ByItself(OF_THE_API)),
    ("bearer_token_file", ByItself(OF_THE_API)),
    ("basic_auth", ByItself(OF_THE_API)),
    ("authorization", ByItself(OF_THE_API)),
    ("oauth2", ByItself(OF_THE_API)),
    ("tls_config", ByItself(OF_THE_API)),
    ("proxy_url", ByItself(OF_THE_API)),
    ("no_proxy", ByItself(OF_THE_API)),
    ("proxy_from_environment", ByItself(OF_THE_API)),
    ("proxy_connect_header", ByItself(OF_THE_API)),
    ("http_headers", ByItself(OF_THE_API)),
    ("follow_redirects", ByItself(OF_THE_API)),
    ("enable_http2", ByItself(OF_THE_API)),
];

/// `discovery.docker`.
pub const DISCOVERY_DOCKER: Table = &joined::<{ OWN_DOCKER.len() + DOCKER.len() }>(OWN_DOCKER, DOCKER);

const OWN_DOCKER: Table = &[
    ("host", Read(M::Taken)),
    ("filter", Read(M::Changed)),
    ("proxy_connect_header", ByItself(NO_API)),
    ("http_headers", ByItself(NO_API)),
];

/// A `filter` of it.
pub const DOCKER_FILTER: Table = &[("name", Read(M::Taken)), ("values", Read(M::Taken))];

/// `loki.source.docker`.
pub const SOURCE_DOCKER: Table = &[
    ("host", Read(M::Taken)),
    ("targets", Read(M::Taken)),
    ("forward_to", Read(M::Taken)),
    ("labels", Read(M::Taken)),
    ("relabel_rules", Read(M::Taken)),
    ("refresh_interval", ByItself("a new container is found when Docker makes it")),
    ("http_client_config", ByItself(NO_API)),
];

/// `discovery.relabel`.
pub const DISCOVERY_RELABEL: Table = &[("targets", Read(M::Taken)), ("rule", Read(M::Taken))];

/// `loki.process`.
pub const PROCESS: Table = &[("forward_to", Read(M::Taken)), ("stage.", Read(M::Taken))];

/// `loki.relabel`.
pub const RELABEL: Table = &[
    ("forward_to", Read(M::Taken)),
    ("rule", Read(M::Taken)),
    ("max_cache_size", ByItself("rules run once for each stream, so that nothing has to be cached")),
];

/// A `rule` of either.
pub const RULE: Table = &[
    ("source_labels", Read(M::Taken)),
    ("separator", Read(M::Taken)),
    ("regex", Read(M::Taken)),
    ("modulus", Read(M::Taken)),
    ("target_label", Read(M::Taken)),
    ("replacement", Read(M::Taken)),
    ("action", Read(M::Taken)),
];

/// `local.file`, where a secret is read by it.
pub const LOCAL_FILE: Table = &[
    ("filename", Read(M::Taken)),
    ("detector", ByItself("Pilcrow looks at the file again when it changes")),
    ("poll_frequency", ByItself("Pilcrow looks at the file again when it changes")),
    ("is_secret", ByItself("no secret is ever printed")),
];

/// `logging`.
pub const LOGGING: Table = &[
    ("level", Read(M::Taken)),
    ("format", Read(M::Changed)),
    ("write_to", Changed("Pilcrow's own lines go to stderr, and come back as those of any other pod")),
    ("destination", Changed("Pilcrow's own lines go to stderr")),
];

/// Components and blocks that become part of a pipeline, and all others, each with what is told of it. A name that ends in a dot
/// stands for all that begin with it; the first that fits counts.
pub const COMPONENTS: Table = &[
    ("loki.source.kubernetes", Read(M::Changed)),
    ("loki.source.file", Read(M::Taken)),
    ("loki.source.podlogs", Read(M::Changed)),
    ("loki.process", Read(M::Taken)),
    ("loki.relabel", Read(M::Taken)),
    ("loki.write", Read(M::Taken)),
    ("loki.echo", Read(M::Taken)),
    ("discovery.kubernetes", Read(M::Taken)),
    ("discovery.kubelet", Read(M::Taken)),
    ("discovery.relabel", Read(M::Taken)),
    ("local.file_match", Read(M::Taken)),
    ("local.file", Read(M::Taken)),
    ("logging", Read(M::Taken)),
    ("declare", Read(M::Taken)),
    ("import.file", Read(M::Taken)),
    ("import.string", Read(M::Taken)),
    ("import.git", NotPossible("get the module's file and name it beside this one, as import.file")),
    ("import.http", NotPossible("get the module's file and name it beside this one, as import.file")),
    ("foreach", NotPossible("write its components out, once for each item")),
    ("livedebugging", ByItself("`pilcrow try` shows what rules and stages make of the node's last lines")),
    ("remotecfg", NotPossible("Pilcrow's configuration is its file: put what the server sends there")),
    ("http", Changed("http.listen says where /metrics, /ready and /healthz are served; without TLS and users")),
    ("tracing", Changed("Pilcrow makes no traces of itself")),
    ("loki.source.docker", Read(M::Changed)),
    ("discovery.docker", Read(M::Changed)),
    (
        "loki.source.kubernetes_events",
        NotPossible("events are no logs of pods: keep one Alloy (not one a node) for them"),
    ),
    ("loki.source.journal", NotPossible(KEEP)),
    ("loki.source.syslog", NotPossible(KEEP)),
    (
        "loki.source.api",
        NotPossible("Pilcrow takes no lines over the network: keep Alloy for this, or send them to Loki itself"),
    ),
    ("loki.source.", NotPossible(KEEP)),
    ("loki.secretfilter", NotPossible("use the stage replace with an expression for each kind of secret")),
    ("loki.enrich", NotPossible("use relabel_configs: rules can read the labels and annotations of pods")),
    ("loki.rules.kubernetes", NotPossible("rules of alerts are no logs: keep Alloy for this")),
    (
        "otelcol.receiver.loki",
        NotPossible("Pilcrow speaks Loki's protocol: send to Loki or to a gateway that speaks it"),
    ),
    ("loki.", NotPossible("is not known here")),
    ("prometheus.", NotPossible("Pilcrow collects logs and no metrics: Alloy can stay for them")),
    ("mimir.", NotPossible("Pilcrow collects logs and no metrics: Alloy can stay for them")),
    ("otelcol.", NotPossible("Pilcrow collects pod logs and no telemetry: Alloy can stay for it")),
    ("pyroscope.", NotPossible("Pilcrow collects logs and no profiles: Alloy can stay for them")),
    ("beyla.", NotPossible("Pilcrow collects logs and no traces: Alloy can stay for them")),
    ("faro.", NotPossible("Pilcrow collects pod logs and no telemetry: Alloy can stay for it")),
    ("database_observability.", NotPossible("Pilcrow collects pod logs and no telemetry: Alloy can stay for it")),
    ("discovery.", Changed("no source of pod logs reads these targets, so that they are left out")),
    ("local.", Changed("no part of the logs' way uses it, so that it is left out")),
    ("remote.", Changed("no part of the logs' way uses it, so that it is left out")),
];

/// What becomes of a component by its name.
#[must_use]
pub fn of_component(name: &str) -> Option<Way> {
    let fits = |key: &str| key == name || key.ends_with('.') && name.starts_with(key);
    COMPONENTS.iter().find(|(key, _)| fits(key)).map(|(_, way)| *way)
}

/// All tables of arguments, each with its component.
pub const TABLES: &[(&str, Table)] = &[
    ("loki.source.kubernetes", SOURCE_KUBERNETES),
    ("loki.source.file", SOURCE_FILE),
    ("loki.source.podlogs", SOURCE_PODLOGS),
    ("discovery.kubernetes", DISCOVERY_KUBERNETES),
    ("discovery.kubernetes: selectors", SELECTORS),
    ("discovery.kubelet", DISCOVERY_KUBELET),
    ("discovery.docker", DISCOVERY_DOCKER),
    ("discovery.docker: filter", DOCKER_FILTER),
    ("loki.source.docker", SOURCE_DOCKER),
    ("discovery.relabel", DISCOVERY_RELABEL),
    ("discovery.relabel, loki.relabel: rule", RULE),
    ("local.file_match", FILE_MATCH),
    ("loki.process", PROCESS),
    ("loki.relabel", RELABEL),
    ("loki.write", WRITE),
    ("loki.write: endpoint", ENDPOINT),
    ("local.file", LOCAL_FILE),
    ("logging", LOGGING),
];
