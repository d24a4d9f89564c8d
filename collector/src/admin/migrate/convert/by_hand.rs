//! Stages that take the runtime's format apart by hand, as in old examples: a `json` or a `regex`, and what reads its values behind it.
//!
//! In: the stages of a pipeline. Out: which of them Pilcrow does by itself, what is left of others, and which read what Docker adds to a
//! record, which is not read.

use std::collections::BTreeMap;

use super::{field, stages::groups, touch};
use crate::admin::migrate::origin::{Pair, Tree, Value};

/// What a value of the first stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Line,
    Time,
    Stream,
    /// One of them, or the flags of CRI.
    Record,
    /// `attrs`.
    Docker,
}

/// What becomes of a stage behind the first.
pub enum Part {
    /// Pilcrow does it by itself.
    LeftOut,
    /// It reads this value, which is not read.
    Unread(String),
    /// What is left of it (nothing, where all is left out), and the labels that cannot be told.
    Labels(Option<Tree>, Vec<String>),
}

pub struct ByHand {
    /// Of the first stage.
    pub index: usize,
    /// By the numbers of the stages.
    pub parts: BTreeMap<usize, Part>,
}

impl ByHand {
    /// How many stages behind the first are left out.
    pub fn count(&self) -> usize {
        let is_left_out = |part: &&Part| !matches!(part, Part::Labels(Some(_), _));
        self.parts.values().filter(is_left_out).count()
    }
}

/// Finds such stages, where none reads the format as a whole before.
pub fn find(stages: &[Tree]) -> Option<ByHand> {
    let is_whole = |stage: &Tree| matches!(stage.pairs(), [Pair { key, .. }] if key == "cri" || key == "docker");
    let before = stages.iter().take_while(|stage| !is_whole(stage));
    before.enumerate().find_map(|(index, stage)| {
        let parts = parts(first(stage)?, &stages[index + 1..], index + 1);
        let is_of_format = parts.values().any(|part| !matches!(part, Part::Unread(_)));
        is_of_format.then_some(ByHand { index, parts })
    })
}

/// The values that a stage takes from a record; nothing where it reads no record.
fn first(stage: &Tree) -> Option<BTreeMap<String, Of>> {
    let [Pair { key, value, .. }] = stage.pairs() else { return None };
    match key.as_str() {
        "regex" => {
            let expression = field(value, "expression");
            let of = |name: &String| match expression.contains(&format!("<{name}>stdout|stderr")) {
                true => Of::Stream,
                false => Of::Record,
            };
            let all = groups(expression).into_iter().map(|name| (name.clone(), of(&name)));
            (expression.contains("stdout|stderr") && field(value, "source").is_empty()).then(|| all.collect())
        }
        "json" if field(value, "source").is_empty() => {
            let expressions = value.get("expressions").map(|pair| pair.value.pairs()).unwrap_or_default();
            let path = |pair: &Pair| match pair.value.as_text() {
                None | Some("") => pair.key.clone(),
                Some(path) => path.to_owned(),
            };
            let of = |pair: &Pair| {
                let of = match path(pair).as_str() {
                    "log" => Of::Line,
                    "stream" => Of::Stream,
                    "time" => Of::Time,
                    _ => Of::Docker,
                };
                (pair.key.clone(), of)
            };
            let all: BTreeMap<String, Of> = expressions.iter().map(of).collect();
            let has = |of: Of| all.values().any(|other| *other == of);
            (has(Of::Line) && has(Of::Stream)).then_some(all)
        }
        _ => None,
    }
}

fn parts(mut known: BTreeMap<String, Of>, behind: &[Tree], from: usize) -> BTreeMap<usize, Part> {
    let mut parts = BTreeMap::new();
    for (index, stage) in (from..).zip(behind) {
        let [Pair { key, value, .. }] = stage.pairs() else { continue };
        let source = field(value, "source");
        let of_source = known.get(source).copied();
        match (key.as_str(), of_source) {
            ("timestamp" | "output", Some(of)) if of != Of::Docker => {
                parts.insert(index, Part::LeftOut);
            }
            ("labels", _) => {
                let (rest, unread) = labels(value, &known);
                if rest.len() < value.pairs().len() {
                    let of = |value| Tree { place: stage.place.clone(), value };
                    let settings = of(Value::Group(rest.clone()));
                    let tree = Tree::group(&stage.place, [("labels", settings)]);
                    parts.insert(index, Part::Labels((!rest.is_empty()).then_some(tree), unread));
                }
            }
            (_, Some(Of::Docker)) => {
                parts.insert(index, Part::Unread(source.to_owned()));
                known.extend(extracted(stage).into_iter().map(|name| (name, Of::Docker)));
                continue;
            }
            _ => {}
        }
        // From here on it is another value.
        known.retain(|name, _| !touch::extracts(stage, name));
    }
    parts
}

/// The names of the values that a `json` or `regex` extracts.
fn extracted(stage: &Tree) -> Vec<String> {
    let [Pair { value, .. }] = stage.pairs() else { return Vec::new() };
    let expressions = value.get("expressions").map(|pair| pair.value.pairs()).unwrap_or_default();
    groups(field(value, "expression")).into_iter().chain(expressions.iter().map(|pair| pair.key.clone())).collect()
}

/// The labels of other values, and the names of those that come of what Docker adds.
fn labels(settings: &Tree, known: &BTreeMap<String, Of>) -> (Vec<Pair>, Vec<String>) {
    let mut unread = Vec::new();
    let is_other = |pair: &&Pair| {
        let source = pair.value.as_text().filter(|text| !text.is_empty()).unwrap_or(&pair.key);
        match known.get(source) {
            Some(Of::Stream) => pair.key != "stream",
            Some(Of::Docker) => {
                unread.push(pair.key.clone());
                false
            }
            _ => true,
        }
    };
    let rest = settings.pairs().iter().filter(is_other).cloned().collect();
    (rest, unread)
}
