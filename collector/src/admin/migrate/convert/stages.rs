//! Stages: those that read the runtime's format are left out, what differs by default is written out.

use super::{
    Base, Draft, Item,
    by_hand::{self, ByHand, Part},
    draft::group,
    field, origin_of, touch,
};
use crate::admin::migrate::origin::{Finding, Kind, Pair, Pipeline, Place, Source, Tree, Value};

/// Converts the stages of a pipeline; `labels` are those of the client that no stage may remove. Returns the place of the stage that makes the label
/// `stream`, where a rule has to make it now.
pub fn convert(pipeline: &Pipeline, labels: &[String], draft: &mut Draft) -> Option<Place> {
    let mut reader = Reader { pipeline, labels, draft, reads_format: false, makes_stream: false, time: None };
    let by_hand = if pipeline.source.is_of_lines() { None } else { by_hand::find(&pipeline.stages) };
    for (index, stage) in pipeline.stages.iter().enumerate() {
        let behind = &pipeline.stages[index + 1..];
        let is_by_hand = by_hand.as_ref().is_some_and(|by_hand| reader.by_hand(by_hand, index, stage, behind));
        if !is_by_hand {
            reader.stage(index, stage, behind);
        }
    }
    reader.end()
}

/// What is told of a stage `cri` or `docker` where lines come from an API.
pub const OF_NO_USE: &str = "does nothing in the old collector either: lines of an API are without the runtime's format, and no label stream is \
                             made; for one add a rule from __meta_pilcrow_stream";

struct Reader<'r> {
    pipeline: &'r Pipeline,
    labels: &'r [String],
    draft: &'r mut Draft,
    /// Whether a stage reads the runtime's format.
    reads_format: bool,
    /// Whether a stage makes the label `stream` of it.
    makes_stream: bool,
    /// What that stage extracts a line's own time as.
    time: Option<&'static str>,
}

