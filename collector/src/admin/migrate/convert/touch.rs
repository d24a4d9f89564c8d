//! Whether a stage has to do with a label: looks at it, makes it, or may take it away.
//!
//! In: a stage in Promtail's form, with those in it. Out: an answer that is yes wherever it is not known. Labels are also values that
//! stages extract, from the beginning and anew where a `match` begins.

use crate::admin::migrate::origin::{Pair, Tree, Value};

/// Fields whose texts name no label: what lines are compared with, and what is written for people.
const OF_LINES: [&str; 12] = [
    "description",
    "drop_counter_reason",
    "expression",
    "expressions",
    "firstline",
    "format",
    "location",
    "mapping",
    "pattern",
    "pipeline_name",
    "regex",
    "value",
];

/// Whether a stage would do something else if lines had a label of this name.
pub fn touches(stage: &Tree, name: &str) -> bool {
    touches_in(stage, name, false)
}

fn touches_in(stage: &Tree, name: &str, is_nested: bool) -> bool {
    let [Pair { key, value, .. }] = stage.pairs() else { return false };
    match key.as_str() {
        "cri" | "docker" | "static_labels" => false,
        // One that makes this label of the value of the same name leaves it as it is where there is none. In a `match` the value is
        // the label's, whatever was extracted before.
        "labels" if !is_nested => mentions_beside(value, name),
        // All labels are those of the series.
        "metrics" | "labelallow" | "label_keep" => true,
        "truncate" if is_of_all_labels(value) => true,
        "structured_metadata" if value.get("regex").is_some() => true,
        "match" => {
            let stages = value.get("stages").map(|pair| pair.value.items()).unwrap_or_default();
            let selector = value.get("selector").and_then(|pair| pair.value.as_text()).unwrap_or_default();
            has_word(selector, name) || stages.iter().any(|stage| touches_in(stage, name, true))
        }
        _ => mentions(value, name),
    }
}

/// The names of all labels that a stage may read; also of some that it does not.
pub fn names_read(stage: &Tree) -> Vec<String> {
    let mut names = Vec::new();
    collect_names(stage, &mut names);
    names
}

fn collect_names(tree: &Tree, names: &mut Vec<String>) {
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words
            .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
            .map(str::to_owned)
            .collect()
    };
    match &tree.value {
        Value::Nothing => {}
        Value::Text(text) => names.extend(words(text)),
        Value::List(items) => items.iter().for_each(|item| collect_names(item, names)),
        Value::Group(pairs) => {
            for pair in pairs.iter().filter(|pair| !OF_LINES.contains(&pair.key.as_str())) {
                match (&pair.value.value, pair.key.as_str()) {
                    // `{name="value", …} |= "text"`: what stands before an operator.
                    (Value::Text(text), "selector") => {
                        let matchers = text.split_once('}').map_or(text.as_str(), |(matchers, _)| matchers);
                        let before = matchers.split(',').filter_map(|part| part.split(['=', '!']).next());
                        names.extend(before.flat_map(words));
                    }
                    (Value::Nothing, key) => names.push(key.to_owned()),
                    (Value::Text(text), key) if text.is_empty() => names.push(key.to_owned()),
                    _ => collect_names(&pair.value, names),
                }
            }
        }
    }
}

/// Whether a stage, or one in it, extracts a value of this name.
pub fn extracts(stage: &Tree, name: &str) -> bool {
    let [Pair { key, value, .. }] = stage.pairs() else { return false };
    let has_key = |list: &str| {
        value.get(list).is_some_and(|pair| pair.value.pairs().iter().any(|expression| expression.key == name))
    };
    let text = |field: &str| value.get(field).and_then(|pair| pair.value.as_text()).unwrap_or_default();
    match key.as_str() {
        "json" => has_key("expressions"),
        "logfmt" => has_key("mapping"),
        "regex" | "replace" => text("expression").contains(&format!("<{name}>")),
        "pattern" => text("pattern").contains(&format!("<{name}>")),
        "match" => {
            let stages = value.get("stages").map(|pair| pair.value.items()).unwrap_or_default();
            stages.iter().any(|stage| extracts(stage, name))
        }
        _ => false,
    }
}

