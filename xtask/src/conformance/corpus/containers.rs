//! Containers for old configurations: some that every cluster has, and some that the rules and selectors name.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;

use super::{groups, lines::samples};

/// A container's stdout or stderr, and what is known of it.
#[derive(Clone, Debug, Serialize)]
pub struct Container {
    discovered: BTreeMap<String, String>,
    /// Its file, and the link to it.
    paths: [String; 2],
    stream: &'static str,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} with {:?}", self.paths[0], self.stream, self.discovered)
    }
}

const NAMESPACE: &str = "namespace";
const POD: &str = "pod_name";
const CONTAINER: &str = "pod_container_name";

/// Namespace, pod, container; and what the Kubernetes API says of the pod.
type Known<'k> = (&'k str, &'k str, &'k str, &'k [(&'k str, &'k str)]);

const USUAL: [Known; 5] = [
    (
        "shop",
        "web-7d4b9c6f5d-x2x4z",
        "nginx",
        &[
            ("pod_label_app_kubernetes_io_name", "shop"),
            ("pod_label_app_kubernetes_io_instance", "web-1"),
            ("pod_label_app_kubernetes_io_component", "front"),
            ("pod_label_app", "web"),
            ("pod_label_name", "web"),
            ("pod_label_team", "a"),
            ("pod_label_tier", "front"),
            ("pod_label_example_com_tenant", "t1"),
            ("pod_controller_kind", "ReplicaSet"),
            ("pod_controller_name", "web-7d4b9c6f5d"),
        ],
    ),
    (
        "kube-system",
        "coredns-6799fbcd5-abcde",
        "coredns",
        &[
            ("pod_label_k8s_app", "kube-dns"),
            ("pod_controller_kind", "ReplicaSet"),
            ("pod_controller_name", "coredns-6799fbcd5"),
        ],
    ),
    (
        "default",
        "db-0",
        "db",
        &[
            ("pod_label_app", "db"),
            ("pod_label_component", "store"),
            ("pod_controller_kind", "StatefulSet"),
            ("pod_controller_name", "db"),
        ],
    ),
    (
        "monitoring",
        "grafana-0",
        "grafana",
        &[("pod_label_app_kubernetes_io_name", "billing"), ("pod_label_release", "mon")],
    ),
    ("batch", "crash-1", "main", &[("pod_controller_kind", "Job"), ("pod_controller_name", "crash")]),
];

/// How many containers are made of what the rules name.
const NAMED: usize = 3;

/// The containers for this configuration of Promtail's.
pub fn all(text: &str) -> Vec<Container> {
    let mut all: Vec<Container> = USUAL.iter().map(|known| container(known, "stdout")).collect();
    all.push(container(&USUAL[0], "stderr"));
    let named = named(text);
    for number in 0..if named.is_empty() { 0 } else { NAMED } {
        let value = |name: &str, usual: &str| -> String {
            let values = named.get(name).map(Vec::as_slice).unwrap_or_default();
            values.get(number % values.len().max(1)).map_or(usual, String::as_str).to_owned()
        };
        let (namespace, pod, own) = (value(NAMESPACE, "apps"), value(POD, "named-1"), value(CONTAINER, "main"));
        let more: Vec<(String, String)> = named
            .keys()
            .filter(|name| name.contains("_label_") || name.contains("annotation") || name.contains("controller"))
            .map(|name| (name.clone(), value(name, "")))
            .collect();
        let more: Vec<(&str, &str)> = more.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        all.push(container(&(&namespace, &pod, &own, &more), "stdout"));
    }
    all
}

