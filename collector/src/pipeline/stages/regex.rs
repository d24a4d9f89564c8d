//! `regex`: the named groups of an expression's first match are extracted.

use serde::Deserialize;

use crate::pipeline::{
    compile::Compiler,
    entry::Entry,
    extracted::Slot,
    pattern::Pattern,
    stage::{Context, Failed, Stage, Step},
    unchanged::Unchanged,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    expression: String,
    source: Option<String>,
    /// Alloy's.
    labels_from_groups: bool,
}

struct Regex {
    pattern: Pattern,
    source: Option<Slot>,
    /// Groups with the slots that they go to.
    groups: Vec<(usize, Slot)>,
    /// The same groups' names, where they also become labels.
    labels: Vec<String>,
    scratch: Vec<u8>,
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    if settings.expression.is_empty() {
        return Err(compiler.error("", "expression is missing"));
    }
    let source = compiler.source(settings.source.as_deref())?;
    let pattern = compiler.pattern("expression", &settings.expression)?;
    let groups: Vec<_> = pattern.names().map(|(group, name)| (group, compiler.slot(name))).collect();
    if groups.is_empty() {
        compiler.warn("expression", "has no named group (?P<name>…), so nothing is extracted");
    }
    let labels = match settings.labels_from_groups {
        true => pattern.names().map(|(_, name)| name.to_owned()).collect(),
        false => Vec::new(),
    };
    Ok(vec![Box::new(Regex { pattern, source, groups, labels, scratch: Vec::new() })])
}

impl Stage for Regex {
    fn run(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Step {
        let text = match self.source {
            None => &entry.line[..],
            Some(source) => {
                // A copy: a group may be written over its own source.
                let Some(text) = entry.extracted.some_text(source) else { return Step::Next };
                self.scratch.clear();
                self.scratch.extend_from_slice(text);
                &self.scratch
            }
        };
        let Some(found) = self.pattern.find_at(text, 0) else { return Step::Next };
        for (i, (group, slot)) in self.groups.iter().enumerate() {
            let part = found.get(*group).map_or(&b""[..], |(begin, end)| &text[begin..end]);
            entry.extracted.set_text(*slot, part);
            if let Some(name) = self.labels.get(i)
                && let Ok(value) = std::str::from_utf8(part)
                && super::is_label_name(name)
            {
                entry.labels.set(name, value);
            }
        }
        Step::Next
    }

    fn why(&self, seen: &Unchanged<'_>) -> String {
        seen.of_source(self.source, |text, name| match self.pattern.is_match(text) {
            true if self.groups.is_empty() => "the expression has no named group".into(),
            true => "the groups have the values that were there".into(),
            false => format!("the expression does not match {name}"),
        })
    }
}
