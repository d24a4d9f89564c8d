//! The feature that collects pod logs.
//!
//! In: its values. Out: a pipeline whose stages come in the order of the chart's template: structured metadata, static labels, extra
//! stages, and last the list of labels to keep. The labels of the destination are added behind all of them.

use crate::{
    admin::migrate::{
        alloy,
        origin::{Fault, Kind, Origin, Pair, Pipeline, Place, Setting, Source, Text, Tree, Value},
        promtail,
        recognise::at,
        yaml,
    },
    config::Preset,
    pipeline::relabel,
};

/// Structured metadata that the preset makes, as the chart does by default.
const BY_DEFAULT: [&str; 3] = ["k8s_pod_name", "pod", "service_instance_id"];

/// The annotation by which the preset leaves pods out.
const ANNOTATION: &str = "logs.grafana.com/pods.enabled";

/// Reads the feature of this name; `raw` has its texts as they are written.
///
/// # Errors
/// Rules or stages in it are not Alloy's language.
pub fn read(
    key: &str,
    values: &Tree,
    raw: &Tree,
    outer: &Text<'_>,
    destinations: &[(String, Option<usize>)],
    origin: &mut Origin,
) -> Result<(), Vec<Fault>> {
    let place = &values.place;
    let mut reader = Reader {
        key,
        values,
        raw,
        outer,
        pipeline: Pipeline {
            name: key.to_owned(),
            place: place.clone(),
            source: Source::Preset(Preset::K8sMonitoring),
            relabel: Vec::new(),
            stages: yaml::documents(&Text { place: place.clone(), text: "cri: {}" })?,
            clients: Vec::new(),
            settings: Vec::new(),
            positions: None,
            findings: Vec::new(),
        },
        origin,
    };
    reader.destinations(destinations);
    reader.selection();
    reader.rules()?;
    reader.stages()?;
    reader.rest();
    let Reader { pipeline, .. } = reader;
    origin.pipelines.push(pipeline);
    Ok(())
}

struct Reader<'r> {
    key: &'r str,
    values: &'r Tree,
    raw: &'r Tree,
    outer: &'r Text<'r>,
    pipeline: Pipeline,
    origin: &'r mut Origin,
}

