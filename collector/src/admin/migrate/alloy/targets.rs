//! From a source's `targets` back to what finds them: `discovery.…` and `local.file_match`, through `discovery.relabel`.

use crate::admin::migrate::{
    origin::{Attached, Place, Setting, Source, Tree},
    pod_files,
    promtail::{is_own_cluster, keys::Way},
    words::{ANY_PHASE, no_log_of_a_pod},
};

use super::{
    arguments::{InScope, Part, Read},
    converter::Converter,
    rules::texts,
    tables,
    value::{Located, Text, Value},
};

/// How many components may lie between a source and what finds its targets.
const DEPTH_MAX: usize = 50;

/// How many different origins one source may have; more are a finding.
const ORIGINS_MAX: usize = 100;

/// A kind of targets that are the logs of pods.
#[derive(Clone)]
pub struct Targets {
    pub source: Source,
    /// What is done to their labels on the way.
    pub rules: Vec<Tree>,
    pub settings: Vec<Setting>,
    pub attached: Vec<Attached>,
}

impl Targets {
    /// All pods, without rules.
    pub fn of_pods() -> Self {
        Self { source: Source::Api, rules: Vec::new(), settings: Vec::new(), attached: Vec::new() }
    }
}

impl<'a> Converter<'_, 'a> {
    /// What finds these targets; what finds anything but pods is a finding.
    ///
    /// `trail` are the components between the source and here.
    pub fn targets(&mut self, value: &Located, what: &str, trail: &mut Vec<usize>) -> Vec<Targets> {
        let mut all = Vec::new();
        for leaf in value.leaves() {
            if all.len() >= ORIGINS_MAX {
                let place = self.place(leaf.place);
                self.not_possible(&place, what, "has too many kinds of targets; the rest is left out");
                break;
            }
            all.extend(self.target(leaf, what, trail));
        }
        all
    }

    fn target(&mut self, value: &Located, what: &str, trail: &mut Vec<usize>) -> Vec<Targets> {
        let place = self.place(value.place);
        match &value.value {
            Value::Reference(reference) => {
                let index = reference.component;
                if trail.len() >= DEPTH_MAX || trail.contains(&index) {
                    self.not_possible(&place, what, "the targets go through too many components, or in a circle");
                    return Vec::new();
                }
                trail.push(index);
                let found = self.found_by(index, &place, what, trail);
                trail.pop();
                found
            }
            Value::Object(fields) => self.fixed_target(&place, fields, what).into_iter().collect(),
            Value::Unknown(why) => {
                let why = why.clone();
                self.not_possible(&place, what, &why);
                Vec::new()
            }
            other => {
                let text = format!("expected a list of targets, found {}", other.description());
                self.not_possible(&place, what, &text);
                Vec::new()
            }
        }
    }

    fn found_by(&mut self, index: usize, place: &Place, what: &str, trail: &mut Vec<usize>) -> Vec<Targets> {
        let component = self.component(index);
        let id = component.block.id();
        match component.block.name.as_str() {
            "discovery.kubernetes" => self.pods(index).into_iter().collect(),
            "discovery.kubelet" => {
                let (mut settings, component) = (Vec::new(), self.reach(index));
                self.walk(component, &format!("{id} "), tables::DISCOVERY_KUBELET, &mut settings);
                vec![Targets { settings, ..Targets::of_pods() }]
            }
            "discovery.docker" => vec![self.containers(index)],
            "discovery.relabel" => self.relabelled(index, trail),
            "local.file_match" => {
                let component = self.reach(index);
                let mut all = Vec::new();
                for read in self.walk(component, &format!("{id} "), tables::FILE_MATCH, &mut Vec::new()) {
                    if let Part::Value(value) = &read.part {
                        all.extend(self.targets(value, &read.what, trail));
                    }
                }
                all
            }
            name => {
                let text = match tables::of_component(name) {
                    Some(Way::NotPossible(text)) => text.to_owned(),
                    _ => format!("{id} finds no pods: Pilcrow collects pod logs, which discovery.kubernetes finds"),
                };
                self.reached.insert(index);
                self.not_possible(place, what, &text);
                Vec::new()
            }
        }
    }

    fn relabelled(&mut self, index: usize, trail: &mut Vec<usize>) -> Vec<Targets> {
        let component = self.reach(index);
        let id = component.block.id();
        let (mut all, mut rules) = (Vec::new(), Vec::new());
        for read in self.walk(component, &format!("{id} "), tables::DISCOVERY_RELABEL, &mut Vec::new()) {
            match read.part {
                Part::Value(targets) => all = self.targets(&targets, &read.what, trail),
                Part::Block(rule) => rules.extend(self.rule(rule, &read.what)),
            }
        }
        if !self.evaluator.spend(all.len() * rules.len()) {
            let place = self.place(component.block.place);
            self.not_possible(&place, &id, "has too many rules for too many kinds of targets");
            return Vec::new();
        }
        for targets in &mut all {
            targets.rules.extend(rules.iter().cloned());
        }
        all
    }

    fn pods(&mut self, index: usize) -> Option<Targets> {
        let component = self.reach(index);
        let id = component.block.id();
        let (mut settings, mut attached, mut is_of_pods) = (Vec::new(), Vec::new(), true);
        for Read { key, place, what, part } in
            self.walk(component, &format!("{id} "), tables::DISCOVERY_KUBERNETES, &mut settings)
        {
            match (key, part) {
                ("role", Part::Value(role)) => {
                    is_of_pods = role.value.plain() == Some("pod");
                    if is_of_pods {
                        let text = "this node's pods are found by their log folders, and named by the Kubernetes API";
                        self.taken(&place, &what, text);
                    } else {
                        let text = "finds no pods: only the role pod has logs";
                        self.not_possible(&place, &what, text);
                    }
                }
                ("namespaces.own_namespace", Part::Value(Located { value: Value::Bool(true), .. })) => {
                    let text = "write the namespace's name to kubernetes.namespaces.include";
                    self.not_possible(&place, &what, text);
                }
                ("api_server", Part::Value(address)) => match address.value.plain().is_some_and(is_own_cluster) {
                    true => self.taken(&place, &what, "the cluster's own API is asked"),
                    false => self.not_possible(&place, &what, tables::KUBECONFIG),
                },
                ("namespaces.own_namespace", Part::Value(_)) => {
                    self.taken(&place, &what, "off, which is the default");
                }
                (key, Part::Value(value)) if key.starts_with("attach_metadata.") => match value.value {
                    Value::Bool(false) => self.taken(&place, &what, "off, which is the default"),
                    _ => attached.push(Attached::by_key(key, &place, &what)),
                },
                ("selectors", Part::Block(selectors)) => self.selectors(selectors, &what, &mut settings),
                _ => {}
            }
        }
        is_of_pods.then_some(Targets { settings, attached, ..Targets::of_pods() })
    }

    fn selectors(&mut self, selectors: InScope<'a>, what: &str, settings: &mut Vec<Setting>) {
        for Read { key, place, what, part } in
            self.walk(selectors, &format!("{what}."), tables::SELECTORS, &mut Vec::new())
        {
            let Part::Value(value) = part else { continue };
            match (key, &value.value) {
                ("label", _) => {
                    if let Some(tree) = self.tree(&value, &what) {
                        self.taken(&place, &what, "kubernetes.pod_selector");
                        settings.push(Setting::new("kubernetes.pod_selector", tree, what));
                    }
                }
                ("field", Value::Text(text)) => self.fields(text, &place, &what, settings),
                ("role", Value::Text(role)) if role.plain() == Some("pod") => {}
                ("role", _) => self.not_possible(&place, &what, "only pods can be selected"),
                _ => self.not_possible(&place, &what, "is known only while Alloy runs; see kubernetes.namespaces"),
            }
        }
    }

    /// A field selector: terms with commas between them.
    fn fields(&mut self, text: &Text, place: &Place, what: &str, settings: &mut Vec<Setting>) {
        let own_node = "Pilcrow reads the logs of its own node only";
        let Some(plain) = text.plain() else {
            return match text.beginning() {
                "spec.nodeName=" | "spec.nodeName==" => self.taken(place, what, own_node),
                _ => self.not_possible(
                    place,
                    what,
                    "is left out: Pilcrow selects pods by namespace, labels and rules only",
                ),
            };
        };
        for term in plain.split(',').filter(|term| !term.is_empty()) {
            match term.split_once('=').map(|(name, value)| (name.trim(), value.trim_start_matches('=').trim())) {
                Some(("spec.nodeName", _)) => self.taken(place, what, own_node),
                Some(("metadata.namespace", namespace)) => {
                    self.taken(place, what, "kubernetes.namespaces.include");
                    settings.push(Setting::new("kubernetes.namespaces.include", texts(place, &[namespace]), what));
                }
                Some(("status.phase" | "status.phase!", _)) => {
                    self.changed(place, what, &format!("{term}: {ANY_PHASE}"));
                }
                _ => {
                    let text = format!("{term} is left out: Pilcrow selects pods by namespace, labels and rules only");
                    self.not_possible(place, what, &text);
                }
            }
        }
    }

    /// A target that is written out: files that are the logs of pods.
    fn fixed_target(&mut self, place: &Place, fields: &[(String, Located)], what: &str) -> Option<Targets> {
        let path = fields.iter().find(|(key, _)| key == "__path__").and_then(|(_, value)| value.value.plain());
        let shown = path.unwrap_or("this target").to_owned();
        if !pod_files::are_of_pods(&shown) {
            let text = no_log_of_a_pod(&shown, "keep Alloy for it");
            self.not_possible(place, what, &text);
            return None;
        }
        let mut labels = Vec::new();
        for (key, value) in fields.iter().filter(|(key, _)| !key.starts_with("__")) {
            if let Some(value) = self.tree(value, what) {
                labels.push((value.place.clone(), key.clone(), value));
            }
        }
        let exclude = fields.iter().find(|(key, _)| key == "__path_exclude__");
        let exclude =
            exclude.map(|(_, value)| (self.place(value.place), value.value.plain().unwrap_or("$").to_owned()));
        let exclude = exclude.as_ref().map(|(place, glob)| (place, glob.as_str()));
        let mut findings = Vec::new();
        let target = pod_files::target(&shown, exclude, labels, (place, what), &mut findings);
        findings.into_iter().for_each(|finding| self.find(finding));
        Some(Targets { source: Source::Path, rules: pod_files::rules(&[target?]), ..Targets::of_pods() })
    }
}

