//! Compiles a draft by Pilcrow's own compiler, and takes out what it refuses, until it accepts the rest.
//!
//! That is the only way in which this module knows what a stage or a key may be: there is no second list.

use super::{Draft, Item};
use crate::{
    admin::migrate::origin::{Finding, Kind, Pair, Tree, Value},
    compiled::Compiled,
    config::{Config, Problem},
};

/// No draft has more parts.
const ROUNDS_MAX: usize = 1000;

/// What stands for a variable that is not set here.
const STAND_IN: &str = "1";

/// Compiles a draft; variables that are not set here have a value that may stand in many places.
///
/// # Errors
/// What is wrong.
pub fn compiled(draft: &Draft) -> Result<Compiled, Vec<Problem>> {
    Compiled::parse(&draft.yaml(0, &|_| false), &environment(draft))
}

/// The environment that a draft is compiled with.
pub fn environment(draft: &Draft) -> impl Fn(&str) -> Option<String> {
    let url = draft.get("loki.url").and_then(|setting| setting.value.as_text()).unwrap_or("").to_owned();
    move |name: &str| {
        let stand_in = match name {
            _ if begins_with(&url, name) => match url.split_once('}') {
                Some((_, rest)) if rest.starts_with("://") => Some("http"),
                _ => Some("http://loki:3100"),
            },
            // It fills in the URL where the file has none.
            "LOKI_URL" if !url.contains(name) => None,
            _ => Some(STAND_IN),
        };
        Config::process_environment(name).or(stand_in.map(str::to_owned))
    }
}

/// Whether a text begins with a variable of this name, with a default or without one.
fn begins_with(text: &str, name: &str) -> bool {
    let rest = text.trim_start().strip_prefix("${").and_then(|rest| rest.strip_prefix(name));
    rest.is_some_and(|rest| rest.starts_with(['}', ':']))
}

/// Takes out of a draft what does not compile.
///
/// # Errors
/// What is wrong has no place in the draft: a fault of this program.
pub fn settle(draft: &mut Draft) -> Result<(), String> {
    for _ in 0..ROUNDS_MAX {
        let problem = match compiled(draft) {
            Ok(compiled) => {
                warn(draft, &compiled.warnings);
                return Ok(());
            }
            Err(problems) => problems.into_iter().next(),
        };
        let Some(problem) = problem else { break };
        if !take_out(draft, &problem) {
            return Err(format!(
                "the conversion is not accepted by Pilcrow ({problem}); please report this with the file"
            ));
        }
    }
    Err("the conversion is not accepted by Pilcrow; please report this with the file".into())
}

/// Whether something was taken out.
fn take_out(draft: &mut Draft, problem: &Problem) -> bool {
    let Draft { relabel, stages, findings, settings, labels, .. } = draft;
    let path: Vec<&str> = problem.key.split('.').collect();
    match path.first() {
        Some(&"relabel_configs") => from_items(relabel, true, &path[1..], &problem.message, findings),
        Some(&"pipeline_stages") => from_items(stages, false, &path[1..], &problem.message, findings),
        Some(&list) => {
            let list = if list == "labels" { labels } else { settings };
            // A problem of a group, or of a part of a value.
            let is_it = |key: &str| {
                key == problem.key
                    || key.starts_with(&format!("{}.", problem.key))
                    || problem.key.starts_with(&format!("{key}."))
            };
            // What is missing leaves what needs it without a use.
            let needs_it = |key: &str| {
                problem.key.rsplit_once('.').is_some_and(|(group, _)| key.starts_with(&format!("{group}.")))
            };
            let index = list.iter().position(|setting| is_it(&setting.key));
            let Some(index) = index.or_else(|| list.iter().position(|setting| needs_it(&setting.key))) else {
                return false;
            };
            let setting = list.remove(index);
            if setting.key == "loki.url" {
                list.insert(index, super::placeholder(&setting.value.place, &setting.from));
            }
            let missing = if is_it(&setting.key) { String::new() } else { format!("{} ", problem.key) };
            let text = format!("{}: {missing}{}", setting.key, problem.message);
            findings.retain(|finding| finding.kind == Kind::NotPossible || finding.what != setting.from);
            findings.push(Finding::new(Kind::NotPossible, &setting.value.place, setting.from, text));
            true
        }
        None => false,
    }
}

