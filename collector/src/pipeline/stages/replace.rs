//! `replace`: what the groups of an expression match is replaced, in the line or in an extracted value.

use serde::Deserialize;

use crate::pipeline::{
    compile::Compiler,
    entry::Entry,
    extracted::Slot,
    pattern::Pattern,
    stage::{Context, Failed, Stage, Step},
    template::{Data, Field, Memory, Template},
    unchanged::Unchanged,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    expression: String,
    source: Option<String>,
    replace: String,
}

struct Replace {
    pattern: Pattern,
    source: Option<Slot>,
    template: Template,
    /// Named groups of the expression with their slots.
    names: Vec<(usize, Slot)>,
    source_text: Vec<u8>,
    work: Work,
}

/// What becomes of a text.
#[derive(Default)]
struct Work {
    result: Vec<u8>,
    /// What each group of the first match had, and what groups with the same text became last.
    first: Vec<Option<(usize, usize)>>,
    replaced: Vec<Replaced>,
    /// What the template wrote.
    made: Vec<u8>,
    memory: Memory,
}

/// A text of the input with what it became, in `made`.
struct Replaced {
    text: (usize, usize),
    became: (usize, usize),
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    if settings.expression.is_empty() {
        return Err(compiler.error("", "expression is missing"));
    }
    let source = compiler.source(settings.source.as_deref())?;
    let pattern = compiler.pattern("expression", &settings.expression)?;
    if pattern.groups() == 1 {
        compiler.warn("expression", "has no group ( ), so nothing is replaced");
    }
    let names = pattern.names().map(|(group, name)| (group, compiler.slot(name))).collect();
    let mut field = |name: &str| match name {
        "Value" => Field::Value(compiler.slot(name)),
        name => Field::Slot(compiler.slot(name)),
    };
    let template = Template::parse(&settings.replace, &mut field);
    let template = template.map_err(|error| compiler.error("replace", error))?;
    let (source_text, work) = (Vec::new(), Work::default());
    Ok(vec![Box::new(Replace { pattern, source, template, names, source_text, work })])
}

impl Stage for Replace {
    fn run(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Step {
        let Self { pattern, source, template, names, source_text, work } = self;
        let text = match *source {
            None => &entry.line[..],
            Some(source) => {
                let Some(text) = entry.extracted.some_text(source) else { return Step::Next };
                source_text.clear();
                source_text.extend_from_slice(text);
                source_text
            }
        };
        if !work.replace_all(text, pattern, template, entry) {
            return Step::Next;
        }
        if let Some(source) = *source {
            entry.extracted.set_text(source, &work.result);
        }
        for (group, slot) in names {
            // Where the group did not take part, its text is the empty one, and that may have been replaced elsewhere.
            let part = work.first[*group].map_or(&b""[..], |(begin, end)| &text[begin..end]);
            if let Some(found) = work.replaced.iter().rev().find(|found| text[found.text.0..found.text.1] == *part) {
                entry.extracted.set_text(*slot, &work.made[found.became.0..found.became.1]);
            }
        }
        if source.is_none() {
            std::mem::swap(&mut entry.line, &mut work.result);
        }
        Step::Next
    }

    fn why(&self, seen: &Unchanged<'_>) -> String {
        seen.of_source(self.source, |text, name| match self.pattern.is_match(text) {
            true if self.pattern.groups() == 1 => "the expression has no group ( )".into(),
            true => "the text is the same with the replacements".into(),
            false => format!("the expression does not match {name}"),
        })
    }
}

impl Work {
    /// Writes the whole result; `false`: there is no match, or the template failed.
    fn replace_all(&mut self, text: &[u8], pattern: &mut Pattern, template: &Template, entry: &Entry) -> bool {
        self.result.clear();
        self.replaced.clear();
        self.made.clear();
        let (mut copied, mut is_first, mut has_failed) = (0, true, false);
        pattern.each_match(text, |found| {
            if is_first {
                is_first = false;
                self.first.clear();
                self.first.extend((0..found.count()).map(|group| found.get(group)));
            }
            for (begin, end) in (1..found.count()).filter_map(|group| found.get(group)) {
                let data = Data { extracted: &entry.extracted, line: &entry.line, value: Some(&text[begin..end]) };
                let at = self.made.len();
                has_failed = template.write(&data, &mut self.memory, &mut self.made).is_err();
                if has_failed {
                    return false;
                }
                self.replaced.push(Replaced { text: (begin, end), became: (at, self.made.len()) });
                // A group within one that is replaced already is not replaced again.
                if copied == 0 || copied <= begin {
                    self.result.extend_from_slice(text.get(copied..begin).unwrap_or_default());
                    self.result.extend_from_slice(&self.made[at..]);
                    copied = end;
                }
            }
            true
        });
        self.result.extend_from_slice(&text[copied..]);
        !is_first && !has_failed
    }
}
