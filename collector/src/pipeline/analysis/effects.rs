//! What a stage reads and changes, as far as its settings tell.

use std::borrow::Cow;

use super::shape;
use crate::{
    config::StageValue,
    pipeline::template::{Field, Template},
};

/// Of one stage, those nested in a `match` left out.
#[derive(Debug, Default)]
pub struct Effects<'s> {
    /// Extracted values that it needs: the key at which each is named, and the name.
    pub reads: Vec<(String, Cow<'s, str>)>,
    /// Labels that it needs, likewise.
    pub reads_labels: Vec<(String, &'s str)>,
    /// Extracted values that it may write.
    pub writes: Vec<Written<'s>>,
    /// It may write values of any name.
    pub writes_any: bool,
    pub changes_line: bool,
    pub labels: Vec<LabelChange<'s>>,
}

/// The names of a stage that takes a list, which may stand below `values`.
pub fn list(settings: &StageValue) -> impl Iterator<Item = &str> {
    settings.get("values").unwrap_or(settings).items().iter().filter_map(StageValue::text)
}

#[derive(Debug)]
pub struct Written<'s> {
    pub name: &'s str,
    /// The part of a regular expression that it is what matched of.
    pub shape: Option<&'s str>,
}

#[derive(Debug)]
pub enum LabelChange<'s> {
    /// The label always has this value from here on.
    Fixed(&'s str, &'s str),
    /// The label gets the value of this name, at this key.
    From { label: &'s str, source: &'s str, key: String },
    /// There is no such label from here on.
    Removed(&'s str),
    /// Labels of any name are changed or removed.
    Any,
}

impl<'s> Effects<'s> {
    /// Of the stage of this name.
    pub fn of(name: &str, settings: &'s StageValue) -> Self {
        let mut effects = Self::default();
        let source = settings.get("source").and_then(StageValue::text);
        match name {
            "json" => effects.extracts(settings, "expressions", source),
            "logfmt" => effects.extracts(settings, "mapping", source),
            "regex" | "pattern" => effects.captures(name, settings, source),
            "replace" => {
                effects.changes_line = source.is_none();
                effects.needs("source", source);
                effects.writes_groups(settings);
            }
            "template" => {
                effects.needs_fields(settings);
                effects.writes.extend(source.map(|name| Written { name, shape: None }));
            }
            "timestamp" => effects.needs("source", source),
            "tenant" => {
                effects.needs("source", source);
                let label = settings.get("label").and_then(StageValue::text);
                effects.reads_labels.extend(label.map(|label| ("label".to_owned(), label)));
            }
            "output" => {
                effects.changes_line = true;
                effects.needs("source", source);
            }
            "drop" => effects.needs_all(settings.get("source")),
            "labels" => effects.makes_labels(settings),
            "static_labels" => {
                let map = settings.get("values").filter(|values| !values.entries().is_empty()).unwrap_or(settings);
                let fixed = map.entries().iter().filter_map(|(label, value)| Some((label, value.text()?)));
                effects.labels.extend(fixed.map(|(label, value)| LabelChange::Fixed(label, value)));
            }
            "labeldrop" | "label_drop" => {
                effects.labels.extend(list(settings).map(LabelChange::Removed));
            }
            "labelallow" | "label_keep" => effects.labels.push(LabelChange::Any),
            "structured_metadata" | "non_indexed_labels" => effects.moves_to_metadata(settings),
            "metrics" => effects.counts(settings),
            "pack" => {
                effects.changes_line = true;
                effects.labels.push(LabelChange::Any);
            }
            "truncate" => {
                effects.changes_line = true;
                effects.labels.push(LabelChange::Any);
                effects.writes.push(Written { name: "truncated", shape: None });
            }
            "decolorize" | "multiline" => effects.changes_line = true,
            _ => {}
        }
        effects
    }

    fn needs(&mut self, key: &str, name: Option<&'s str>) {
        self.reads.extend(name.map(|name| (key.to_owned(), name.into())));
    }

