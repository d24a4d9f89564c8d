//! What the types can not say: bounds, and keys that belong together.
//!
//! In: a decoded [`Config`]. Out: pairs of key and message. Looks at no file and asks no network: a configuration may be
//! checked on another machine than the one that it is for. Repeats no value that may be a secret.

use std::time::Duration;

use hyper::{
    Uri,
    header::{HeaderName, HeaderValue},
    http::uri::Scheme,
};
use rustls::pki_types::ServerName;

use super::{ByteSize, Config, Enabled, HumanDuration, Kubernetes, Loki, Rate, RefusedStreams, Tls};
use crate::{
    pipeline::relabel::{Rule, RuleError},
    source::kubernetes::Selector,
};

/// Labels that the built-in rules make; a static one of that name would be overwritten.
const POD_LABELS: [&str; 6] = ["namespace", "pod", "container", "app", "job", "stream"];

/// Loki's default `max_label_name_length` and `max_label_value_length`.
const LABEL_NAME_MAX: usize = 1024;
const LABEL_VALUE_MAX: usize = 2048;

/// Loki's limit for a tenant's name (dskit, tenant.ValidTenantID).
const TENANT_MAX: usize = 150;

/// Headers that Pilcrow itself sets, with the key that does it.
const OWN_HEADERS: [(&str, &str); 8] = [
    ("x-scope-orgid", "set loki.tenant instead"),
    ("host", "it comes from loki.url"),
    ("user-agent", "Pilcrow says its own name and version"),
    ("content-type", "Pilcrow sets it"),
    ("content-encoding", "Pilcrow sets it"),
    ("content-length", "Pilcrow sets it"),
    ("transfer-encoding", "Pilcrow sets it"),
    ("connection", "Pilcrow sets it"),
];

type Problems = Vec<(String, String)>;

/// All that is wrong.
pub(super) fn validate(config: &Config) -> Problems {
    let mut problems = Problems::new();
    let p = &mut problems;
    url(&config.loki.url, p);
    tenant(&config.loki.tenant, p);
    authentication(&config.loki, p);
    tls(&config.loki.tls, p);
    headers(&config.loki, p);
    labels(config, p);
    relabelling(config, p);
    selection(config, p);
    limits(config, p);
    folders(config, p);
    if config.kubernetes.enabled == Enabled::True && config.kubernetes.node_name.is_empty() {
        add(p, "kubernetes.node_name", "must be set where kubernetes.enabled is true (or set NODE_NAME)");
    }
    problems
}

fn add(problems: &mut Problems, key: &str, message: impl Into<String>) {
    problems.push((key.to_owned(), message.into()));
}

fn url(url: &str, problems: &mut Problems) {
    let example = "expected an address such as http://loki:3100 or https://loki.example.com/loki/api/v1/push";
    let mut wrong = |message: String| add(problems, "loki.url", message);
    if url.contains('@') {
        // Not repeated: there is a password in it.
        return wrong("must not hold a user name or password; use loki.basic_auth".into());
    }
    let Ok(uri) = url.parse::<Uri>() else { return wrong(format!("{example}, found {url:?}")) };
    match uri.scheme() {
        _ if uri.host().is_none_or(str::is_empty) => wrong(format!("{example}, found {url:?}")),
        None => wrong(format!("lacks http:// or https:// in front of {url:?}")),
        Some(scheme) if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS => {
            wrong(format!("must begin with http:// or https://, not {scheme}://"));
        }
        _ if uri.query().is_some() || url.contains('#') => wrong("must end with its path, without ? or #".into()),
        _ => {}
    }
}

fn tenant(tenant: &str, problems: &mut Problems) {
    let good = |c: char| c.is_ascii_alphanumeric() || "!-_.*'()".contains(c);
    if !tenant.chars().all(good) || tenant.len() > TENANT_MAX || tenant == "." || tenant == ".." {
        let rule = format!("at most {TENANT_MAX} letters, digits and ! - _ . * ' ( )");
        add(problems, "loki.tenant", format!("a tenant's name is {rule}, found {tenant:?}"));
    }
}