impl Reader<'_> {
    fn what(&self, index: usize, name: &str) -> String {
        format!("{}: pipeline_stages[{index}].{name}", self.pipeline.name)
    }

    fn find(&mut self, kind: Kind, stage: &Tree, what: &str, text: impl Into<String>) {
        self.draft.findings.push(Finding::new(kind, &stage.place, what, text));
    }

    fn stage(&mut self, index: usize, stage: &Tree, behind: &[Tree]) {
        let [Pair { key: name, value: settings, .. }] = stage.pairs() else {
            let what = self.what(index, "");
            return self.keep(stage, &what);
        };
        let what = self.what(index, name);
        match name.as_str() {
            "cri" | "docker" => self.runtime(stage, name, settings, behind, &what),
            "timestamp" | "metrics" | "match" => {
                let before = self.draft.findings.len();
                let stage = self.as_promtail(stage, &what);
                if name != "timestamp" || before == self.draft.findings.len() {
                    self.find(Kind::Taken, &stage, &what, "pipeline_stages");
                }
                self.keep(&stage, &what);
            }
            "sampling" => {
                self.find(Kind::Changed, stage, &what, "decided by a hash of labels, time and text, not at random: a line that is sent again is decided the same");
                self.keep(stage, &what);
            }
            "limit" if field(settings, "drop") != "true" => {
                self.find(
                    Kind::Changed,
                    stage,
                    &what,
                    "only the container that is over its limit waits, its lines on the disk; the old collector stops all",
                );
                self.keep(stage, &what);
            }
            "multiline" => {
                self.find(Kind::Changed, stage, &what, "never mixes two containers, and loses no block in a crash; blocks are also bounded by lines.max_bytes");
                self.keep(stage, &what);
            }
            "labelallow" | "label_keep" if !self.labels.is_empty() => {
                let names: Vec<&str> = self.labels.iter().map(String::as_str).collect();
                let names: Vec<&str> = names.into_iter().filter(|name| !mentions(settings, name)).collect();
                if names.is_empty() {
                    self.find(Kind::Taken, stage, &what, "pipeline_stages");
                    return self.keep(stage, &what);
                }
                let text = format!(
                    "with the labels of the client ({}), which the old collector adds behind all stages",
                    names.join(", ")
                );
                self.find(Kind::Changed, stage, &what, text);
                let names: Vec<Tree> = names.iter().map(|name| Tree::text(&stage.place, *name)).collect();
                self.keep(&with_items(stage, &names), &what);
            }
            "labeldrop" | "label_drop" if mentions(settings, "filename") && !self.makes_file_name() => {
                let Some(rest) = without_item(stage, "filename") else {
                    return self.find(
                        Kind::Taken,
                        stage,
                        &what,
                        "Pilcrow makes no label filename, so that the stage is not needed",
                    );
                };
                self.find(Kind::Taken, stage, &what, "pipeline_stages, without filename, which Pilcrow does not make");
                self.keep(&rest, &what);
            }
            "regex" if field(settings, "source") == "filename" => return self.of_file_name(stage, settings, &what),
            _ => {
                self.find(Kind::Taken, stage, &what, "pipeline_stages");
                self.keep(stage, &what);
            }
        }
        if self.reads_file_name(index, stage) {
            self.find(
                Kind::NotPossible,
                stage,
                &what,
                "reads the label filename, which Pilcrow does not make: let a rule make it, {source_labels: [__path__], target_label: \
                 filename}; its value is /var/log/pods/NAMESPACE_POD_UID/CONTAINER/*.log then (docs/labels.md)",
            );
        }
    }

    /// A stage, with those in it, as Promtail runs it: with its default where Pilcrow has another one.
    fn as_promtail(&mut self, stage: &Tree, what: &str) -> Tree {
        let [Pair { key: name, value: settings, .. }] = stage.pairs() else { return stage.clone() };
        match name.as_str() {
            "timestamp" => self.timestamp(stage, settings, what),
            _ => {
                let mut stage = stage.clone();
                if let Value::Group(pairs) = &mut stage.value
                    && let Some(Value::Group(fields)) = pairs.first_mut().map(|pair| &mut pair.value.value)
                    && let Some(Value::List(nested)) =
                        fields.iter_mut().find(|field| field.key == "stages").map(|field| &mut field.value.value)
                {
                    for (index, nested) in nested.iter_mut().enumerate() {
                        let name = nested.pairs().first().map_or("", |pair| &pair.key);
                        let what = format!("{what}.stages[{index}].{name}");
                        *nested = self.as_promtail(nested, &what);
                    }
                }
                stage
            }
        }
    }

    fn timestamp(&mut self, stage: &Tree, settings: &Tree, what: &str) -> Tree {
        let action = field(settings, "action_on_failure");
        if matches!(action, "" | "fudge")
            && self.time == Some(field(settings, "source"))
            && ["RFC3339", "RFC3339Nano"].contains(&field(settings, "format"))
        {
            let text = "action_on_failure: skip, not fudge: where no stage extracts a time from the line, the old collector reads the time that the \
                        runtime wrote, and skip keeps this very time; of a line with a time that cannot be read it is kept too";
            self.find(Kind::Changed, stage, what, text);
            return with(stage, "action_on_failure", "skip");
        }
        if !action.is_empty() {
            return stage.clone();
        }
        let text = "action_on_failure: fudge, the old collector's default, is written out; skip (Pilcrow's) is safer, as lines that are \
                    sent again after a restart then have the same time";
        self.find(Kind::Changed, stage, what, text);
        with(stage, "action_on_failure", "fudge")
    }

    /// A stage that takes the path of a pod's log apart: rules make these labels.
    fn of_file_name(&mut self, stage: &Tree, settings: &Tree, what: &str) {
        let mut unknown = Vec::new();
        for name in groups(field(settings, "expression")) {
            let source = match name.to_ascii_lowercase().replace("kubernetes_", "").as_str() {
                "namespace" | "namespace_name" | "pod_namespace" | "ns" => "__meta_kubernetes_namespace",
                "pod" | "pod_name" | "podname" => "__meta_kubernetes_pod_name",
                "container" | "container_name" => "__meta_kubernetes_pod_container_name",
                "uid" | "pod_uid" | "pod_id" => "__meta_kubernetes_pod_uid",
                _ => {
                    unknown.push(name);
                    continue;
                }
            };
            let is_label = self.pipeline.stages.iter().any(|stage| makes_label(stage, &name));
            let has_it = self.pipeline.source == Source::Path && ["namespace", "pod", "container"].contains(&&*name);
            if is_label && !has_it {
                let pairs = [
                    ("source_labels", Value::List(vec![Tree::text(&stage.place, source)])),
                    ("target_label", Value::Text(name)),
                ];
                let (tree, comment) = (group(&stage.place, &pairs), origin_of(&stage.place));
                self.draft.relabel.push(Item { tree: Some(tree), what: what.to_owned(), comment });
            }
        }
        let text = "left out: rules make the labels that it takes from the path, as Pilcrow knows the pod of each file";
        self.find(Kind::Changed, stage, what, text);
        if !unknown.is_empty() {
            let text = format!(
                "{} cannot be told: write a rule that takes it from __path__ (docs/labels.md)",
                unknown.join(", ")
            );
            self.find(Kind::NotPossible, stage, what, text);
        }
    }

    /// Whether a stage reads the label that the old collector gives each line, and no value of that name which a stage has made.
    fn reads_file_name(&self, index: usize, stage: &Tree) -> bool {
        let [Pair { key: name, .. }] = stage.pairs() else { return false };
        let makes_or_drops = ["labeldrop", "label_drop", "labelallow", "label_keep", "static_labels", "cri", "docker"];
        let has_own = |stage: &Tree| touch::extracts(stage, "filename") || touch::makes(stage, "filename");
        !makes_or_drops.contains(&name.as_str())
            && !self.pipeline.source.is_of_lines()
            && !self.pipeline.stages[..index].iter().any(has_own)
            && !touch::extracts(stage, "filename")
            && touch::names_read(stage).iter().any(|name| name == "filename")
    }

    /// Whether a stage makes a label of this name, whatever Promtail's own is.
    fn makes_file_name(&self) -> bool {
        self.pipeline.stages.iter().any(|stage| touch::makes(stage, "filename"))
    }

    fn keep(&mut self, stage: &Tree, what: &str) {
        let comment = origin_of(&stage.place);
        self.draft.stages.push(Item { tree: Some(stage.clone()), what: what.to_owned(), comment });
    }

    /// A stage that reads what the container runtime writes.
    fn runtime(&mut self, stage: &Tree, name: &str, settings: &Tree, behind: &[Tree], what: &str) {
        if self.pipeline.source.is_of_lines() {
            return self.find(Kind::Changed, stage, what, OF_NO_USE);
        }
        (self.reads_format, self.makes_stream) = (true, true);
        self.time = Some(if name == "cri" { "time" } else { "timestamp" });
        let sized = settings.pairs().iter().any(|pair| pair.key.starts_with("max_partial"));
        if sized {
            self.find(
                Kind::Changed,
                stage,
                what,
                "its sizes have no effect: Pilcrow joins pieces of lines itself, up to lines.max_bytes",
            );
        } else {
            self.find(Kind::Taken, stage, what, "Pilcrow reads the runtime's format by itself, CRI and docker");
        }
        if name == "cri" && behind.iter().any(|stage| mentions(stage, "flags")) {
            // Joined lines are full ones.
            let text = "flags is F for every line, as Pilcrow joins the pieces of lines";
            self.find(Kind::Changed, stage, what, text);
            let settings = [("source", Value::Text("flags".into())), ("template", Value::Text("F".into()))];
            let tree = group(&stage.place, &[("template", group(&stage.place, &settings).value)]);
            self.keep(&tree, what);
        }
        let known = if name == "cri" { ["content", "time", "logtag"] } else { ["output", "timestamp", "attrs"] };
        for key in known.iter().filter(|key| behind.iter().any(|stage| field_is(stage, "source", key))) {
            self.find(Kind::Changed, stage, what, format!("a later stage reads {key}, which Pilcrow has not: the line and its time are those of the record already"));
        }
    }

    /// A stage that belongs to those which take the runtime's format apart by hand; whether it does.
    fn by_hand(&mut self, by_hand: &ByHand, index: usize, stage: &Tree, behind: &[Tree]) -> bool {
        let what = self.what(index, stage.pairs().first().map_or("", |pair| &pair.key));
        if index == by_hand.index {
            let text = format!(
                "left out with the {} stages behind it: Pilcrow reads the runtime's format by itself, CRI and docker",
                by_hand.count()
            );
            self.find(Kind::Taken, stage, &what, text);
            self.reads_format = true;
            return true;
        }
        match by_hand.parts.get(&index) {
            None => return false,
            Some(Part::LeftOut) => {}
            Some(Part::Unread(source)) => {
                self.find(
                    Kind::Changed,
                    stage,
                    &what,
                    format!("left out, as it reads {source}, which Pilcrow does not read of Docker's records"),
                );
            }
            Some(Part::Labels(rest, unread)) => {
                self.makes_stream |=
                    mentions(stage, "stream") && !rest.as_ref().is_some_and(|rest| mentions(rest, "stream"));
                if !unread.is_empty() {
                    let text = format!(
                        "{}: comes from what Docker adds to its records (attrs), which Pilcrow does not read: a rule can make a label of the \
                         container's name, {{source_labels: [__meta_kubernetes_pod_name], target_label: NAME}}",
                        unread.join(", ")
                    );
                    self.find(Kind::NotPossible, stage, &what, text);
                }
                if let Some(rest) = rest {
                    self.stage(index, rest, behind);
                }
            }
        }
        true
    }

    fn end(self) -> Option<Place> {
        let place = self.pipeline.stages.first().map_or(&self.pipeline.place, |stage| &stage.place);
        if !self.reads_format && !self.pipeline.source.is_of_lines() {
            let text = "no stage cri or docker: Pilcrow always reads the runtime's format, so that lines come without its head";
            let what = format!("{}: pipeline_stages", self.pipeline.name);
            self.draft.findings.push(Finding::new(Kind::Changed, &self.pipeline.place, what, text));
        }
        // The rules that come before those of the old setup make it themselves.
        (self.makes_stream && self.draft.base == Base::None).then(|| place.clone())
    }
}

