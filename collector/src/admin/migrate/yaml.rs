//! YAML files as trees with places, also those that stand in other YAML files, as in a ConfigMap.
//!
//! In: a text. Out: a [`Tree`] of each document. `$` means nothing here: texts are those of the file.

use super::origin::{Fault, Pair, Place, Text, Tree, Value};
use crate::config::{self, tree};

/// Reads all documents of a text.
///
/// # Errors
/// It is no YAML, or uses what is not supported.
pub fn documents(text: &Text<'_>) -> Result<Vec<Tree>, Vec<Fault>> {
    let read = tree::parse_as_written(text.text.strip_prefix('\u{feff}').unwrap_or(text.text));
    match read {
        Ok(documents) => Ok(documents.into_iter().map(|node| with_places(node, &text.place)).collect()),
        Err(config::Problem { origin, message, .. }) => {
            let place = match origin {
                config::Origin::File(at) => text.place.at(at.line, at.column),
                _ => text.place.clone(),
            };
            let is_reference = message.contains("YAML aliases") || message.contains("merge keys");
            let message = if is_reference { format!("{message} (yq 'explode(.)' FILE does it)") } else { message };
            Err(vec![Fault { place, message }])
        }
    }
}

fn with_places(node: tree::Node, base: &Place) -> Tree {
    let place = base.at(node.place.line, node.place.column);
    let value = match node.value {
        tree::Value::Null => Value::Nothing,
        tree::Value::Scalar(text) => Value::Text(text),
        tree::Value::Sequence(items) => Value::List(items.into_iter().map(|item| with_places(item, base)).collect()),
        tree::Value::Mapping(entries) => {
            let pairs = entries.into_iter().map(|entry| Pair {
                key: entry.key,
                place: base.at(entry.key_place.line, entry.key_place.column),
                value: with_places(entry.value, base),
            });
            Value::Group(pairs.collect())
        }
    };
    Tree { place, value }
}

/// The text that a value of `outer` holds, to be read for itself; nothing where it is no text.
#[must_use]
pub fn inner<'t>(outer: &Text<'_>, value: &'t Tree) -> Option<Text<'t>> {
    let text = value.as_text()?;
    let line_in_outer = value.place.line.checked_sub(outer.place.line)?;
    // A block begins behind the line with its `|`; other texts are as good as on one line.
    let Some(header) = header_of(outer, line_in_outer, text).filter(|_| text.contains('\n')) else {
        return Some(Text { place: value.place.clone(), text });
    };
    let mut lines = outer.text.lines().skip(header + 1);
    let blank = lines.clone().take_while(|line| line.trim().is_empty()).count();
    let first = lines.nth(blank).unwrap_or("");
    let indent = first.chars().take_while(|c| *c == ' ').count();
    let own = text.lines().find(|line| !line.trim().is_empty()).map_or(0, |line| line.len() - line.trim_start().len());
    let column = outer_column(&value.place, outer) + indent.saturating_sub(own);
    let place = Place { file: value.place.file.clone(), line: outer.place.line + header + 1, column };
    Some(Text { place, text })
}

/// The line with the `|` of a block. The place of a block that begins with empty lines is behind these.
fn header_of(outer: &Text<'_>, line: usize, text: &str) -> Option<usize> {
    let is_header = |line: usize| {
        let shown = outer.text.lines().nth(line).unwrap_or("").trim_end();
        shown.ends_with(['|', '>', '-', '+'])
    };
    let empty = text.lines().take_while(|line| line.trim().is_empty()).count();
    (line.saturating_sub(empty + 1)..=line).rev().find(|line| is_header(*line))
}

/// The column of the first character of each line of `outer`.
fn outer_column(place: &Place, outer: &Text<'_>) -> usize {
    if place.file == outer.place.file { outer.place.column } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_a_block_has_the_places_of_its_file() {
        let file = "kind: ConfigMap\ndata:\n  promtail.yaml: |\n    server:\n      port: 80\n";
        let outer = Text { place: Place::start_of("f"), text: file };
        let root = documents(&outer).unwrap().remove(0);
        let value = &root.get("data").unwrap().value.get("promtail.yaml").unwrap().value;
        let text = inner(&outer, value).unwrap();
        let root = documents(&text).unwrap().remove(0);
        let server = root.get("server").unwrap();
        assert_eq!(server.place.to_string(), "f:4:5");
        assert_eq!(server.value.get("port").unwrap().place.to_string(), "f:5:7");
    }

    #[test]
    fn what_is_no_yaml_has_its_place() {
        let text = Text { place: Place { file: "f".into(), line: 10, column: 3 }, text: "a: b\nc: [\n" };
        let faults = documents(&text).unwrap_err();
        assert!(faults[0].place.line >= 11, "{}", faults[0]);
    }

    #[test]
    fn a_block_that_begins_with_empty_lines_has_the_places_of_the_file() {
        for (blank, line) in [("", 2), ("\n", 2), ("  \n\n", 2)] {
            let file = format!("key: |\n{blank}  first\n    second\n");
            let outer = Text { place: Place::start_of("f"), text: &file };
            let documents = documents(&outer).unwrap();
            let value = &documents[0].get("key").unwrap().value;
            let place = inner(&outer, value).unwrap().place;
            assert_eq!((place.line, place.column), (line, 3), "{file:?}");
        }
    }
}
