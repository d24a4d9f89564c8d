//! Texts of chart values that Helm fills in before Promtail reads them.
//!
//! In: a text with `{{ … }}`, and the values. Out: the text as Promtail sees it, with the place of each of its lines. Knows the few
//! forms that the chart's own texts and its documentation use; any other one is an error that says what to do instead.

use crate::admin::migrate::{
    origin::{Fault, Place, Text, Tree, Value},
    recognise::at,
    write, yaml,
};

/// A text whose lines stand elsewhere than one below the other.
pub struct Filled {
    text: String,
    /// Where the lines of the text come from.
    lines: Vec<Place>,
}

impl Filled {
    /// Its documents, with the places of the values file.
    ///
    /// # Errors
    /// It is no YAML.
    pub fn documents(&self) -> Result<Vec<Tree>, Vec<Fault>> {
        let base = Text { place: Place::start_of(""), text: &self.text };
        let place = |inner: &Place| {
            let line = self.lines.get(inner.line - 1).or(self.lines.last());
            line.map_or_else(|| inner.clone(), |line| line.at(1, inner.column))
        };
        match yaml::documents(&base) {
            Ok(documents) => Ok(documents.iter().map(|tree| tree.map_places(&place)).collect()),
            Err(faults) => Err(faults.into_iter().map(|fault| Fault { place: place(&fault.place), ..fault }).collect()),
        }
    }

    /// The text, with the place of its first line: as good as all where every line of the old text is one of the new.
    #[must_use]
    pub fn as_text(&self) -> Text<'_> {
        Text { place: self.lines.first().cloned().unwrap_or_else(|| Place::start_of("")), text: &self.text }
    }

    fn push(&mut self, line: &str, place: &Place) {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines.push(place.clone());
    }
}

/// Fills in the templates of a text.
///
/// # Errors
/// One of them is not known.
pub fn filled(outer: &Text<'_>, value: &Tree, values: &Tree) -> Result<Filled, Vec<Fault>> {
    let mut filled = Filled { text: String::new(), lines: Vec::new() };
    let Some(inner) = yaml::inner(outer, value) else { return Ok(filled) };
    // For each `if` and `with` that is open: whether its lines count, and what the dot is.
    let mut open: Vec<(bool, Option<&Tree>)> = Vec::new();
    for (index, line) in inner.text.lines().enumerate() {
        let place = inner.place.at(index + 1, 1);
        let action = action_of(line);
        if action == Some("end") {
            open.pop();
            continue;
        }
        let opens = action.and_then(|action| {
            let (word, path) = action.split_once(' ')?;
            let value = value_at(values, path.trim());
            ["if", "with"].contains(&word).then(|| (is_true(value), value.filter(|_| word == "with")))
        });
        if let Some(opens) = opens {
            open.push(opens);
            continue;
        }
        if open.iter().any(|(counts, _)| !counts) {
            continue;
        }
        let dot = open.iter().rev().find_map(|(_, dot)| *dot);
        let new = line_of(line, action, values, dot).ok_or_else(|| vec![unknown(&place, line)])?;
        new.split('\n').for_each(|line| filled.push(line, &place));
    }
    Ok(filled)
}

/// What stands in the braces of a line that has nothing else.
fn action_of(line: &str) -> Option<&str> {
    let action = line.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!action.contains("}}")).then(|| action.trim_matches('-').trim())
}

fn unknown(place: &Place, line: &str) -> Fault {
    let message = format!(
        "the template in {:?} is not known here; let Helm fill it in: helm template RELEASE CHART --values FILE > \
         rendered.yaml, then pilcrow migrate rendered.yaml",
        line.trim()
    );
    Fault { place: place.clone(), message }
}

/// A line with its templates filled in, which may be several then; nothing where one is not known.
fn line_of(line: &str, action: Option<&str>, values: &Tree, dot: Option<&Tree>) -> Option<String> {
    if let Some(path) = action.and_then(|action| action.strip_prefix("toYaml ")) {
        let (path, rest) = path.split_once('|').unwrap_or((path, ""));
        let indent = rest.trim().trim_start_matches('n').strip_prefix("indent")?.trim().parse().ok()?;
        let value = if path.trim() == "." { dot? } else { value_at(values, path.trim())? };
        let mut lines = Vec::new();
        for item in value.items() {
            let mut text = String::new();
            write::item(&mut text, indent, item);
            lines.push(text);
        }
        for pair in value.pairs() {
            let mut text = String::new();
            write::pair(&mut text, indent, &pair.key, &pair.value);
            lines.push(text);
        }
        return Some(lines.join("\n"));
    }
    let (mut new, mut rest) = (String::new(), line);
    while let Some(at) = rest.find("{{") {
        new.push_str(&rest[..at]);
        let behind = rest[at + 2..].trim_start_matches('-').trim_start();
        let quote = behind.chars().next()?;
        if matches!(quote, '`' | '"') {
            // Text in quotes stands for itself: so templates of Promtail are written in values.
            let (text, tail) = behind[1..].split_once(quote)?;
            new.push_str(text);
            rest = tail.trim_start().trim_start_matches('-').strip_prefix("}}")?;
        } else {
            let (path, tail) = behind.split_once("}}")?;
            new.push_str(value_at(values, path.trim().trim_end_matches('-').trim())?.as_text()?);
            rest = tail;
        }
    }
    Some(new + rest)
}

/// The value that a path such as `.Values.config.snippets.common` names.
fn value_at<'t>(values: &'t Tree, path: &str) -> Option<&'t Tree> {
    let path: Vec<&str> = path.strip_prefix(".Values.")?.split('.').collect();
    at(values, &path)
}

fn is_true(value: Option<&Tree>) -> bool {
    match value.map(|tree| &tree.value) {
        None | Some(Value::Nothing) => false,
        Some(Value::Text(text)) => !text.is_empty() && text != "false",
        Some(Value::List(items)) => !items.is_empty(),
        Some(Value::Group(pairs)) => !pairs.is_empty(),
    }
}
