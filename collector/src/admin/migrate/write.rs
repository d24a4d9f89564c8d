//! Trees as YAML text.
//!
//! In: values whose texts are spelled as in a file of Pilcrow. Out: lines, as a person would write them: short lists and groups in
//! one line, texts without quotes where that is safe.

use super::origin::{Pair, Tree, Value};

/// The longest line that a group or list is written in.
const WIDTH: usize = 120;

/// How a text is written in one line: [`scalar`] or [`word`].
type Spell = fn(&str) -> String;

/// The one number in those of the chart's values in which Kubernetes wants texts.
const NUMBER: &str = "tolerationSeconds";

/// Writes `key: value` at this indentation, without a newline at its end.
pub fn pair(out: &mut String, indent: usize, key: &str, value: &Tree) {
    pair_by(out, indent, key, value, scalar);
}

/// As [`pair`], for a value in which Kubernetes wants texts: what looks like a number or a boolean is in quotes.
pub fn pair_of_texts(out: &mut String, indent: usize, key: &str, value: &Tree) {
    pair_by(out, indent, key, value, word);
}

fn pair_by(out: &mut String, indent: usize, key: &str, value: &Tree, spell: Spell) {
    let head = format!("{:indent$}{}:", "", scalar(key));
    out.push_str(&head);
    below(out, indent, head.chars().count(), value, spell_of(key, spell));
}

fn spell_of(key: &str, spell: Spell) -> Spell {
    if key == NUMBER { scalar } else { spell }
}

/// Writes `- value` at this indentation, without a newline at its end.
pub fn item(out: &mut String, indent: usize, value: &Tree) {
    item_by(out, indent, value, scalar);
}

fn item_by(out: &mut String, indent: usize, value: &Tree, spell: Spell) {
    out.push_str(&format!("{:indent$}-", ""));
    match &value.value {
        Value::Group(pairs) if !pairs.is_empty() && !fits(value, indent + 2, spell) => {
            for (index, entry) in pairs.iter().enumerate() {
                if index == 0 {
                    let mut first = String::new();
                    pair_by(&mut first, indent + 2, &entry.key, &entry.value, spell);
                    out.push(' ');
                    out.push_str(first.trim_start());
                } else {
                    out.push('\n');
                    pair_by(out, indent + 2, &entry.key, &entry.value, spell);
                }
            }
        }
        _ => below(out, indent, indent + 1, value, spell),
    }
}

/// What stands behind `key:` or `-`.
fn below(out: &mut String, indent: usize, column: usize, value: &Tree, spell: Spell) {
    match &value.value {
        Value::Text(text) if is_block(text) => block(out, indent + 2, text),
        Value::Nothing => {}
        _ if fits(value, column + 1, spell) => {
            out.push(' ');
            out.push_str(&flow(value, spell));
        }
        Value::List(items) => {
            for value in items {
                out.push('\n');
                item_by(out, indent + 2, value, spell);
            }
        }
        Value::Group(pairs) => {
            for entry in pairs {
                out.push('\n');
                pair_by(out, indent + 2, &entry.key, &entry.value, spell);
            }
        }
        Value::Text(text) => {
            out.push(' ');
            out.push_str(&spell(text));
        }
    }
}

fn fits(value: &Tree, column: usize, spell: Spell) -> bool {
    depth(value) <= 2 && column + flow(value, spell).chars().count() <= WIDTH && !has_block(value)
}

fn depth(value: &Tree) -> usize {
    match &value.value {
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Group(pairs) => 1 + pairs.iter().map(|pair| depth(&pair.value)).max().unwrap_or(0),
        _ => 0,
    }
}

fn has_block(value: &Tree) -> bool {
    match &value.value {
        Value::Text(text) => is_block(text),
        Value::List(items) => items.iter().any(has_block),
        Value::Group(pairs) => pairs.iter().any(|pair| has_block(&pair.value)),
        Value::Nothing => false,
    }
}

/// Whether a text is best written as a block: several lines that begin with no blank and have nothing odd in them.
fn is_block(text: &str) -> bool {
    let odd =
        |c: char| c.is_control() && c != '\n' || c == '\u{feff}' || c == '\u{2028}' || c == '\u{2029}' || c == '\u{85}';
    text.trim_end_matches('\n').contains('\n')
        && !text.contains(odd)
        && !text.starts_with([' ', '\n'])
        && !text.ends_with("\n\n")
        && text.lines().all(|line| line.trim_end() == line)
}

fn block(out: &mut String, indent: usize, text: &str) {
    out.push_str(if text.ends_with('\n') { " |" } else { " |-" });
    for line in text.lines() {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&format!("{:indent$}{line}", ""));
        }
    }
}

