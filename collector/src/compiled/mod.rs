//! A configuration that can run.
//!
//! In: a [`Config`], or the file that it is read from. Out: [`Compiled`], or everything that is wrong with it at once. Compiling
//! is the only validation: what `check` accepts, `run` can use. Opens none of the files that the configuration names and does no
//! network I/O: a configuration may be checked on another machine than the one that it is for.

mod budgets;
mod limits;
mod loki;
mod rule_tests;
mod stages;

use std::path::Path;

use crate::{
    config::{self, Config, ConfigError, Draft, Enabled, Environment, Kubernetes, Origin, Paths, Preset, Problem},
    pipeline::{
        Pipeline,
        relabel::{self, Relabel, RuleError},
    },
    source::kubernetes::Selector,
};

pub use rule_tests::check_tests;
pub use stages::annotated;

/// Loki's default `max_label_name_length` and `max_label_value_length`.
const LABEL_NAME_MAX: usize = 1024;
const LABEL_VALUE_MAX: usize = 2048;

/// What `run`, `check` and `doctor` work with.
#[derive(Debug)]
pub struct Compiled {
    pub config: Config,
    /// All rules for labels, built-in ones included.
    pub relabel: Relabel,
    /// `kubernetes.pod_selector`.
    pub pod_selector: Selector,
    /// The stages that every line goes through, with what finds their level; `None`: there are none.
    pub pipeline: Option<Pipeline>,
    /// Keys of the file that have no effect any more, and stages that may not do what their writer expects.
    pub warnings: Vec<Problem>,
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, key: &str, message: impl Into<String>) {
        self.0.push(Problem { origin: Origin::Default, key: key.to_owned(), message: message.into() });
    }
}

impl Compiled {
    /// Reads and compiles a file; without one, the environment and the defaults.
    ///
    /// # Errors
    /// The file cannot be read, or at least one thing in it is wrong; the text names no secret.
    pub fn load(path: Option<&Path>, environment: Environment<'_>) -> Result<Self, ConfigError> {
        Self::parse(&config::read(path)?, environment)
            .map_err(|problems| ConfigError::Invalid { path: path.map(Path::to_owned), problems })
    }

    /// Compiles the text of a file, see [`Self::load`].
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the text.
    pub fn parse(text: &str, environment: Environment<'_>) -> Result<Self, Vec<Problem>> {
        let Draft { config, mut findings } = Draft::parse(text, environment)?;
        let mut warnings = std::mem::take(&mut findings.warnings);
        match Self::new(config) {
            Ok(mut compiled) => {
                warnings.extend(findings.placed(std::mem::take(&mut compiled.warnings)));
                let problems = findings.problems(Vec::new());
                if problems.is_empty() { Ok(Self { warnings, ..compiled }) } else { Err(problems) }
            }
            Err(problems) => Err(findings.problems(problems)),
        }
    }

    /// The stages once more, with nothing in their memory; none where there are none.
    ///
    /// # Errors
    /// None is known: they could be compiled before.
    pub fn fresh_pipeline(&self) -> anyhow::Result<Pipeline> {
        stages::fresh(&self.config)
            .map_err(|errors| anyhow::anyhow!(errors.iter().map(ToString::to_string).collect::<String>()))
    }

    /// # Errors
    /// Everything that is wrong, without places in a file.
    pub fn new(mut config: Config) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        loki::check(&config.loki, &mut problems);
        labels(&config, &mut problems);
        let relabel = relabelling(&config, &mut problems);
        let pod_selector = selection(&config.kubernetes, &mut problems);
        budgets::check(&config, &mut problems);
        let pipeline = stages::compile(&config, &mut problems);
        limits::check(&config, &mut problems);
        rule_tests::check(&config.tests, &mut problems);
        folders(&mut config, &mut problems);
        match (relabel, pod_selector) {
            (Some(relabel), Some(pod_selector)) if problems.0.is_empty() => {
                let warnings = pipeline.as_ref().map(|pipeline| stages::warnings(&config, &relabel, pipeline));
                let mut warnings = warnings.unwrap_or_default();
                warnings.extend(budgets::warnings(&config));
                Ok(Self { config, relabel, pod_selector, pipeline, warnings })
            }
            _ => Err(problems.0),
        }
    }
}

