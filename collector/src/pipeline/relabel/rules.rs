//! All rules, one after the other: from what is known of a container to the labels of its streams.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use super::{
    Labels, Rule, RuleError, Target, meta,
    rule::{Writes, is_label_name},
    service_name::{self, SERVICE_NAME},
};
use crate::{
    batch,
    config::{Config, Preset, RelabelConfig},
};

/// The rules that make the labels of a preset, as YAML. What stands under `labels` in the configuration is there before the
/// first rule.
#[must_use]
pub fn built_in_yaml(preset: Preset) -> &'static str {
    match preset {
        Preset::None => include_str!("built_in.yaml"),
        Preset::PromtailChart => include_str!("promtail_chart.yaml"),
        Preset::K8sMonitoring => include_str!("k8s_monitoring.yaml"),
    }
}

/// Labels whose names begin so become structured metadata of that name.
const STRUCTURED_METADATA: &str = "__structured_metadata_";

/// Loki's defaults (grafana/loki pkg/validation/limits.go): `max_label_names_per_series`, `max_label_name_length`,
/// `max_label_value_length`, `max_structured_metadata_entries_count`, `max_structured_metadata_size`.
pub const LABELS_MAX: usize = 15;
pub const NAME_BYTES_MAX: usize = 1024;
pub const VALUE_BYTES_MAX: usize = 2048;
const METADATA_ENTRIES_MAX: usize = 128;
const METADATA_BYTES_MAX: usize = 64 << 10;

/// The rules that make the labels of a preset.
#[must_use]
pub fn built_in(preset: Preset) -> Vec<RelabelConfig> {
    RelabelConfig::list(built_in_yaml(preset))
}

/// The rules of a configuration, ready to be applied.
#[derive(Clone, Debug)]
pub struct Relabel {
    pub(super) rules: Vec<Rule>,
    /// This many of them are built in.
    pub(super) built_in: usize,
    /// For each rule: what it decides may change when the Kubernetes API says more.
    depends_on_api: Vec<bool>,
    pub(super) fixed: Labels,
    pub(super) node: String,
    /// Whether streams get the label `service_name`.
    pub(super) names_services: bool,
}

/// What the rules make of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has these labels.
    Keep(Relabelled),
    /// It is left out.
    Drop {
        /// Whatever the Kubernetes API may still report of its pod cannot change that.
        is_final: bool,
        /// The rule that did, for [`Relabel::rule_name`].
        rule: usize,
    },
}

/// A stream's labels after all rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relabelled {
    /// Labels; never none.
    pub labels: Labels,
    /// Structured metadata of every line.
    pub metadata: Labels,
    /// The rules left no label; `job` stands in, as Loki takes no line without one.
    pub has_stopgap: bool,
}

/// A stream's labels and metadata, encoded for a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamLabels {
    pub labels: Arc<str>,
    /// What every entry ends with: its structured metadata, encoded; mostly empty.
    pub metadata: Arc<[u8]>,
}

