//! `labeldrop` (Alloy: `label_drop`): labels are removed; what was extracted under their names stays.

use serde::Deserialize;

use crate::{
    config::StageValue,
    pipeline::{
        compile::Compiler,
        entry::Entry,
        stage::{Context, Failed, Stage, Step},
        unchanged::Unchanged,
    },
};

/// Alloy's form of the settings, beside Promtail's plain list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AlloySettings {
    values: Vec<String>,
}

struct LabelDrop(Vec<String>);

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    Ok(vec![Box::new(LabelDrop(names(compiler)?))])
}

/// The list of names in either form; not empty.
pub(super) fn names(compiler: &mut Compiler<'_>) -> Result<Vec<String>, Failed> {
    let names = match compiler.untyped() {
        StageValue::Group(_) => compiler.settings::<AlloySettings>()?.values,
        StageValue::Nothing => Vec::new(),
        _ => compiler.settings()?,
    };
    if names.is_empty() {
        return Err(compiler.error("", "names no label"));
    }
    Ok(names)
}

impl Stage for LabelDrop {
    fn run(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Step {
        for name in &self.0 {
            entry.labels.remove(name);
        }
        Step::Next
    }

    fn why(&self, _: &Unchanged<'_>) -> String {
        "none of these labels is there".into()
    }
}
