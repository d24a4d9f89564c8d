//! Lines that exercise an old configuration's stages: the usual ones, and such as its expressions match and its keys are in.

use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Map, Value, json};

use super::{super::cases::LINES, groups};

/// How often a pattern repeats what it may repeat without end.
const REPEATS: [u32; 3] = [1, 2, 5];

/// Values for the keys of JSON and logfmt.
const VALUES: [&str; 12] =
    ["info", "error", "debug", "WARN", "5", "0.25", "12ms", "GET", "/healthz", "a b", "", "2023-11-14T22:13:20.5Z"];

/// Lines for this configuration of Promtail's.
pub fn of(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = LINES.iter().map(|line| (*line).to_owned()).collect();
    let groups = groups(text);
    let mut values: Vec<String> = VALUES.iter().map(|value| (*value).to_owned()).collect();
    for group in &groups {
        let texts = |name: &str| group.get(name).and_then(Value::as_str);
        // A format of Go is a time in this format.
        values.extend(["format", "value"].iter().filter_map(|name| texts(name)).map(str::to_owned));
        if let Some(expression) = texts("expression").or(texts("firstline")) {
            let all = samples(expression);
            values.extend(all.iter().cloned());
            lines.extend(
                all.iter().flat_map(|line| [line.clone(), format!("{line} and more"), format!("before {line}")]),
            );
        }
        if let Some(selector) = texts("selector") {
            // Texts that its filters look for.
            let filters: Vec<&str> = selector.split('"').skip(1).step_by(2).collect();
            lines.extend(filters.iter().flat_map(|filter| samples(filter)));
            lines.push(filters.join(" "));
        }
    }
    let paths: Vec<String> =
        groups.iter().filter_map(|group| group.get("expressions")?.as_object()).flat_map(named).collect();
    let keys: Vec<String> =
        groups.iter().filter_map(|group| group.get("mapping")?.as_object()).flat_map(named).collect();
    for (number, value) in values.iter().enumerate() {
        // Each key has each value once.
        let at = |index: usize| &values[(number + index) % values.len()];
        if !paths.is_empty() {
            let mut object = Value::Object(Map::new());
            paths.iter().enumerate().for_each(|(index, path)| put(&mut object, path, at(index)));
            lines.push(object.to_string());
            lines.push(format!("{} {object}", value));
        }
        if !keys.is_empty() {
            let pairs = keys.iter().enumerate().map(|(index, key)| format!("{key}={}", json!(at(index))));
            lines.push(pairs.collect::<Vec<_>>().join(" "));
        }
    }
    lines.retain(|line| !line.contains('\n'));
    lines
}

/// The paths of `NAME: PATH`; without a path, the names.
fn named(expressions: &Map<String, Value>) -> Vec<String> {
    let path =
        |(name, path): (&String, &Value)| path.as_str().filter(|path| !path.is_empty()).unwrap_or(name).to_owned();
    expressions.iter().map(path).collect()
}

/// Puts a value where a path of names and indexes leads.
fn put(object: &mut Value, path: &str, value: &str) {
    let parsed = value.parse::<i64>().map_or_else(|_| json!(value), |number| json!(number));
    let mut at = object;
    for part in path.split('.') {
        let name = part.split(['[', ' ', '|']).next().unwrap_or_default().trim_matches('"');
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[name];
        if part.contains('[') {
            *at = json!([{}, {}]);
            at = &mut at[0];
        }
    }
    *at = parsed;
}

/// Texts that an expression matches; none where it cannot be read.
pub fn samples(expression: &str) -> Vec<String> {
    let Ok(hir) = regex_syntax::parse(expression) else { return Vec::new() };
    let mut all: Vec<String> = Vec::new();
    for (choice, repeats) in REPEATS.iter().enumerate() {
        let mut text = String::new();
        write(&hir, choice, *repeats, &mut text);
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

fn write(hir: &Hir, choice: usize, repeats: u32, out: &mut String) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => out.push(of_class(class, choice)),
        HirKind::Repetition(repetition) => {
            let least = if choice == 0 { repetition.min } else { repetition.min.max(repeats) };
            let count = least.min(repetition.max.unwrap_or(least));
            (0..count).for_each(|number| write(&repetition.sub, choice + number as usize, repeats, out));
        }
        HirKind::Capture(capture) => write(&capture.sub, choice, repeats, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| write(part, choice, repeats, out)),
        HirKind::Alternation(parts) => write(&parts[choice % parts.len()], choice, repeats, out),
    }
}

/// A character of a class: one that can be read, where it has any.
fn of_class(class: &Class, choice: usize) -> char {
    const READABLE: &str = "a5Zk0e-.:/_ x";
    let has = |c: char| match class {
        Class::Unicode(class) => class.ranges().iter().any(|range| range.start() <= c && c <= range.end()),
        Class::Bytes(class) => class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&(c as u8))),
    };
    let readable: Vec<char> = READABLE.chars().filter(|c| has(*c)).collect();
    match readable[..] {
        [] => match class {
            Class::Unicode(class) => class.ranges().first().map_or('?', |range| range.start()),
            Class::Bytes(class) => class.ranges().first().map_or('?', |range| range.start() as char),
        },
        _ => readable[choice % readable.len()],
    }
}
