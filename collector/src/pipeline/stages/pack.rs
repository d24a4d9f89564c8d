//! `pack`: the line becomes a JSON object of itself and some labels or extracted values.

use serde::Deserialize;

use super::json::text::write_string;
use crate::pipeline::{
    compile::Compiler,
    entry::Entry,
    extracted::Slot,
    stage::{Context, Failed, Stage, Step},
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    labels: Vec<String>,
    ingest_timestamp: Option<bool>,
}

struct Pack {
    /// Sorted by name.
    values: Vec<(String, Slot)>,
    ingest_timestamp: bool,
    scratch: Vec<u8>,
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    let mut names = settings.labels;
    names.sort();
    names.dedup();
    let values = names.into_iter().map(|name| (name.clone(), compiler.slot(&name))).collect();
    let ingest_timestamp = settings.ingest_timestamp.unwrap_or(true);
    if ingest_timestamp {
        let message = "lines that are sent again after a restart get another time and are stored twice; \
                       ingest_timestamp: false keeps their own";
        compiler.warn("", message);
    }
    Ok(vec![Box::new(Pack { values, ingest_timestamp, scratch: Vec::new() })])
}

impl Stage for Pack {
    fn run(&mut self, entry: &mut Entry, context: &mut Context<'_>) -> Step {
        self.scratch.clear();
        self.scratch.push(b'{');
        for (name, slot) in &self.values {
            let Some(value) = entry.extracted.some_text(*slot) else { continue };
            write_string(name.as_bytes(), &mut self.scratch);
            self.scratch.push(b':');
            write_string(value, &mut self.scratch);
            self.scratch.push(b',');
            entry.labels.remove(name);
        }
        self.scratch.extend_from_slice(br#""_entry":"#);
        write_string(&entry.line, &mut self.scratch);
        self.scratch.push(b'}');
        std::mem::swap(&mut entry.line, &mut self.scratch);
        if self.ingest_timestamp {
            entry.timestamp_ns = context.now_ns;
        }
        Step::Next
    }
}
