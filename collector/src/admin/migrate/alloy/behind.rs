//! A rule of a `loki.relabel` that stands behind stages.
//!
//! Pilcrow's rules run before all stages. So such a rule becomes stages that do the same; where that is not possible it moves before
//! the stages if none of them touches labels.

use crate::admin::migrate::origin::{Place, Tree, Value as Written};

use super::{rules::texts, stages::parts};

/// Where a rule goes.
pub enum Behind {
    /// No stage comes before it.
    First,
    /// Stages in its place.
    Stages(Vec<Tree>),
    /// Before stages that neither read nor make labels.
    Moved,
    No,
}

/// Stages that neither read nor make labels, but for values that are copied from them.
const FREE: [&str; 13] = [
    "json",
    "logfmt",
    "regex",
    "pattern",
    "replace",
    "template",
    "timestamp",
    "output",
    "drop",
    "decolorize",
    "multiline",
    "sampling",
    "truncate",
];

/// Where a rule goes that comes behind these stages.
pub fn behind(rule: &Tree, stages: &[Tree]) -> Behind {
    let name = |stage: &Tree| parts(stage).map(|(name, _)| name.to_owned()).unwrap_or_default();
    if stages.iter().all(|stage| matches!(name(stage).as_str(), "cri" | "docker")) {
        return Behind::First;
    }
    if let Some(stages) = as_stages(rule) {
        return Behind::Stages(stages);
    }
    let is_free = |stage: &Tree| {
        let makes_labels = parts(stage).is_some_and(|(_, settings)| settings.get("labels_from_groups").is_some());
        matches!(name(stage).as_str(), "cri" | "docker") || FREE.contains(&name(stage).as_str()) && !makes_labels
    };
    if stages.iter().all(is_free) { Behind::Moved } else { Behind::No }
}

/// Stages that do what the rule does.
fn as_stages(rule: &Tree) -> Option<Vec<Tree>> {
    let place = &rule.place;
    let text = |key: &str| rule.get(key).and_then(|pair| pair.value.as_text());
    let action = text("action").unwrap_or("replace").to_ascii_lowercase();
    let sources: Vec<&str> = rule
        .get("source_labels")
        .map_or(Vec::new(), |pair| pair.value.items().iter().filter_map(Tree::as_text).collect());
    let regex = text("regex");
    let is_whole = matches!(regex, None | Some("(.*)"));
    match (action.as_str(), &sources[..]) {
        ("labeldrop", []) => Some(vec![stage(place, "labeldrop", texts(place, &names(regex?)?))]),
        ("labelkeep", []) => Some(vec![stage(place, "labelallow", texts(place, &names(regex?)?))]),
        ("drop", [label]) => Some(vec![dropping(place, label, "=~", regex?)?]),
        ("keep", [label]) => Some(vec![dropping(place, label, "!~", regex?)?]),
        ("replace", []) if is_whole => {
            let (label, value) = (text("target_label")?, text("replacement")?);
            Some(vec![match value {
                _ if value.contains('$') => return None,
                "" => stage(place, "labeldrop", texts(place, &[label])),
                _ => stage(place, "static_labels", Tree::group(place, [(label, Tree::text(place, value))])),
            }])
        }
        ("replace", [source]) if is_whole && matches!(text("replacement"), None | Some("$1" | "${1}")) => {
            let label = text("target_label")?;
            // Labels are copied to what stages can read where a match begins.
            let copy = stage(place, "labels", Tree::group(place, [(label, Tree::text(place, *source))]));
            let remove = stage(place, "labeldrop", texts(place, &[label]));
            Some(vec![matching(place, source, "=~", ".+", copy)?, matching(place, source, "=", "", remove)?])
        }
        _ => None,
    }
}

fn stage(place: &Place, name: &str, settings: Tree) -> Tree {
    Tree::group(place, [(name, settings)])
}

fn matching(place: &Place, label: &str, operator: &str, value: &str, inner: Tree) -> Option<Tree> {
    let stages = Tree { place: place.clone(), value: Written::List(vec![inner]) };
    let selector = Tree::text(place, selector(label, operator, value)?);
    Some(stage(place, "match", Tree::group(place, [("selector", selector), ("stages", stages)])))
}

fn dropping(place: &Place, label: &str, operator: &str, regex: &str) -> Option<Tree> {
    let selector = Tree::text(place, selector(label, operator, regex)?);
    let (action, reason) = (Tree::text(place, "drop"), Tree::text(place, "relabel"));
    Some(stage(
        place,
        "match",
        Tree::group(place, [("selector", selector), ("action", action), ("drop_counter_reason", reason)]),
    ))
}

/// A selector of one label; the text is in Pilcrow's spelling already.
fn selector(label: &str, operator: &str, value: &str) -> Option<String> {
    (!value.contains('`') && !label.is_empty()).then(|| format!("{{{label}{operator}`{value}`}}"))
}

/// The names that an expression such as `a|b` stands for.
fn names(regex: &str) -> Option<Vec<&str>> {
    let inner = regex.strip_prefix('(').and_then(|regex| regex.strip_suffix(')')).unwrap_or(regex);
    let names: Vec<&str> = inner.split('|').collect();
    let is_name =
        |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    names.iter().all(is_name).then_some(names)
}
