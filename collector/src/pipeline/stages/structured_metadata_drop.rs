//! `structured_metadata_drop` (Alloy): structured metadata of these names is removed.

use crate::pipeline::{
    compile::Compiler,
    entry::Entry,
    stage::{Context, Failed, Stage, Step},
    unchanged::Unchanged,
};

struct StructuredMetadataDrop(Vec<String>);

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    Ok(vec![Box::new(StructuredMetadataDrop(super::labeldrop::names(compiler)?))])
}

impl Stage for StructuredMetadataDrop {
    fn run(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Step {
        for name in &self.0 {
            entry.metadata.remove(name);
        }
        Step::Next
    }

    fn why(&self, _: &Unchanged<'_>) -> String {
        "none of this structured metadata is there".into()
    }
}