fn authentication(loki: &Loki, problems: &mut Problems) {
    let (user, password) = (&loki.basic_auth.username, &loki.basic_auth.password_file);
    let bearer = !loki.bearer_token_file.as_os_str().is_empty();
    match (user.is_empty(), password.as_os_str().is_empty()) {
        (false, true) => {
            add(problems, "loki.basic_auth.password_file", "must be set where loki.basic_auth.username is");
        }
        (true, false) => {
            add(problems, "loki.basic_auth.username", "must be set where loki.basic_auth.password_file is");
        }
        _ => {}
    }
    if user.contains(|c: char| c == ':' || c.is_control()) {
        add(problems, "loki.basic_auth.username", "must not hold a colon or a control character (RFC 7617)");
    }
    if bearer && !user.is_empty() {
        add(problems, "loki.bearer_token_file", "can not be used together with loki.basic_auth; keep one of them");
    }
    let header = loki.headers.keys().find(|name| name.eq_ignore_ascii_case("authorization"));
    if let Some(name) = header.filter(|_| bearer || !user.is_empty()) {
        let key = format!("loki.headers.{name}");
        add(problems, &key, "can not be used together with loki.basic_auth or loki.bearer_token_file");
    }
}

fn tls(tls: &Tls, problems: &mut Problems) {
    match (tls.cert_file.as_os_str().is_empty(), tls.key_file.as_os_str().is_empty()) {
        (false, true) => add(problems, "loki.tls.key_file", "must be set where loki.tls.cert_file is"),
        (true, false) => add(problems, "loki.tls.cert_file", "must be set where loki.tls.key_file is"),
        _ => {}
    }
    let name = tls.server_name.as_str();
    if !name.is_empty() && ServerName::try_from(name).is_err() {
        add(problems, "loki.tls.server_name", format!("expected a host name or an IP address, found {name:?}"));
    }
}

fn headers(loki: &Loki, problems: &mut Problems) {
    for (name, value) in &loki.headers {
        let key = format!("loki.headers.{name}");
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            add(problems, &key, "is not a header's name (RFC 9110)");
        } else if HeaderValue::from_str(value).is_err() {
            add(problems, &key, "its value must be one line of visible ASCII characters");
        } else if let Some((_, why)) = OWN_HEADERS.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)) {
            add(problems, &key, format!("can not be set here: {why}"));
        }
    }
}

fn labels(config: &Config, problems: &mut Problems) {
    for (name, value) in &config.labels {
        let key = format!("labels.{name}");
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !begins || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || name.len() > LABEL_NAME_MAX {
            let rule = "a label's name is letters, digits and _, and begins with no digit";
            add(problems, &key, format!("{rule}, found {name:?}"));
        } else if name.starts_with("__") {
            add(problems, &key, "names that begin with __ are Loki's own");
        } else if config.relabel_defaults && POD_LABELS.contains(&name.as_str()) {
            add(problems, &key, format!("{name} comes from the pod; choose another name for a static label"));
        } else if value.len() > LABEL_VALUE_MAX {
            add(problems, &key, format!("is longer than the {LABEL_VALUE_MAX} bytes that Loki accepts"));
        }
    }
}

fn relabelling(config: &Config, problems: &mut Problems) {
    for (index, rule) in config.relabel_configs.iter().enumerate() {
        if let Err(RuleError { field, message }) = Rule::new(rule) {
            add(problems, &format!("relabel_configs.[{index}].{field}"), message);
        }
    }
}

fn selection(config: &Config, problems: &mut Problems) {
    let Kubernetes { namespaces, pod_selector, .. } = &config.kubernetes;
    if let Err(message) = Selector::parse(pod_selector) {
        add(problems, "kubernetes.pod_selector", message);
    }
    for (list, names) in [("include", &namespaces.include), ("exclude", &namespaces.exclude)] {
        for (index, name) in names.iter().enumerate() {
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || !name.chars().all(good) {
                let message = format!("a namespace's name is lower-case letters, digits and -, found {name:?}");
                add(problems, &format!("kubernetes.namespaces.{list}.[{index}]"), message);
            }
        }
    }
}

