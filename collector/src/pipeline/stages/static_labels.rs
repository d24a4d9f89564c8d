//! `static_labels`: labels with values that are written in the configuration.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::labels::{Map, is_alloy};
use crate::pipeline::{
    compile::Compiler,
    entry::Entry,
    stage::{Context, Failed, Stage, Step},
    unchanged::Unchanged,
};

/// Alloy's form of the settings, beside Promtail's plain map.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AlloySettings {
    values: BTreeMap<String, Option<String>>,
}

struct StaticLabels(Vec<(String, String)>);

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let map = if is_alloy(compiler.untyped()) {
        compiler.settings::<AlloySettings>()?.values
    } else {
        compiler.settings::<Map>()?
    };
    if map.is_empty() {
        return Err(compiler.error("", "names no label"));
    }
    super::labels::check_names(compiler, &map)?;
    let labels = map.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    Ok(vec![Box::new(StaticLabels(labels.collect()))])
}

impl Stage for StaticLabels {
    fn run(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Step {
        for (name, value) in &self.0 {
            entry.labels.set(name, value);
        }
        Step::Next
    }

    fn why(&self, _: &Unchanged<'_>) -> String {
        "the labels have these values".into()
    }
}