/// The names of the groups of a regular expression.
pub fn groups(expression: &str) -> Vec<String> {
    let names = expression.split("(?P<").skip(1).chain(expression.split("(?<").skip(1));
    names.filter_map(|rest| Some(rest.split_once('>')?.0.to_owned())).collect()
}

/// Whether a stage, or one in it, has this value or key.
fn mentions(tree: &Tree, word: &str) -> bool {
    match &tree.value {
        Value::Nothing => false,
        Value::Text(text) => text == word,
        Value::List(items) => items.iter().any(|item| mentions(item, word)),
        Value::Group(pairs) => {
            let empty = |pair: &Pair| pair.key == word && matches!(&pair.value.value, Value::Nothing);
            pairs.iter().any(|pair| empty(pair) || mentions(&pair.value, word))
        }
    }
}

/// Whether a stage makes a label of an extracted value.
fn makes_label(stage: &Tree, name: &str) -> bool {
    match stage.pairs() {
        [Pair { key, value, .. }] if key == "labels" => {
            value.pairs().iter().any(|pair| pair.value.as_text().unwrap_or(&pair.key) == name)
        }
        [Pair { value, .. }] => {
            value.get("stages").is_some_and(|pair| pair.value.items().iter().any(|stage| makes_label(stage, name)))
        }
        _ => false,
    }
}