fn container((namespace, pod, container, more): &Known<'_>, stream: &'static str) -> Container {
    let uid = "3f1c9a52-0d0c-4b3f-9d41-6a7a6f1d5b10";
    let own = [
        (NAMESPACE, *namespace),
        (POD, *pod),
        ("pod_uid", uid),
        (CONTAINER, *container),
        ("pod_node_name", "1"),
        ("pod_phase", "Running"),
        ("pod_ready", "true"),
        ("pod_container_init", "false"),
    ];
    let mut discovered = BTreeMap::new();
    for (name, value) in own.iter().chain(more.iter()).filter(|(_, value)| !value.is_empty()) {
        discovered.insert(format!("__meta_kubernetes_{name}"), (*value).to_owned());
        for kind in ["label", "annotation"] {
            if let Some(rest) = name.strip_prefix(&format!("pod_{kind}_")) {
                discovered.insert(format!("__meta_kubernetes_pod_{kind}present_{rest}"), "true".into());
            }
        }
    }
    let paths = [
        format!("/var/log/pods/{namespace}_{pod}_{uid}/{container}/0.log"),
        format!("/var/log/containers/{pod}_{namespace}_{container}-{:064}.log", 0),
    ];
    Container { discovered, paths, stream }
}

/// What rules, selectors and globs ask for, by the name of what is known of a pod.
fn named(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |name: &str, value: String| {
        let is_name = value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c));
        let is_part = [NAMESPACE, POD, CONTAINER].contains(&name);
        if !value.is_empty() && (is_name || !is_part) {
            named.entry(name.to_owned()).or_default().push(value);
        }
    };
    let texts = |value: Option<&Value>| -> Vec<String> {
        let list = value.and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for group in groups(text) {
        let sources = texts(group.get("source_labels"));
        let source = sources.first().and_then(|name| name.strip_prefix("__meta_kubernetes_"));
        if let (Some(source), Some(regex), 1) = (source, group.get("regex").and_then(Value::as_str), sources.len()) {
            samples(regex).into_iter().for_each(|value| add(source, value));
        } else if let Some(source) = source.filter(|source| source.contains("_label_")) {
            add(source, "some".into());
        }
        if let Some(selector) = group.get("selector").and_then(Value::as_str) {
            for (name, value) in pairs(selector) {
                let known = match name {
                    "namespace" => NAMESPACE,
                    "container" => CONTAINER,
                    "pod" => POD,
                    "app" => "pod_label_app_kubernetes_io_name",
                    _ => continue,
                };
                add(known, samples(value).into_iter().next().unwrap_or_default());
            }
        }
        if let Some(names) = group.get("namespaces").and_then(|namespaces| namespaces.get("names")) {
            texts(Some(names)).into_iter().for_each(|name| add(NAMESPACE, name));
        }
        if let Some(path) = group.get("__path__").and_then(Value::as_str) {
            of_path(path).into_iter().for_each(|(name, value)| add(name, value));
        }
    }
    named
}

/// `name="value"` and `name=~"value"` of a selector.
fn pairs(selector: &str) -> impl Iterator<Item = (&str, &str)> {
    let head = selector.split('}').next().unwrap_or_default().trim_start_matches('{');
    head.split(',').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim(), value.trim_start_matches('~').trim_matches('"')))
    })
}

/// Names in globs.
fn of_path(path: &str) -> Vec<(&'static str, String)> {
    let first = |glob: &str| glob.trim_start_matches('{').split([',', '*', '}']).next().unwrap_or_default().to_owned();
    if let Some(rest) = path.strip_prefix("/var/log/pods/") {
        let mut parts = rest.split('/');
        let (pod, container) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let mut names = pod.split('_');
        let (namespace, pod) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        return vec![(NAMESPACE, first(namespace)), (POD, first(pod)), (CONTAINER, first(container))];
    }
    let Some(rest) = path.strip_prefix("/var/log/containers/") else { return Vec::new() };
    let names: Vec<&str> = rest.split('_').collect();
    match names[..] {
        [pod, namespace, container, ..] => {
            let container = first(container).trim_end_matches('-').to_owned();
            vec![(POD, first(pod)), (NAMESPACE, first(namespace)), (CONTAINER, container)]
        }
        [pod] => vec![(POD, first(pod).trim_end_matches('-').to_owned())],
        _ => Vec::new(),
    }
}
