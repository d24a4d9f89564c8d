//! The schema: kinds from the types, defaults from the default configuration, meanings from docs/configuration.md.

use std::{collections::BTreeMap, fs, path::PathBuf};

use collector::config::Config;
use serde_json::{Map, Value, json};

use super::probe::{self, ITEM, Kind};

/// What the loader takes beside what the types say: keys of earlier versions, and short forms (`reader: pread`).
const RETIRED: [&str; 1] = ["reader.shards"];
const SHORT: [(&str, &str); 4] = [
    ("reader", "backend"),
    ("tests.[].lines.[]", "line"),
    ("tests.[].expect.[]", "line"),
    // A line of the log in each.
    ("tests.[].lines", "[].line"),
];

/// A text with a variable in it may become anything.
const VARIABLE: &str = "[$][{]";

/// Patterns for texts of a certain form, each with texts that decode where the form is the right one, and one that does not.
const FORMS: [(&str, &[&str], &str); 4] = [
    (DURATION, &["1m30s", "500ms"], "1MiB"),
    (SIZE, &["2.5MiB", "65536"], "unlimited"),
    ("^(unlimited|[0-9]+([.][0-9])? *([gGmMkK][iI]?[bB])?(/s)?|[0-9]+ *[bB](/s)?)$", &["unlimited", "2.5MiB"], "1m30s"),
    ("^(wait|drop after ([0-9]+(d|h|m|s|ms))+)$", &["wait", "drop after 1h"], "2.5MiB"),
];
const DURATION: &str = "^(0|([0-9]+(d|h|m|s|ms))+)$";
const SIZE: &str = "^([0-9]+([.][0-9])? *[gGmMkK][iI]?[bB]|[0-9]+ *[bB]?)$";

/// The whole schema.
pub fn of_config() -> Value {
    let mut schema = of(&[], &serde_json::to_value(Config::default()).unwrap(), &meanings());
    let group = schema.as_object_mut().unwrap();
    group.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
    group.insert("title".into(), json!("Pilcrow's configuration"));
    group.insert(
        "description".into(),
        json!("Every key: docs/configuration.md. What only `pilcrow check` can know is not in it."),
    );
    schema
}

/// The keys of docs/configuration.md with their meanings.
pub fn meanings() -> BTreeMap<String, String> {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = fs::read_to_string(page).unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.splitn(3, " | ");
        let (key, _, meaning) = (cells.next()?.trim_end_matches('`'), cells.next()?, cells.next()?);
        Some((key.to_owned(), plain(meaning.trim_end_matches(" |"))))
    };
    page.lines().filter_map(row).collect()
}

/// Without the markup: the text of a link, the code without its quotes.
fn plain(markdown: &str) -> String {
    let link = regex::Regex::new(r"\[([^\]]+)\]\([^)]*\)").unwrap();
    link.replace_all(markdown, "$1").replace('`', "")
}

/// The schema of what stands at a path, whose default is `default`.
fn of(path: &[String], default: &Value, meanings: &BTreeMap<String, String>) -> Value {
    let below = |key: &str| {
        let path: Vec<String> = path.iter().cloned().chain([key.to_owned()]).collect();
        of(&path, &default[key], meanings)
    };
    let key = path.join(".");
    let mut schema = match probe::kind::<Config>(path) {
        Kind::Group(keys) => {
            let mut properties: Map<String, Value> = keys.iter().map(|key| (key.to_string(), below(key))).collect();
            for old in RETIRED.iter().filter_map(|retired| retired.strip_prefix(&format!("{key}."))) {
                properties.insert(old.into(), json!({"description": "Of an earlier version: has no effect."}));
            }
            json!({"type": ["object", "null"], "additionalProperties": false, "properties": properties})
        }
        Kind::Map => json!({"type": ["object", "null"], "additionalProperties": below("a")}),
        Kind::List => json!({"type": ["array", "null"], "items": below(ITEM)}),
        Kind::Boolean => {
            json!({"type": ["boolean", "string", "null"], "pattern": format!("^(true|True|TRUE|false|False|FALSE)$|{VARIABLE}")})
        }
        Kind::Whole => json!({"type": ["integer", "string", "null"], "pattern": format!("^[0-9]+$|{VARIABLE}")}),
        Kind::Number => json!({"type": ["number", "string", "null"], "pattern": format!("^[0-9.e+-]+$|{VARIABLE}")}),
        Kind::Any => json!({}),
        Kind::OneOf(names) => one_of(names.iter().copied(), VARIABLE),
        Kind::Text => text(path),
    };
    if let Some((_, inner)) = SHORT.iter().find(|(long, _)| *long == key) {
        let path: Vec<String> = path.iter().cloned().chain(inner.split('.').map(str::to_owned)).collect();
        schema = json!({"anyOf": [schema, of(&path, &Value::Null, &BTreeMap::new())]});
    }
    if let Some(meaning) = meanings.get(&key) {
        schema["description"] = json!(meaning);
    }
    if matches!(default, Value::Bool(_) | Value::Number(_)) || default.as_str().is_some_and(|text| !text.is_empty()) {
        schema["default"] = default.clone();
    }
    schema
}

/// Some names, as YAML may read them; or another text that this pattern finds.
fn one_of<'n>(names: impl Iterator<Item = &'n str>, other: &str) -> Value {
    let mut values: Vec<Value> = names.map(|name| json!(name)).collect();
    for (name, read) in [("true", true), ("false", false)] {
        if values.contains(&json!(name)) {
            values.push(json!(read));
        }
    }
    values.push(Value::Null);
    json!({"anyOf": [{"enum": values}, {"type": "string", "pattern": other}]})
}

/// A text, by what the type takes.
fn text(path: &[String]) -> Value {
    let decodes = |text: &str| probe::decode::<Config>(path, text);
    let Err(refusal) = decodes("no name of anything") else {
        return json!({"type": ["string", "number", "boolean", "null"]});
    };
    // A list of names that a type has for itself; letters may be in any case.
    let names = refusal.split_once("expected one of ").and_then(|(_, rest)| rest.split_once(", found "));
    if let Some((names, _)) = names {
        let any = if decodes(&names.split(", ").next().unwrap().to_uppercase()).is_ok() { "" } else { VARIABLE };
        return one_of(names.split(", "), any);
    }
    let form =
        FORMS.iter().find(|(_, good, bad)| good.iter().all(|text| decodes(text).is_ok()) && decodes(bad).is_err());
    match form {
        // A number needs a unit, but for zero.
        Some((DURATION, ..)) => {
            json!({"type": ["string", "integer", "null"], "maximum": 0, "pattern": format!("{DURATION}|{VARIABLE}")})
        }
        Some((pattern, ..)) => {
            json!({"type": ["string", "integer", "null"], "pattern": format!("{pattern}|{VARIABLE}")})
        }
        None => json!({"type": ["string", "null"]}),
    }
}
