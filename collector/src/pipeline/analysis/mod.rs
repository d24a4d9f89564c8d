//! What is likely not meant in a list of stages, though it can run.
//!
//! In: stages that compile, and which labels there may be before them. Out: warnings with their places: values that nothing extracts,
//! selectors that never match, labels with many values. Guarantees nothing is reported that may well be right: where names are only
//! known when lines come, nothing is said. Looks at settings alone, at no line.

mod effects;
mod names;
mod shape;

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

pub use self::names::labels_behind;

use self::effects::{Effects, LabelChange, Written};
use super::{
    compile::CompileError,
    entry::TENANT_LABEL,
    selector::{Possible, Selector, contradiction, imply},
};
use crate::config::{StageConfig, StageValue, nearest};

/// Labels before the stages, with what is known of their values; `None`: there may be any.
pub type Labels = Option<BTreeMap<String, Possible>>;

/// What is likely not meant, in the order of the list.
#[must_use]
pub fn warnings(stages: &[StageConfig], labels: Labels) -> Vec<CompileError> {
    let mut walk = Walk::default();
    walk.note_written(stages, "");
    let mut scope = Scope { labels, ..Scope::default() };
    scope.take_labels();
    walk.list(stages, "", &mut scope);
    walk.warnings
}

#[derive(Default)]
struct Walk {
    /// The first place at which a value of a name is extracted.
    written: HashMap<String, String>,
    warnings: Vec<CompileError>,
}

/// What is known between two stages.
#[derive(Clone, Default)]
struct Scope {
    /// Values that may have been extracted, with what they are found by.
    values: HashMap<String, Option<String>>,
    /// Any value may have been extracted.
    any_value: bool,
    labels: Labels,
    /// What the `match` stages around it select.
    inside: Vec<Rc<Selector>>,
    /// What was dropped before, and where.
    dropped: Vec<(Rc<Selector>, String)>,
    /// Values for which entries were dropped before, and where.
    dropped_values: Vec<(String, String, String)>,
    /// Where a tenant was chosen.
    tenant: Option<String>,
}

impl Walk {
    fn note_written(&mut self, stages: &[StageConfig], prefix: &str) {
        for (index, stage) in stages.iter().enumerate() {
            let Some((name, settings)) = stage.parts() else { continue };
            let key = format!("{prefix}[{index}].{name}");
            for Written { name, .. } in Effects::of(name, settings).writes {
                self.written.entry(name.to_owned()).or_insert_with(|| key.clone());
            }
            if name == "match" {
                self.note_written(&nested(settings), &format!("{key}.stages."));
            }
        }
    }

    fn list(&mut self, stages: &[StageConfig], prefix: &str, scope: &mut Scope) {
        for (index, stage) in stages.iter().enumerate() {
            let Some((name, settings)) = stage.parts() else { continue };
            let key = format!("{prefix}[{index}].{name}");
            if name == "match" {
                self.selected(settings, &key, scope);
                continue;
            }
            let effects = Effects::of(name, settings);
            for (field, read) in &effects.reads {
                let is_there = scope.has_value(read) || name.ends_with("metadata") && scope.may_have_label(read);
                if !is_there {
                    self.missing(&format!("{key}.{field}"), read, scope);
                }
            }
            for (field, label) in &effects.reads_labels {
                if !scope.may_have_label(label) {
                    self.no_label(&format!("{key}.{field}"), label, scope);
                }
            }
            for change in &effects.labels {
                if let LabelChange::From { label, source, key: field } = change {
                    self.wide(&format!("{key}.{field}"), label, source, scope);
                }
            }
            match name {
                "drop" => scope.note_drop(settings, &key),
                "tenant" => scope.tenant = Some(key),
                "labelallow" | "label_keep" if !effects::list(settings).any(|label| label == TENANT_LABEL) => {
                    self.loses_tenant(&key, scope.tenant.take());
                }
                _ => {}
            }
            scope.apply(&effects);
        }
    }

    fn selected(&mut self, settings: &StageValue, key: &str, scope: &mut Scope) {
        let text = settings.get("selector").and_then(StageValue::text).unwrap_or_default();
        let Ok(selector) = Selector::parse(text) else { return };
        let selector = Rc::new(selector);
        let all: Vec<&Selector> = scope.inside.iter().chain([&selector]).map(|selector| &**selector).collect();
        let dropped = scope.dropped.iter().find(|(dropped, _)| imply(&all, dropped));
        let why = contradiction(&all, &|name| scope.label(name))
            .or_else(|| dropped.map(|(_, by)| format!("{} drops all that it selects", place(by))));
        if let Some(why) = why {
            self.warn(&format!("{key}.selector"), format!("never matches: {why}"));
            return;
        }
        if settings.get("action").and_then(StageValue::text) == Some("drop") {
            scope.dropped.push((selector, key.to_owned()));
            return;
        }
        let mut inner = scope.clone();
        inner.take_labels();
        inner.inside.push(selector);
        self.list(&nested(settings), &format!("{key}.stages."), &mut inner);
        scope.merge(inner);
    }

    fn no_label(&mut self, key: &str, name: &str, scope: &Scope) {
        let known = scope.labels.iter().flatten().map(|(label, _)| label.as_str());
        let meant = nearest(name, known).map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
        self.warn(key, format!("no label has the name {name}{meant}"));
    }

    fn missing(&mut self, key: &str, name: &str, scope: &Scope) {
        let message = match self.written.get(name) {
            None if scope.labels.is_some() && scope.may_have_label(name) => {
                format!(
                    "nothing extracts {name}, and the label of this name was made by a stage, which extracts nothing"
                )
            }
            Some(by) => format!("{name} is not extracted before, only by {}", place(by)),
            None => format!("nothing extracts {name}, and no label has this name"),
        };
        self.warn(key, message);
    }

