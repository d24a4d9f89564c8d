//! `pattern` (Alloy): parts of a line by the texts between them, `<ip> - <_> "<method> <path> <_>"`, as LogQL's `| pattern`.

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
    pattern: String,
    source: Option<String>,
    labels_from_groups: bool,
}

struct Pattern {
    /// What the line must begin with.
    begin: Vec<u8>,
    captures: Vec<Capture>,
    source: Option<Slot>,
    as_labels: bool,
    scratch: Vec<u8>,
}

struct Capture {
    /// `None`: skipped.
    name: Option<(String, Slot)>,
    /// What stands after it; `None`: it reaches to the end.
    until: Option<memchr::memmem::Finder<'static>>,
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    let source = compiler.source(settings.source.as_deref())?;
    let (begin, parts) = parse(&settings.pattern).map_err(|error| compiler.error("pattern", error))?;
    let captures = parts.into_iter().map(|(name, until)| Capture {
        name: (name != "_").then(|| (name.to_owned(), compiler.slot(name))),
        until: (!until.is_empty()).then(|| memchr::memmem::Finder::new(until.as_bytes()).into_owned()),
    });
    let captures = captures.collect();
    let as_labels = settings.labels_from_groups;
    Ok(vec![Box::new(Pattern { begin: begin.into(), captures, source, as_labels, scratch: Vec::new() })])
}

/// The names of captures, each with what stands after it.
type Captures<'t> = Vec<(&'t str, &'t str)>;

/// What stands before the first capture, and each capture's name with what stands after it.
fn parse(text: &str) -> Result<(&str, Captures<'_>), String> {
    let Some((first, _)) = capture_in(text) else { return Err("needs at least one <name>".into()) };
    let (begin, mut rest) = text.split_at(first);
    let mut captures: Vec<(&str, &str)> = Vec::new();
    while let Some((at, name)) = capture_in(rest).filter(|(at, _)| *at == 0) {
        let after = &rest[at + name.len() + 2..];
        let next = capture_in(after).map_or(after.len(), |(next, _)| next);
        if next == 0 && !after.is_empty() {
            return Err(format!("two captures stand side by side: <{name}>{}", &after[..after.len().min(20)]));
        }
        if name != "_" && captures.iter().any(|(known, _)| *known == name) {
            return Err(format!("<{name}> is there twice"));
        }
        captures.push((name, &after[..next]));
        rest = &after[next..];
    }
    if captures.iter().all(|(name, _)| *name == "_") {
        return Err("needs at least one <name> that is not <_>".into());
    }
    Ok((begin, captures))
}

/// Where the first `<name>` is.
fn capture_in(text: &str) -> Option<(usize, &str)> {
    text.match_indices('<').find_map(|(at, _)| {
        let name = &text[at + 1..at + 1 + text[at + 1..].find('>')?];
        super::is_label_name(name).then_some((at, name))
    })
}

impl Stage for Pattern {
    fn run(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Step {
        let text = match self.source {
            None => &entry.line[..],
            Some(source) => {
                let Some(text) = entry.extracted.some_text(source) else { return Step::Next };
                self.scratch.clear();
                self.scratch.extend_from_slice(text);
                &self.scratch
            }
        };
        let Some(mut rest) = text.strip_prefix(&self.begin[..]).filter(|_| !text.is_empty()) else { return Step::Next };
        for capture in &self.captures {
            let found = capture.until.as_ref().map(|until| (until.find(rest), until.needle().len()));
            let (value, after) = match found {
                Some((Some(at), bytes)) => (&rest[..at], Some(&rest[at + bytes..])),
                Some((None, _)) | None => (rest, None),
            };
            if let Some((name, slot)) = &capture.name {
                entry.extracted.set_text(*slot, value);
                if let (true, Ok(value)) = (self.as_labels, std::str::from_utf8(value)) {
                    entry.labels.set(name, value);
                }
            }
            match after {
                Some(after) => rest = after,
                None => break,
            }
        }
        Step::Next
    }

    fn why(&self, seen: &Unchanged<'_>) -> String {
        seen.of_source(self.source, |text, name| match text.starts_with(&self.begin) && !text.is_empty() {
            true => "the values are those that were there".into(),
            false => format!("the pattern does not match {name}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_cut_into_captures_and_what_stands_between() {
        assert_eq!(parse("a <b> <_>c<d>"), Ok(("a ", vec![("b", " "), ("_", "c"), ("d", "")])));
        assert_eq!(parse("<1> <x>"), Ok(("<1> ", vec![("x", "")])));
        for pattern in ["", "plain", "<_>", "<a><b>", "<a> <a>"] {
            assert!(parse(pattern).is_err(), "{pattern}");
        }
    }
}
