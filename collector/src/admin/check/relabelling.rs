//! What the rules for labels make of a container, and what is likely not meant in them.

use std::io;

use crate::{
    compiled::Compiled,
    config::{self, Config, Enabled, Preset},
    model::PodName,
    pipeline::relabel::{self, Outcome, Relabel, Relabelled, Target, why_unknown},
};

/// The rules of a configuration, and what they make of the standard error of a container.
pub(super) struct Relabelling<'c> {
    rules: &'c Relabel,
    example: Option<Relabelled>,
}

/// Writes all rules in their order, in a form that can stand in a configuration: to be changed, and put in the place of the
/// built-in ones.
///
/// # Errors
/// `out` cannot be written to.
pub fn write_rules(config: &Config, out: &mut impl io::Write) -> anyhow::Result<()> {
    writeln!(out, "relabel_defaults: false\nrelabel_configs:")?;
    if config.relabel_defaults {
        match config.preset {
            Preset::None => writeln!(out, "# built in")?,
            preset => writeln!(out, "# of the preset {}", preset.name())?,
        }
        writeln!(out, "{}", relabel::built_in_yaml(config.preset).trim_end())?;
    }
    if !config.relabel_configs.is_empty() {
        writeln!(out, "# from the configuration")?;
        writeln!(out, "{}", config::to_yaml(&config.relabel_configs)?.trim_end())?;
    }
    Ok(())
}

impl<'c> Relabelling<'c> {
    pub fn of(compiled: &'c Compiled) -> Self {
        let Compiled { config, relabel: rules, .. } = compiled;
        let pod = PodName { namespace: "default".into(), pod: "nginx-6d9c6b5f4-x2x7k".into(), uid: "467433c9".into() };
        let [app, _] = relabel::label_names("app.kubernetes.io/name");
        let target = Target {
            pod: &pod,
            container: "nginx",
            folder: "/var/log/pods/default_nginx-6d9c6b5f4-x2x7k_467433c9/nginx",
            stream: "stderr",
            from_api: &[(app.into(), "nginx".into())],
        };
        let asks = config.kubernetes.enabled != Enabled::False;
        let outcome = rules.apply(&Target { from_api: if asks { target.from_api } else { &[] }, ..target });
        let example = match outcome {
            Outcome::Keep(relabelled) => Some(relabelled),
            Outcome::Drop { .. } => None,
        };
        Self { rules, example }
    }

    pub fn sentence(&self, config: &Config) -> String {
        let built_in = match config.preset {
            Preset::None => "The built-in rules".to_owned(),
            preset => format!("The rules of the preset {}", preset.name()),
        };
        let rules = match (config.relabel_defaults, config.relabel_configs.len()) {
            (true, 0) => format!("{built_in} make labels"),
            (true, n) => format!("{built_in} and {n} of the configuration make labels"),
            (false, n) => format!("{n} rules of the configuration make labels, without the built-in ones"),
        };
        let rules = if config.service_name { format!("{rules}, and service_name is added") } else { rules };
        let Some(Relabelled { labels, metadata, .. }) = &self.example else {
            return format!("{rules}; lines of a container nginx in the namespace default are left out by them.");
        };
        let pairs = |labels: &relabel::Labels| {
            labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(", ")
        };
        let mut sentence = format!("{rules}, such as {{{}}}", pairs(labels));
        if !metadata.is_empty() {
            sentence += &format!(" with the structured metadata {{{}}}", pairs(metadata));
        }
        sentence + " (`pilcrow check --show-relabel` prints the rules)."
    }

    /// Whether Loki would not take what the rules make of the example.
    pub fn has_problem(&self) -> bool {
        self.example.as_ref().and_then(Relabelled::problem).is_some()
    }

    /// Mistakes that make no rule a wrong one.
    pub fn warnings(&self, config: &Config) -> Vec<String> {
        let mut warnings = Vec::new();
        let built_in = self.rules.rules().len() - config.relabel_configs.len();
        let asks = config.kubernetes.enabled != Enabled::False;
        for (index, rule) in self.rules.rules()[built_in..].iter().enumerate() {
            for name in rule.sources() {
                if let Some(why) = why_unknown(name) {
                    warnings.push(format!("relabel_configs[{index}]: {name} is always empty: {why}"));
                } else if !asks && relabel::is_from_api(name) {
                    let why = "only the Kubernetes API knows it, and kubernetes.enabled is false";
                    warnings.push(format!("relabel_configs[{index}]: {name} is always empty: {why}"));
                }
            }
        }
        if !asks && !config.kubernetes.pod_selector.is_empty() {
            warnings.push(
                "kubernetes.pod_selector has no effect: only the Kubernetes API knows the labels of pods, and \
                 kubernetes.enabled is false"
                    .into(),
            );
        }
        if !asks && !config.kubernetes.annotations.allow.is_empty() {
            warnings.push(
                "kubernetes.annotations has no effect: only the Kubernetes API knows the annotations of pods, and \
                 kubernetes.enabled is false"
                    .into(),
            );
        }
        warnings.extend(self.example.as_ref().and_then(Relabelled::problem));
        warnings
    }
}
