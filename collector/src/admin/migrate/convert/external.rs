//! The labels of a client, which Promtail and Alloy add behind all stages, where a line has none of that name.
//!
//! In: the labels with the pipeline they are for. Out: where each of them goes, so that the same streams come out. The cheapest place
//! is `labels`, which is there before the first rule; a rule or a stage that looks at the label, makes it or takes it away moves it
//! behind the rules, or behind the stages (promtail/client.go and loki.write: `externalLabels.Merge(entry.Labels)`).

use super::{Base, Draft, Item, draft::group, field, origin_of, relabel, touch};
use crate::{
    admin::migrate::origin::{Finding, Kind, Pair, Pipeline, Setting, Tree, Value, replacement},
    config::Preset,
    pipeline::relabel::built_in,
};

/// The label that the preset makes of `cluster`.
const OF_CLUSTER: &str = "k8s_cluster_name";

/// The labels of a client, by where they go.
#[derive(Default)]
pub struct External {
    labels: Vec<Setting>,
    /// Behind all rules.
    rules: Vec<Setting>,
    /// Behind all stages, with the stage because of which.
    behind: Vec<Behind>,
    /// Names that a stage `labelallow` has to keep.
    pub kept: Vec<String>,
}

struct Behind {
    label: Setting,
    /// Lines may have a label of this name, which counts then.
    is_made: bool,
    /// The stage: its number and itself.
    because: (usize, Tree),
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Labels,
    Rules,
    Behind,
    /// The preset makes it of another one.
    OfCluster,
}

impl External {
    /// Where the labels go.
    pub fn new(pipeline: &Pipeline, base: Base, labels: Vec<Setting>) -> Self {
        let name = |label: &Setting| label.key.trim_start_matches("labels.").to_owned();
        let cluster = labels.iter().find(|label| label.key == "labels.cluster").map(|label| label.value.value.clone());
        let is_of_cluster = |label: &Setting| {
            base == Base::Preset(Preset::K8sMonitoring)
                && name(label) == OF_CLUSTER
                && Some(&label.value.value) == cluster.as_ref()
        };
        let mut ways: Vec<Way> =
            labels.iter().map(|label| way(pipeline, base, &name(label), is_of_cluster(label))).collect();
        let index = |wanted: &str| labels.iter().position(|label| name(label) == wanted);
        if let Some(cluster) = index("cluster").filter(|_| base == Base::Preset(Preset::K8sMonitoring)) {
            // The preset's rule makes the other one of what is in `labels`, and of nothing else.
            let of_cluster = index(OF_CLUSTER).filter(|index| ways[*index] == Way::OfCluster);
            match (ways[cluster], of_cluster) {
                (Way::Labels, None) => ways[cluster] = Way::Rules,
                (Way::Rules | Way::Behind, Some(of_cluster)) => ways[of_cluster] = Way::Rules,
                _ => {}
            }
        }
        let mut external = Self::default();
        for (label, way) in labels.into_iter().zip(ways) {
            let name = name(&label);
            if way != Way::Behind {
                external.kept.push(name.clone());
            }
            match way {
                Way::OfCluster => {}
                Way::Labels => external.labels.push(label),
                Way::Rules => external.rules.push(label),
                Way::Behind => {
                    let is_made = is_set(pipeline, base, &name)
                        || is_copied(pipeline, &name)
                        || is_made_by_stages(pipeline, &name);
                    let touching = pipeline.stages.iter().enumerate().find(|(_, stage)| touch::touches(stage, &name));
                    let Some((index, stage)) = touching else { continue };
                    external.behind.push(Behind { label, is_made, because: (index, stage.clone()) });
                }
            }
        }
        external
    }

    /// Puts them into a draft, behind the rules and stages that it has.
    pub fn put(self, draft: &mut Draft) {
        draft.labels.extend(self.labels);
        for label in self.rules {
            let text = "relabel_configs, behind the others: it is the label of what has none of this name";
            tell(draft, &label, Kind::Taken, text.to_owned());
            draft.relabel.push(rule(label));
        }
        for Behind { label, is_made, because: (index, because) } in self.behind {
            let name = because.pairs().first().map_or("", |pair| pair.key.as_str());
            let text = format!(
                "pipeline_stages, behind the others: pipeline_stages[{index}].{name} ({}) looks at labels that Promtail and Alloy add \
                 only behind all stages",
                origin_of(&because.place)
            );
            tell(draft, &label, Kind::Changed, text);
            draft.stages.push(stage(label, is_made));
        }
    }
}

