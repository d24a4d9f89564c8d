//! The feature that collects pod logs.
//!
//! In: its values. Out: a pipeline in the order of the chart's templates: rules for the labels, structured metadata, static labels,
//! extra stages, and last the list of labels to keep. The labels of the destination are added behind all of them. What needs no
//! stage is a rule, which costs nothing for each line.

use std::collections::BTreeSet;

use super::{
    defaults, destinations,
    metadata::{self, Made, Step},
    others,
    version::Version,
};
use crate::{
    admin::migrate::{
        alloy,
        convert::names_read,
        origin::{
            Attached, Fault, Kind, OF_NAMESPACE, OF_NODE, Origin, Pair, Pipeline, Place, Setting, Source, Text, Tree,
            Value,
        },
        output::ALLOY_POSITIONS,
        promtail::{self, template},
        recognise::at,
        yaml,
    },
    config::Preset,
    pipeline::relabel,
};

/// The annotation by which the preset leaves pods out.
const ANNOTATION: &str = "logs.grafana.com/pods.enabled";

/// A feature in a values file.
pub struct Feature<'r> {
    /// Its name.
    pub key: &'r str,
    pub values: &'r Tree,
    /// With its texts as they are written.
    pub raw: &'r Tree,
    /// The whole file, as it was written.
    pub whole: &'r Tree,
    pub outer: &'r Text<'r>,
    pub version: Version,
}

/// Reads a feature.
///
/// # Errors
/// Rules or stages in it are not Alloy's language, or have a template that is not known.
pub fn read(
    feature: &Feature<'_>,
    destinations: &[(String, Option<usize>)],
    origin: &mut Origin,
) -> Result<(), Vec<Fault>> {
    let place = &feature.values.place;
    let (source, stages) = match feature.version {
        Version::Four => {
            (Source::Preset(Preset::K8sMonitoring), yaml::documents(&Text { place: place.clone(), text: "cri: {}" })?)
        }
        // Its stages take records apart; what they make is made by rules here.
        Version::UpToThree => (Source::ApiLines, Vec::new()),
    };
    let mut reader = Reader {
        feature,
        pipeline: Pipeline {
            name: feature.key.to_owned(),
            place: place.clone(),
            source,
            relabel: Vec::new(),
            stages,
            clients: Vec::new(),
            settings: Vec::new(),
            positions: positions(feature),
            attached: attached(feature),
            findings: Vec::new(),
        },
        origin,
    };
    reader.destinations(destinations);
    reader.selection();
    reader.processing()?;
    reader.stages_of_destination(destinations)?;
    reader.rest();
    let Reader { pipeline, .. } = reader;
    origin.pipelines.push(pipeline);
    Ok(())
}

/// Where its collector keeps them on the node; the Kubernetes API has none.
fn positions(feature: &Feature<'_>) -> Option<Setting> {
    let by_api = feature.key == "podLogsViaKubernetesApi"
        || at(feature.values, &["gatherMethod"]).and_then(Tree::as_text) == Some("kubernetesApi");
    let folder = Tree::text(&feature.values.place, ALLOY_POSITIONS);
    (!by_api).then(|| Setting::new("positions", folder, "the chart's default"))
}

/// What rules may read of other objects than pods. Whether the chart asks for it where no value says so depends on its version.
fn attached(feature: &Feature<'_>) -> Vec<Attached> {
    let of = |(key, prefix): (&str, &'static str)| {
        let given = at(feature.values, &[key]).filter(|value| value.as_text() == Some("true"));
        Attached { prefix, by: given.map(|value| (value.place.clone(), format!("{}.{key}", feature.key))) }
    };
    [("attachNodeMetadata", OF_NODE), ("attachNamespaceMetadata", OF_NAMESPACE)].map(of).into()
}

struct Reader<'r> {
    feature: &'r Feature<'r>,
    pipeline: Pipeline,
    origin: &'r mut Origin,
}

