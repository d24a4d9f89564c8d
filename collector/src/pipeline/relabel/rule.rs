//! One rule: a step of relabelling, as Prometheus does it (prometheus model/relabel/relabel.go).

use std::collections::BTreeMap;

use super::{explain, meta, pattern::Pattern, template::Template};
use crate::{
    config::{RelabelAction, RelabelConfig},
    pipeline::go::text::{lower, upper},
};

/// Labels by name. None has an empty value: for Prometheus and Loki that is no label.
pub type Labels = BTreeMap<String, String>;

/// A rule that can be applied.
#[derive(Clone, Debug)]
pub struct Rule {
    sources: Vec<String>,
    separator: String,
    step: Step,
    /// The rule as it was written, in one line.
    sentence: Box<str>,
}

#[derive(Clone, Debug)]
enum Step {
    Replace { pattern: Pattern, target: Template, replacement: Template },
    Keep(Pattern),
    Drop(Pattern),
    KeepEqual { target: String },
    DropEqual { target: String },
    HashMod { target: String, modulus: u64 },
    Lowercase { target: String },
    Uppercase { target: String },
    LabelMap { pattern: Pattern, replacement: Template },
    LabelDrop(Pattern),
    LabelKeep(Pattern),
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    pub field: &'static str,
    pub message: String,
}

/// What a rule writes to.
pub(super) enum Writes<'r> {
    Nothing,
    Label(&'r str),
    /// Names that depend on values.
    Any,
}

impl Rule {
    /// # Errors
    /// What Prometheus does not accept: the same fields must be set, and be left alone, for the same actions.
    pub fn new(config: &RelabelConfig) -> Result<Self, RuleError> {
        use RelabelAction as Action;
        let RelabelConfig { source_labels, separator, regex, modulus, target_label, replacement, action } = config;
        let pattern = Pattern::new(regex).map_err(|message| RuleError { field: "regex", message })?;
        check_fields(config)?;
        let target = || target_label.clone();
        let step = match action {
            Action::Replace => Step::Replace {
                pattern,
                target: Template::parse(target_label),
                replacement: Template::parse(replacement),
            },
            Action::Keep => Step::Keep(pattern),
            Action::Drop => Step::Drop(pattern),
            Action::KeepEqual => Step::KeepEqual { target: target() },
            Action::DropEqual => Step::DropEqual { target: target() },
            Action::HashMod => Step::HashMod { target: target(), modulus: *modulus },
            Action::Lowercase => Step::Lowercase { target: target() },
            Action::Uppercase => Step::Uppercase { target: target() },
            Action::LabelMap => Step::LabelMap { pattern, replacement: Template::parse(replacement) },
            Action::LabelDrop => Step::LabelDrop(pattern),
            Action::LabelKeep => Step::LabelKeep(pattern),
        };
        let sentence = explain::sentence(config).into();
        Ok(Self { sources: source_labels.clone(), separator: separator.clone(), step, sentence })
    }

    /// The rule as it was written, in one line.
    pub(super) fn sentence(&self) -> &str {
        &self.sentence
    }

    /// Whether the rule leaves a label of this name, whatever its value is.
    pub(super) fn leaves(&self, name: &str) -> bool {
        match &self.step {
            Step::LabelDrop(pattern) => !pattern.is_match(name),
            Step::LabelKeep(pattern) => pattern.is_match(name),
            _ => true,
        }
    }

    /// Applies the rule; returns whether the labels are kept.
    pub fn apply(&self, labels: &mut Labels) -> bool {
        match &self.step {
            Step::Keep(pattern) => return pattern.is_match(&self.joined(labels)),
            Step::Drop(pattern) => return !pattern.is_match(&self.joined(labels)),
            Step::KeepEqual { target } => return value(labels, target) == self.joined(labels),
            Step::DropEqual { target } => return value(labels, target) != self.joined(labels),
            Step::Replace { pattern, target, replacement } => {
                let joined = self.joined(labels);
                if let Some(groups) = pattern.match_whole(&joined) {
                    let name = target.expand(&groups);
                    if is_label_name(&name) {
                        set(labels, name, replacement.expand(&groups));
                    }
                }
            }
            Step::HashMod { target, modulus } => {
                let remainder = hash(&self.joined(labels)) % modulus;
                set(labels, target.clone(), remainder.to_string());
            }
            Step::Lowercase { target } => set(labels, target.clone(), in_case(lower, &self.joined(labels))),
            Step::Uppercase { target } => set(labels, target.clone(), in_case(upper, &self.joined(labels))),
            Step::LabelMap { pattern, replacement } => {
                let copy = |(name, value): (&String, &String)| {
                    pattern.match_whole(name).map(|groups| (replacement.expand(&groups), value.clone()))
                };
                let copies: Vec<_> = labels.iter().filter_map(copy).collect();
                copies.into_iter().for_each(|(name, value)| set(labels, name, value));
            }
            Step::LabelDrop(pattern) => labels.retain(|name, _| !pattern.is_match(name)),
            Step::LabelKeep(pattern) => labels.retain(|name, _| pattern.is_match(name)),
        }
        true
    }

