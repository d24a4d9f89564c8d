//! Every key of Promtail's configuration (grafana/loki docs, Promtail 3.x, "Configuration") and what becomes of it.
//!
//! docs/migration.md shows the same table; a test compares the two. Keys that need more than their value moved are [`Way::Read`].

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Its value, in this unit, is that of a key of Pilcrow.
    To(&'static str, Unit),
    /// Pilcrow does that by itself.
    ByItself(&'static str),
    /// It is left out; how Pilcrow differs.
    Changed(&'static str),
    /// It is left out; why, and what to do instead.
    NotPossible(&'static str),
    /// The reader of this module looks at the value: with this meaning.
    Read(Meaning),
}

/// What a key that is read by itself may become; for the table of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    Taken,
    Changed,
    NotPossible,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Text,
    /// A number of bytes, or with a unit that counts by 1024.
    Bytes,
    /// Go's.
    Duration,
}

use Meaning as M;
use Unit::{Bytes, Duration, Text};
use Way::{ByItself, Changed, NotPossible, Read, To};

const KEEP: &str = "Pilcrow collects pod logs and nothing else: keep Promtail, or run Grafana Alloy, for this";
const KUBECONFIG: &str = "put it into a kubeconfig, and its path into kubernetes.kubeconfig";
const OWN_SERVER: &str = "Pilcrow serves only /metrics, /ready and /healthz, without such a setting";
const FIXED: &str = "is fixed in Pilcrow";

/// The keys below `server`.
pub const SERVER: &[(&str, Way)] = &[
    ("http_listen_port", Read(M::Taken)),
    ("http_listen_address", Read(M::Taken)),
    ("log_level", To("log.level", Text)),
    ("log_format", Read(M::Changed)),
    ("disable", Changed("Pilcrow always serves /metrics, /ready and /healthz: the chart's probes need them")),
    ("grpc_listen_port", ByItself("Pilcrow has no gRPC server")),
    ("grpc_listen_address", ByItself("Pilcrow has no gRPC server")),
    ("grpc_server_max_recv_msg_size", ByItself("Pilcrow has no gRPC server")),
    ("grpc_server_max_send_msg_size", ByItself("Pilcrow has no gRPC server")),
    ("grpc_server_max_concurrent_streams", ByItself("Pilcrow has no gRPC server")),
    ("profiling_enabled", Changed(OWN_SERVER)),
    ("register_instrumentation", Changed(OWN_SERVER)),
    ("graceful_shutdown_timeout", Changed("shutdown.deadline (10s) says how long a stop may take")),
    ("http_server_read_timeout", Changed(OWN_SERVER)),
    ("http_server_write_timeout", Changed(OWN_SERVER)),
    ("http_server_idle_timeout", Changed(OWN_SERVER)),
    ("http_path_prefix", Changed(OWN_SERVER)),
    ("health_check_target", Changed("/ready tells whether lines reach Loki, whatever the number of targets")),
    (
        "enable_runtime_reload",
        Changed("a changed configuration needs a new start; the chart does it (rollOnConfigChange)"),
    ),
    ("external_url", ByItself("Pilcrow has no pages")),
];

/// The keys of a client.
pub const CLIENT: &[(&str, Way)] = &joined::<{ OWN_CLIENT.len() + HTTP.len() }>(OWN_CLIENT, HTTP);

/// The keys of one kind of item with those behind them that it shares with others; `N`: how many both are.
pub const fn joined<const N: usize>(
    own: &[(&'static str, Way)],
    shared: &[(&'static str, Way)],
) -> [(&'static str, Way); N] {
    let mut all = [shared[0]; N];
    let mut index = 0;
    while index < N {
        all[index] = if index < own.len() { own[index] } else { shared[index - own.len()] };
        index += 1;
    }
    all
}

/// The keys that every client of HTTP has, with Promtail and with Alloy.
pub const HTTP: &[(&str, Way)] = &[
    ("basic_auth.username", To("loki.basic_auth.username", Text)),
    ("basic_auth.password", Read(M::Changed)),
    ("basic_auth.password_file", To("loki.basic_auth.password_file", Text)),
    ("bearer_token", Read(M::Changed)),
    ("bearer_token_file", To("loki.bearer_token_file", Text)),
    ("authorization.type", Read(M::Taken)),
    ("authorization.credentials", Read(M::Changed)),
    ("authorization.credentials_file", Read(M::Taken)),
    (
        "oauth2",
        NotPossible(
            "Pilcrow does not fetch tokens: let a proxy in front of Loki do it, or a sidecar that writes the token to a file \
             for loki.bearer_token_file",
        ),
    ),
    ("tls_config.ca_file", To("loki.tls.ca_file", Text)),
    ("tls_config.cert_file", To("loki.tls.cert_file", Text)),
    ("tls_config.key_file", To("loki.tls.key_file", Text)),
    ("tls_config.server_name", To("loki.tls.server_name", Text)),
    ("tls_config.insecure_skip_verify", To("loki.tls.insecure_skip_verify", Text)),
    ("tls_config.min_version", Changed("TLS 1.2 and 1.3 are supported")),
    ("proxy_url", Changed("set HTTPS_PROXY or HTTP_PROXY in the environment (the chart's extraEnv)")),
    ("no_proxy", Changed("set NO_PROXY in the environment (the chart's extraEnv)")),
    ("proxy_from_environment", ByItself("HTTPS_PROXY, HTTP_PROXY and NO_PROXY are always read")),
    ("follow_redirects", Changed("redirects are not followed: write the address that Loki answers at")),
    ("enable_http2", ByItself("HTTP/1.1 is used, which every Loki takes")),
];

const OWN_CLIENT: &[(&str, Way)] = &[
    ("url", Read(M::Taken)),
    ("name", ByItself("there is one client, and its metrics need no name")),
    ("tenant_id", To("loki.tenant", Text)),
    ("headers", Read(M::Taken)),
    ("batchsize", To("loki.batch.bytes", Bytes)),
    ("batchwait", To("loki.batch.age", Duration)),
    ("timeout", To("loki.timeout", Duration)),
    ("backoff_config.min_period", To("loki.backoff.min", Duration)),
    ("backoff_config.max_period", To("loki.backoff.max", Duration)),
    (
        "backoff_config.max_retries",
        Changed("a push is repeated until Loki accepts it; meanwhile the lines wait on the disk and are not dropped"),
    ),
    ("basic_auth.username_file", Read(M::Changed)),
    ("tls_config.ca", Read(M::Changed)),
    ("tls_config.cert", Read(M::Changed)),
    ("tls_config.key", Read(M::Changed)),
    (
        "drop_rate_limited_batches",
        Changed(
            "Pilcrow never drops a whole batch: streams that Loki refuses wait alone (loki.refused_streams: drop after 1h drops them)",
        ),
    ),
    ("external_labels", Read(M::Taken)),
    ("stream_lag_labels", Changed("pilcrow_lag_bytes has namespace, pod and container")),
];

/// The keys below `positions`.
pub const POSITIONS: &[(&str, Way)] = &[
    ("filename", Read(M::Changed)),
    ("sync_period", To("checkpoint.interval", Duration)),
    ("ignore_invalid_yaml", ByItself("a damaged file of positions is reported and set aside")),
];

/// The keys below `limits_config`.
pub const LIMITS: &[(&str, Way)] = &[
    (
        "readline_rate_enabled",
        Changed("lines that cannot be sent yet stay on the disk (memory.queue); for a limit use the stage limit"),
    ),
    ("readline_rate", Changed("see readline_rate_enabled")),
    ("readline_burst", Changed("see readline_rate_enabled")),
    ("readline_rate_drop", Changed("see readline_rate_enabled: Pilcrow drops no line because of a rate")),
    ("max_streams", Changed("what stages may make is bounded by container: 200 streams an hour")),
    ("max_line_size", Read(M::Changed)),
    ("max_line_size_truncate", Read(M::Taken)),
];

/// The keys below `target_config`.
pub const TARGET: &[(&str, Way)] = &[
    ("sync_period", ByItself("new files are reported by the kernel; sweep.interval is the safety net")),
    ("stdin", Read(M::NotPossible)),
];

/// The other keys at the top.
pub const TOP: &[(&str, Way)] = &[
    (
        "file_watch_config.min_poll_frequency",
        ByItself("growth is reported by the kernel; sweep.interval is the safety net"),
    ),
    (
        "file_watch_config.max_poll_frequency",
        ByItself("growth is reported by the kernel; sweep.interval is the safety net"),
    ),
    ("options.stream_lag_labels", Changed("pilcrow_lag_bytes has namespace, pod and container")),
    ("tracing.enabled", Changed("Pilcrow makes no traces of itself")),
    ("wal.enabled", ByItself("Pilcrow needs none: a line stays in its file until Loki has accepted it")),
    ("wal.dir", ByItself("Pilcrow needs none: a line stays in its file until Loki has accepted it")),
    ("wal.max_segment_age", ByItself("Pilcrow needs none: a line stays in its file until Loki has accepted it")),
    ("global", Changed(FIXED)),
];

/// The keys of an item of `scrape_configs`.
pub const SCRAPE: &[(&str, Way)] = &[
    ("job_name", ByItself("the name of a job is no label")),
    ("pipeline_stages", Read(M::Taken)),
    ("relabel_configs", Read(M::Taken)),
    ("kubernetes_sd_configs", Read(M::Taken)),
    ("static_configs", Read(M::Changed)),
    ("decompression", ByItself("rotated files that are compressed are read as such")),
    ("encoding", Read(M::Taken)),
    ("entry_parser", ByItself("Pilcrow detects by itself whether records are CRI's or docker's")),
    ("file_sd_configs", NotPossible(KEEP)),
    ("journal", NotPossible(KEEP)),
    ("syslog", NotPossible(KEEP)),
    ("gcplog", NotPossible(KEEP)),
    ("gelf", NotPossible(KEEP)),
    ("kafka", NotPossible(KEEP)),
    ("cloudflare", NotPossible(KEEP)),
    ("heroku_drain", NotPossible(KEEP)),
    ("azure_event_hubs", NotPossible(KEEP)),
    ("loki_push_api", NotPossible(KEEP)),
    ("windows_events", NotPossible(KEEP)),
    ("docker_sd_configs", Read(M::Changed)),
    ("consul_sd_configs", NotPossible(KEEP)),
    ("consulagent_sd_configs", NotPossible(KEEP)),
];

/// The keys of an item of `kubernetes_sd_configs`.
pub const DISCOVERY: &[(&str, Way)] = &[
    ("role", Read(M::Taken)),
    ("namespaces.names", To("kubernetes.namespaces.include", Text)),
    ("namespaces.own_namespace", Read(M::NotPossible)),
    ("selectors", Read(M::Taken)),
    ("kubeconfig_file", To("kubernetes.kubeconfig", Text)),
    ("api_server", Read(M::NotPossible)),
    ("basic_auth", NotPossible(KUBECONFIG)),
    ("authorization", NotPossible(KUBECONFIG)),
    ("oauth2", NotPossible(KUBECONFIG)),
    ("bearer_token", NotPossible(KUBECONFIG)),
    ("bearer_token_file", ByItself("the service account's token is used")),
    ("tls_config", ByItself("the service account's certificate authority is used")),
    ("proxy_url", NotPossible("the Kubernetes API is asked without a proxy")),
    ("no_proxy", ByItself("the Kubernetes API is asked without a proxy")),
    ("proxy_from_environment", Changed("the Kubernetes API is asked without a proxy")),
    ("follow_redirects", ByItself("the Kubernetes API answers without redirects")),
    ("enable_http2", ByItself("the Kubernetes API takes HTTP/1.1 too")),
    ("attach_metadata.node", Read(M::Changed)),
    ("attach_metadata.namespace", Read(M::Changed)),
];

/// Why nothing of a client of Docker's API is needed.
pub const NO_API: &str = "the files of Docker's folder are read, and its API is not asked";

/// The keys of an item of `docker_sd_configs`.
pub const DOCKER_SD: &[(&str, Way)] = &joined::<{ OWN_DOCKER_SD.len() + DOCKER.len() }>(OWN_DOCKER_SD, DOCKER);

const OWN_DOCKER_SD: &[(&str, Way)] = &[("host", Read(M::Taken)), ("filters", Read(M::Changed))];

/// The keys that discovery by Docker has with Promtail and with Alloy.
pub const DOCKER: &[(&str, Way)] = &[
    ("refresh_interval", ByItself("a new container is found when Docker makes it")),
    ("port", ByItself(NO_API)),
    ("host_networking_host", ByItself(NO_API)),
    ("match_first_network", ByItself(NO_API)),
    ("basic_auth", ByItself(NO_API)),
    ("authorization", ByItself(NO_API)),
    ("oauth2", ByItself(NO_API)),
    ("bearer_token", ByItself(NO_API)),
    ("bearer_token_file", ByItself(NO_API)),
    ("tls_config", ByItself(NO_API)),
    ("proxy_url", ByItself(NO_API)),
    ("no_proxy", ByItself(NO_API)),
    ("proxy_from_environment", ByItself(NO_API)),
    ("follow_redirects", ByItself(NO_API)),
    ("enable_http2", ByItself(NO_API)),
];

/// All tables, each with what stands before its keys in the documentation.
pub const TABLES: &[(&str, &[(&str, Way)])] = &[
    ("server.", SERVER),
    ("clients[].", CLIENT),
    ("positions.", POSITIONS),
    ("limits_config.", LIMITS),
    ("target_config.", TARGET),
    ("", TOP),
    ("scrape_configs[].", SCRAPE),
    ("scrape_configs[].kubernetes_sd_configs[].", DISCOVERY),
    ("scrape_configs[].docker_sd_configs[].", DOCKER_SD),
];

impl Way {
    /// `yes`, `changed` or `no`, as in the documentation.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            To(..) | ByItself(_) | Read(M::Taken) => "yes",
            Changed(_) | Read(M::Changed) => "changed",
            NotPossible(_) | Read(M::NotPossible) => "no",
        }
    }
}

const ATTACHED: &str = "does nothing where no rule reads what it adds; a rule that does is not possible";

/// What the documentation says of keys that are read by themselves.
const NOTES: &[(&str, &str)] = &[
    ("http_listen_port", "`http.listen`; in the chart `port`"),
    ("http_listen_address", "`http.listen`; in the chart `listenAddress`"),
    ("log_format", "`log.format: json` for `json`, else text"),
    ("url", "`loki.url`; a user in it goes to `loki.basic_auth`"),
    ("headers", "`loki.headers`; `X-Scope-OrgID` is `loki.tenant`, what looks like a secret becomes a variable"),
    ("basic_auth.password", "`loki.basic_auth.password_file`: secrets are read from files"),
    ("bearer_token", "`loki.bearer_token_file`: secrets are read from files"),
    (
        "basic_auth.username_file",
        "`loki.basic_auth.username: ${LOKI_USERNAME}`: set that variable to what is in the file",
    ),
    ("tls_config.ca", "`loki.tls.ca_file`, with the certificate in a file"),
    ("tls_config.cert", "`loki.tls.cert_file`, with the certificate in a file"),
    ("tls_config.key", "`loki.tls.key_file`, with the key in a file"),
    ("authorization.type", "only `Bearer`"),
    ("authorization.credentials", "`loki.bearer_token_file`: secrets are read from files"),
    ("authorization.credentials_file", "`loki.bearer_token_file`"),
    (
        "external_labels",
        "`labels`; behind the rules or stages, as in Promtail, where one of them has to do with such a label",
    ),
    ("filename", "`paths.state`, a folder; see Positions below"),
    ("max_line_size", "`lines.max_bytes`; longer lines are split, Promtail drops them"),
    ("max_line_size_truncate", "`lines.oversize: cut`"),
    ("pipeline_stages", "`pipeline_stages`: see the stages below"),
    ("relabel_configs", "`relabel_configs`, with the same fields: see the labels below"),
    ("kubernetes_sd_configs", "the role `pod`"),
    (
        "static_configs",
        "paths in `/var/log/pods` and `/var/log/containers`: rules keep the pods that `__path__` and `__path_exclude__` name; of Docker's containers: `paths.docker`; other files: no",
    ),
    ("docker_sd_configs", "`paths.docker`, without Kubernetes; beside pods: no"),
    ("host", "this machine's (`unix://`)"),
    ("filters", "`name`, and `label` with a Compose project or service: by rules; others: no"),
    ("encoding", "UTF-8; no other"),
    ("stdin", "`pilcrow try --stdin` shows what becomes of lines, and sends none"),
    ("namespaces.own_namespace", "where it is true: write the namespace's name to `kubernetes.namespaces.include`"),
    (
        "api_server",
        "the cluster's own (`https://kubernetes.default.svc`): yes; another: into a kubeconfig, and its path into `kubernetes.kubeconfig`",
    ),
    ("attach_metadata.node", ATTACHED),
    ("attach_metadata.namespace", ATTACHED),
    ("role", "`pod`; the others have no logs"),
    ("selectors", "`kubernetes.pod_selector`; fields: the node, and the namespace"),
];

/// What the documentation says of a key.
#[must_use]
pub fn note(key: &str, way: Way) -> String {
    match way {
        To(new, _) => format!("`{new}`"),
        ByItself(text) | Changed(text) | NotPossible(text) => text.to_owned(),
        Read(_) => NOTES.iter().find(|(known, _)| *known == key).map_or("", |(_, note)| note).to_owned(),
    }
}
