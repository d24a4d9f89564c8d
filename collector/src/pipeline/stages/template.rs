//! `template`: an extracted value is written from other ones.

use serde::Deserialize;

use crate::pipeline::{
    compile::Compiler,
    entry::Entry,
    extracted::Slot,
    stage::{Context, Failed, Stage, Step},
    template::{Data, Field, Memory, Template},
    unchanged::Unchanged,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    source: String,
    template: String,
}

struct Write {
    source: Slot,
    template: Template,
    value: Vec<u8>,
    result: Vec<u8>,
    memory: Memory,
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    let source = compiler.required("source", &settings.source)?;
    let mut field = |name: &str| match name {
        "Entry" => Field::Line,
        "Value" => Field::Value(compiler.slot(name)),
        name => Field::Slot(compiler.slot(name)),
    };
    let template = Template::parse(&settings.template, &mut field);
    let template = template.map_err(|error| compiler.error("template", error))?;
    Ok(vec![Box::new(Write { source, template, value: Vec::new(), result: Vec::new(), memory: Memory::default() })])
}

impl Stage for Write {
    fn run(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Step {
        let value = entry.extracted.some_text(self.source).map(|text| {
            self.value.clear();
            self.value.extend_from_slice(text);
            &self.value[..]
        });
        self.result.clear();
        let data = Data { extracted: &entry.extracted, line: &entry.line, value };
        if self.template.write(&data, &mut self.memory, &mut self.result).is_ok() {
            // Nothing printed takes the value away.
            match self.result.is_empty() {
                true => entry.extracted.remove(self.source),
                false => entry.extracted.set_text(self.source, &self.result),
            }
        }
        Step::Next
    }

    fn why(&self, seen: &Unchanged<'_>) -> String {
        let (extracted, line) = (&seen.entry.extracted, &seen.entry.line[..]);
        let (value, mut result) = (seen.text(self.source).ok(), Vec::new());
        let data = Data { extracted, line, value: value.as_deref() };
        let name = seen.name(self.source);
        match self.template.write(&data, &mut Memory::default(), &mut result) {
            Err(_) => "the template fails: a function gets a value that is not there or not of its kind".into(),
            Ok(()) if result.is_empty() => format!("nothing is printed, and {name} is not there"),
            Ok(()) => format!("{name} has this value"),
        }
    }
}