    /// The labels that it names and reads.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        let compared = match &self.step {
            Step::KeepEqual { target } | Step::DropEqual { target } => Some(target),
            _ => None,
        };
        self.sources.iter().chain(compared).map(String::as_str)
    }

    /// The labels that it names, and whose values only the Kubernetes API knows.
    pub fn sources_from_api(&self) -> impl Iterator<Item = &str> {
        self.sources().filter(|name| meta::is_from_api(name))
    }

    /// Whether what it does depends on the value of the label of this name.
    pub fn reads(&self, name: &str) -> bool {
        let maps = matches!(&self.step, Step::LabelMap { pattern, .. } if pattern.is_match(name));
        maps || self.sources().any(|source| source == name)
    }

    /// Whether it looks for labels by a pattern.
    pub(super) fn maps(&self) -> bool {
        matches!(self.step, Step::LabelMap { .. })
    }

    /// Whether it can drop the labels.
    pub(super) fn decides(&self) -> bool {
        matches!(self.step, Step::Keep(_) | Step::Drop(_) | Step::KeepEqual { .. } | Step::DropEqual { .. })
    }

    pub(super) fn writes(&self) -> Writes<'_> {
        match &self.step {
            Step::Replace { target, .. } => target.fixed().map_or(Writes::Any, Writes::Label),
            Step::HashMod { target, .. } | Step::Lowercase { target } | Step::Uppercase { target } => {
                Writes::Label(target)
            }
            Step::LabelMap { .. } => Writes::Any,
            _ => Writes::Nothing,
        }
    }

    fn joined(&self, labels: &Labels) -> String {
        let values: Vec<&str> = self.sources.iter().map(|name| value(labels, name)).collect();
        values.join(&self.separator)
    }
}

fn value<'l>(labels: &'l Labels, name: &str) -> &'l str {
    labels.get(name).map_or("", String::as_str)
}

fn set(labels: &mut Labels, name: String, value: String) {
    if value.is_empty() {
        labels.remove(&name);
    } else {
        labels.insert(name, value);
    }
}

/// The last eight bytes of the MD5 sum, the most significant first: Prometheus' hash.
fn hash(text: &str) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = md5::compute(text).0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`: the names that Loki takes.
pub(super) fn is_label_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What `Config.Validate` of Prometheus checks.
fn check_fields(config: &RelabelConfig) -> Result<(), RuleError> {
    use RelabelAction as Action;
    let (action, default) = (config.action, RelabelConfig::default());
    let wrong = |field, message: String| Err(RuleError { field, message });
    let name = action.name();
    let writes_fixed = matches!(action, Action::HashMod | Action::Lowercase | Action::Uppercase);
    let compares = matches!(action, Action::KeepEqual | Action::DropEqual);
    let target = &config.target_label;
    if (action == Action::Replace || writes_fixed || compares) && target.is_empty() {
        return wrong("target_label", format!("must be set for the action {name}"));
    }
    let good_target = match action {
        Action::Replace => Template::parse(target).may_be_label_name(),
        _ if writes_fixed || compares => is_label_name(target),
        _ => true,
    };
    if !good_target {
        let rule = "a label's name is letters, digits and _, and begins with no digit";
        return wrong("target_label", format!("{rule}, found {target:?}"));
    }
    if action == Action::HashMod && config.modulus == 0 {
        return wrong("modulus", format!("must be set, and be 1 or more, for the action {name}"));
    }
    if action == Action::LabelMap && !Template::parse(&config.replacement).may_be_label_name() {
        return wrong("replacement", format!("must give the name of a label, found {:?}", config.replacement));
    }
    let only_names = matches!(action, Action::LabelDrop | Action::LabelKeep);
    let left_alone = [
        ("source_labels", only_names && config.source_labels != default.source_labels),
        ("target_label", only_names && config.target_label != default.target_label),
        ("modulus", (only_names || compares) && config.modulus != default.modulus),
        ("separator", (only_names || compares) && config.separator != default.separator),
        ("regex", compares && config.regex != default.regex),
        (
            "replacement",
            (only_names || compares || matches!(action, Action::Lowercase | Action::Uppercase))
                && config.replacement != default.replacement,
        ),
    ];
    match left_alone.into_iter().find(|(_, is_set)| *is_set) {
        Some((field, _)) => wrong(field, format!("has no meaning for the action {name}; leave it out")),
        None => Ok(()),
    }
}

/// The text as Go changes the case of its letters.
fn in_case(write: fn(&str, &mut Vec<u8>), text: &str) -> String {
    let mut changed = Vec::with_capacity(text.len());
    write(text, &mut changed);
    String::from_utf8(changed).unwrap_or_default()
}

#[cfg(test)]
mod tests;
