//! `labels`: extracted values become labels.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    config::StageValue,
    pipeline::{
        compile::Compiler,
        entry::Entry,
        extracted::Slot,
        stage::{Context, Failed, Stage, Step},
        unchanged::Unchanged,
    },
};

/// Alloy's form of the settings, beside Promtail's plain map.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AlloySettings {
    values: BTreeMap<String, Option<String>>,
    source_type: Option<String>,
}

/// Which names have which sources.
pub(super) type Map = BTreeMap<String, Option<String>>;

enum Labels {
    /// From extracted values.
    Extracted(Vec<(String, Slot)>),
    /// From structured metadata.
    Metadata(Vec<(String, String)>),
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let (map, source_type) = if is_alloy(compiler.untyped()) {
        let settings: AlloySettings = compiler.settings()?;
        (settings.values, settings.source_type)
    } else {
        (compiler.settings::<Map>()?, None)
    };
    if map.is_empty() {
        return Err(compiler.error("", "names no label"));
    }
    check_names(compiler, &map)?;
    let source = |name: &String, source: Option<String>| source.filter(|text| !text.is_empty()).unwrap_or(name.clone());
    let stage = match source_type.as_deref() {
        None | Some("extracted") => {
            let slots = map.into_iter().map(|(name, from)| {
                let slot = compiler.slot(&source(&name, from));
                (name, slot)
            });
            Labels::Extracted(slots.collect())
        }
        Some("structured_metadata") => {
            Labels::Metadata(map.into_iter().map(|(name, from)| (name.clone(), source(&name, from))).collect())
        }
        Some(other) => {
            let message = format!("expected extracted or structured_metadata, found {other:?}");
            return Err(compiler.error("source_type", message));
        }
    };
    Ok(vec![Box::new(stage)])
}

/// Whether the map lies below `values`, as in Alloy; in Promtail's form that would be a label without an own map.
pub(super) fn is_alloy(settings: &StageValue) -> bool {
    let StageValue::Group(entries) = settings else { return false };
    entries.iter().any(|(name, value)| name == "values" && matches!(value, StageValue::Group(_)))
}

/// Reports names that no label can have.
pub(super) fn check_names(compiler: &mut Compiler<'_>, map: &Map) -> Result<(), Failed> {
    match map.keys().find(|name| !super::is_label_name(name)) {
        Some(name) => Err(compiler.error(name, "is not the name of a label: letters, digits and _ are possible")),
        None => Ok(()),
    }
}

impl Stage for Labels {
    fn run(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Step {
        match self {
            Self::Extracted(labels) => {
                for (name, slot) in labels {
                    // A label is text; what is none is not written.
                    let text = entry.extracted.some_text(*slot).map(std::str::from_utf8);
                    if let Some(Ok(value)) = text {
                        entry.labels.set(name, value);
                    }
                }
            }
            Self::Metadata(labels) => {
                for (name, source) in labels {
                    if let Some(value) = entry.metadata.get(source) {
                        entry.labels.set(name, value);
                    }
                }
            }
        }
        Step::Next
    }

    fn why(&self, seen: &Unchanged<'_>) -> String {
        const SAME: &str = "the labels have these values";
        match self {
            Self::Extracted(labels) => seen.missing(labels.iter().map(|(_, slot)| *slot), SAME),
            Self::Metadata(labels) => {
                let missing = labels.iter().find(|(_, source)| !seen.entry.metadata.contains(source));
                missing.map_or(SAME.into(), |(_, source)| format!("there is no structured metadata {source}"))
            }
        }
    }
}
