//! `tenant`: chooses the tenant that the entry is sent for.

use serde::Deserialize;

use crate::{
    model::{TENANT_NAME_RULE, is_tenant_name},
    pipeline::{
        compile::Compiler,
        entry::{Entry, TENANT_LABEL},
        extracted::Slot,
        stage::{Context, Failed, Stage, Step},
        unchanged::Unchanged,
    },
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    label: String,
    source: String,
    value: String,
}

struct Tenant {
    from: From,
    scratch: String,
}

enum From {
    Label(String),
    Source(Slot),
    Value(String),
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let Settings { label, source, value } = compiler.settings()?;
    let from = match (label.is_empty(), source.is_empty(), value.is_empty()) {
        (false, true, true) => From::Label(label),
        (true, false, true) => From::Source(compiler.slot(&source)),
        (true, true, false) if !is_tenant_name(&value) => {
            return Err(compiler.error("value", format!("a tenant's name is {TENANT_NAME_RULE}, found {value:?}")));
        }
        (true, true, false) => From::Value(value),
        (true, true, true) => return Err(compiler.error("", "needs one of label, source and value")),
        _ => return Err(compiler.error("", "label, source and value exclude each other")),
    };
    Ok(vec![Box::new(Tenant { from, scratch: String::new() })])
}

impl Stage for Tenant {
    fn run(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Step {
        self.scratch.clear();
        match &self.from {
            From::Label(label) => self.scratch.push_str(entry.labels.get(label).unwrap_or("")),
            From::Value(value) => self.scratch.push_str(value),
            From::Source(slot) => {
                let text = entry.extracted.some_text(*slot).map(std::str::from_utf8);
                self.scratch.push_str(text.and_then(Result::ok).unwrap_or(""));
            }
        }
        if !self.scratch.is_empty() {
            entry.labels.set(TENANT_LABEL, &self.scratch);
        }
        Step::Next
    }

    fn why(&self, seen: &Unchanged<'_>) -> String {
        const SAME: &str = "it has this tenant";
        match &self.from {
            From::Label(label) if seen.entry.labels.get(label).is_none_or(str::is_empty) => {
                format!("there is no label {label}")
            }
            From::Source(slot) => seen.of_source(Some(*slot), |text, name| match text.is_empty() {
                true => format!("{name} is empty"),
                false => SAME.into(),
            }),
            From::Label(_) | From::Value(_) => SAME.into(),
        }
    }
}