fn flow(value: &Tree, spell: Spell) -> String {
    match &value.value {
        Value::Nothing => String::new(),
        Value::Text(text) => spell(text),
        Value::List(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| if item.value == Value::Nothing { "null".into() } else { flow(item, spell) })
                .collect();
            format!("[{}]", items.join(", "))
        }
        Value::Group(pairs) => {
            let one = |pair: &Pair| format!("{}: {}", scalar(&pair.key), flow(&pair.value, spell_of(&pair.key, spell)));
            let pairs: Vec<String> = pairs.iter().map(one).collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// A text in one line: plain where every reader of YAML takes it for this text, else in quotes.
#[must_use]
pub fn scalar(text: &str) -> String {
    let plain = |c: char| {
        c.is_ascii_alphanumeric()
            || "_./-+*()<>$^;~=@\\ %!|?".contains(c)
            || (c as u32 >= 0xa1 && !c.is_control() && c != '\u{feff}' && c != '\u{2028}' && c != '\u{2029}')
    };
    let begins = |c: char| c.is_ascii_alphanumeric() || "_./$^(\\".contains(c);
    let colon_inside = |text: &str| {
        text.char_indices().all(|(at, c)| {
            plain(c)
                || c == ':' && text[at + 1..].chars().next().is_some_and(|next| !next.is_whitespace() && plain(next))
        })
    };
    let is_word = matches!(
        text.to_ascii_lowercase().as_str(),
        "null" | "y" | "n" | "yes" | "no" | "on" | "off" | "" | "~" | "." | ".inf" | ".nan"
    );
    // What the tools around Helm would make another number of; Pilcrow itself takes the text.
    let is_odd_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && (text.len() > 6
            || !text.bytes().all(|byte| byte.is_ascii_digit())
            || text.len() > 1 && text.starts_with('0'))
        && !text.contains(|c: char| c.is_ascii_alphabetic() && !"eExXabcdfABCDF_".contains(c) || "/:".contains(c));
    let is_safe = !is_odd_number && text.starts_with(begins) && colon_inside(text) && !text.ends_with(' ') && !is_word;
    if is_safe {
        return text.to_owned();
    }
    if text.contains(|c: char| c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')) {
        return double_quoted(text);
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// A text in one line that every reader of YAML takes for a text: in quotes where it looks like a number or a boolean.
#[must_use]
pub fn word(text: &str) -> String {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if is_number || matches!(text.to_ascii_lowercase().as_str(), "true" | "false") {
        return format!("'{}'", text.replace('\'', "''"));
    }
    scalar(text)
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}') => {
                quoted.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::admin::migrate::{
        origin::{Pair, Place, Text},
        yaml,
    };

    fn tree() -> impl Strategy<Value = Tree> {
        let text = prop_oneof!["[ -~]{0,12}", "(a|b| |\n|:|#|é|\t|'|\"){0,9}"];
        let leaf = prop_oneof![Just(Value::Nothing), text.prop_map(Value::Text)].prop_map(placed);
        leaf.prop_recursive(4, 24, 4, |inner| {
            let list = proptest::collection::vec(inner.clone(), 1..4).prop_map(|items| placed(Value::List(items)));
            let group = proptest::collection::btree_map("[a-z$: ]{1,5}", inner, 1..4).prop_map(|pairs| {
                let pairs = pairs.into_iter().map(|(key, value)| Pair { key, place: Place::start_of(""), value });
                placed(Value::Group(pairs.collect()))
            });
            prop_oneof![list, group]
        })
    }

    fn placed(value: Value) -> Tree {
        Tree { place: Place::start_of(""), value }
    }

    fn without_places(tree: &Tree) -> Tree {
        placed(match &tree.value {
            Value::List(items) => Value::List(items.iter().map(without_places).collect()),
            Value::Group(pairs) => Value::Group(
                pairs
                    .iter()
                    .map(|pair| Pair {
                        key: pair.key.clone(),
                        place: Place::start_of(""),
                        value: without_places(&pair.value),
                    })
                    .collect(),
            ),
            value => value.clone(),
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_the_same_tree(tree in tree()) {
            let mut text = String::new();
            pair(&mut text, 0, "key", &tree);
            text.push('\n');
            item(&mut text, 0, &placed(Value::Text("x".into())));
            let (before, _) = text.rsplit_once('\n').unwrap();
            let read = yaml::documents(&Text { place: Place::start_of(""), text: before });
            let read = read.map_err(|faults| TestCaseError::fail(format!("{}\n{before}", faults[0])))?;
            prop_assert_eq!(without_places(&read[0].get("key").map_or(placed(Value::Nothing), |pair| pair.value.clone())), tree.clone(), "{}", before);
            let mut text = String::new();
            item(&mut text, 2, &tree);
            let read = yaml::documents(&Text { place: Place::start_of(""), text: &text });
            let read = read.map_err(|faults| TestCaseError::fail(format!("{}\n{text}", faults[0])))?;
            prop_assert_eq!(without_places(&read[0].items()[0]), tree, "{}", text);
        }
    }
}
