//! Labels that discovery adds to those of pods (`attach_metadata`): a node's and a namespace's.
//!
//! In: the rules of a pipeline, and what its discovery was asked to add. Out: what becomes of the rules that read labels which the old
//! collector never had either, and what is told of the keys that ask for them.

use regex::Regex;

use super::{
    field, list,
    relabel::{Fate, maps_others, simplified},
    why_not_known,
};
use crate::admin::migrate::origin::{Attached, Finding, Kind, OF_NAMESPACE, OF_NODE, Pipeline, Source, Tree};

/// What only targets of other roles than `pod` have.
const OF_OTHER_ROLES: [&str; 3] =
    ["__meta_kubernetes_service_", "__meta_kubernetes_endpoint", "__meta_kubernetes_ingress_"];

/// Whether the old collector never had a label of this name, or with this beginning.
pub fn was_empty(name: &str, attached: &[Attached]) -> bool {
    let is_attached = |prefix: &str| attached.iter().any(|attached| attached.prefix == prefix);
    OF_OTHER_ROLES.iter().any(|prefix| name.starts_with(prefix))
        || [OF_NODE, OF_NAMESPACE].iter().any(|prefix| name.starts_with(prefix) && !is_attached(prefix))
}

/// What becomes of a rule that reads labels which were empty for the old collector too; nothing where it reads no such label.
pub fn nothing(rule: &Tree, index: usize, pipeline: &Pipeline) -> Option<Fate> {
    let action = field(rule, "action").to_lowercase();
    if pipeline.source == Source::Path || matches!(action.as_str(), "keep" | "drop" | "keepequal" | "dropequal") {
        return None;
    }
    let left_out = |name: &str| {
        let role = "is none of a pod, and the old collector does not have it either (its role is pod, without attach_metadata for it)";
        Some(Fate::Changed(format!("left out, as it does nothing: {name} {role}")))
    };
    if let Some(prefix) = maps_others(rule) {
        return was_empty(prefix, &pipeline.attached).then(|| left_out(&format!("{prefix}…"))).flatten();
    }
    let (sources, target) = (list(rule, "source_labels"), field(rule, "target_label"));
    let unknown: Vec<&str> = sources.iter().copied().filter(|name| why_not_known(name).is_some()).collect();
    if unknown.is_empty()
        || !unknown.iter().all(|name| was_empty(name, &pipeline.attached))
        || target.starts_with("__meta_")
    {
        return None;
    }
    let is_set = pipeline.relabel[..index].iter().any(|rule| sets(rule, target));
    let copies = ["", "(.*)", "(.+)"].contains(&field(rule, "regex"))
        && ["", "$1", "${1}", "$$1", "$${1}"].contains(&field(rule, "replacement"))
        && matches!(action.as_str(), "" | "replace");
    if copies && unknown.len() == sources.len() && !is_set {
        return left_out(unknown[0]);
    }
    // It reads nothing of them here either.
    Some(Fate::Stays(simplified(rule)))
}

/// Whether a rule may set this label.
fn sets(rule: &Tree, label: &str) -> bool {
    if !field(rule, "action").eq_ignore_ascii_case("labelmap") {
        return field(rule, "target_label") == label || field(rule, "target_label").contains('$');
    }
    let maps = Regex::new(&format!("^(?:{})$", field(rule, "regex"))).ok();
    let is_copy = ["", "$1"].contains(&field(rule, "replacement"));
    let from = ["label_", "annotation_"].map(|kind| format!("__meta_kubernetes_pod_{kind}{label}"));
    !is_copy || maps.is_none_or(|maps| from.iter().any(|name| maps.is_match(name)))
}

/// What a rule `labelmap` copies beside what is known; nothing where its expression takes no such label.
pub fn also_copied(rule: &Tree, attached: &[Attached]) -> Option<String> {
    if !field(rule, "action").eq_ignore_ascii_case("labelmap") || maps_others(rule).is_some() {
        return None;
    }
    let regex = field(rule, "regex");
    let maps = Regex::new(&format!("^(?:{regex})$")).ok()?;
    // `__meta_kubernetes_(pod|node)_label_(zone)`.
    let kinds =
        &regex[..["label", "annotation"].iter().filter_map(|word| regex.find(word)).min().unwrap_or(regex.len())];
    let asked = attached.iter().filter(|attached| attached.by.is_some());
    let prefix = asked.map(|attached| attached.prefix).find(|prefix| {
        let kind = prefix.trim_start_matches("__meta_kubernetes_").trim_end_matches('_');
        kinds.contains(kind)
            || ["label_x", "labelpresent_x", "annotation_x", "annotationpresent_x", "name"]
                .iter()
                .any(|name| maps.is_match(&format!("{prefix}{name}")))
    })?;
    Some(format!(
        "it copies {prefix}… too, which is none of a pod, and Pilcrow asks the Kubernetes API for pods only: those labels are left out"
    ))
}

/// What is told of the keys that ask for such labels.
pub fn told(pipeline: &Pipeline) -> Vec<Finding> {
    let tell = |attached: &Attached| {
        let Attached { prefix, by } = attached;
        let (place, what) = by.as_ref()?;
        let reads = |rule: &Tree| {
            list(rule, "source_labels").iter().any(|name| name.starts_with(prefix))
                || maps_others(rule).is_some_and(|mapped| mapped.starts_with(prefix) || prefix.starts_with(mapped))
                || also_copied(rule, std::slice::from_ref(attached)).is_some()
        };
        let (kind, text) = if pipeline.relabel.iter().any(reads) {
            (
                Kind::Changed,
                "left out, as Pilcrow asks the Kubernetes API for pods only; the rules that read what it adds are named by themselves",
            )
        } else {
            (Kind::Taken, "not needed, as no rule reads what it adds")
        };
        Some(Finding::new(kind, place, what, text))
    };
    pipeline.attached.iter().filter_map(tell).collect()
}