impl<'r> Reader<'r> {
    fn get(&self, key: &str) -> Option<&'r Pair> {
        self.values.get(key)
    }

    fn what(&self, key: &str) -> String {
        format!("{}.{key}", self.key)
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
        let inner = at(self.values, &["volumeGatherSettings", "onlyGatherNewLogLines"]);
        match inner.or(at(self.values, &["onlyGatherNewLogLines"])) {
            Some(value) if value.as_text() == Some("false") => {
                self.find(
                    Kind::Taken,
                    &value.place,
                    "onlyGatherNewLogLines",
                    "start_at: beginning, which is the default",
                );
            }
            Some(value) => self.set("onlyGatherNewLogLines", "start_at", Tree::text(&value.place, "end")),
            None => {
                let from = format!("{}: files that are there already", self.key);
                self.pipeline.settings.push(Setting::new("start_at", Tree::text(&self.values.place, "end"), from));
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

    fn rules(&mut self) -> Result<(), Vec<Fault>> {
        for key in ["labels", "annotations"] {
            let Some(pair) = self.get(key) else { continue };
            self.find(Kind::Taken, &pair.place, key, "relabel_configs");
            for label in pair.value.pairs() {
                let source = label.value.as_text().unwrap_or("");
                let names =
                    if key == "labels" { relabel::label_names(source) } else { relabel::annotation_names(source) };
                self.pipeline.relabel.push(rule(&label.place, &names[0], "(.+)", "target_label", &label.key));
            }
        }
        if let Some(text) = self.text("extraDiscoveryRules") {
            self.pipeline.relabel.extend(alloy::read_rules(&text, &mut self.origin.findings)?);
        }
        Ok(())
    }

    /// A text in Alloy's language, with its place.
    fn text(&self, key: &str) -> Option<Text<'r>> {
        yaml::inner(self.outer, at(self.raw, &[key])?)
    }

    fn stages(&mut self) -> Result<(), Vec<Fault>> {
        let metadata = self.metadata();
        // A rule costs nothing for each line, and does the same where no stage before takes such a label away.
        let is_read =
            |label: &&Pair| metadata.iter().any(|own| own.key == label.key || own.value.as_text() == Some(&label.key));
        let labels = self.get("staticLabels").map(|pair| pair.value.pairs()).unwrap_or_default();
        let (by_stage, by_rules): (Vec<&Pair>, Vec<&Pair>) = labels.iter().partition(is_read);
        for (labels, to) in [(&by_rules, "relabel_configs"), (&by_stage, "pipeline_stages")] {
            for label in labels {
                self.find(Kind::Taken, &label.place, &format!("staticLabels.{}", label.key), to);
            }
        }
        self.pipeline.relabel.extend(by_rules.into_iter().map(promtail::fixed));
        if let (Some(pair), false) = (self.get("structuredMetadata"), metadata.is_empty()) {
            let group = Tree { place: pair.value.place.clone(), value: Value::Group(metadata.clone()) };
            self.pipeline.stages.push(Tree::group(&pair.place, [("structured_metadata", group)]));
        }
        if let (Some(pair), false) = (self.get("staticLabels"), by_stage.is_empty()) {
            let labels = Value::Group(by_stage.into_iter().cloned().collect());
            let group = Tree { place: pair.value.place.clone(), value: labels };
            self.pipeline.stages.push(Tree::group(&pair.place, [("static_labels", group)]));
        }
        if let Some(text) = self.text("extraLogProcessingStages") {
            self.pipeline.stages.extend(alloy::read_stages(&text, &mut self.origin.findings)?);
        }
        if let Some(pair) = self.get("labelsToKeep").filter(|pair| !pair.value.items().is_empty()) {
            let names = pair.value.items().iter().map(|item| Tree::text(&item.place, label_name(item)));
            let list = Tree { place: pair.value.place.clone(), value: Value::List(names.collect()) };
            self.pipeline.stages.push(Tree::group(&pair.place, [("labelallow", list)]));
        }
        Ok(())
    }

    /// What the values add to the structured metadata that the preset makes.
    fn metadata(&mut self) -> Vec<Pair> {
        let Some(Pair { value: Tree { value: Value::Group(pairs), .. }, .. }) = self.get("structuredMetadata") else {
            return Vec::new();
        };
        let mut added = Vec::new();
        for pair in pairs {
            let key = escaped(&pair.key);
            let source = pair.value.as_text().filter(|text| !text.is_empty()).map(escaped);
            if !BY_DEFAULT.contains(&key.as_str()) {
                // What has no value is taken by its own name in older versions of the chart, and left out in newer ones.
                let value = source.unwrap_or_else(|| key.clone());
                added.push(Pair { key, place: pair.place.clone(), value: Tree::text(&pair.place, value) });
            } else if source.is_none() && key.ends_with("pod") {
                let text = "relabel_configs, for the label; the preset makes structured metadata of it as well";
                self.find(Kind::Changed, &pair.place, &format!("structuredMetadata.{}", pair.key), text);
                let name = "__meta_kubernetes_pod_name";
                self.pipeline.relabel.push(rule(&pair.place, name, "(.+)", "target_label", "pod"));
            } else if source.as_ref() != Some(&key) {
                let text = "is what the preset makes of it all the same; for a label of this name write a rule (docs/labels.md)";
                self.find(Kind::Changed, &pair.place, &format!("structuredMetadata.{}", pair.key), text);
            }
        }
        added
    }

    /// Everything else.
    fn rest(&mut self) {
        const READ: [&str; 16] = [
            "annotationSelector",
            "annotations",
            "collector",
            "destinations",
            "discoveryMethod",
            "enabled",
            "excludeNamespaces",
            "extraDiscoveryRules",
            "extraLogProcessingStages",
            "labelSelectors",
            "labels",
            "labelsToKeep",
            "namespaces",
            "onlyGatherNewLogLines",
            "staticLabels",
            "structuredMetadata",
        ];
        let is_set = |pair: &&Pair| match &pair.value.value {
            Value::Nothing => false,
            Value::Group(pairs) => !pairs.iter().all(|pair| pair.value.as_text() == Some("false")),
            Value::List(items) => !items.is_empty(),
            Value::Text(text) => !text.is_empty(),
        };
        for pair in self.values.pairs().iter().filter(is_set).filter(|pair| !READ.contains(&pair.key.as_str())) {
            let (kind, text) = match pair.key.as_str() {
                "gatherMethod" | "volumeGatherSettings" | "nodeSelectors" => {
                    (Kind::Taken, "each Pilcrow reads the files of its own node, never the API")
                }
                "defaultLogFormat" => (Kind::Taken, "Pilcrow detects by itself which runtime wrote a log"),
                "cri" => (Kind::Changed, "Pilcrow joins pieces of lines itself, up to lines.max_bytes"),
                "attachNamespaceMetadata"
                | "attachNodeMetadata"
                | "namespaceLabels"
                | "namespaceAnnotations"
                | "nodeLabels"
                | "nodeAnnotations"
                | "staticLabelsFrom" => (
                    Kind::NotPossible,
                    "cannot be told: Pilcrow asks the Kubernetes API for pods only; write fixed values to labels",
                ),
                "secretFilter" if at(&pair.value, &["enabled"]).and_then(Tree::as_text) != Some("true") => continue,
                "secretFilter" => (
                    Kind::NotPossible,
                    "Pilcrow finds no secrets by itself: write a replace stage for each kind, or keep Alloy for these pods",
                ),
                _ => (Kind::Changed, "has no counterpart; left out"),
            };
            self.find(kind, &pair.place, &pair.key, text);
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

fn escaped(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "_")
}
