//! How a stream's labels came about: what each rule did, one after the other. For people; collecting has no use for it.

use super::{Labels, Relabel, Rule, Target, service_name};
use crate::config::{RelabelAction, RelabelConfig};

/// A rule, and what it did to the labels of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The rule, with where it comes from: `built-in: replace __meta_kubernetes_namespace to namespace`.
    pub rule: String,
    /// All labels after it, those that begin with `__` included; `None`: it dropped the stream.
    pub labels: Option<Labels>,
    /// What it did, in words.
    pub text: String,
}

/// A rule in one line.
pub(super) fn sentence(rule: &RelabelConfig) -> String {
    let default = RelabelConfig::default();
    let RelabelConfig { source_labels, regex, target_label, replacement, action, .. } = rule;
    let mut sentence = action.name().to_owned();
    if !source_labels.is_empty() {
        sentence += &format!(" {}", source_labels.join(", "));
    }
    if *regex != default.regex {
        sentence += &format!(" matching {regex}");
    }
    if !target_label.is_empty() {
        let preposition =
            if matches!(action, RelabelAction::KeepEqual | RelabelAction::DropEqual) { "as" } else { "to" };
        sentence += &format!(" {preposition} {target_label}");
    }
    if *replacement != default.replacement {
        sentence += &format!(" = {replacement:?}");
    }
    sentence
}

impl Relabel {
    /// A rule in one line, with where it comes from: `relabel_configs[1]: drop namespace matching batch`. `index`: as in [`Self::rules`].
    #[must_use]
    pub fn rule_name(&self, index: usize) -> String {
        let own = index.checked_sub(self.built_in).map(|own| format!("relabel_configs[{own}]"));
        let sentence = self.rules.get(index).map(Rule::sentence).unwrap_or_default();
        format!("{}: {sentence}", own.as_deref().unwrap_or("built-in"))
    }

    /// What each rule does to the labels of a stream; ends with the rule that drops it. The first line is what there is before them.
    #[must_use]
    pub fn explain(&self, target: &Target<'_>) -> Vec<Explained> {
        let mut labels = self.fixed.clone();
        let before = labels.clone();
        target.add_to(&self.node, &mut labels);
        let text = match before.is_empty() {
            true => "no static labels".to_owned(),
            false => changes(&Labels::new(), &before),
        };
        let mut all =
            vec![Explained { rule: "labels of the configuration".into(), labels: Some(labels.clone()), text }];
        for (index, rule) in self.rules.iter().enumerate() {
            let name = self.rule_name(index);
            let before = labels.clone();
            if !rule.apply(&mut labels) {
                all.push(Explained { rule: name, labels: None, text: "drops the stream".into() });
                return all;
            }
            all.push(Explained { rule: name, text: changes(&before, &labels), labels: Some(labels.clone()) });
        }
        if self.names_services {
            let annotation = labels.get(service_name::ANNOTATION).cloned();
            let before = labels.clone();
            service_name::add(&mut labels, annotation);
            all.push(Explained { rule: "service_name".into(), text: changes(&before, &labels), labels: Some(labels) });
        }
        all
    }
}

/// `sets app="nginx", removes pod`.
fn changes(before: &Labels, after: &Labels) -> String {
    let set = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    let removed = before.keys().filter(|name| !after.contains_key(*name));
    let words: Vec<String> = set
        .map(|(name, value)| format!("sets {name}={value:?}"))
        .chain(removed.map(|name| format!("removes {name}")))
        .collect();
    if words.is_empty() { "changes nothing".into() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compiled::Compiled, model::PodName, pipeline::relabel::Outcome};

    #[test]
    fn the_last_line_has_the_labels_that_the_stream_has_and_each_rule_says_what_it_did() {
        let yaml = "labels: {cluster: home}\nservice_name: true\nrelabel_configs:\n\
                    - {source_labels: [namespace], regex: shop, target_label: team, replacement: sales}\n\
                    - {action: labeldrop, regex: pod}\n\
                    - {source_labels: [team], regex: none, action: drop}\n";
        let compiled = Compiled::parse(yaml, &|_| None).unwrap();
        let pod = PodName { namespace: "shop".into(), pod: "web-1".into(), uid: "u".into() };
        let target = Target { pod: &pod, container: "web", folder: "/x", stream: "stdout", from_api: &[] };
        let explained = compiled.relabel.explain(&target);
        let text = |rule: &str| &explained.iter().find(|line| line.rule.starts_with(rule)).unwrap().text;
        assert_eq!(text("labels of the configuration"), "sets cluster=\"home\"");
        assert_eq!(text("built-in: replace __meta_kubernetes_namespace to namespace"), "sets namespace=\"shop\"");
        assert_eq!(
            text("relabel_configs[0]: replace namespace matching shop to team = \"sales\""),
            "sets team=\"sales\""
        );
        assert_eq!(text("relabel_configs[1]: labeldrop matching pod"), "removes pod");
        assert_eq!(text("relabel_configs[2]"), "changes nothing");
        let visible = |labels: &Labels| -> Labels {
            labels.iter().filter(|(name, _)| !name.starts_with("__")).map(|(n, v)| (n.clone(), v.clone())).collect()
        };
        let Outcome::Keep(relabelled) = compiled.relabel.apply(&target) else { panic!() };
        assert_eq!(visible(explained.last().unwrap().labels.as_ref().unwrap()), relabelled.labels);
    }

    #[test]
    fn the_rule_that_drops_a_stream_is_the_last() {
        let yaml = "relabel_configs:\n- {source_labels: [namespace], regex: x, action: keep}\n- {action: labeldrop, regex: a}\n";
        let compiled = Compiled::parse(yaml, &|_| None).unwrap();
        let pod = PodName { namespace: "shop".into(), pod: "web-1".into(), uid: "u".into() };
        let target = Target { pod: &pod, container: "web", folder: "/x", stream: "stdout", from_api: &[] };
        let explained = compiled.relabel.explain(&target);
        let last = explained.last().unwrap();
        assert_eq!(
            (last.rule.as_str(), last.text.as_str()),
            ("relabel_configs[0]: keep namespace matching x", "drops the stream")
        );
        assert_eq!(last.labels, None);
    }
}