impl<'r> Reader<'r> {
    fn get(&self, key: &str) -> Option<&'r Pair> {
        self.feature.values.get(key)
    }

    fn what(&self, key: &str) -> String {
        format!("{}.{key}", self.feature.key)
    }

    fn find(&mut self, kind: Kind, place: &Place, key: &str, text: &str) {
        let what = self.what(key);
        match kind {
            Kind::Taken => self.origin.taken(place, &what, text),
            Kind::Changed => self.origin.changed(place, &what, text),
            Kind::NotPossible => self.origin.not_possible(place, &what, text),
        }
    }

    fn set(&mut self, key: &str, new: &str, value: Tree) {
        self.find(Kind::Taken, &value.place.clone(), key, new);
        let from = self.what(key);
        self.pipeline.settings.push(Setting::new(new, value, from));
    }

    /// Those that `destinations` names, else all of the type `loki`.
    fn destinations(&mut self, all: &[(String, Option<usize>)]) {
        let Some(pair) = self.get("destinations").filter(|pair| !pair.value.items().is_empty()) else {
            return self.pipeline.clients.extend(all.iter().filter_map(|(_, client)| *client));
        };
        for item in pair.value.items() {
            let wanted = item.as_text().unwrap_or("");
            match all.iter().find(|(name, _)| name == wanted) {
                Some((_, Some(client))) => {
                    self.find(Kind::Taken, &item.place, "destinations", &format!("{wanted}: loki.url"));
                    self.pipeline.clients.push(*client);
                }
                Some((_, None)) => {
                    let text = format!("{wanted} is not of the type loki, and Pilcrow sends to Loki only");
                    self.find(Kind::NotPossible, &item.place, "destinations", &text);
                }
                None => {
                    let text = format!("{wanted} is the name of no destination");
                    self.find(Kind::NotPossible, &item.place, "destinations", &text);
                }
            }
        }
    }

    /// Which pods, and where their files begin.
    fn selection(&mut self) {
        for (key, new) in
            [("namespaces", "kubernetes.namespaces.include"), ("excludeNamespaces", "kubernetes.namespaces.exclude")]
        {
            if let Some(pair) = self.get(key).filter(|pair| !pair.value.items().is_empty()) {
                self.set(key, new, pair.value.clone());
            }
        }
        if let Some(pair) = self.get("labelSelectors").filter(|pair| !pair.value.pairs().is_empty()) {
            let one = |label: &Pair| match label.value.as_text() {
                Some(value) => format!("{}={value}", label.key),
                None => {
                    let values: Vec<&str> = label.value.items().iter().filter_map(Tree::as_text).collect();
                    format!("{} in ({})", label.key, values.join(","))
                }
            };
            let selector = pair.value.pairs().iter().map(one).collect::<Vec<_>>().join(",");
            self.set("labelSelectors", "kubernetes.pod_selector", Tree::text(&pair.value.place, selector));
        }
        let inner = at(self.feature.values, &["volumeGatherSettings", "onlyGatherNewLogLines"]);
        match inner.or(at(self.feature.values, &["onlyGatherNewLogLines"])) {
            Some(value) if value.as_text() == Some("false") => {
                self.find(
                    Kind::Taken,
                    &value.place,
                    "onlyGatherNewLogLines",
                    "start_at: beginning, which is the default",
                );
            }
            Some(value) => self.set("onlyGatherNewLogLines", "start_at", Tree::text(&value.place, "end")),
            // Before version 4 the default is false.
            None if self.feature.version == Version::UpToThree => {}
            None => {
                let from = format!("{}: files that are there already", self.feature.key);
                self.pipeline.settings.push(Setting::new(
                    "start_at",
                    Tree::text(&self.feature.values.place, "end"),
                    from,
                ));
            }
        }
        let selector = self.get("annotationSelector").and_then(|pair| Some((&pair.place, pair.value.as_text()?)));
        let annotation = relabel::annotation_names(selector.map_or(ANNOTATION, |(_, name)| name));
        if let Some((place, _)) = selector.filter(|(_, name)| *name != ANNOTATION) {
            self.find(Kind::Taken, place, "annotationSelector", "relabel_configs");
            self.pipeline.relabel.push(rule(place, &annotation[0], "(false|no|skip)", "action", "drop"));
        }
        let method = self.get("discoveryMethod");
        if let Some(pair) = method.filter(|pair| pair.value.as_text() == Some("annotation")) {
            self.find(Kind::Taken, &pair.place, "discoveryMethod", "relabel_configs");
            self.pipeline.relabel.push(rule(&pair.place, &annotation[0], "(.+)", "action", "keep"));
        }
    }

    /// Labels, structured metadata and lines.
    fn processing(&mut self) -> Result<(), Vec<Fault>> {
        let extra_rules = match at(self.feature.raw, &["extraDiscoveryRules"]) {
            Some(value) => match yaml::inner(self.feature.outer, value) {
                Some(text) => alloy::read_rules(&text, &mut self.origin.findings)?,
                None => Vec::new(),
            },
            None => Vec::new(),
        };
        let extra_stages = self.extra_stages()?;
        let metadata = metadata::effective(self.feature.version, self.get("structuredMetadata"));
        let read: BTreeSet<String> = extra_stages.iter().flat_map(names_read).collect();
        let keeps = self.kept();
        if self.feature.version == Version::UpToThree {
            let copied = keeps.as_ref().map(|keeps| {
                let by_rules = extra_rules.iter().flat_map(metadata::sources);
                let sources = metadata.iter().map(|(_, source)| source.clone());
                let names = keeps.iter().cloned().chain(by_rules).chain(sources).chain(read.iter().cloned());
                // Words in stages may be anything.
                names.filter(|name| escaped(name) == *name && !name.starts_with("__") && !name.is_empty()).collect()
            });
            self.pipeline.relabel = defaults::rules(&self.pipeline.place, copied.as_ref())?;
            let is_wanted = |name: &str| copied.as_ref().is_none_or(|names: &BTreeSet<String>| names.contains(name));
            self.pipeline.relabel.extend(metadata::of_records(&self.pipeline.place, &is_wanted)?);
        }
        self.copied("annotations", &defaults::ANNOTATIONS, |name| relabel::annotation_names(name)[0].clone());
        self.copied("labels", &defaults::LABELS, |name| relabel::label_names(name)[0].clone());
        self.pipeline.relabel.extend(extra_rules);
        let steps = metadata::steps(self.feature.version, &metadata, &self.pipeline.place, &read);
        let by_stage: Vec<Made> = steps.iter().filter_map(Step::as_stage).collect();
        self.pipeline.relabel.extend(steps.into_iter().filter_map(Step::into_rule));
        if let Some(pair) = self.get("structuredMetadata").filter(|pair| !pair.value.pairs().is_empty()) {
            self.find(Kind::Taken, &pair.place, "structuredMetadata", "structured metadata, by rules");
        }
        self.metadata_stage(&by_stage);
        self.static_labels(&by_stage, keeps.as_ref().filter(|_| extra_stages.is_empty()));
        let has_stages = !extra_stages.is_empty();
        self.pipeline.stages.extend(extra_stages);
        if let Some(keeps) = keeps {
            self.keep(keeps, has_stages);
        }
        Ok(())
    }

    /// Labels of a pod's labels or annotations; the values are added to the defaults, and those without a value take one away.
    fn copied(&mut self, key: &str, defaults: &[(&str, &str)], name_of: impl Fn(&str) -> String) {
        let given = self.get(key).map(|pair| pair.value.pairs()).unwrap_or_default();
        for (label, source) in defaults.iter().filter(|(label, _)| given.iter().all(|pair| pair.key != *label)) {
            if self.feature.version == Version::UpToThree {
                self.pipeline.relabel.push(rule(&self.pipeline.place, &name_of(source), "(.+)", "target_label", label));
            }
        }
        if let Some(pair) = self.get(key) {
            self.find(Kind::Taken, &pair.place, key, "relabel_configs");
        }
        for label in given {
            let source = label.value.as_text().unwrap_or("");
            if !source.is_empty() {
                let new = rule(&label.place, &name_of(source), "(.+)", "target_label", &label.key);
                self.pipeline.relabel.push(new);
            } else if self.feature.version == Version::Four
                && defaults.iter().any(|(name, _)| *name == label.key)
                && key == "labels"
            {
                // The preset makes it; job is made in another way as well.
                self.pipeline.relabel.push(metadata::label_drop(&label.place, &[&label.key]));
            }
        }
    }

    /// The labels that stay at the end; nothing: all.
    fn kept(&mut self) -> Option<BTreeSet<String>> {
        let given = self.get("labelsToKeep");
        if self.feature.version == Version::Four {
            if let Some(pair) = given {
                let text = "is no value of the chart 4.x, which keeps all labels: left out; for a list of labels write a rule labelkeep";
                self.find(Kind::Changed, &pair.place, "labelsToKeep", text);
            }
            return None;
        }
        match given {
            None => Some(defaults::KEPT.map(str::to_owned).into()),
            Some(pair) if pair.value.items().is_empty() => None,
            Some(pair) => {
                self.find(
                    Kind::Taken,
                    &pair.place,
                    "labelsToKeep",
                    "these labels stay, all others are left out at the end",
                );
                Some(pair.value.items().iter().map(label_name).collect())
            }
        }
    }

    /// Leaves all other labels out: by a rule where no stage comes behind it.
    fn keep(&mut self, mut names: BTreeSet<String>, has_stages: bool) {
        let place = self.get("labelsToKeep").map_or_else(|| self.pipeline.place.clone(), |pair| pair.place.clone());
        let texts = |names: &BTreeSet<String>| names.iter().map(|name| Tree::text(&place, name)).collect();
        if has_stages {
            let list = Tree { place: place.clone(), value: Value::List(texts(&names)) };
            return self.pipeline.stages.push(Tree::group(&place, [("labelallow", list)]));
        }
        // The destination adds them behind everything.
        let client = self.pipeline.clients.first().and_then(|index| self.origin.clients.get(*index));
        let external = client.map(|client| client.labels.as_slice()).unwrap_or_default().iter();
        names.extend(external.map(|label| label.key.trim_start_matches("labels.").to_owned()));
        let regex = names.into_iter().collect::<Vec<_>>().join("|") + "|__structured_metadata_.+";
        let fields = [("regex", Tree::text(&place, regex)), ("action", Tree::text(&place, "labelkeep"))];
        self.pipeline.relabel.push(Tree::group(&place, fields));
    }

    /// Stages of the feature.
    fn extra_stages(&mut self) -> Result<Vec<Tree>, Vec<Fault>> {
        const KEY: &str = "extraLogProcessingStages";
        match at(self.feature.raw, &[KEY]) {
            Some(value) => self.stages(value, self.feature.raw, &self.what(KEY)),
            None => Ok(Vec::new()),
        }
    }

    /// Stages of the destination that lines are sent to, which come behind all others.
    fn stages_of_destination(&mut self, all: &[(String, Option<usize>)]) -> Result<(), Vec<Fault>> {
        let chosen = self.pipeline.clients.first().copied();
        let number = all.iter().position(|(_, client)| chosen.is_some() && *client == chosen);
        let Some((name, item)) = number.and_then(|number| destinations::numbered(self.feature.whole, number)) else {
            return Ok(());
        };
        if let Some(value) = at(item, &[destinations::STAGES]) {
            let stages = self.stages(value, self.feature.whole, &format!("{name}.{}", destinations::STAGES))?;
            self.pipeline.stages.extend(stages);
        }
        Ok(())
    }

    /// Stages in Alloy's language. Helm fills in the templates in them, with these values.
    fn stages(&mut self, value: &Tree, values: &Tree, what: &str) -> Result<Vec<Tree>, Vec<Fault>> {
        if value.as_text() == Some("") {
            return Ok(Vec::new());
        }
        match template::filled(self.feature.outer, value, values) {
            Ok(filled) => alloy::read_stages(&filled.as_text(), &mut self.origin.findings),
            Err(faults) => {
                for Fault { place, message } in faults {
                    self.origin.not_possible(&place, what, format!("all its stages are left out: {message}"));
                }
                Ok(Vec::new())
            }
        }
    }

    /// The stage for structured metadata of labels that later stages read.
    fn metadata_stage(&mut self, made: &[Made]) {
        if made.is_empty() {
            return;
        }
        let place = &self.pipeline.place.clone();
        let pair =
            |(key, source): &Made| Pair { key: key.clone(), place: place.clone(), value: Tree::text(place, source) };
        let group = Tree { place: place.clone(), value: Value::Group(made.iter().map(pair).collect()) };
        self.pipeline.stages.push(Tree::group(place, [("structured_metadata", group)]));
    }

    /// Fixed labels: stages where they would hide a label that `by_stage` reads. `kept`: those that no list at the end takes away.
    fn static_labels(&mut self, by_stage: &[Made], kept: Option<&BTreeSet<String>>) {
        let labels = self.get("staticLabels").map(|pair| pair.value.pairs()).unwrap_or_default();
        let place = &self.pipeline.place.clone();
        let (mut rules, mut stage) = (Vec::new(), Vec::new());
        for label in labels {
            let what = format!("staticLabels.{}", label.key);
            if kept.is_some_and(|kept| !kept.contains(&label.key)) {
                let text = "left out: labelsToKeep does not name it, so that the chart takes it away again";
                self.find(Kind::Changed, &label.place, &what, text);
            } else if by_stage.iter().any(|(key, source)| *key == label.key || *source == label.key) {
                self.find(Kind::Taken, &label.place, &what, "pipeline_stages");
                stage.push(label.clone());
            } else {
                self.find(Kind::Taken, &label.place, &what, "relabel_configs");
                rules.push(promtail::fixed(label));
            }
        }
        self.pipeline.relabel.extend(rules);
        if !stage.is_empty() {
            let group = Tree { place: place.clone(), value: Value::Group(stage) };
            self.pipeline.stages.push(Tree::group(place, [("static_labels", group)]));
        }
    }

    /// Everything else.
    fn rest(&mut self) {
        for pair in self.feature.values.pairs() {
            if let Some((kind, text)) = others::told(pair) {
                self.find(kind, &pair.place, &pair.key, &text);
            }
        }
    }
}

/// A rule with one more field.
fn rule(place: &Place, source: &str, regex: &str, key: &str, value: &str) -> Tree {
    let source = Tree { place: place.clone(), value: Value::List(vec![Tree::text(place, source)]) };
    let fields = [("source_labels", source), ("regex", Tree::text(place, regex)), (key, Tree::text(place, value))];
    Tree::group(place, fields)
}

/// A label's name as the chart writes it.
fn label_name(item: &Tree) -> String {
    escaped(item.as_text().unwrap_or(""))
}

pub fn escaped(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "_")
}
