//! `labelallow` (Alloy: `label_keep`): all other labels are removed; what was extracted under their names stays.

use crate::pipeline::{
    compile::Compiler,
    entry::Entry,
    stage::{Context, Failed, Stage, Step},
    unchanged::Unchanged,
};

struct LabelAllow(Vec<String>);

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    Ok(vec![Box::new(LabelAllow(super::labeldrop::names(compiler)?))])
}

impl Stage for LabelAllow {
    fn run(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Step {
        entry.labels.retain(|name| self.0.iter().any(|allowed| allowed == name));
        Step::Next
    }

    fn why(&self, _: &Unchanged<'_>) -> String {
        "there are no other labels".into()
    }
}