fn limits(config: &Config, problems: &mut Problems) {
    const HOUR: HumanDuration = HumanDuration::from_secs(3600);
    const TEN_MINUTES: HumanDuration = HumanDuration::from_secs(600);
    let millis = HumanDuration::from_millis;
    let loki = &config.loki;
    let mut within = |key: &str, value: HumanDuration, least: HumanDuration, most: HumanDuration| {
        if value < least || value > most {
            add(problems, key, format!("must lie between {least} and {most}, found {value}"));
        }
    };
    within("loki.timeout", loki.timeout, millis(100), TEN_MINUTES);
    within("loki.backoff.min", loki.backoff.min, millis(10), HOUR);
    within("loki.backoff.max", loki.backoff.max, millis(10), HOUR);
    within("loki.batch.age", loki.batch.age, millis(10), TEN_MINUTES);
    within("kubernetes.wait", config.kubernetes.wait, HumanDuration(Duration::ZERO), TEN_MINUTES);
    within("lines.partial_timeout", config.lines.partial_timeout, millis(100), HOUR);
    within("checkpoint.interval", config.checkpoint.interval, millis(100), TEN_MINUTES);
    within("sweep.interval", config.sweep.interval, millis(100), TEN_MINUTES);
    within("shutdown.deadline", config.shutdown.deadline, HumanDuration(Duration::ZERO), TEN_MINUTES);
    within("ready.after", config.ready.after, millis(100), HOUR);
    if let RefusedStreams::DropAfter(after) = loki.refused_streams {
        within("loki.refused_streams", after, HumanDuration::from_secs(1), HumanDuration::from_secs(30 * 86_400));
    }
    let mut within = |key: &str, value: ByteSize, least: ByteSize, most: ByteSize| {
        if value < least || value > most {
            add(problems, key, format!("must lie between {least} and {most}, found {value}"));
        }
    };
    within("loki.batch.bytes", loki.batch.bytes, ByteSize::kib(1), ByteSize::mib(64));
    if let Rate::PerSecond(rate) = loki.stream_rate {
        within("loki.stream_rate", rate, ByteSize::kib(1), ByteSize::mib(1024));
    }
    within("loki.stream_burst", loki.stream_burst, ByteSize::kib(1), ByteSize::mib(1024));
    within("lines.max_bytes", config.lines.max_bytes, ByteSize(256), ByteSize::mib(16));
    within("memory.queue", config.memory.queue, ByteSize::kib(64), ByteSize::mib(4096));
    if !(0.0..=1.0).contains(&config.debug.drop_signals) {
        let message = format!("must lie between 0 and 1, found {}", config.debug.drop_signals);
        add(problems, "debug.drop_signals", message);
    }
    if loki.backoff.min > loki.backoff.max {
        let message =
            format!("must not be less than loki.backoff.min ({}), found {}", loki.backoff.min, loki.backoff.max);
        add(problems, "loki.backoff.max", message);
    }
    if config.memory.queue < loki.batch.bytes {
        let message = format!("must hold at least one batch (loki.batch.bytes is {})", loki.batch.bytes);
        add(problems, "memory.queue", format!("{message}, found {}", config.memory.queue));
    }
}

fn folders(config: &Config, problems: &mut Problems) {
    let (pods, state) = (&config.paths.pods, &config.paths.state);
    for (key, path) in [("paths.pods", pods), ("paths.state", state)] {
        if path.as_os_str().is_empty() {
            add(problems, key, "must name a folder");
        }
    }
    if !pods.as_os_str().is_empty() && state.starts_with(pods) {
        add(problems, "paths.state", "must not lie in paths.pods, which Pilcrow only reads");
    }
}
