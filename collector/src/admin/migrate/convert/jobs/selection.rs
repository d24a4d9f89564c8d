//! Which containers a job's rules select, as rules of their own and as conditions.
//!
//! In: the rules of a job. Out: rules that set a marker where the job selects a container, on names that only they use; and what must be
//! true of the container then.

use super::{
    Item, Job, SELECTED, Tree,
    conditions::{Condition, Read},
    field, list, origin_of, unanchored,
};
use crate::admin::migrate::origin::{Pair, Value};

pub struct Selection {
    /// The label that says it.
    pub marker: String,
    pub rules: Vec<Item>,
    pub conditions: Vec<Condition>,
}

/// What a rule does with containers.
fn is_choice(rule: &Tree) -> bool {
    matches!(field(rule, "action").to_lowercase().as_str(), "keep" | "drop")
}

fn is_replace(rule: &Tree) -> bool {
    matches!(field(rule, "action").to_lowercase().as_str(), "" | "replace")
}

impl Selection {
    pub fn of(number: usize, job: &Job) -> Result<Self, String> {
        let marker = |count: usize| format!("__tmp_job{number}_{}", (b'a' + count as u8) as char);
        let mut selection = Self { marker: marker(0), rules: Vec::new(), conditions: Vec::new() };
        let place = &job.place;
        let start = Tree::group(
            place,
            [("target_label", Tree::text(place, marker(0))), ("replacement", Tree::text(place, SELECTED))],
        );
        selection.rules.push(Item {
            tree: Some(start),
            what: job.name.clone(),
            comment: format!("{} which containers {} collects", origin_of(place), job.name),
        });
        let (mut known, mut choices) = (Vec::new(), 0);
        for (item, is_read) in read_by_choices(&job.draft.relabel)? {
            let Some(rule) = &item.tree else { continue };
            let refused = |why: &str| format!("{} ({}): {why}", item.what, origin_of(&rule.place));
            let own = |name: &str| format!("__tmp_job{number}_of_{}", name.trim_start_matches('_'));
            let sources = list(rule, "source_labels");
            let renamed: Vec<String> =
                sources
                    .iter()
                    .map(|name| {
                        if known.iter().any(|read: &Read| read.name == *name) { own(name) } else { (*name).to_owned() }
                    })
                    .collect();
            let tree = if is_choice(rule) {
                let regex = unanchored(rule).ok_or_else(|| refused("its regex cannot be limited to one job"))?;
                selection.conditions.push(Condition::of(rule, &known));
                let tree = selection.behind_marker(rule, &renamed, Some(&regex));
                let keeps = field(rule, "action").eq_ignore_ascii_case("keep");
                choices += usize::from(keeps);
                if choices > 24 {
                    return Err(refused("has more conditions than can be told apart"));
                }
                let target = if keeps { marker(choices) } else { selection.marker.clone() };
                let set = [("target_label", target.as_str()), ("replacement", if keeps { SELECTED } else { "" })];
                selection.marker.clone_from(&target);
                with(&tree, &set)
            } else if is_read {
                let target = field(rule, "target_label");
                known.retain(|read| read.name != target);
                known.push(Read::of(rule, number, job.draft.relabel.iter().filter_map(|item| item.tree.as_ref())));
                let list = Value::List(renamed.iter().map(|name| Tree::text(&rule.place, name)).collect());
                let mut tree = with(rule, &[("target_label", &own(target))]);
                if let Value::Group(pairs) = &mut tree.value
                    && let Some(pair) = pairs.iter_mut().find(|pair| pair.key == "source_labels")
                {
                    pair.value.value = list;
                }
                tree
            } else {
                continue;
            };
            let comment = format!("{} ({})", item.comment, job.name);
            selection.rules.push(Item { tree: Some(tree), what: item.what.clone(), comment });
        }
        Ok(selection)
    }

    /// The rules of a job that make labels.
    pub fn labels(&self, rules: &[Item]) -> Vec<Item> {
        let makes = |item: &&Item| item.tree.as_ref().is_none_or(|rule| !is_choice(rule));
        rules.iter().filter(makes).cloned().collect()
    }

