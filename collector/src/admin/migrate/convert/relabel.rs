//! Rules: those that find files or nodes are left out, as are those that read what Pilcrow does not know.

use regex::Regex;

use super::{Base, Draft, Item, attached, draft::group, field, list, origin_of, why_not_known};
use crate::{
    admin::migrate::docker,
    admin::migrate::origin::{Attached, Finding, Kind, Pair, Pipeline, Place, Source, Tree, Value},
    config::{RelabelAction, RelabelConfig},
    pipeline::relabel::{Labels, Rule},
};

/// Labels that tell Promtail which files to read, or which node a pod runs on.
const OF_FILES: [&str; 3] = ["__path__", "__host__", "__address__"];

/// What tells a pod's node.
const OF_NODES: [&str; 2] = ["__meta_kubernetes_pod_node_name", "__host__"];

/// The labels that tell containers apart, where a path did.
const OF_PODS: [(&str, &str); 3] = [
    ("__meta_kubernetes_namespace", "namespace"),
    ("__meta_kubernetes_pod_name", "pod"),
    ("__meta_kubernetes_pod_container_name", "container"),
];

/// What labels of other things than pods begin with.
const OF_OTHERS: [&str; 5] = [
    "__meta_docker_",
    "__meta_kubernetes_node_",
    "__meta_kubernetes_namespace_label",
    "__meta_kubernetes_namespace_annotation",
    "__meta_kubernetes_service_",
];

/// What the labels begin with that a rule `labelmap` copies, where they are none of pods.
pub fn maps_others(rule: &Tree) -> Option<&'static str> {
    let regex = field(rule, "regex").trim_start_matches(['^', '(']);
    let is_map = field(rule, "action").eq_ignore_ascii_case("labelmap");
    OF_OTHERS.into_iter().find(|prefix| is_map && regex.starts_with(prefix))
}