/// Labels that `loki.source.kubernetes` and `loki.source.podlogs` give where the targets have none (Alloy, kubetail/target.go).
pub fn default_labels(place: &Place, component: &str) -> Vec<Tree> {
    let rule = |label: &str, sources: &[&str], regex: &str, replacement: String| {
        Tree::group(
            place,
            [
                ("source_labels", texts(place, sources)),
                ("regex", Tree::text(place, regex)),
                ("target_label", Tree::text(place, label)),
                ("replacement", Tree::text(place, replacement)),
            ],
        )
    };
    let pod = ["__meta_kubernetes_namespace", "__meta_kubernetes_pod_name", "__meta_kubernetes_pod_container_name"];
    vec![
        rule("job", &["job"], "", component.to_owned()),
        rule("instance", &["instance", pod[0], pod[1], pod[2]], ";(.+);(.+);(.+)", "$1/$2:$3".to_owned()),
    ]
}

/// Whether these rules give every container of a pod this label.
pub fn always_sets(rules: &[Tree], label: &str) -> bool {
    const KNOWN: [&str; 3] =
        ["__meta_kubernetes_namespace", "__meta_kubernetes_pod_name", "__meta_kubernetes_pod_container_name"];
    let text = |rule: &Tree, key: &str| rule.get(key).and_then(|pair| pair.value.as_text()).map(str::to_owned);
    let action =
        |rule: &Tree| text(rule, "action").map_or_else(|| "replace".into(), |action| action.to_ascii_lowercase());
    let removes = |rule: &Tree| matches!(action(rule).as_str(), "labeldrop" | "labelkeep" | "labelmap");
    let sets = |rule: &Tree| {
        let is_filled = match rule.get("source_labels") {
            None => text(rule, "replacement").is_some_and(|text| !text.is_empty()),
            Some(sources) => {
                sources.value.items().iter().any(|name| name.as_text().is_some_and(|name| KNOWN.contains(&name)))
            }
        };
        is_filled
            && text(rule, "target_label").as_deref() == Some(label)
            && action(rule) == "replace"
            && matches!(text(rule, "regex").as_deref(), None | Some("(.*)" | "(.+)" | ".*" | ".+"))
    };
    rules.iter().any(sets) && !rules.iter().any(removes)
}
