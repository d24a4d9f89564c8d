//! `match`: entries that a selector chooses are dropped, or go through stages of their own before the others.

use serde::Deserialize;

use crate::{
    config::StageConfig,
    pipeline::{
        compile::Compiler,
        entry::Entry,
        selector::Selector,
        stage::{Context, Failed, Stage, Step},
        unchanged::Unchanged,
    },
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    selector: String,
    action: Option<String>,
    stages: Vec<StageConfig>,
    drop_counter_reason: Option<String>,
    pipeline_name: Option<String>,
}

struct Match {
    selector: Selector,
    then: Then,
}

enum Then {
    Drop(usize),
    /// The stages that follow, up to the one with this number.
    StagesUpTo(usize),
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    if settings.pipeline_name.as_deref() == Some("") {
        return Err(compiler.error("pipeline_name", "may be left out but must not be empty"));
    }
    if settings.selector.is_empty() {
        return Err(compiler.error("", "selector is missing"));
    }
    let selector = Selector::parse(&settings.selector).map_err(|error| compiler.error("selector", error));
    let is_drop = match settings.action.as_deref() {
        None | Some("" | "keep") => false,
        Some("drop") => true,
        Some(other) => return Err(compiler.error("action", format!("expected keep or drop, found {other:?}"))),
    };
    if is_drop && !settings.stages.is_empty() {
        return Err(compiler.error("stages", "what is dropped goes through no stages"));
    }
    if !is_drop && settings.stages.is_empty() {
        return Err(compiler.error("", "needs at least one stage in stages"));
    }
    let nested = compiler.nested("stages", &settings.stages);
    let then = if is_drop {
        Then::Drop(compiler.reason(settings.drop_counter_reason.as_deref(), "match_stage"))
    } else {
        Then::StagesUpTo(compiler.number_after(1 + nested.len()))
    };
    let mut stages: Vec<Box<dyn Stage>> = vec![Box::new(Match { selector: selector?, then })];
    stages.extend(nested);
    Ok(stages)
}

impl Stage for Match {
    fn run(&mut self, entry: &mut Entry, context: &mut Context<'_>) -> Step {
        let matches = self.selector.matches(entry);
        match self.then {
            Then::Drop(reason) if matches => Step::Drop(reason),
            Then::Drop(_) => Step::Next,
            Then::StagesUpTo(_) if matches => {
                // A pipeline begins with the labels as extracted values, a nested one too.
                entry.extracted.take_labels(context.sorted, &entry.labels);
                Step::Next
            }
            Then::StagesUpTo(end) => Step::Jump(end),
        }
    }

    fn why(&self, seen: &Unchanged<'_>) -> String {
        self.selector.why_not(seen.entry).unwrap_or_default()
    }
}
