//! `output`: an extracted value becomes the line.

use serde::Deserialize;

use crate::pipeline::{
    compile::Compiler,
    entry::Entry,
    extracted::Slot,
    stage::{Context, Failed, Stage, Step},
    unchanged::Unchanged,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    source: String,
}

struct Output(Slot);

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    Ok(vec![Box::new(Output(compiler.required("source", &settings.source)?))])
}

impl Stage for Output {
    fn run(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Step {
        if let Some(text) = entry.extracted.some_text(self.0) {
            entry.line.clear();
            entry.line.extend_from_slice(text);
        }
        Step::Next
    }

    fn why(&self, seen: &Unchanged<'_>) -> String {
        seen.of_source(Some(self.0), |_, name| format!("{name} is what the line is"))
    }
}