impl Relabel {
    /// The built-in rules unless the configuration leaves them out, then its own.
    ///
    /// # Errors
    /// Each rule that Prometheus would not accept, by its index in `relabel_configs`.
    pub fn new(config: &Config) -> Result<Self, Vec<(usize, RuleError)>> {
        let mut rules: Vec<Rule> = if config.relabel_defaults {
            built_in(config.preset).iter().filter_map(|rule| Rule::new(rule).ok()).collect()
        } else {
            Vec::new()
        };
        let (built_in, mut errors) = (rules.len(), Vec::new());
        for (index, rule) in config.relabel_configs.iter().enumerate() {
            match Rule::new(rule) {
                Ok(rule) => rules.push(rule),
                Err(error) => errors.push((index, error)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let fixed = config.labels.iter().filter(|(_, value)| !value.is_empty());
        Ok(Self {
            depends_on_api: depends_on_api(&rules),
            rules,
            built_in,
            fixed: fixed.map(|(name, value)| (name.clone(), value.clone())).collect(),
            node: config.kubernetes.node_name.clone(),
            names_services: config.service_name,
        })
    }

    /// What the rules make of a stream.
    #[must_use]
    pub fn apply(&self, target: &Target<'_>) -> Outcome {
        let mut labels = self.fixed.clone();
        target.add_to(&self.node, &mut labels);
        for (index, (rule, depends_on_api)) in self.rules.iter().zip(&self.depends_on_api).enumerate() {
            if !rule.apply(&mut labels) {
                return Outcome::Drop { is_final: !depends_on_api, rule: index };
            }
        }
        let annotation = self.names_services.then(|| labels.get(service_name::ANNOTATION).cloned());
        let mut relabelled = Relabelled::of(labels);
        if relabelled.labels.is_empty() {
            relabelled.has_stopgap = true;
            let job = format!("{}/{}", target.pod.namespace, target.container);
            relabelled.labels.insert("job".into(), job);
        }
        if let Some(annotation) = annotation {
            service_name::add(&mut relabelled.labels, annotation);
        }
        Outcome::Keep(relabelled)
    }

    /// Whether the label of this name is read, by a rule or for `service_name`.
    #[must_use]
    pub fn reads(&self, name: &str) -> bool {
        self.names_services && name == service_name::ANNOTATION || self.rules.iter().any(|rule| rule.reads(name))
    }

    /// The names of all labels that a stream may have after the rules, with the value of those that always have the same;
    /// `None`: any name is possible.
    #[must_use]
    pub fn possible(&self) -> Option<BTreeMap<&str, Option<&str>>> {
        let mut possible: BTreeMap<_, _> =
            self.fixed.iter().map(|(name, value)| (name.as_str(), Some(value.as_str()))).collect();
        for rule in &self.rules {
            match rule.writes() {
                Writes::Label(name) => {
                    possible.insert(name, None);
                }
                Writes::Any => return None,
                Writes::Nothing => {}
            }
        }
        // It stands in where the rules leave none.
        possible.entry("job").or_default();
        if self.names_services {
            possible.insert(SERVICE_NAME, None);
        }
        Some(possible)
    }

    /// The names of labels that the rules may leave a stream, but for those that depend on values.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        let mut names: BTreeSet<&str> = self.fixed.keys().map(String::as_str).collect();
        for rule in &self.rules {
            match rule.writes() {
                Writes::Label(name) => {
                    names.insert(name);
                }
                Writes::Nothing | Writes::Any => {}
            }
            names.retain(|name| rule.leaves(name));
        }
        names.retain(|name| !name.starts_with("__"));
        names
    }

    /// The rules, in their order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

/// Which rules depend on labels that only the Kubernetes API knows, by themselves or by what such a rule wrote.
fn depends_on_api(rules: &[Rule]) -> Vec<bool> {
    let mut written: HashSet<&str> = HashSet::new();
    // Names that depend on values: any, but those that Pilcrow gives beforehand.
    let mut any_written = false;
    let mut depends = Vec::with_capacity(rules.len());
    for rule in rules {
        let reads_written = rule.sources().any(|name| written.contains(name) || (any_written && !meta::is_given(name)));
        let depends_here = rule.maps() || reads_written || rule.sources_from_api().next().is_some();
        if depends_here {
            match rule.writes() {
                Writes::Label(name) => {
                    written.insert(name);
                }
                Writes::Any => any_written = true,
                Writes::Nothing => {}
            }
        }
        depends.push(depends_here && rule.decides());
    }
    depends
}

impl Relabelled {
    /// What is left of the labels when the rules are done with them.
    fn of(all: Labels) -> Self {
        let mut relabelled = Self::default();
        for (name, value) in all {
            match name.strip_prefix(STRUCTURED_METADATA) {
                Some("") => {}
                Some(name) => {
                    relabelled.metadata.insert(name.to_owned(), value);
                }
                None if name.starts_with("__") => {}
                None => {
                    relabelled.labels.insert(acceptable(name), value);
                }
            }
        }
        relabelled
    }

    /// For a batch.
    #[must_use]
    pub fn encoded(&self) -> StreamLabels {
        StreamLabels { labels: batch::label_set(&self.labels), metadata: batch::structured_metadata(&self.metadata) }
    }

    /// What Loki would not take of it, by its default limits.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let Self { labels, metadata, has_stopgap } = self;
        if *has_stopgap {
            return Some("the rules leave no label, and Loki takes no line without one: job stands in".into());
        }
        // Loki does not count this one.
        let counted = labels.len() - usize::from(labels.contains_key(SERVICE_NAME));
        if counted > LABELS_MAX {
            let names: Vec<&str> = labels.keys().map(String::as_str).collect();
            let limit = format!("{LABELS_MAX} that Loki accepts by default (max_label_names_per_series)");
            return Some(format!("{counted} labels ({}) are more than the {limit}", names.join(", ")));
        }
        for (name, value) in labels {
            if name.len() > NAME_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
                let limits = format!("{NAME_BYTES_MAX} bytes of a name, {VALUE_BYTES_MAX} of a value");
                return Some(format!("the label {name:.80} is longer than Loki accepts by default ({limits})"));
            }
        }
        let metadata_bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        (metadata.len() > METADATA_ENTRIES_MAX || metadata_bytes > METADATA_BYTES_MAX).then(|| {
            format!(
                "structured metadata of {} names and {metadata_bytes} bytes is more than Loki accepts by default \
                 ({METADATA_ENTRIES_MAX} names, {METADATA_BYTES_MAX} bytes)",
                metadata.len()
            )
        })
    }
}

/// A name that Loki takes: labelmap can make one of a pod label that begins with a digit. Loki would refuse every line.
fn acceptable(name: String) -> String {
    if is_label_name(&name) {
        return name;
    }
    let word: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if is_label_name(&word) { word } else { format!("_{word}") }
}

#[cfg(test)]
mod presets;
#[cfg(test)]
mod tests;
