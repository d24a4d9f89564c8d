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

/// Fields of rules and stages that are texts, also where they look like numbers or booleans.
const TEXTS: [&str; 13] = [
    "action",
    "description",
    "expression",
    "prefix",
    "regex",
    "replace",
    "replacement",
    "selector",
    "separator",
    "source",
    "template",
    "value",
    "values",
];

/// Stages and fields whose fields are texts, by names that their writer chose.
const GROUPS_OF_TEXTS: [&str; 4] = ["expressions", "labels", "static_labels", "structured_metadata"];

/// Writes `key: value` at this indentation, without a newline at its end.
pub fn pair(out: &mut String, indent: usize, key: &str, value: &Tree) {
    pair_by(out, indent, key, value, scalar);
}

/// As [`pair`], for a value in which Kubernetes wants texts: what looks like a number or a boolean is in quotes.
pub fn pair_of_texts(out: &mut String, indent: usize, key: &str, value: &Tree) {
    pair_by(out, indent, key, value, word);
}

fn pair_by(out: &mut String, indent: usize, key: &str, value: &Tree, spell: Spell) {
    let head = format!("{:indent$}{}:", "", word(key));
    out.push_str(&head);
    below(out, indent, head.chars().count(), value, spell_of(key, value, spell));
}

fn spell_of(key: &str, value: &Tree, spell: Spell) -> Spell {
    let is_group = matches!(value.value, Value::Group(_));
    match key {
        NUMBER => scalar,
        // The stages regex, replace and template have the names of fields.
        _ if GROUPS_OF_TEXTS.contains(&key) || TEXTS.contains(&key) && !is_group => word,
        _ => spell,
    }
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
    let odd = |c: char| c != '\n' && is_odd(c);
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
            let one = |item: &Tree| match &item.value {
                Value::Nothing => "null".into(),
                _ => inside(item, spell),
            };
            format!("[{}]", items.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Value::Group(pairs) => {
            let one = |pair: &Pair| {
                let value = inside(&pair.value, spell_of(&pair.key, &pair.value, spell));
                format!("{}: {value}", in_flow(&pair.key, word))
            };
            format!("{{{}}}", pairs.iter().map(one).collect::<Vec<_>>().join(", "))
        }
    }
}

/// What stands in a list or group of one line.
fn inside(value: &Tree, spell: Spell) -> String {
    match &value.value {
        Value::Text(text) => in_flow(text, spell),
        _ => flow(value, spell),
    }
}

/// A text in a list or group of one line, where more characters end a plain text: older readers, such as those of Helm and Python,
/// take `?` and `:` for indicators there.
fn in_flow(text: &str, spell: Spell) -> String {
    let spelled = spell(text);
    if spelled == text && text.contains(['?', ':']) { quoted(text) } else { spelled }
}

/// A text as a comment has it: YAML ends a line at more than a newline, and takes no control characters.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.replace(is_odd, " ")
}

/// A character that stands in a text only when it is escaped.
fn is_odd(c: char) -> bool {
    c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
}

