//! The stages of several jobs: what all have alike stands once, what one has for itself stands in a `match` on a label that tells its
//! lines: one that the rules give each job another fixed value of, else one of our own, which a last stage takes away.

use super::{super::touch, Item, Job, Selection, Tree, apart, field, group, list, origin_of, selection_rule};
use crate::admin::migrate::origin::{Pair, Value};

/// The label that tells jobs apart where no other one does.
const OWN: &str = "pilcrow_job";

pub struct Merged {
    /// That make the label.
    pub rules: Vec<Item>,
    pub stages: Vec<Item>,
}

/// `labels`: the rules of each job that make labels.
pub fn merge(jobs: &[Job], labels: &[Vec<Item>], selections: &[Selection]) -> Result<Merged, String> {
    let lists: Vec<Vec<Item>> = jobs.iter().map(|job| job.draft.stages.clone()).collect();
    let (before, own, behind) = apart(&lists);
    let mut merged = Merged { rules: Vec::new(), stages: before.clone() };
    if own.iter().all(|stages| stages.iter().all(|item| item.tree.is_none())) {
        merged.stages.extend(own.concat());
        merged.stages.extend(behind);
        return Ok(merged);
    }
    let trees = |items: &[Item]| -> Vec<Tree> { items.iter().filter_map(|item| item.tree.clone()).collect() };
    let (first, all) = (trees(&before), trees(&own.concat()));
    let known = distinguishing(labels).into_iter().find(|(name, _)| {
        let is_left = |stage: &Tree| !touch::makes(stage, name) && !touch::touches(stage, name);
        first.iter().all(is_left) && !all.iter().any(|stage| touch::makes(stage, name))
    });
    let (name, values) = match known {
        Some(known) => known,
        None => {
            if let Some(stage) = first.iter().chain(&all).chain(&trees(&behind)).find(|stage| makes_metrics(stage)) {
                return Err(format!(
                    "metrics ({}) would have a label more, which tells the jobs' lines apart: let a rule of each job set one label to a \
                     fixed value of its own",
                    origin_of(&stage.place)
                ));
            }
            if let Some(stage) = first.iter().find(|stage| touch::touches(stage, OWN)) {
                return Err(format!(
                    "the stage at {} removes the label that tells their lines apart",
                    origin_of(&stage.place)
                ));
            }
            if let Some(job) = jobs.iter().find(|job| job.name.contains(['$', '\n'])) {
                return Err(format!("the name {:?} cannot be a label's value", job.name));
            }
            let names: Vec<String> = jobs.iter().map(|job| job.name.clone()).collect();
            merged.rules =
                jobs.iter().zip(selections).map(|(job, selection)| selection_rule(job, selection, OWN)).collect();
            (OWN.to_owned(), names)
        }
    };
    for ((job, stages), value) in jobs.iter().zip(own).zip(values) {
        let list = trees(stages);
        let Some(stage) = list.first() else { continue };
        let place = &stage.place;
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        let settings = group(
            place,
            &[("selector", Value::Text(format!("{{{name}=\"{value}\"}}"))), ("stages", Value::List(list.clone()))],
        );
        let tree = group(place, &[("match", settings.value)]);
        let comment = format!("{} the stages of {}", origin_of(place), job.name);
        merged.stages.push(Item { tree: Some(tree), what: format!("{}: pipeline_stages", job.name), comment });
        merged.stages.extend(stages.iter().filter(|item| item.tree.is_none()).cloned());
    }
    if name == OWN {
        let place = &jobs[0].place;
        let tree = group(place, &[("labeldrop", Value::List(vec![Tree::text(place, OWN)]))]);
        merged.stages.push(Item {
            tree: Some(tree),
            what: OWN.into(),
            comment: "the label that told jobs apart".into(),
        });
    }
    merged.stages.extend(behind);
    Ok(merged)
}

fn makes_metrics(stage: &Tree) -> bool {
    let [Pair { key, value, .. }] = stage.pairs() else { return false };
    let nested = value.get("stages").map(|pair| pair.value.items()).unwrap_or_default();
    key == "metrics" || nested.iter().any(makes_metrics)
}

/// Labels that each job gives a fixed value of its own.
fn distinguishing(jobs: &[Vec<Item>]) -> Vec<(String, Vec<String>)> {
    let fixed = |rules: &[Item], name: &str| -> Option<String> {
        let rules: Vec<&Tree> = rules.iter().filter_map(|item| item.tree.as_ref()).collect();
        let is_other = |rule: &&Tree| {
            let is_replace = matches!(field(rule, "action").to_lowercase().as_str(), "" | "replace");
            !is_replace || field(rule, "target_label").contains('$')
        };
        let at = rules.iter().rposition(|rule| field(rule, "target_label") == name)?;
        let value = field(rules[at], "replacement");
        let is_fixed = list(rules[at], "source_labels").is_empty() && !value.is_empty() && !value.contains('$');
        (is_fixed && !rules[at..].iter().any(is_other)).then(|| value.to_owned())
    };
    let Some(first) = jobs.first() else { return Vec::new() };
    let names = first.iter().filter_map(|item| item.tree.as_ref()).map(|rule| field(rule, "target_label"));
    let names: Vec<&str> = names.filter(|name| !name.is_empty() && !name.starts_with("__")).collect();
    let all = names.into_iter().filter_map(|name| {
        let values: Vec<String> = jobs.iter().map(|rules| fixed(rules, name)).collect::<Option<_>>()?;
        let is_own = values.iter().enumerate().all(|(index, value)| !values[..index].contains(value));
        is_own.then(|| (name.to_owned(), values))
    });
    all.collect()
}
