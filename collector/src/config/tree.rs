//! The file as a tree of keys and values with their places.
//!
//! In: YAML text and the environment. Out: a [`Node`] with `${VAR}` already expanded in its values. Knows no key's
//! meaning. Values keep the text that was written: the decoder decides by the wanted type, so that the label
//! `version: 1.10` does not become the number 1.1. Also reads other programs' files, where `${VAR}` stays as it is.

use std::borrow::Cow;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span};

use super::{
    Environment,
    error::{Origin, Place, Problem},
};

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Unique in its tree.
    pub id: usize,
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing, `null` or `~`.
    Null,
    Scalar(String),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A key of a mapping with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_place: Place,
    pub value: Node,
}

impl Node {
    /// The value of the key with this path, `["loki", "url"]`, if the file sets it.
    pub fn get(&self, path: &[&str]) -> Option<&Entry> {
        let (first, rest) = path.split_first()?;
        let Value::Mapping(entries) = &self.value else { return None };
        let entry = entries.iter().find(|entry| entry.key == *first)?;
        match entry.value.value {
            Value::Null => None,
            _ if rest.is_empty() => Some(entry),
            _ => entry.value.get(rest),
        }
    }

    /// Takes out the key with this path; returns its place.
    pub fn remove(&mut self, path: &[&str]) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        let Value::Mapping(entries) = &mut self.value else { return None };
        let index = entries.iter().position(|entry| entry.key == *first)?;
        if rest.is_empty() { Some(entries.remove(index).key_place) } else { entries[index].value.remove(rest) }
    }

    /// Where the key at the top holds a value alone, reads it as the value of `inner` below it: `reader: pread` becomes
    /// `reader: {backend: pread}`.
    pub fn expand(&mut self, key: &str, inner: &str) {
        let Value::Mapping(entries) = &mut self.value else { return };
        let alone = |entry: &&mut Entry| entry.key == key && matches!(entry.value.value, Value::Scalar(_));
        let Some(entry) = entries.iter_mut().find(alone) else { return };
        let place = entry.value.place;
        // Of the two nodes with this number only the inner one can be wrong.
        let group = Node { id: entry.value.id, place, value: Value::Null };
        let value = std::mem::replace(&mut entry.value, group);
        entry.value.value = Value::Mapping(vec![Entry { key: inner.to_owned(), key_place: entry.key_place, value }]);
    }

    /// The place of the key with this path, if the file sets it; `["relabel_configs", "[0]", "regex"]` goes through a list.
    pub fn place_of(&self, path: &[&str]) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        match &self.value {
            Value::Sequence(items) => {
                let index: usize = first.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
                let item = items.get(index)?;
                if rest.is_empty() { Some(item.place) } else { item.place_of(rest) }
            }
            Value::Mapping(_) => {
                let entry = self.get(&[first])?;
                if rest.is_empty() { Some(entry.key_place) } else { entry.value.place_of(rest) }
            }
            Value::Null | Value::Scalar(_) => None,
        }
    }
}

/// Reads the one document of `text`; an empty one is an empty mapping.
///
/// # Errors
/// The first thing that is no YAML, or all the variables that are not set.
pub(super) fn parse(text: &str, environment: Environment<'_>) -> Result<Node, Vec<Problem>> {
    let mut composer = Composer::new(text, Some(environment));
    let documents = composer.documents(1).map_err(|problem| vec![problem])?;
    if !composer.problems.is_empty() {
        return Err(composer.problems);
    }
    let empty = || composer.new_node(Place { line: 1, column: 1 }, Value::Null);
    Ok(documents.into_iter().next().unwrap_or_else(empty))
}

/// Reads all documents of a file that is not Pilcrow's own, whose texts stay as they are: `$` means nothing in it.
///
/// # Errors
/// The first thing that is no YAML, or that is not supported.
pub fn parse_as_written(text: &str) -> Result<Vec<Node>, Problem> {
    Composer::new(text, None).documents(usize::MAX)
}

