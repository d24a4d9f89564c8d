//! `json`: values of a JSON object are extracted.
//!
//! No tree is built: the text is walked once and checked as it is, the places of the wanted values are kept, and only those
//! are decoded. What is checked is what Promtail's parser (json-iterator) checks.

mod path;
mod scan;
pub(super) mod text;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use self::scan::first_member;
use self::{path::Path, scan::Scanner};
use crate::pipeline::{
    compile::Compiler,
    entry::Entry,
    extracted::{Slot, Value},
    pattern::Pattern,
    stage::{Context, Failed, Stage, Step},
    unchanged::Unchanged,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    expressions: BTreeMap<String, Option<String>>,
    source: Option<String>,
    drop_malformed: bool,
    /// Alloy's: top-level keys that match are extracted under their own names.
    regex: Option<String>,
}

struct Json {
    source: Option<Slot>,
    paths: Vec<Path>,
    slots: Vec<Slot>,
    regex: Option<Pattern>,
    drop_malformed: bool,
    scanner: Scanner,
    scratch: Vec<u8>,
    decoded: Vec<u8>,
    key: Vec<u8>,
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    let source = compiler.source(settings.source.as_deref())?;
    let regex = match settings.regex.filter(|regex| !regex.is_empty()) {
        Some(regex) => Some(compiler.pattern("regex", &regex)?),
        None => None,
    };
    if settings.expressions.is_empty() && regex.is_none() {
        return Err(compiler.error("", "expressions is missing"));
    }
    let (mut paths, mut slots) = (Vec::new(), Vec::new());
    let mut is_good = true;
    for (name, expression) in settings.expressions {
        let expression = expression.filter(|expression| !expression.is_empty()).unwrap_or_else(|| name.clone());
        match path::parse(&expression) {
            Ok(path) => {
                paths.push(path);
                slots.push(compiler.slot(&name));
            }
            Err(error) => {
                compiler.error(&format!("expressions.{name}"), error);
                is_good = false;
            }
        }
    }
    if !is_good {
        return Err(Failed);
    }
    if paths.len() > scan::PATHS_MAX {
        return Err(
            compiler.error("expressions", format!("more than {} in one stage; use two stages", scan::PATHS_MAX))
        );
    }
    Ok(vec![Box::new(Json {
        source,
        paths,
        slots,
        regex,
        drop_malformed: settings.drop_malformed,
        scanner: Scanner::default(),
        scratch: Vec::new(),
        decoded: Vec::new(),
        key: Vec::new(),
    })])
}

impl Stage for Json {
    fn run(&mut self, entry: &mut Entry, context: &mut Context<'_>) -> Step {
        let input = match self.source {
            None => &entry.line[..],
            Some(source) => {
                let Some(text) = entry.extracted.some_text(source) else { return Step::Next };
                self.scratch.clear();
                self.scratch.extend_from_slice(text);
                &self.scratch
            }
        };
        if !self.scanner.scan(input, &self.paths, self.regex.is_some()) {
            return if self.drop_malformed { Step::DropUncounted } else { Step::Next };
        }
        if let Some(regex) = &self.regex {
            for (key, value) in self.scanner.members() {
                self.key.clear();
                text::decode_string(&input[key], &mut self.key);
                let Ok(name) = std::str::from_utf8(&self.key) else { continue };
                if regex.is_match(name.as_bytes()) {
                    self.decoded.clear();
                    let value = text::decode(&input[value], &mut self.decoded);
                    entry.extracted.set_named(context.slot_of(name), name, value);
                }
            }
        }
        for (slot, found) in self.slots.iter().zip(self.scanner.found()) {
            let Some(found) = found else {
                entry.extracted.set_null(*slot);
                continue;
            };
            let raw = &input[found];
            match raw.first() {
                Some(b'"') => {
                    let memory = entry.extracted.text_memory(*slot);
                    memory.clear();
                    text::decode_string(raw, memory);
                }
                Some(b'{' | b'[') => {
                    let memory = entry.extracted.text_memory(*slot);
                    memory.clear();
                    text::write_compact(raw, memory);
                }
                _ => match text::decode(raw, &mut self.decoded) {
                    Value::Number(number) => entry.extracted.set_number(*slot, number),
                    Value::Bool(value) => entry.extracted.set_bool(*slot, value),
                    _ => entry.extracted.set_null(*slot),
                },
            }
        }
        Step::Next
    }

    fn why(&self, seen: &Unchanged<'_>) -> String {
        seen.of_source(self.source, |text, name| {
            if Scanner::default().scan(text, &self.paths, false) {
                "the values are those that were there".into()
            } else {
                format!("{name} is not a JSON object")
            }
        })
    }
}
