//! One job: what is collected, by which rules and stages.

use super::{keys, walk::Walk};
use crate::admin::migrate::{
    docker,
    origin::{Attached, Finding, Kind, Origin, Pair, Pipeline, Setting, Source, Tree, Value, replacement},
    pod_files::{self, Target},
    words::{ANY_PHASE, DOCKER, no_log_of_a_pod},
};

/// Reads a job; `what`: `scrape_configs[0]`; `clients`: where its lines go.
pub fn read(group: &Tree, what: &str, clients: &[usize], origin: &mut Origin) {
    if !group.is_group(what, &mut origin.findings) {
        return;
    }
    let name = group.get("job_name").and_then(|pair| pair.value.as_text()).unwrap_or(what);
    let mut pipeline = Pipeline {
        name: origin.free_name(name),
        place: group.place.clone(),
        source: Source::Api,
        relabel: Vec::new(),
        stages: Vec::new(),
        clients: clients.to_vec(),
        settings: Vec::new(),
        positions: None,
        attached: Vec::new(),
        findings: Vec::new(),
    };
    let findings = &mut pipeline.findings;
    let to_read = Walk { settings: &mut pipeline.settings, findings }.group(group, what, keys::SCRAPE);
    let (mut sources, mut is_of_docker) = (Vec::new(), false);
    for (key, pair) in to_read {
        if key == "encoding" {
            encoding(pair, what, findings);
            continue;
        }
        pair.value.is_list(&format!("{what}.{key}"), findings);
        match key {
            "pipeline_stages" => pipeline.stages = pair.value.items().to_vec(),
            "relabel_configs" => pipeline.relabel.extend(pair.value.items().iter().cloned()),
            "docker_sd_configs" => {
                let what = format!("{what}.docker_sd_configs");
                for item in pair.value.items() {
                    let rules = by_docker(item, &what, findings);
                    pipeline.relabel.splice(0..0, rules);
                    is_of_docker = true;
                }
                findings.push(docker::finding(&pair.place, &what));
                pipeline.settings.push(docker::setting(&pair.place, &what));
            }
            "kubernetes_sd_configs" => {
                for (index, item) in pair.value.items().iter().enumerate() {
                    let what = format!("{what}.kubernetes_sd_configs[{index}]");
                    let found = Found { settings: &mut pipeline.settings, attached: &mut pipeline.attached, findings };
                    if discovery(item, &what, found) {
                        sources.push(None);
                    }
                }
            }
            _ => {
                for item in pair.value.items() {
                    item.is_group(&format!("{what}.static_configs"), findings);
                    sources.extend(static_config(item, what, &mut pipeline.settings, findings).map(Some));
                }
            }
        }
    }
    if is_of_docker {
        if sources.is_empty() {
            pipeline.source = Source::DockerLines;
            return origin.pipelines.push(pipeline);
        }
        pipeline.settings.retain(|setting| setting.key != docker::KEY);
        findings.push(Finding::new(Kind::NotPossible, &group.place, format!("{what}.docker_sd_configs"), DOCKER));
    }
    let Some(first) = sources.first() else {
        if group.get("kubernetes_sd_configs").is_some() || group.get("static_configs").is_some() {
            let text = "collects no logs of pods, so that its rules and stages are left out";
            findings.push(Finding::new(Kind::Changed, &group.place, what, text));
        }
        return origin.findings.append(findings);
    };
    let (are_files, count) = (first.is_some(), sources.len());
    let targets: Vec<Target> = if are_files { sources.into_iter().flatten().collect() } else { Vec::new() };
    if are_files {
        pipeline.source = Source::Path;
        pipeline.relabel.splice(0..0, pod_files::rules(&targets));
    }
    if targets.len() > 1 {
        let text = "has several targets: where two of them name the same container, its lines are sent once, with the labels of both";
        findings.push(Finding::new(Kind::Changed, &group.place, format!("{what}.static_configs"), text));
    }
    if count > 1 && targets.len() < count {
        let text = "has several sources of pod logs; the first one counts, as Pilcrow reads every pod's log once";
        findings.push(Finding::new(Kind::Changed, &group.place, what, text));
    }
    origin.pipelines.push(pipeline);
}

/// The rules for what a discovery of Docker's containers leaves out.
fn by_docker(group: &Tree, what: &str, findings: &mut Vec<Finding>) -> Vec<Tree> {
    let mut rules = Vec::new();
    for (key, pair) in (Walk { settings: &mut Vec::new(), findings }).group(group, what, keys::DOCKER_SD) {
        let what = format!("{what}.{key}");
        if key == "host" {
            let (kind, text) = docker::host(pair.value.as_text().unwrap_or(""));
            findings.push(Finding::new(kind, &pair.place, what, text));
            continue;
        }
        for filter in pair.value.items() {
            let name = filter.get("name").and_then(|pair| pair.value.as_text()).unwrap_or("");
            let values = filter.get("values").map(|pair| pair.value.items()).unwrap_or_default();
            let values: Vec<String> = values.iter().filter_map(Tree::as_text).map(str::to_owned).collect();
            rules.extend(docker::filter(name, &values, (&filter.place, &what), findings));
        }
    }
    rules
}

fn encoding(pair: &Pair, what: &str, findings: &mut Vec<Finding>) {
    let is_ours = pair.value.as_text().is_some_and(|name| name.is_empty() || name.eq_ignore_ascii_case("utf-8"));
    let (kind, text) = match is_ours {
        true => (Kind::Taken, "container logs are UTF-8"),
        false => (Kind::NotPossible, "container logs are UTF-8; Pilcrow replaces what is not"),
    };
    findings.push(Finding::new(kind, &pair.place, format!("{what}.encoding"), text));
}