/// How deep values may be nested; the deepest known key is at 3.
const DEPTH_MAX: usize = 32;

struct Composer<'a, 'e> {
    parser: Parser<'a, serde_saphyr::granit_parser::StrInput<'a>>,
    text: &'a str,
    /// What `${VAR}` is looked up in; `None`: it stays as it is.
    environment: Option<Environment<'e>>,
    next_id: usize,
    depth: usize,
    /// Variables that could not be expanded: reported together.
    problems: Vec<Problem>,
}

impl<'a, 'e> Composer<'a, 'e> {
    fn new(text: &'a str, environment: Option<Environment<'e>>) -> Self {
        Self { parser: Parser::new_from_str(text), text, environment, next_id: 0, depth: 0, problems: Vec::new() }
    }

    fn documents(&mut self, max: usize) -> Result<Vec<Node>, Problem> {
        let mut roots = Vec::new();
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if roots.len() == max => {
                    return Err(problem(place, "a second YAML document; the file may hold only one"));
                }
                event => roots.push(self.node(event, place)?),
            }
        }
        Ok(roots)
    }

    /// The next event that is no comment.
    fn next(&mut self) -> Result<(Event<'a>, Place), Problem> {
        loop {
            return match self.parser.next_event() {
                Some(Ok((Event::Comment(..), _))) => continue,
                Some(Ok((event, span))) => Ok((event, place(&span))),
                Some(Err(error)) => {
                    let at = Place { line: error.marker().line(), column: error.marker().col() + 1 };
                    let at = if error.info().contains("tab") { first_tab(self.text, at) } else { at };
                    Err(problem(at, &format!("not valid YAML: {}", error.info())))
                }
                None => Ok((Event::StreamEnd, Place { line: 1, column: 1 })),
            };
        }
    }

    fn node(&mut self, event: Event<'a>, place: Place) -> Result<Node, Problem> {
        if self.depth == DEPTH_MAX {
            return Err(problem(place, "values lie too deep in each other"));
        }
        self.depth += 1;
        let value = match event {
            Event::Scalar(text, style, ..) => self.scalar(&text, style, place),
            Event::SequenceStart(..) => self.sequence()?,
            Event::MappingStart(..) => self.mapping()?,
            // A reference would let a few lines stand for gigabytes, and the file is too small to need one.
            _ => return Err(problem(place, "YAML aliases (*name) are not supported; write the value out")),
        };
        self.depth -= 1;
        Ok(self.new_node(place, value))
    }

    fn new_node(&mut self, place: Place, value: Value) -> Node {
        self.next_id += 1;
        Node { id: self.next_id, place, value }
    }

    fn sequence(&mut self) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Sequence(items)),
                (event, place) => items.push(self.node(event, place)?),
            }
        }
    }

    fn mapping(&mut self) -> Result<Value, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (key, key_place) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Mapping(entries)),
                (Event::Scalar(key, ScalarStyle::Plain, ..), place) if key == "<<" => {
                    return Err(problem(place, "YAML merge keys (<<) are not supported; write the keys out"));
                }
                (Event::Scalar(key, ..), place) => (key.into_owned(), place),
                (_, place) => return Err(problem(place, "a key must be a word")),
            };
            if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let line = first.key_place.line;
                let message = format!("key {key} is set twice, first in line {line}");
                return Err(problem(key_place, &message));
            }
            let (event, place) = self.next()?;
            let value = self.node(event, place)?;
            entries.push(Entry { key, key_place, value });
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, place: Place) -> Value {
        let plain = style == ScalarStyle::Plain;
        if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Value::Null;
        }
        let Some(environment) = self.environment else { return Value::Scalar(text.to_owned()) };
        match expand(text, environment) {
            // As if the variable's text stood there: an empty plain value is none.
            Ok(text) if plain && text.is_empty() => Value::Null,
            Ok(text) => Value::Scalar(text),
            Err(message) => {
                self.problems.push(problem(place, &message));
                Value::Null
            }
        }
    }
}

