//! Structured metadata of a stream's labels, by rules.
//!
//! In: what the values say, with the defaults of the chart's version. Out: rules that copy a label to structured metadata and take it
//! away, as the chart's stage does; a stage only for labels that later stages read. In the chart the stage comes before all others
//! that make values, so that nothing but labels can be meant.

use std::collections::BTreeSet;

use super::{defaults::METADATA, feature::escaped, version::Version};
use crate::admin::migrate::{
    origin::{Fault, Pair, Place, Text, Tree, Value},
    yaml,
};

/// What labels become structured metadata on their way through rules.
const PREFIX: &str = "__structured_metadata_";

/// The name of structured metadata, and that of the label that it is made of.
pub type Made = (String, String);

/// All structured metadata. Values are added to the defaults; one without a value takes a default away.
pub fn effective(version: Version, given: Option<&Pair>) -> Vec<Made> {
    let given = given.map(|pair| every(&pair.value)).unwrap_or_default();
    let is_given = |name: &str| given.iter().any(|pair| escaped(&pair.key) == name);
    let mut made: Vec<Made> = Vec::new();
    for name in METADATA.into_iter().filter(|name| !is_given(name)) {
        made.push((name.to_owned(), name.to_owned()));
    }
    for pair in given {
        let name = escaped(&pair.key);
        let is_default = METADATA.contains(&name.as_str());
        match pair.value.as_text() {
            Some(text) if !text.is_empty() => made.push((name, escaped(text))),
            // Helm takes a default without a value away; before version 4 the template puts the name in the place of an empty value.
            None if is_default => {}
            _ if version == Version::UpToThree => made.push((name.clone(), name)),
            _ => {}
        }
    }
    made
}

/// The pairs of a group, also those without a value.
fn every(tree: &Tree) -> &[Pair] {
    match &tree.value {
        Value::Group(pairs) => pairs,
        _ => &[],
    }
}

/// How structured metadata is made.
pub enum Step {
    Rule(Tree),
    Stage(Made),
}

impl Step {
    pub fn as_stage(&self) -> Option<Made> {
        match self {
            Self::Stage(made) => Some(made.clone()),
            Self::Rule(_) => None,
        }
    }

    pub fn into_rule(self) -> Option<Tree> {
        match self {
            Self::Rule(rule) => Some(rule),
            Self::Stage(_) => None,
        }
    }
}

/// Makes the metadata of labels. `read`: names that stages behind it read, so that a stage has to take the label away.
pub fn steps(version: Version, made: &[Made], place: &Place, read: &BTreeSet<String>) -> Vec<Step> {
    match version {
        Version::UpToThree => of_labels(made, place, read),
        Version::Four => beside_preset(made, place, read),
    }
}

fn of_labels(made: &[Made], place: &Place, read: &BTreeSet<String>) -> Vec<Step> {
    let (by_stage, by_rule): (Vec<&Made>, Vec<&Made>) = made.iter().partition(|(_, source)| read.contains(source));
    let mut steps: Vec<Step> =
        by_rule.iter().map(|(name, source)| Step::Rule(copy(place, source, &format!("{PREFIX}{name}")))).collect();
    let mut sources: Vec<&str> = by_rule.iter().map(|(_, source)| source.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    if !sources.is_empty() {
        steps.push(Step::Rule(label_drop(place, &sources)));
    }
    steps.extend(by_stage.into_iter().cloned().map(Step::Stage));
    steps
}

/// What differs from the preset, which has taken the labels `pod` and `service_instance_id` away.
fn beside_preset(made: &[Made], place: &Place, read: &BTreeSet<String>) -> Vec<Step> {
    let by_preset =
        |(name, source): &&Made| name == source && METADATA.contains(&name.as_str()) && !read.contains(source);
    let others: Vec<&Made> = made.iter().filter(|made| !by_preset(made)).collect();
    let gone: Vec<&str> =
        METADATA.into_iter().filter(|name| !made.iter().any(|made| by_preset(&made) && made.0 == *name)).collect();
    let is_consumed = |label: &str| made.iter().any(|(_, source)| source == label);
    // They are labels in the chart: they stay such where no structured metadata is made of them, and until stages have read them.
    let is_label = |label: &&str| gone.contains(label) && (!is_consumed(label) || read.contains(*label));
    let again: Vec<&str> = ["pod", "service_instance_id"].into_iter().filter(is_label).collect();
    let mut steps: Vec<Step> = Vec::new();
    for label in &again {
        steps.push(Step::Rule(copy(place, &source_of(label), label)));
    }
    let (by_stage, by_rule): (Vec<&Made>, Vec<&Made>) =
        others.into_iter().partition(|(_, source)| read.contains(source));
    for (name, source) in &by_rule {
        steps.push(Step::Rule(copy(place, &source_of(source), &format!("{PREFIX}{name}"))));
    }
    let is_remade = |name: &&str| !by_rule.iter().any(|(made, _)| made == name);
    let dropped: Vec<String> =
        gone.iter().filter(|name| is_remade(name)).map(|name| format!("{PREFIX}{name}")).collect();
    let consumed = by_rule.iter().map(|(_, source)| source).filter(|source| !METADATA.contains(&source.as_str()));
    let dropped: Vec<&str> = dropped.iter().chain(consumed).map(String::as_str).collect();
    if !dropped.is_empty() {
        steps.push(Step::Rule(label_drop(place, &dropped)));
    }
    steps.extend(by_stage.into_iter().cloned().map(Step::Stage));
    steps
}

/// Where a label's value stands behind the rules of the preset.
fn source_of(label: &str) -> String {
    match label {
        "pod" => "__meta_kubernetes_pod_name".to_owned(),
        "service_instance_id" => format!("{PREFIX}service_instance_id"),
        _ => label.to_owned(),
    }
}

/// The labels that a rule reads.
pub fn sources(rule: &Tree) -> Vec<String> {
    let list = rule.get("source_labels").map(|pair| pair.value.items()).unwrap_or_default();
    list.iter().filter_map(Tree::as_text).map(str::to_owned).collect()
}

/// Rules for the labels that the chart's stages make of the runtime's records.
///
/// # Errors
/// None: the text is YAML.
pub fn of_records(place: &Place, is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Tree>, Vec<Fault>> {
    let mut rules = Vec::new();
    for (label, rule) in [
        ("stream", "{source_labels: [__meta_pilcrow_stream], target_label: stream}"),
        ("flags", "{target_label: flags, replacement: F}"),
    ] {
        if is_wanted(label) {
            let read = yaml::documents(&Text { place: place.clone(), text: rule })?;
            rules.extend(read.iter().map(|rule| rule.with_place(place)));
        }
    }
    Ok(rules)
}

fn copy(place: &Place, source: &str, target: &str) -> Tree {
    let sources = Tree { place: place.clone(), value: Value::List(vec![Tree::text(place, source)]) };
    Tree::group(place, [("source_labels", sources), ("target_label", Tree::text(place, target))])
}

/// A rule that takes labels away.
pub fn label_drop(place: &Place, names: &[&str]) -> Tree {
    Tree::group(place, [("regex", Tree::text(place, names.join("|"))), ("action", Tree::text(place, "labeldrop"))])
}