/// Whether all that it does to labels is to remove those that are not in its list.
pub fn keeps_labels(stage: &Tree) -> bool {
    matches!(stage.pairs(), [Pair { key, .. }] if key == "labelallow" || key == "label_keep")
}

/// Whether a stage, or one in it, may make a label of this name.
pub fn makes(stage: &Tree, name: &str) -> bool {
    let [Pair { key, value, .. }] = stage.pairs() else { return false };
    match key.as_str() {
        "labels" | "static_labels" => {
            let values = value.get("values").map_or(value, |pair| &pair.value);
            values.pairs().iter().any(|pair| pair.key == name)
        }
        "cri" | "docker" => name == "stream",
        "match" => {
            let stages = value.get("stages").map(|pair| pair.value.items()).unwrap_or_default();
            stages.iter().any(|stage| makes(stage, name))
        }
        _ => value.get("labels_from_groups").is_some(),
    }
}

/// Whether `truncate` has a rule for labels, whatever their names are.
fn is_of_all_labels(settings: &Tree) -> bool {
    let rules = settings.get("rules").map(|pair| pair.value.items()).unwrap_or_default();
    rules.iter().any(|rule| {
        let of = rule.get("source_type").and_then(|pair| pair.value.as_text());
        matches!(of, Some("label" | "extracted")) && rule.get("sources").is_none()
    })
}

/// Whether a value under another key is of this name; one without a value is of its key's.
fn mentions_beside(settings: &Tree, name: &str) -> bool {
    let values = settings.get("values").map_or(settings, |pair| &pair.value);
    values.pairs().iter().any(|pair| pair.key != name && mentions(&pair.value, name))
}

fn mentions(tree: &Tree, name: &str) -> bool {
    match &tree.value {
        Value::Nothing => false,
        Value::Text(text) => has_word(text, name),
        Value::List(items) => items.iter().any(|item| mentions(item, name)),
        Value::Group(pairs) => pairs
            .iter()
            .any(|pair| !OF_LINES.contains(&pair.key.as_str()) && (pair.key == name || mentions(&pair.value, name))),
    }
}

/// Whether a text has this name in it, not as a part of a longer one.
fn has_word(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::migrate::{
        origin::{Place, Text},
        yaml,
    };

    fn stage(yaml: &str) -> Tree {
        yaml::documents(&Text { place: Place::start_of("f"), text: yaml }).unwrap().remove(0)
    }

    #[test]
    fn a_stage_touches_a_label_that_it_selects_by_reads_or_may_remove() {
        for (yaml, touches_cluster) in [
            ("{match: {selector: '{cluster=\"a\"}', action: drop}}", true),
            ("{match: {selector: '{app=\"cluster\"}', stages: [{labeldrop: [cluster]}]}}", true),
            ("{labeldrop: [cluster]}", true),
            ("{labelallow: [app]}", true),
            ("{pack: {labels: [cluster]}}", true),
            ("{template: {source: app, template: '{{ .cluster }}-{{ .app }}'}}", true),
            ("{labels: {site: cluster}}", true),
            ("{labels: {cluster: , site: place}}", false),
            ("{match: {selector: '{app=\"a\"}', stages: [{labels: {cluster: }}]}}", true),
            ("{static_labels: {cluster: cluster}}", false),
            ("{structured_metadata: {cluster: }}", true),
            ("{tenant: {label: cluster}}", true),
            ("{drop: {source: [app, cluster], expression: a}}", true),
            ("{metrics: {lines: {type: Counter, config: {action: inc, match_all: true}}}}", true),
            ("{json: {expressions: {cluster: name}}}", false),
            ("{regex: {expression: 'cluster=(?P<cluster>\\S+)'}}", false),
            ("{replace: {expression: '(cluster)', replace: 'x'}}", false),
            ("{match: {selector: '{k8s_cluster_name=\"a\"}', action: drop}}", false),
            ("{multiline: {firstline: '^cluster'}}", false),
            ("{cri: {}}", false),
        ] {
            assert_eq!(touches(&stage(yaml), "cluster"), touches_cluster, "{yaml}");
        }
    }
}