    /// A rule that matches only what the job selects; without `keep` and `drop`.
    pub fn behind_marker(&self, rule: &Tree, sources: &[String], regex: Option<&str>) -> Tree {
        let place = &rule.place;
        let separator = rule.get("separator").and_then(|pair| pair.value.as_text()).unwrap_or(";");
        let separator = if rule.pairs().iter().any(|pair| pair.key == "separator" && pair.value.value == Value::Nothing)
        {
            ""
        } else {
            separator
        };
        let regex = match regex {
            Some("(.*)") => format!("{SELECTED}{}(.*)", regex::escape(separator)),
            Some(regex) => format!("{SELECTED}{}(?:{regex})", regex::escape(separator)),
            None => SELECTED.to_owned(),
        };
        let names = std::iter::once(self.marker.as_str()).chain(sources.iter().map(String::as_str));
        let mut pairs = vec![
            Pair {
                key: "source_labels".into(),
                place: place.clone(),
                value: Tree {
                    place: place.clone(),
                    value: Value::List(names.map(|name| Tree::text(place, name)).collect()),
                },
            },
            Pair { key: "regex".into(), place: place.clone(), value: Tree::text(place, regex) },
        ];
        let rest =
            rule.pairs().iter().filter(|pair| !["source_labels", "regex", "action"].contains(&pair.key.as_str()));
        pairs.extend(rest.cloned());
        Tree { place: place.clone(), value: Value::Group(pairs) }
    }
}

/// A rule with these fields.
fn with(rule: &Tree, fields: &[(&str, &str)]) -> Tree {
    let place = &rule.place;
    let mut pairs: Vec<Pair> =
        rule.pairs().iter().filter(|pair| fields.iter().all(|(key, _)| *key != pair.key)).cloned().collect();
    let new = |(key, value): &(&str, &str)| Pair {
        key: (*key).to_owned(),
        place: place.clone(),
        value: Tree::text(place, *value),
    };
    pairs.extend(fields.iter().map(new));
    Tree { place: place.clone(), value: Value::Group(pairs) }
}

/// The rules, each with whether it makes what a later `keep` or `drop` reads.
fn read_by_choices(rules: &[Item]) -> Result<Vec<(&Item, bool)>, String> {
    let mut needed: Vec<String> = Vec::new();
    let mut all = Vec::new();
    for item in rules.iter().rev() {
        let Some(rule) = &item.tree else {
            all.push((item, false));
            continue;
        };
        let refused = |why: &str| Err(format!("{} ({}): {why}", item.what, origin_of(&rule.place)));
        let (sources, target) = (list(rule, "source_labels"), field(rule, "target_label"));
        let action = field(rule, "action").to_lowercase();
        let made = |name: &String| !name.starts_with("__meta_");
        // No label of a pod begins with an underscore.
        let mapped = |name: &String| !name.starts_with("__");
        let is_read = match action.as_str() {
            "keepequal" | "dropequal" => return refused("the action keepequal or dropequal is not read here"),
            "keep" | "drop" => true,
            "labelmap" if needed.iter().any(mapped) => {
                return refused("a later keep or drop reads labels that it may copy");
            }
            "labeldrop" | "labelkeep" if needed.iter().any(made) => {
                return refused("a later keep or drop reads labels that it may remove");
            }
            "labelmap" | "labeldrop" | "labelkeep" => false,
            _ if target.starts_with("__meta_") || target.contains('$') && needed.iter().any(made) => {
                return refused("what it sets cannot be told apart");
            }
            _ if needed.iter().any(|name| name == target) => {
                if !is_replace(rule) {
                    return refused("a later keep or drop reads what it makes");
                }
                // One that always matches leaves nothing of what was there before.
                if ["", "(.*)"].contains(&field(rule, "regex"))
                    && rule.get("regex").is_none_or(|pair| pair.value.as_text() != Some(""))
                {
                    needed.retain(|name| name != target);
                }
                true
            }
            _ => false,
        };
        if is_read {
            needed.extend(sources.into_iter().map(str::to_owned));
        }
        all.push((item, is_read && !is_choice(rule)));
    }
    all.reverse();
    Ok(all)
}