    /// As in Promtail the tenant is a label, and one that is not listed is removed.
    fn loses_tenant(&mut self, key: &str, tenant: Option<String>) {
        if let Some(by) = tenant {
            self.warn(key, format!("removes the tenant of {}: add {TENANT_LABEL} to the list", place(&by)));
        }
    }

    fn wide(&mut self, key: &str, label: &str, source: &str, scope: &Scope) {
        if shape::has_few(label) || shape::has_few(source) {
            return;
        }
        let found_by = scope.values.get(source).and_then(Option::as_deref).filter(|part| shape::is_wide(part));
        let why = match found_by {
            Some(part) => format!("what {part} matches has many values"),
            None if shape::has_many(source) || shape::has_many(label) => "this name speaks of many values".to_owned(),
            None => return,
        };
        let advice = "each value of a label is a stream of its own, which makes Loki slow and expensive; use structured_metadata";
        self.warn(key, format!("{why}: {advice}"));
    }

    fn warn(&mut self, key: &str, message: String) {
        self.warnings.push(CompileError { key: key.to_owned(), message });
    }
}

impl Scope {
    fn has_value(&self, name: &str) -> bool {
        self.any_value || self.values.contains_key(name)
    }

    fn may_have_label(&self, name: &str) -> bool {
        self.label(name) != Possible::Always(String::new())
    }

    fn label(&self, name: &str) -> Possible {
        let Some(labels) = &self.labels else { return Possible::Anything };
        labels.get(name).cloned().unwrap_or(Possible::Always(String::new()))
    }

    /// Labels become extracted values, as where a pipeline begins.
    fn take_labels(&mut self) {
        match &self.labels {
            Some(labels) => self.values.extend(labels.keys().map(|name| (name.clone(), None))),
            None => self.any_value = true,
        }
    }

    fn apply(&mut self, effects: &Effects<'_>) {
        if effects.changes_line {
            self.dropped.retain(|(selector, _)| !selector.reads_lines());
            self.inside.retain(|selector| !selector.reads_lines());
        }
        for change in &effects.labels {
            match change {
                LabelChange::Fixed(label, value) => self.set_label(label, Possible::Always((*value).to_owned())),
                LabelChange::Removed(label) if !self.may_have_label(label) => {}
                LabelChange::Removed(label) => self.set_label(label, Possible::Anything),
                LabelChange::From { label, source, .. } => {
                    self.set_label(label, Possible::Anything);
                    let dropped = self.dropped_values.iter().filter(|(name, ..)| name == source);
                    self.dropped
                        .extend(dropped.map(|(_, value, by)| (Rc::new(Selector::of_label(label, value)), by.clone())));
                }
                LabelChange::Any => {
                    self.labels.iter_mut().flat_map(BTreeMap::values_mut).for_each(|value| *value = Possible::Anything);
                    self.dropped.clear();
                    self.inside.clear();
                }
            }
        }
        self.any_value |= effects.writes_any;
        for Written { name, shape } in &effects.writes {
            self.values.insert((*name).to_owned(), shape.map(str::to_owned));
            self.dropped_values.retain(|(known, ..)| known != name);
        }
    }

    fn set_label(&mut self, label: &str, value: Possible) {
        if let Some(labels) = &mut self.labels {
            labels.insert(label.to_owned(), value);
        }
        self.dropped.retain(|(selector, _)| !selector.reads(label));
        self.inside.retain(|selector| !selector.reads(label));
    }

    /// What a `drop` stage with one condition leaves out of what follows.
    fn note_drop(&mut self, settings: &StageValue, key: &str) {
        let text = |field| settings.get(field).and_then(StageValue::text);
        if text("older_than").is_some() || text("longer_than").is_some() {
            return;
        }
        match (settings.get("source").and_then(StageValue::text), text("expression"), text("value")) {
            (None, Some(expression), None) if settings.get("source").is_none() => {
                if let Ok(selector) = Selector::of_lines(expression) {
                    self.dropped.push((Rc::new(selector), key.to_owned()));
                }
            }
            (Some(source), None, Some(value)) => {
                self.dropped_values.push((source.to_owned(), value.to_owned(), key.to_owned()));
            }
            _ => {}
        }
    }

    /// Goes on behind a `match`, whose stages may have run or not.
    fn merge(&mut self, inner: Self) {
        self.values.extend(inner.values);
        self.any_value |= inner.any_value;
        self.dropped.retain(|(known, _)| inner.dropped.iter().any(|(other, _)| Rc::ptr_eq(known, other)));
        self.inside.retain(|known| inner.inside.iter().any(|other| Rc::ptr_eq(known, other)));
        self.dropped_values.retain(|known| inner.dropped_values.contains(known));
        self.tenant = self.tenant.take().or(inner.tenant);
        if let (Some(labels), Some(inner)) = (&mut self.labels, inner.labels) {
            for (name, value) in inner {
                if labels.get(&name) != Some(&value) {
                    labels.insert(name, Possible::Anything);
                }
            }
        }
    }
}

fn nested(settings: &StageValue) -> Vec<StageConfig> {
    settings.get("stages").map(StageValue::items).unwrap_or_default().iter().cloned().map(StageConfig).collect()
}

/// A key as people write it.
fn place(key: &str) -> String {
    format!("pipeline_stages{}", key.replace(".[", "["))
}

#[cfg(test)]
mod tests;