fn labels(config: &Config, problems: &mut Problems) {
    // A static label of that name would be overwritten.
    let from_pods = if config.relabel_defaults { relabel::built_in(config.preset) } else { Vec::new() };
    if config.preset != Preset::None && !config.relabel_defaults {
        problems.add("preset", "has no effect where relabel_defaults is false; leave one of the two out");
    }
    for (name, value) in &config.labels {
        let key = format!("labels.{name}");
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !begins || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || name.len() > LABEL_NAME_MAX {
            let rule = "a label's name is letters, digits and _, and begins with no digit";
            problems.add(&key, format!("{rule}, found {name:?}"));
        } else if name.starts_with("__") {
            problems.add(&key, "names that begin with __ are Loki's own");
        } else if from_pods.iter().any(|rule| rule.target_label == *name) {
            problems.add(&key, format!("{name} comes from the pod; choose another name for a static label"));
        } else if value.len() > LABEL_VALUE_MAX {
            problems.add(&key, format!("is longer than the {LABEL_VALUE_MAX} bytes that Loki accepts"));
        }
    }
}

/// `None` where a rule is wrong.
fn relabelling(config: &Config, problems: &mut Problems) -> Option<Relabel> {
    let errors = match Relabel::new(config) {
        Ok(relabel) => return Some(relabel),
        Err(errors) => errors,
    };
    for (index, RuleError { field, message }) in errors {
        problems.add(&format!("relabel_configs.[{index}].{field}"), message);
    }
    None
}

/// `None` where the pod selector is wrong.
fn selection(kubernetes: &Kubernetes, problems: &mut Problems) -> Option<Selector> {
    let Kubernetes { enabled, node_name, namespaces, pod_selector, .. } = kubernetes;
    if *enabled == Enabled::True && node_name.is_empty() {
        problems.add("kubernetes.node_name", "must be set where kubernetes.enabled is true (or set NODE_NAME)");
    }
    for (list, names) in [("include", &namespaces.include), ("exclude", &namespaces.exclude)] {
        for (index, name) in names.iter().enumerate() {
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || !name.chars().all(good) {
                let message = format!("a namespace's name is lower-case letters, digits and -, found {name:?}");
                problems.add(&format!("kubernetes.namespaces.{list}.[{index}]"), message);
            }
        }
    }
    Selector::parse(pod_selector).map_err(|message| problems.add("kubernetes.pod_selector", message)).ok()
}

/// Checks them; where Docker's containers are collected from, the pods' folders are those that links to these are in.
fn folders(config: &mut Config, problems: &mut Problems) {
    let Paths { pods, state, .. } = &config.paths;
    for (key, path) in [("paths.pods", pods), ("paths.state", state)] {
        if path.as_os_str().is_empty() {
            problems.add(key, "must name a folder");
        }
    }
    if !pods.as_os_str().is_empty() && state.starts_with(pods) {
        problems.add("paths.state", "must not be in paths.pods, which Pilcrow only reads");
    }
    if config.paths.docker().is_none() {
        return;
    }
    let links = state.join("docker");
    if *pods != links && *pods != Paths::default().pods {
        problems.add(
            "paths.pods",
            "has no effect with paths.docker, which collects from Docker's containers; leave one of the two out",
        );
    }
    if config.kubernetes.enabled == Enabled::True {
        problems.add(
            "kubernetes.enabled",
            "must not be true with paths.docker: Kubernetes does not know Docker's containers",
        );
    }
    config.kubernetes.enabled = Enabled::False;
    config.paths.pods = links;
}

#[cfg(test)]
mod tests;