    /// What stands behind points in a template.
    fn needs_fields(&mut self, settings: &StageValue) {
        let text = settings.get("template").and_then(StageValue::text).unwrap_or_default();
        let mut fields = Vec::new();
        // Where it does not compile, that is reported.
        let _ = Template::parse(text, &mut |name| {
            if !matches!(name, "Entry" | "Value") && !fields.iter().any(|known| known == name) {
                fields.push(name.to_owned());
            }
            Field::Line
        });
        self.reads.extend(fields.into_iter().map(|name| ("template".to_owned(), name.into())));
    }

    /// One name, or a list of them.
    fn needs_all(&mut self, source: Option<&'s StageValue>) {
        let Some(source) = source else { return };
        self.needs("source", source.text());
        for (index, name) in source.items().iter().enumerate() {
            self.needs(&format!("source.[{index}]"), name.text());
        }
    }

    fn extracts(&mut self, settings: &'s StageValue, map: &str, source: Option<&'s str>) {
        self.needs("source", source);
        self.writes_any = settings.get("regex").and_then(StageValue::text).is_some();
        let names = settings.get(map).into_iter().flat_map(StageValue::entries);
        self.writes.extend(names.map(|(name, _)| Written { name, shape: None }));
    }

    fn captures(&mut self, stage: &str, settings: &'s StageValue, source: Option<&'s str>) {
        self.needs("source", source);
        let begin = self.writes.len();
        if stage == "regex" {
            self.writes_groups(settings);
        } else {
            let pattern = settings.get("pattern").and_then(StageValue::text).unwrap_or_default();
            let names = pattern.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(name, _)| name);
            self.writes.extend(names.filter(|name| *name != "_").map(|name| Written { name, shape: None }));
        }
        if settings
            .get("labels_from_groups")
            .and_then(StageValue::text)
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
        {
            let groups = self.writes[begin..].iter();
            self.labels.extend(groups.map(|Written { name, .. }| LabelChange::From {
                label: name,
                source: name,
                key: "labels_from_groups".into(),
            }));
        }
    }

    fn writes_groups(&mut self, settings: &'s StageValue) {
        let expression = settings.get("expression").and_then(StageValue::text).unwrap_or_default();
        self.writes.extend(shape::groups(expression).map(|(name, shape)| Written { name, shape: Some(shape) }));
    }

    fn makes_labels(&mut self, settings: &'s StageValue) {
        let values = settings.get("values").filter(|values| !values.entries().is_empty());
        let from_metadata = settings.get("source_type").and_then(StageValue::text) == Some("structured_metadata");
        for (label, source) in values.unwrap_or(settings).entries() {
            let source = source.text().unwrap_or(label);
            let key = if values.is_some() { format!("values.{label}") } else { label.clone() };
            if !(values.is_some() && from_metadata) {
                self.reads.push((key.clone(), source.into()));
            }
            self.labels.push(LabelChange::From { label, source, key });
        }
    }

    fn moves_to_metadata(&mut self, settings: &'s StageValue) {
        let values = settings.get("values").filter(|values| !values.entries().is_empty());
        if settings.get("regex").and_then(StageValue::text).is_some() {
            self.labels.push(LabelChange::Any);
            if values.is_none() {
                return;
            }
        }
        for (name, source) in values.unwrap_or(settings).entries() {
            let source = source.text().unwrap_or(name);
            let key = if values.is_some() { format!("values.{name}") } else { name.clone() };
            self.reads.push((key, source.into()));
            self.labels.push(LabelChange::Removed(source));
        }
    }

    fn counts(&mut self, settings: &'s StageValue) {
        for (name, metric) in settings.entries() {
            let all = metric.get("config").and_then(|config| config.get("match_all")).and_then(StageValue::text);
            if all.is_none_or(|text| !text.eq_ignore_ascii_case("true")) {
                let source = metric.get("source").and_then(StageValue::text).unwrap_or(name);
                self.reads.push((format!("{name}.source"), source.into()));
            }
        }
    }
}