/// What an item of `kubernetes_sd_configs` adds to a pipeline.
struct Found<'f> {
    settings: &'f mut Vec<Setting>,
    attached: &'f mut Vec<Attached>,
    findings: &'f mut Vec<Finding>,
}

/// Whether it finds pods.
fn discovery(group: &Tree, what: &str, Found { settings, attached, findings }: Found<'_>) -> bool {
    let mut is_of_pods = group.is_group(what, findings);
    for (key, pair) in (Walk { settings, findings }).group(group, what, keys::DISCOVERY) {
        let name = format!("{what}.{key}");
        let text = pair.value.as_text().unwrap_or("");
        match key {
            "role" => {}
            "selectors" => {
                pair.value.items().iter().for_each(|selector| select(selector, &name, settings, findings));
                continue;
            }
            "attach_metadata.node" | "attach_metadata.namespace" if text == "true" => {
                attached.push(Attached::by_key(key, &pair.place, &name));
                continue;
            }
            _ => {
                let (kind, text) = switch(key, text);
                findings.push(Finding::new(kind, &pair.place, name, text));
                continue;
            }
        }
        let role = text;
        is_of_pods = role == "pod";
        let (kind, text) = if is_of_pods {
            (Kind::Taken, "this node's pods are found by their log folders, and named by the Kubernetes API".to_owned())
        } else {
            (
                Kind::NotPossible,
                format!("the role {role} finds no pods: use the role pod; all other kinds have no logs of their own"),
            )
        };
        findings.push(Finding::new(kind, &pair.place, name, text));
    }
    is_of_pods
}

/// What becomes of a key by its value.
fn switch(key: &str, value: &str) -> (Kind, &'static str) {
    match (key, value) {
        ("api_server", address) if is_own_cluster(address) => (Kind::Taken, "the cluster's own API is asked"),
        ("api_server", _) => {
            (Kind::NotPossible, "put the address into a kubeconfig, and its path into kubernetes.kubeconfig")
        }
        (_, "false") => (Kind::Taken, "off, which is the default"),
        _ => (Kind::NotPossible, "write the namespace's name to kubernetes.namespaces.include"),
    }
}

/// Whether this is the address that each cluster has for its own pods.
pub fn is_own_cluster(address: &str) -> bool {
    let host = address.trim_start_matches("https://").trim_end_matches('/').trim_end_matches(":443");
    host.is_empty()
        || ["kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"].contains(&host)
}

fn select(selector: &Tree, what: &str, settings: &mut Vec<Setting>, findings: &mut Vec<Finding>) {
    if let Some(label) = selector.get("label") {
        findings.push(Finding::new(Kind::Taken, &label.place, format!("{what}.label"), "kubernetes.pod_selector"));
        settings.push(Setting::new("kubernetes.pod_selector", label.value.clone(), format!("{what}.label")));
    }
    let Some(field) = selector.get("field") else { return };
    for term in field.value.as_text().unwrap_or("").split(',').filter(|term| !term.is_empty()) {
        let (kind, text) =
            match term.split_once('=').map(|(name, value)| (name.trim(), value.trim_start_matches('=').trim())) {
                Some(("spec.nodeName", _)) => (Kind::Taken, "Pilcrow reads the logs of its own node only".to_owned()),
                Some(("metadata.namespace", namespace)) => {
                    let list = Value::List(vec![Tree::text(&field.value.place, namespace)]);
                    let list = Tree { place: field.value.place.clone(), value: list };
                    settings.push(Setting::new("kubernetes.namespaces.include", list, format!("{what}.field")));
                    (Kind::Taken, "kubernetes.namespaces.include".to_owned())
                }
                Some(("status.phase" | "status.phase!", _)) => (Kind::Changed, format!("{term}: {ANY_PHASE}")),
                _ => (
                    Kind::NotPossible,
                    format!("{term} is left out: Pilcrow selects pods by namespace, labels and rules only"),
                ),
            };
        findings.push(Finding::new(kind, &field.place, format!("{what}.field"), text));
    }
}

/// The files of a target with their labels; nothing where they are no logs of pods.
fn static_config(group: &Tree, what: &str, settings: &mut Vec<Setting>, findings: &mut Vec<Finding>) -> Option<Target> {
    let labels = group.get("labels").map(|pair| pair.value.pairs()).unwrap_or_default();
    let named = |name: &str| labels.iter().find(|label| label.key == name);
    let path = named("__path__");
    let name = format!("{what}.static_configs");
    let shown = path.and_then(|label| label.value.as_text()).unwrap_or("nothing");
    let place = path.map_or(&group.place, |label| &label.place);
    let made = labels.iter().filter(|label| !label.key.starts_with("__"));
    let made = made.map(|label| (label.place.clone(), label.key.clone(), fixed_value(label))).collect();
    if docker::names_all(shown) && named("__path_exclude__").is_none() {
        findings.push(docker::finding(place, &name));
        settings.push(docker::setting(place, &name));
        return Some(Target::all(place, made));
    }
    if !pod_files::are_of_pods(shown) {
        let text = no_log_of_a_pod(shown, "keep Promtail, or run Grafana Alloy, for it");
        findings.push(Finding::new(Kind::NotPossible, place, name, text));
        return None;
    }
    let exclude = named("__path_exclude__").and_then(|label| Some((&label.place, label.value.as_text()?)));
    pod_files::target(shown, exclude, made, (place, &name), findings)
}

/// A rule that sets a label to a fixed value.
pub fn fixed(label: &Pair) -> Tree {
    let place = &label.place;
    Tree::group(place, [("target_label", Tree::text(place, label.key.clone())), ("replacement", fixed_value(label))])
}

fn fixed_value(label: &Pair) -> Tree {
    Tree::text(&label.value.place, replacement(label.value.as_text().unwrap_or("")))
}