/// What becomes of a rule.
pub(super) enum Fate {
    /// It stays, perhaps changed.
    Stays(Tree),
    /// Pilcrow does that by itself.
    ByItself(&'static str),
    Changed(String),
    NotPossible(String),
}

/// Converts the rules of a pipeline; `stream`: the stage that makes the label `stream`, for which a rule is needed.
pub fn convert(pipeline: &Pipeline, stream: Option<Place>, draft: &mut Draft) {
    if pipeline.source == Source::Path {
        // A stage that took a name from the path, for a label of any name, has its rule already.
        let is_made = |source: &str| {
            draft
                .relabel
                .iter()
                .filter_map(|item| item.tree.as_ref())
                .any(|rule| list(rule, "source_labels") == [source])
        };
        let missing: Vec<Item> = OF_PODS
            .iter()
            .filter(|(source, _)| !is_made(source))
            .map(|(source, target)| label_rule(&pipeline.place, source, target))
            .collect();
        draft.relabel.extend(missing);
    }
    let mut of_chart = 0;
    let is_of_docker = pipeline.source == Source::DockerLines;
    let rules: Vec<Tree> =
        pipeline.relabel.iter().map(|rule| if is_of_docker { docker::renamed(rule) } else { rule.clone() }).collect();
    let made = if is_of_docker { docker::before(&pipeline.place, &rules) } else { Vec::new() };
    draft.relabel.extend(made.into_iter().map(|tree| Item {
        tree: Some(tree),
        what: "Docker".into(),
        comment: format!("{} what Docker calls a container", origin_of(&pipeline.place)),
    }));
    for (index, rule) in rules.iter().enumerate() {
        let what = format!("{}: relabel_configs[{index}]", pipeline.name);
        let mut find = |kind, text: &str| draft.findings.push(Finding::new(kind, &rule.place, &what, text));
        if let Some(text) = attached::also_copied(rule, &pipeline.attached) {
            find(Kind::NotPossible, &text);
        }
        match attached::nothing(rule, index, pipeline).unwrap_or_else(|| fate(rule, &pipeline.attached)) {
            Fate::Stays(tree) => {
                if rule.place == pipeline.place {
                    of_chart += 1;
                } else {
                    find(Kind::Taken, "relabel_configs");
                }
                draft.relabel.push(Item { tree: Some(tree), what, comment: origin_of(&rule.place) });
            }
            Fate::ByItself(text) => find(Kind::Taken, text),
            Fate::Changed(text) => find(Kind::Changed, &text),
            Fate::NotPossible(text) => {
                find(Kind::NotPossible, &text);
                let comment = format!("{} is not possible: {text}", origin_of(&rule.place));
                draft.relabel.push(Item { tree: None, what, comment });
            }
        }
    }
    if of_chart > 0 {
        // They have no place of their own in the old file.
        let (what, text) = (
            format!("{}: labels", pipeline.name),
            format!(
                "relabel_configs: {of_chart} {} that it has by default",
                if of_chart == 1 { "rule" } else { "rules" }
            ),
        );
        draft.findings.push(Finding::new(Kind::Taken, &pipeline.place, what, text));
    }
    draft.findings.extend(attached::told(pipeline));
    if let Some(place) = stream {
        draft.relabel.push(label_rule(&place, "__meta_pilcrow_stream", "stream"));
    }
}

/// A rule that removes labels by their names.
fn by_name(rule: &Tree) -> Option<Rule> {
    let action = match field(rule, "action").to_lowercase().as_str() {
        "labeldrop" => RelabelAction::LabelDrop,
        "labelkeep" => RelabelAction::LabelKeep,
        _ => return None,
    };
    let regex = rule.get("regex").and_then(|pair| pair.value.as_text()).unwrap_or("(.*)").to_owned();
    Rule::new(&RelabelConfig { action, regex, ..RelabelConfig::default() }).ok()
}

/// Whether a rule would do something else if streams had a label of this name.
pub fn reads_or_removes(rule: &Tree, name: &str) -> bool {
    let takes_away = |rule: Rule| {
        let mut labels = Labels::from([(name.to_owned(), "x".to_owned())]);
        rule.apply(&mut labels);
        labels.is_empty()
    };
    list(rule, "source_labels").contains(&name) || by_name(rule).is_some_and(takes_away)
}

/// What of a container's name no rule makes a label of, as [`OF_PODS`] has it.
pub fn missing_names(draft: &Draft) -> Vec<(&'static str, &'static str)> {
    let mut told: Vec<&str> = Vec::new();
    let rules: Vec<&Tree> = draft.relabel.iter().filter_map(|item| item.tree.as_ref()).collect();
    // A label that is seen may be made of one that is not, by an earlier rule.
    let mut seen: Vec<&str> = Vec::new();
    for rule in rules.iter().rev() {
        let target = field(rule, "target_label");
        if !target.is_empty() && (!target.starts_with("__") || seen.contains(&target)) {
            seen.extend(list(rule, "source_labels"));
        }
        let maps = Regex::new(&format!("^(?:{})$", field(rule, "regex"))).ok();
        if let Some(maps) = maps.filter(|_| field(rule, "action").eq_ignore_ascii_case("labelmap")) {
            told.extend(OF_PODS.iter().map(|(source, _)| *source).filter(|source| maps.is_match(source)));
        }
    }
    told.extend(seen);
    let is_told = |source: &str| {
        let by_uid = told.contains(&"__meta_kubernetes_pod_uid") && !source.ends_with("container_name");
        told.contains(&source) || by_uid || told.contains(&"__path__")
    };
    OF_PODS.into_iter().filter(|(source, _)| draft.base == Base::None && !is_told(source)).collect()
}

/// Whether a rule names all files of a container, whichever it is: by what every pod has, or by the hash that static pods have instead.
fn names_all_files(rule: &Tree) -> bool {
    let of_container = |name: &&str| {
        ["namespace", "pod", "container", "__meta_kubernetes_namespace"].contains(name)
            || name.strip_prefix("__meta_kubernetes_pod_").is_some_and(|name| {
                let hash = ["annotation_", "annotationpresent_"].iter().find_map(|kind| name.strip_prefix(kind));
                ["name", "uid", "container_name"].contains(&name)
                    || matches!(hash, Some("kubernetes_io_config_hash" | "kubernetes_io_config_mirror"))
            })
    };
    let (regex, path) = (field(rule, "regex"), field(rule, "replacement"));
    let is_of_pods = ["/var/log/pods/", "/var/log/containers/"].iter().any(|folder| path.starts_with(folder));
    is_of_pods
        && (path.ends_with("*.log") || path.ends_with("*log"))
        && ["", "(.*)", "(.+)", "true/(.*)", "true/(.+)"].contains(&regex.trim_start_matches('^').trim_end_matches('$'))
        && list(rule, "source_labels").iter().all(of_container)
}

fn fate(rule: &Tree, attached: &[Attached]) -> Fate {
    let action = field(rule, "action").to_lowercase();
    let target = field(rule, "target_label");
    let (sources, regex) = (list(rule, "source_labels"), field(rule, "regex"));
    let keeps = matches!(action.as_str(), "keep" | "keepequal");
    let drops = matches!(action.as_str(), "drop" | "dropequal");
    if target == "__path_exclude__" {
        return Fate::NotPossible(
            "Pilcrow finds the files of pods by itself: leave pods out by a rule with the action drop".into(),
        );
    }
    if target == "__path__" && !keeps && !drops && !names_all_files(rule) {
        return Fate::NotPossible(format!(
            "{} from {}: which files it names cannot be said by rules, and Pilcrow reads those of all pods that the others keep: write a \
             rule with the action keep or drop for what it leaves out (docs/labels.md)",
            field(rule, "replacement"),
            if sources.is_empty() { "nothing".to_owned() } else { sources.join(", ") },
        ));
    }
    if OF_FILES.contains(&target) && !keeps && !drops {
        return Fate::ByItself("the files of this node's pods are found without a rule");
    }
    let goes_by_node = !sources.is_empty() && sources.iter().all(|name| OF_NODES.contains(name));
    if keeps && goes_by_node && (regex.contains("${") || sources.contains(&"__host__") || !target.is_empty()) {
        return Fate::ByItself("Pilcrow reads the logs of its own node only");
    }
    if let Some(prefix) = maps_others(rule) {
        let of_api = "it is none of a pod, and Pilcrow asks the Kubernetes API for pods only";
        let why = docker::why_not_known(prefix).unwrap_or(of_api);
        return Fate::NotPossible(format!("{prefix}… cannot be copied, as {why}; leave the labels out"));
    }
    let unknown = sources.iter().chain(Some(&target)).find_map(|name| Some((*name, why_not_known(name)?)));
    match unknown {
        None => Fate::Stays(simplified(rule)),
        Some((name, why)) if keeps || drops => {
            let all = match name.trim_start_matches("__meta_kubernetes_pod_") {
                "phase" | "ready" => "logs of pods that have ended, or are not ready, are read as well",
                "container_init" => "logs of init containers are read as well",
                _ if attached::was_empty(name, attached) => "it selects nothing",
                _ => {
                    let by = match docker::why_not_known(name) {
                        Some(_) => "a container's name, Compose project or service",
                        None => "namespace, or by labels and annotations of pods",
                    };
                    let text = "left out, so that logs are read which it leaves out: select by";
                    return Fate::NotPossible(format!("{text} {by}; {name} is not known, as {why}"));
                }
            };
            Fate::Changed(format!("left out, so that {all}: {name} is not known, as {why}"))
        }
        Some((name, why)) if sources.len() > 1 => {
            Fate::NotPossible(format!("{name} is not known, as {why}; write the rule without it"))
        }
        Some((name, why)) => {
            let fixed = format!("; where all nodes have the same: {{target_label: {target}, replacement: containerd}}");
            let fixed = if name.ends_with("pod_container_id") { &*fixed } else { "" };
            Fate::NotPossible(format!("{name} is not known, as {why}; there is no label {target}{fixed}"))
        }
    }
}

/// Without what is the default, where the rule is one that can be read.
pub(super) fn simplified(rule: &Tree) -> Tree {
    let is_default = |pair: &Pair| match (pair.key.as_str(), pair.value.as_text()) {
        ("action", Some(text)) => text.eq_ignore_ascii_case("replace"),
        ("regex", Some(text)) => text == "(.*)",
        ("replacement", Some(text)) => text == "$1",
        ("separator", Some(text)) => text == ";",
        _ => pair.value.value == Value::Nothing,
    };
    let pairs = rule.pairs().iter().filter(|pair| !is_default(pair)).cloned().collect();
    Tree { place: rule.place.clone(), value: Value::Group(pairs) }
}

/// A rule that makes a label of what is known of a container.
fn label_rule(place: &Place, source: &str, target: &str) -> Item {
    let tree = group(
        place,
        &[
            ("source_labels", Value::List(vec![Tree::text(place, source)])),
            ("target_label", Value::Text(target.into())),
        ],
    );
    let comment = match target {
        "stream" => format!("{} the label stream, which the stage made", origin_of(place)),
        _ => format!("{} instead of filename, which tells containers apart", origin_of(place)),
    };
    Item { tree: Some(tree), what: target.into(), comment }
}