/// A text in one line of a block: plain where every reader of YAML 1.1 and 1.2 takes it for this text, else in quotes. Short whole
/// numbers, `true` and `false` stay as they are.
#[must_use]
pub fn scalar(text: &str) -> String {
    let plain = |c: char| {
        c.is_ascii_alphanumeric() || "_./-+*()<>$^;~=@\\ %!|?".contains(c) || (c as u32 >= 0xa1 && !is_odd(c))
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
    let is_safe = !is_odd_number(text) && text.starts_with(begins) && colon_inside(text) && !text.ends_with(' ');
    if is_safe && !is_word { text.to_owned() } else { quoted(text) }
}

/// Whether some reader takes a text for a number or a time that it would write in another way: `0o17`, `1_000`, `1e3`, `12:30`,
/// `2006-01-02T15:04:05Z`. Pilcrow itself takes the text.
fn is_odd_number(text: &str) -> bool {
    let is_short = text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = is_short && (text.len() == 1 || !text.starts_with('0'));
    // The characters of numbers of all bases and of times. An address has more dots than any of them, and may end in a port.
    let of_numbers = |c: char| c.is_ascii_hexdigit() || "xXoO_.+-:TtZz ".contains(c);
    let is_address = text.contains(':') && text.matches('.').count() > 1;
    text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && !is_whole
        && !is_address
        && text.chars().all(of_numbers)
}

/// A text in one line that every reader of YAML takes for a text: in quotes where it looks like a number or a boolean.
#[must_use]
pub fn word(text: &str) -> String {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if is_number || matches!(text.to_ascii_lowercase().as_str(), "true" | "false") {
        return quoted(text);
    }
    scalar(text)
}

fn quoted(text: &str) -> String {
    if text.contains(is_odd) { double_quoted(text) } else { format!("'{}'", text.replace('\'', "''")) }
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
            c if is_odd(c) => quoted.push_str(&format!("\\u{:04x}", c as u32)),
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

    /// What a reader of YAML 1.1 or 1.2 could take for something else than the text.
    const HOSTILE: [&str; 46] = [
        "",
        "~",
        "null",
        "y",
        "No",
        "ON",
        "off",
        "true",
        "False",
        ".",
        "..",
        "...",
        ".inf",
        "-.INF",
        ".NaN",
        "0",
        "007",
        "0o17",
        "0x1F",
        "0b11",
        "1_000",
        "1e3",
        "1.5",
        "+1",
        "-1",
        ".5",
        "12:30:45",
        "2006-01-02",
        "2006-01-02T15:04:05Z",
        "2006-01-02 15:04:05",
        "?",
        "? a",
        "a?b",
        "^(?P<level>a|b)$",
        "a,b",
        "[a]",
        "{a}",
        "a: b",
        "a:b",
        "a:",
        "a #b",
        "#a",
        "&a",
        "*a",
        "!a",
        "<<",
    ];

    /// Texts that no reader of YAML takes for anything else: beginning, characters and words are all harmless.
    fn is_surely_plain(text: &str) -> bool {
        let letters = text.starts_with(|c: char| c.is_ascii_alphabetic() || "^$(\\/._".contains(c));
        let words = ["true", "false", "null", "y", "n", "yes", "no", "on", "off"];
        letters
            && !text.starts_with('.')
            && !words.contains(&&*text.to_ascii_lowercase())
            && !text.contains(|c: char| ",[]{}?:#&`'\"".contains(c) || c.is_control())
            && !text.ends_with(' ')
    }

    #[test]
    fn a_text_in_one_line_is_plain_only_where_no_reader_of_yaml_takes_it_for_anything_else() {
        let more = [
            "%a", "@a", "`a", "|", ">", "-", "- a", "a]", "=", "a\tb", "a\u{85}b", "\u{feff}", "\u{fffe}", "'a'",
            "\"a\"", " a", "a ",
        ];
        for text in HOSTILE.into_iter().chain(more).chain(["a b", "plain", "^a|b$", "/var/log", "100"]) {
            let written = in_flow(text, word);
            assert_eq!(written == text, is_surely_plain(text), "{text:?}: {written}");
            let read = yaml::documents(&Text { place: Place::start_of(""), text: &format!("[{written}]\n") }).unwrap();
            assert_eq!(read[0].items()[0].as_text(), Some(text), "{written}");
        }
    }

    #[test]
    fn fields_that_are_texts_are_in_quotes_where_they_look_like_numbers_and_others_are_not() {
        let text = |text: &str| Tree::text(&Place::start_of(""), text);
        let place = Place::start_of("");
        let drop = Tree::group(&place, [("value", text("404")), ("drop_malformed", text("true"))]);
        let labels = Tree::group(&place, [("is", text("true")), ("at", text("5"))]);
        let mut out = String::new();
        item(&mut out, 0, &Tree::group(&place, [("drop", drop), ("static_labels", labels)]));
        assert_eq!(out, "- {drop: {value: '404', drop_malformed: true}, static_labels: {is: 'true', at: '5'}}");
    }

    proptest! {
        #[test]
        fn any_text_in_one_line_reads_as_itself(text in "\\PC{0,12}|[ -~\t]{0,12}") {
            for spell in [scalar, word] {
                let written = in_flow(&text, spell);
                let read = yaml::documents(&Text { place: Place::start_of(""), text: &format!("[{written}]\n") });
                let read = read.map_err(|faults| TestCaseError::fail(format!("{}\n{written}", faults[0])))?;
                prop_assert_eq!(read[0].items()[0].as_text(), Some(&*text), "{}", written);
            }
            prop_assert!(in_flow(&text, word) != text || is_surely_plain(&text), "{}", text);
        }

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