fn way(pipeline: &Pipeline, base: Base, name: &str, is_of_cluster: bool) -> Way {
    let touching: Vec<&Tree> = pipeline.stages.iter().filter(|stage| touch::touches(stage, name)).collect();
    let is_set = !is_of_cluster && is_set(pipeline, base, name);
    let is_made = is_set || is_copied(pipeline, name) || is_made_by_stages(pipeline, name);
    // A list of what stays can have one name more.
    let is_behind = touching.iter().any(|stage| is_made || !touch::keeps_labels(stage));
    match () {
        () if is_behind => Way::Behind,
        () if is_of_cluster => Way::OfCluster,
        () if is_set || pipeline.relabel.iter().any(|rule| relabel::reads_or_removes(rule, name)) => Way::Rules,
        () => Way::Labels,
    }
}

fn is_made_by_stages(pipeline: &Pipeline, name: &str) -> bool {
    pipeline.stages.iter().any(|stage| touch::makes(stage, name))
}

/// Whether a rule may copy a label to one of this name. It takes none away: what is there before stays, or has the copied value.
fn is_copied(pipeline: &Pipeline, name: &str) -> bool {
    pipeline.relabel.iter().filter(|rule| field(rule, "action").eq_ignore_ascii_case("labelmap")).any(|rule| {
        let regex = field(rule, "regex");
        // `PREFIX(a|b)` copies to a and b only.
        let (prefix, names) = regex.split_once('(').unwrap_or((regex, ""));
        let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '|');
        match names.strip_suffix(')') {
            Some(names) if is_plain(prefix) && is_plain(names) && field(rule, "replacement").is_empty() => {
                names.split('|').any(|own| own == name)
            }
            _ => true,
        }
    })
}

/// Whether a rule sets the label of this name, which it may also take away.
fn is_set(pipeline: &Pipeline, base: Base, name: &str) -> bool {
    let by_base = match base {
        Base::None => false,
        Base::Preset(preset) => built_in(preset).iter().any(|rule| rule.target_label == name),
    };
    let by_rule = |rule: &Tree| {
        let target = field(rule, "target_label");
        target == name || target.contains('$')
    };
    by_base || pipeline.relabel.iter().any(by_rule)
}

/// Tells where a label has gone instead of what its reader said.
fn tell(draft: &mut Draft, label: &Setting, kind: Kind, text: String) {
    draft.findings.retain(|finding| finding.kind != Kind::Taken || finding.what != label.from);
    draft.findings.push(Finding::new(kind, &label.value.place, &label.from, text));
}

/// A rule that makes the label where there is none.
fn rule(label: Setting) -> Item {
    let (place, name) = (&label.value.place, label.key.trim_start_matches("labels."));
    let value = replacement(label.value.as_text().unwrap_or(""));
    let tree = group(
        place,
        &[
            ("source_labels", Value::List(vec![Tree::text(place, name)])),
            ("regex", Value::Text(String::new())),
            ("target_label", Value::Text(name.to_owned())),
            ("replacement", Value::Text(value)),
        ],
    );
    let comment = format!("{} {}", origin_of(place), label.from);
    Item { tree: Some(tree), what: label.from, comment }
}

/// A stage that makes the label; where lines may have one, only where there is none.
fn stage(label: Setting, is_made: bool) -> Item {
    let (place, name) = (&label.value.place, label.key.trim_start_matches("labels."));
    let pair = Pair { key: name.to_owned(), place: place.clone(), value: label.value.clone() };
    let stage = group(place, &[("static_labels", Value::Group(vec![pair]))]);
    let tree = if is_made {
        let settings = group(
            place,
            &[("selector", Value::Text(format!("{{{name}=\"\"}}"))), ("stages", Value::List(vec![stage]))],
        );
        group(place, &[("match", settings.value)])
    } else {
        stage
    };
    let comment = format!("{} {}", origin_of(place), label.from);
    Item { tree: Some(tree), what: label.from, comment }
}