/// Whether the stages take the label `filename` away.
pub fn drop_file_name(stages: &[Tree]) -> bool {
    stages.iter().any(|stage| match stage.pairs() {
        [Pair { key, value, .. }] if key == "labeldrop" || key == "label_drop" => mentions(value, "filename"),
        [Pair { key, value, .. }] if key == "labelallow" || key == "label_keep" => !mentions(value, "filename"),
        _ => false,
    })
}

fn field_is(tree: &Tree, key: &str, value: &str) -> bool {
    match &tree.value {
        Value::List(items) => items.iter().any(|item| field_is(item, key, value)),
        Value::Group(pairs) => pairs
            .iter()
            .any(|pair| pair.key == key && pair.value.as_text() == Some(value) || field_is(&pair.value, key, value)),
        _ => false,
    }
}

/// A stage with this field.
fn with(stage: &Tree, key: &str, value: &str) -> Tree {
    let mut stage = stage.clone();
    if let Value::Group(pairs) = &mut stage.value
        && let Some(pair) = pairs.first_mut()
        && let Value::Group(fields) = &mut pair.value.value
    {
        let place = pair.place.clone();
        fields.retain(|field| field.key != key);
        fields.push(Pair { key: key.to_owned(), place: place.clone(), value: Tree::text(&place, value) });
    }
    stage
}

/// A stage that is a list, without this item; nothing where it has no other one.
fn without_item(stage: &Tree, name: &str) -> Option<Tree> {
    let mut stage = stage.clone();
    let Value::List(items) = list_of(&mut stage)? else { return None };
    items.retain(|item| item.as_text() != Some(name));
    (!items.is_empty()).then_some(stage)
}

/// The list that a stage is, also where it has one under `values`.
fn list_of(stage: &mut Tree) -> Option<&mut Value> {
    let Value::Group(pairs) = &mut stage.value else { return None };
    match &mut pairs.first_mut()?.value.value {
        Value::Group(fields) => Some(&mut fields.iter_mut().find(|field| field.key == "values")?.value.value),
        value => Some(value),
    }
}

/// A stage that is a list, with more items.
fn with_items(stage: &Tree, more: &[Tree]) -> Tree {
    let mut stage = stage.clone();
    if let Some(Value::List(items)) = list_of(&mut stage) {
        items.extend(more.iter().cloned());
    }
    stage
}
