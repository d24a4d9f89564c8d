//! One job: what is collected, by which rules and stages.

use super::{keys, walk::Walk};
use crate::admin::migrate::{
    origin::{Finding, Kind, Origin, Pair, Pipeline, Setting, Source, Tree, Value, replacement},
    pod_files::{self, Target},
    words::no_log_of_a_pod,
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
        findings: Vec::new(),
    };
    let findings = &mut pipeline.findings;
    let to_read = Walk { settings: &mut pipeline.settings, findings }.group(group, what, keys::SCRAPE);
    let mut sources = Vec::new();
    for (key, pair) in to_read {
        pair.value.is_list(&format!("{what}.{key}"), findings);
        match key {
            "pipeline_stages" => pipeline.stages = pair.value.items().to_vec(),
            "relabel_configs" => pipeline.relabel.extend(pair.value.items().iter().cloned()),
            "kubernetes_sd_configs" => {
                for (index, item) in pair.value.items().iter().enumerate() {
                    let what = format!("{what}.kubernetes_sd_configs[{index}]");
                    if discovery(item, &what, &mut pipeline.settings, findings) {
                        sources.push(None);
                    }
                }
            }
            _ => {
                for item in pair.value.items() {
                    item.is_group(&format!("{what}.static_configs"), findings);
                    sources.extend(static_config(item, what, findings).map(Some));
                }
            }
        }
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

/// Whether it finds pods.
fn discovery(group: &Tree, what: &str, settings: &mut Vec<Setting>, findings: &mut Vec<Finding>) -> bool {
    let mut is_of_pods = group.is_group(what, findings);
    for (key, pair) in (Walk { settings, findings }).group(group, what, keys::DISCOVERY) {
        let name = format!("{what}.{key}");
        if key == "selectors" {
            for selector in pair.value.items() {
                select(selector, &name, settings, findings);
            }
            continue;
        }
        let role = pair.value.as_text().unwrap_or("");
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
                _ => (
                    Kind::NotPossible,
                    format!("{term} is left out: Pilcrow selects pods by namespace, labels and rules only"),
                ),
            };
        findings.push(Finding::new(kind, &field.place, format!("{what}.field"), text));
    }
}

/// The files of a target with their labels; nothing where they are no logs of pods.
fn static_config(group: &Tree, what: &str, findings: &mut Vec<Finding>) -> Option<Target> {
    let labels = group.get("labels").map(|pair| pair.value.pairs()).unwrap_or_default();
    let named = |name: &str| labels.iter().find(|label| label.key == name);
    let path = named("__path__");
    let name = format!("{what}.static_configs");
    let shown = path.and_then(|label| label.value.as_text()).unwrap_or("nothing");
    let place = path.map_or(&group.place, |label| &label.place);
    if !pod_files::are_of_pods(shown) {
        let text = no_log_of_a_pod(shown, "keep Promtail, or run Grafana Alloy, for it");
        findings.push(Finding::new(Kind::NotPossible, place, name, text));
        return None;
    }
    let exclude = named("__path_exclude__").and_then(|label| Some((&label.place, label.value.as_text()?)));
    let made = labels.iter().filter(|label| !label.key.starts_with("__"));
    let made = made.map(|label| (label.place.clone(), label.key.clone(), fixed_value(label))).collect();
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
