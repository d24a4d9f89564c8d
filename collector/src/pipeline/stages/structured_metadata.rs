//! `structured_metadata` (once `non_indexed_labels`): extracted values and labels become structured metadata.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::labels::{Map, is_alloy};
use crate::{
    config::StageValue,
    pipeline::{
        compile::Compiler,
        entry::Entry,
        extracted::Slot,
        pattern::Pattern,
        stage::{Context, Failed, Stage, Step},
        unchanged::Unchanged,
    },
};

/// Alloy's form of the settings, beside Promtail's plain map.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AlloySettings {
    values: BTreeMap<String, Option<String>>,
    regex: Option<String>,
}

struct StructuredMetadata {
    items: Vec<Item>,
    /// Of all names that match, extracted ones and labels.
    regex: Option<Pattern>,
    taken: Vec<String>,
}

struct Item {
    name: String,
    source: String,
    slot: Slot,
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings = compiler.untyped();
    let has_regex = matches!(settings, StageValue::Group(entries) if entries.len() == 1 && entries[0].0 == "regex");
    let (map, regex) = if is_alloy(settings) || has_regex {
        let settings: AlloySettings = compiler.settings()?;
        (settings.values, settings.regex.filter(|regex| !regex.is_empty()))
    } else {
        (compiler.settings::<Map>()?, None)
    };
    if map.is_empty() && regex.is_none() {
        return Err(compiler.error("", "names no value"));
    }
    super::labels::check_names(compiler, &map)?;
    let regex = match regex {
        Some(regex) => Some(compiler.pattern("regex", &regex)?),
        None => None,
    };
    let mut items = Vec::new();
    for (name, source) in map {
        let source = source.filter(|source| !source.is_empty()).unwrap_or_else(|| name.clone());
        let slot = compiler.slot(&source);
        items.push(Item { name, source, slot });
    }
    Ok(vec![Box::new(StructuredMetadata { items, regex, taken: Vec::new() })])
}

impl Stage for StructuredMetadata {
    fn run(&mut self, entry: &mut Entry, context: &mut Context<'_>) -> Step {
        for item in &self.items {
            let found = entry.extracted.some_text(item.slot).map(std::str::from_utf8);
            if let Some(Ok(value)) = found {
                entry.metadata.set(&item.name, value);
            } else if let Some(value) = entry.labels.get(&item.source) {
                entry.metadata.set(&item.name, value);
            }
        }
        // After all of them are read: two names may have the same source. A label that has another value than what was
        // extracted under its name was not taken, and stays.
        for item in &self.items {
            let is_taken = match entry.extracted.some_text(item.slot) {
                Some(value) => entry.labels.get(&item.source).is_some_and(|label| label.as_bytes() == value),
                None => true,
            };
            if is_taken {
                entry.labels.remove(&item.source);
            }
        }
        self.by_regex(entry, context);
        Step::Next
    }

    fn why(&self, seen: &Unchanged<'_>) -> String {
        match self.items.is_empty() {
            true => "the expression matches no name".into(),
            false => seen.missing(self.items.iter().map(|item| item.slot), "the structured metadata has these values"),
        }
    }
}

impl StructuredMetadata {
    fn by_regex(&mut self, entry: &mut Entry, context: &mut Context<'_>) {
        let Some(regex) = &self.regex else { return };
        for (name, slot) in context.sorted.iter().filter(|(name, _)| regex.is_match(name.as_bytes())) {
            if let Some(Ok(value)) = entry.extracted.some_text(*slot).map(std::str::from_utf8) {
                entry.metadata.set(name, value);
            }
        }
        for (name, value) in entry.extracted.beside().iter().filter(|(name, _)| regex.is_match(name.as_bytes())) {
            entry.metadata.set(name, value);
        }
        self.taken.clear();
        for (name, value) in entry.labels.iter().filter(|(name, _)| regex.is_match(name.as_bytes())) {
            entry.metadata.set(name, value);
            self.taken.push(name.to_owned());
        }
        entry.labels.retain(|name| !self.taken.iter().any(|taken| taken == name));
    }
}