fn place(span: &Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

fn problem(place: Place, message: &str) -> Problem {
    Problem { origin: Origin::File(place), key: String::new(), message: message.to_owned() }
}

/// Replaces `${NAME}` and `${NAME:-default}` by the variable's text and `$$` by `$`; any other `$` stays, as does `${1}`,
/// which is no variable's name and common in rules for labels. As in a shell, the default also replaces a variable that is
/// set and empty.
fn expand(text: &str, environment: Environment<'_>) -> Result<String, String> {
    let (mut expanded, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(tail) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix('{') {
            let (variable, tail) = tail
                .split_once('}')
                .ok_or_else(|| format!("\"${{{tail}\" has no closing brace; write $$ for a plain $"))?;
            if is_number(variable) {
                expanded.push_str("${");
                expanded.push_str(variable);
                expanded.push('}');
            } else {
                expanded.push_str(&value_of(variable, environment)?);
            }
            rest = tail;
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// A text of a file of Pilcrow with its variables expanded.
///
/// # Errors
/// A variable is not set, or is none.
pub fn expanded(text: &str, environment: Environment<'_>) -> Result<String, String> {
    expand(text, environment)
}

/// The tab that indents a line, at or behind a place: a parser tells where the value begins that it stands in.
fn first_tab(text: &str, from: Place) -> Place {
    let behind = text.lines().enumerate().skip(from.line.saturating_sub(1));
    let tab = |line: &str| line[..line.len() - line.trim_start().len()].find('\t');
    let found = behind.filter_map(|(index, line)| Some((index, tab(line)?))).next();
    found.map_or(from, |(index, column)| Place { line: index + 1, column: column + 1 })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A text that [`expand`] turns into `text`: `text` itself where that works.
pub fn unexpanded(text: &str) -> Cow<'_, str> {
    match expand(text, &|_| None) {
        Ok(expanded) if expanded == text => text.into(),
        _ => text.replace('$', "$$").into(),
    }
}

fn value_of(variable: &str, environment: Environment<'_>) -> Result<String, String> {
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return Err(format!("${{{variable}}} is neither ${{NAME}} nor ${{NAME:-default}}; write $$ for a plain $"));
    }
    match (environment(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "the environment variable {name} is not set; set it, give it a default: ${{{name}:-default}}, or write $${{{name}}} for the text itself"
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_out_reads_as_it_was(text in "[a${}1:-]{0,12}") {
            prop_assert_eq!(expand(&unexpanded(&text), &environment), Ok(text));
        }
    }

    fn environment(name: &str) -> Option<String> {
        match name {
            "SET" => Some("value".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_and_dollars_escaped() {
        for (text, expanded) in [
            ("${SET}", "value"),
            ("a${SET}b${SET}", "avaluebvalue"),
            ("${UNSET:-d}", "d"),
            ("${UNSET:-}", ""),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY}", ""),
            ("${SET:-d}", "value"),
            ("$${SET}", "${SET}"),
            ("^a$", "^a$"),
            ("$5 $$", "$5 $"),
            ("${1}-${12} $${SET} ${SET}", "${1}-${12} ${SET} value"),
            ("${UNSET:-http://a:1/b}", "http://a:1/b"),
        ] {
            assert_eq!(expand(text, &environment).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn a_variable_that_cannot_be_expanded_is_named() {
        assert_eq!(
            expand("${UNSET}", &environment).unwrap_err(),
            "the environment variable UNSET is not set; set it, give it a default: ${UNSET:-default}, or write $${UNSET} for the text itself"
        );
        assert_eq!(
            expand("x${SET", &environment).unwrap_err(),
            "\"${SET\" has no closing brace; write $$ for a plain $"
        );
        assert_eq!(
            expand("${A-B}", &environment).unwrap_err(),
            "${A-B} is neither ${NAME} nor ${NAME:-default}; write $$ for a plain $"
        );
    }
}
