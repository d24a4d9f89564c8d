//! One job: what is collected, by which rules and stages.

use super::{keys, walk::Walk};
use crate::admin::migrate::origin::{Finding, Kind, Origin, Pair, Pipeline, Setting, Source, Tree, Value, replacement};

/// Folders whose files are the logs of pods.
const POD_FOLDERS: [&str; 2] = ["/var/log/pods/", "/var/log/containers/"];

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
                        sources.push((Source::Api, Vec::new()));
                    }
                }
            }
            _ => {
                for item in pair.value.items() {
                    item.is_group(&format!("{what}.static_configs"), findings);
                    sources.extend(static_config(item, what, findings).map(|labels| (Source::Path, labels)));
                }
            }
        }
    }
    let Some((source, labels)) = sources.first() else {
        if group.get("kubernetes_sd_configs").is_some() || group.get("static_configs").is_some() {
            let text = "collects no logs of pods, so that its rules and stages are left out";
            findings.push(Finding::new(Kind::Changed, &group.place, what, text));
        }
        return origin.findings.append(findings);
    };
    pipeline.source = *source;
    pipeline.relabel.splice(0..0, labels.iter().cloned());
    if sources.len() > 1 {
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

/// The labels of files that are logs of pods, as rules; nothing where they are other files.
fn static_config(group: &Tree, what: &str, findings: &mut Vec<Finding>) -> Option<Vec<Tree>> {
    let labels = group.get("labels").map(|pair| pair.value.pairs()).unwrap_or_default();
    let path = labels.iter().find(|label| label.key == "__path__");
    let name = format!("{what}.static_configs");
    let shown = path.and_then(|label| label.value.as_text()).unwrap_or("nothing");
    let place = path.map_or(&group.place, |label| &label.place);
    if !POD_FOLDERS.iter().any(|folder| shown.starts_with(folder)) {
        let text = format!(
            "{shown} is no log of a pod, and Pilcrow collects nothing else: keep Promtail, or run Grafana Alloy, for it"
        );
        findings.push(Finding::new(Kind::NotPossible, place, name, text));
        return None;
    }
    let text = format!(
        "{shown}: all logs of pods are read from /var/log/pods, and their names make the labels namespace, pod and container"
    );
    findings.push(Finding::new(Kind::Changed, place, &name, text));
    let made = labels.iter().filter(|label| !label.key.starts_with("__"));
    Some(made.map(fixed).collect())
}

/// A rule that sets a label to a fixed value.
pub fn fixed(label: &Pair) -> Tree {
    let place = &label.place;
    let value = Tree::text(&label.value.place, replacement(label.value.as_text().unwrap_or("")));
    Tree::group(place, [("target_label", Tree::text(place, label.key.clone())), ("replacement", value)])
}
