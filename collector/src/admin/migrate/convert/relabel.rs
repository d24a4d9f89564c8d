//! Rules: those that find files or nodes are left out, as are those that read what Pilcrow does not know.

use super::{Base, Draft, Item, draft::group, field, list, origin_of, why_not_known};
use crate::{
    admin::migrate::origin::{Finding, Kind, Pair, Pipeline, Place, Setting, Tree, Value},
    config::{Preset, RelabelAction, RelabelConfig},
    pipeline::relabel::{Labels, Rule, built_in},
};

/// Labels that tell Promtail which files to read, or which node a pod runs on.
const OF_FILES: [&str; 3] = ["__path__", "__host__", "__address__"];

/// What tells a pod's node.
const OF_NODES: [&str; 2] = ["__meta_kubernetes_pod_node_name", "__host__"];

/// What becomes of a rule.
enum Fate {
    /// It stays, perhaps changed.
    Stays(Tree),
    /// Pilcrow does that by itself.
    ByItself(&'static str),
    Changed(String),
    NotPossible(String),
}

/// Converts the rules of a pipeline; `labels` are those that the client adds; `stream`: the stage that makes the label `stream`, for
/// which a rule is needed.
pub fn convert(pipeline: &Pipeline, labels: Vec<Setting>, stream: Option<Place>, draft: &mut Draft) {
    let mut by_names = Vec::new();
    for (index, rule) in pipeline.relabel.iter().enumerate() {
        let what = format!("{}: relabel_configs[{index}]", pipeline.name);
        by_names.extend(by_name(rule));
        let mut find = |kind, text: &str| draft.findings.push(Finding::new(kind, &rule.place, &what, text));
        match fate(rule) {
            Fate::Stays(tree) => {
                find(Kind::Taken, "relabel_configs");
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
    if let Some(place) = stream {
        draft.relabel.push(stream_rule(&place));
    }
    external(labels, &by_names, draft);
}

/// The labels of the client: Promtail adds them last, and only where there is none of that name. They are in `labels`, which is there
/// before the rules, unless a rule would take it away there.
fn external(labels: Vec<Setting>, by_names: &[Rule], draft: &mut Draft) {
    for label in labels {
        let name = label.key.trim_start_matches("labels.").to_owned();
        let from_pods = match draft.base {
            Base::None => false,
            Base::Defaults => made_by_default(Preset::None, &name),
            Base::Preset(preset) => made_by_default(preset, &name),
        };
        if from_pods {
            let text = "the pod's own label of this name counts, as it does for a label of the client";
            draft.findings.push(Finding::new(Kind::Changed, &label.value.place, &label.from, text));
        } else if by_names.iter().any(|rule| takes_away(rule, &name)) {
            let place = &label.value.place;
            let value = replacement(label.value.as_text().unwrap_or(""));
            let tree = group(
                place,
                &[
                    ("source_labels", Value::List(vec![Tree::text(place, name.clone())])),
                    ("regex", Value::Text(String::new())),
                    ("target_label", Value::Text(name)),
                    ("replacement", Value::Text(value)),
                ],
            );
            let comment = format!("{} {}", origin_of(place), label.from);
            draft.relabel.push(Item { tree: Some(tree), what: label.from, comment });
        } else {
            draft.labels.push(label);
        }
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

fn takes_away(rule: &Rule, name: &str) -> bool {
    let mut labels = Labels::from([(name.to_owned(), "x".to_owned())]);
    rule.apply(&mut labels);
    labels.is_empty()
}

/// A text as a rule writes it: `$` stands for a group there, but in the name of a variable.
fn replacement(text: &str) -> String {
    if text.contains("${") { text.to_owned() } else { text.replace('$', "$$$$") }
}

fn made_by_default(preset: Preset, name: &str) -> bool {
    built_in(preset).iter().any(|rule| rule.target_label == name)
}

fn fate(rule: &Tree) -> Fate {
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
    if OF_FILES.contains(&target) && !keeps && !drops {
        return Fate::ByItself("the files of this node's pods are found without a rule");
    }
    let goes_by_node = !sources.is_empty() && sources.iter().all(|name| OF_NODES.contains(name));
    if keeps && goes_by_node && (regex.contains("${") || sources.contains(&"__host__") || !target.is_empty()) {
        return Fate::ByItself("Pilcrow reads the logs of its own node only");
    }
    if let Some(prefix) = [
        "__meta_kubernetes_node_",
        "__meta_kubernetes_namespace_label",
        "__meta_kubernetes_namespace_annotation",
        "__meta_kubernetes_service_",
    ]
    .iter()
    .find(|prefix| action == "labelmap" && regex.trim_start_matches('^').starts_with(**prefix))
    {
        return Fate::NotPossible(format!(
            "{prefix}… is none of a pod, and Pilcrow asks the Kubernetes API for pods only; leave the labels out"
        ));
    }
    let unknown = sources.iter().chain(Some(&target)).find_map(|name| Some((*name, why_not_known(name)?)));
    match unknown {
        None => Fate::Stays(simplified(rule)),
        Some((name, why)) if keeps || drops => {
            let all = if name.contains("phase") {
                "logs of pods that have ended are read as well"
            } else {
                "it selects nothing"
            };
            Fate::Changed(format!("left out, so that {all}: {name} is not known, as {why}"))
        }
        Some((name, why)) if sources.len() > 1 => {
            Fate::NotPossible(format!("{name} is not known, as {why}; write the rule without it"))
        }
        Some((name, why)) => Fate::NotPossible(format!("{name} is not known, as {why}; there is no label {target}")),
    }
}

/// Without what is the default, where the rule is one that can be read.
fn simplified(rule: &Tree) -> Tree {
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

fn stream_rule(place: &Place) -> Item {
    let tree = group(
        place,
        &[
            ("source_labels", Value::List(vec![Tree::text(place, "__meta_pilcrow_stream")])),
            ("target_label", Value::Text("stream".into())),
        ],
    );
    let comment = format!("{} the label stream, which the stage made", origin_of(place));
    Item { tree: Some(tree), what: "stream".into(), comment }
}