fn from_items(items: &mut [Item], are_rules: bool, path: &[&str], message: &str, findings: &mut Vec<Finding>) -> bool {
    let Some((index, path)) = split_index(path) else { return false };
    // The list of the file has only those that are there.
    let Some(item) = items.iter_mut().filter(|item| item.tree.is_some()).nth(index) else { return false };
    let Some(tree) = &mut item.tree else { return false };
    let nearest = message.split_once("did you mean ").map(|(_, nearest)| nearest);
    // Without a field that is only misspelt a rule would do something else.
    if message.starts_with("unknown key")
        && !(are_rules && nearest.is_some())
        && let Some(pair) = remove_key(tree, path)
    {
        let text = format!("the field {} is not known to Pilcrow and left out", pair.key);
        let (kind, text) = match nearest {
            Some(nearest) => (Kind::NotPossible, format!("{text}; did you mean {nearest}")),
            None => (Kind::Changed, text),
        };
        findings.push(Finding::new(kind, &pair.place, &item.what, text));
        return true;
    }
    if let [.., "expressions", key] = path
        && let Some(pair) = remove_expression(tree, path)
    {
        let what = format!("{}.expressions.{key}", item.what);
        findings.push(Finding::new(Kind::NotPossible, &pair.place, what, message));
        return true;
    }
    let (place, nested) = match remove_stage(tree, path) {
        Some((stage, nested)) => (stage.place, Some(nested)),
        None => (tree.place.clone(), None),
    };
    let what = nested.as_ref().map_or_else(|| item.what.clone(), |nested| format!("{}.{nested}", item.what));
    let text = match nested {
        Some(_) => message.to_owned(),
        None => format!("{}{message}", path.last().map_or_else(String::new, |key| format!("{key}: "))),
    };
    findings.retain(|finding| finding.kind == Kind::NotPossible || finding.what != what || finding.place != place);
    findings.push(Finding::new(Kind::NotPossible, &place, &what, &text));
    if what == item.what {
        item.comment = format!("{} is not possible: {}", item.comment, text);
        item.tree = None;
    }
    true
}

/// `[2]` and what is behind it.
fn split_index<'p, 's>(path: &'p [&'s str]) -> Option<(usize, &'p [&'s str])> {
    let (first, rest) = path.split_first()?;
    Some((first.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?, rest))
}

/// Takes out the key at the end of a path. Keys may have dots in them: the longest that fits counts.
fn remove_key(tree: &mut Tree, path: &[&str]) -> Option<Pair> {
    if let Some((index, rest)) = split_index(path) {
        let Value::List(items) = &mut tree.value else { return None };
        return remove_key(items.get_mut(index)?, rest);
    }
    let Value::Group(pairs) = &mut tree.value else { return None };
    if let Some(at) = pairs.iter().position(|pair| pair.key == path.join(".")) {
        return Some(pairs.remove(at));
    }
    let (first, rest) = path.split_first()?;
    let pair = pairs.iter_mut().find(|pair| pair.key == *first)?;
    remove_key(&mut pair.value, rest)
}

/// Takes one expression out where others stay.
fn remove_expression(tree: &mut Tree, path: &[&str]) -> Option<Pair> {
    let mut without = tree.clone();
    let pair = remove_key(&mut without, path)?;
    let (_, above) = path.split_last()?;
    let stays = Tree { place: pair.place.clone(), value: Value::Nothing };
    let rest = remove_key(&mut without.clone(), above).map_or(stays, |rest| rest.value);
    if rest.pairs().is_empty() {
        return None;
    }
    *tree = without;
    Some(pair)
}

/// Takes the innermost nested stage that a path names out of its `stages`; with its path.
fn remove_stage(tree: &mut Tree, path: &[&str]) -> Option<(Tree, String)> {
    let at = path.iter().rposition(|part| *part == "stages").filter(|at| path.len() > at + 1)?;
    let (index, behind) = split_index(&path[at + 1..])?;
    let mut list = &mut *tree;
    let mut rest = &path[..=at];
    while let Some((first, tail)) = rest.split_first() {
        list = match (&mut list.value, split_index(&[first])) {
            (Value::List(items), Some((index, _))) => items.get_mut(index)?,
            (Value::Group(pairs), _) => &mut pairs.iter_mut().find(|pair| pair.key == *first)?.value,
            _ => return None,
        };
        rest = tail;
    }
    let Value::List(items) = &mut list.value else { return None };
    let name = behind.first().copied().unwrap_or("stage");
    (index < items.len()).then(|| (items.remove(index), format!("stages[{index}].{name}")))
}

/// What compiles and may not do what its writer expects.
fn warn(draft: &mut Draft, warnings: &[Problem]) {
    for warning in warnings {
        let path: Vec<&str> = warning.key.split('.').collect();
        let Some((index, _)) = path.get(1..).and_then(split_index) else { continue };
        let Some(item) = draft.stages.iter().filter(|item| item.tree.is_some()).nth(index) else { continue };
        let Some(tree) = &item.tree else { continue };
        draft.findings.push(Finding::new(Kind::Changed, &tree.place, &item.what, &warning.message));
    }
}
