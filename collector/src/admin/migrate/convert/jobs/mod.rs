//! Several jobs of pods as one configuration, where no container can be of two of them.
//!
//! In: the conversion of each job alone. Out: one draft, or why there is none. Rules first tell whose a container is, on names of their
//! own (`__tmp_job1_…`), so that no job sees another one's labels; those that only some jobs have then go by it, as do stages, in a
//! `match`. What all jobs have alike stands there once. Guarantees that a container gets what its job alone gives it. Knows no old
//! language.

mod conditions;
mod selection;
mod stages;

use self::selection::Selection;
use super::{Base, Draft, Item, draft::group, field, list, origin_of};
use crate::admin::migrate::{
    origin::{Finding, Kind, Place, Setting, Tree, Value},
    words::quoted,
};

/// What a container's own label says where a job selects it. Neither a name nor a label's value of Kubernetes begins with it.
const SELECTED: &str = "=selected=";

/// What only one job's containers have may stand here.
const NAMESPACES: &str = "kubernetes.namespaces.include";

/// The conversion of one job.
pub struct Job {
    pub name: String,
    pub place: Place,
    pub draft: Draft,
}

/// Makes one draft of those of several jobs.
///
/// # Errors
/// Why it is not possible.
pub fn merged(mut jobs: Vec<Job>) -> Result<Draft, String> {
    alike(&jobs)?;
    by_namespace(&mut jobs);
    let selections: Vec<Selection> =
        (1..).zip(&jobs).map(|(number, job)| Selection::of(number, job)).collect::<Result<_, _>>()?;
    for (index, one) in selections.iter().enumerate() {
        for (other, job) in selections.iter().zip(&jobs).skip(index + 1) {
            if !conditions::are_disjoint(&one.conditions, &other.conditions) {
                let name = quoted(&jobs[index].name);
                return Err(format!(
                    "{name} and {} may select the same container, whose lines the old collector sends twice, and Pilcrow once",
                    quoted(&job.name)
                ));
            }
        }
    }
    let mut rules: Vec<Item> = selections.iter().flat_map(|selection| selection.rules.iter().cloned()).collect();
    rules.push(keep(&jobs, &selections));
    let labels: Vec<Vec<Item>> =
        jobs.iter().zip(&selections).map(|(job, one)| one.labels(&job.draft.relabel)).collect();
    let (before, own, behind) = apart(&labels);
    rules.extend(before);
    for ((job, selection), own) in jobs.iter().zip(&selections).zip(own) {
        for item in own {
            rules.push(only_for(item, selection, job)?);
        }
    }
    rules.extend(behind);
    let marks = stages::merge(&jobs, &labels, &selections)?;
    rules.extend(marks.rules);
    Ok(joined(jobs, rules, marks.stages))
}

/// What all jobs must have in common.
fn alike(jobs: &[Job]) -> Result<(), String> {
    let Some((first, others)) = jobs.split_first() else { return Err("there is no job".into()) };
    let settings = |draft: &Draft| -> Vec<(String, Tree)> {
        let mut all: Vec<(String, Tree)> = [&draft.settings, &draft.labels]
            .into_iter()
            .flatten()
            .filter(|setting| setting.key != NAMESPACES)
            .map(|setting| (setting.key.clone(), plain(&setting.value)))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    let positions = |draft: &Draft| draft.positions.as_ref().map(|setting| plain(&setting.value));
    for job in others {
        let (a, b) = (settings(&first.draft), settings(&job.draft));
        if let Some((key, _)) = a.iter().find(|one| !b.contains(one)).or(b.iter().find(|one| !a.contains(one))) {
            return Err(format!("{key} is another one for {} than for {}", quoted(&job.name), quoted(&first.name)));
        }
        if positions(&first.draft) != positions(&job.draft) {
            return Err("they keep their positions in different files".into());
        }
    }
    match jobs.iter().find(|job| job.draft.base != Base::None) {
        Some(job) => Err(format!("{} has the rules of a chart, which hold for all pods", quoted(&job.name))),
        None => Ok(()),
    }
}

/// Namespaces that discovery is limited to, as rules where not all jobs have the same ones.
fn by_namespace(jobs: &mut [Job]) {
    let of = |job: &Job| job.draft.get(NAMESPACES).map(|setting| plain(&setting.value));
    if jobs.iter().all(|job| of(job) == of(&jobs[0])) {
        return;
    }
    let all: Vec<Option<Setting>> = jobs.iter().map(|job| job.draft.get(NAMESPACES).cloned()).collect();
    let mut union: Option<Setting> = all.iter().all(Option::is_some).then(|| all[0].clone()).flatten();
    for setting in all.iter().flatten().skip(1) {
        if let Some(Setting { value: Tree { value: Value::List(items), .. }, .. }) = &mut union {
            let new =
                setting.value.items().iter().filter(|new| !items.iter().any(|item| item.as_text() == new.as_text()));
            let new: Vec<Tree> = new.cloned().collect();
            items.extend(new);
        }
    }
    for (job, own) in jobs.iter_mut().zip(all) {
        job.draft.settings.retain(|setting| setting.key != NAMESPACES);
        job.draft.settings.extend(union.clone());
        let Some(own) = own else { continue };
        let place = &own.value.place;
        let names: Vec<String> = own.value.items().iter().filter_map(Tree::as_text).map(regex::escape).collect();
        let tree = group(
            place,
            &[
                ("source_labels", Value::List(vec![Tree::text(place, "__meta_kubernetes_namespace")])),
                ("regex", Value::Text(names.join("|"))),
                ("action", Value::Text("keep".into())),
            ],
        );
        let comment = format!("{} {}", origin_of(place), own.from);
        let text = if union.is_some() {
            "kubernetes.namespaces.include with those of the other jobs, and relabel_configs"
        } else {
            "relabel_configs"
        };
        job.draft
            .findings
            .iter_mut()
            .filter(|finding| finding.text == NAMESPACES)
            .for_each(|finding| finding.text = text.into());
        job.draft.relabel.insert(0, Item { tree: Some(tree), what: own.from, comment });
    }
}

/// Keeps what one of the jobs selects.
fn keep(jobs: &[Job], selections: &[Selection]) -> Item {
    let place = &jobs[0].place;
    let markers = selections.iter().map(|selection| Tree::text(place, &*selection.marker)).collect();
    let tree = group(
        place,
        &[
            ("source_labels", Value::List(markers)),
            ("separator", Value::Text(String::new())),
            ("regex", Value::Text(SELECTED.into())),
            ("action", Value::Text("keep".into())),
        ],
    );
    Item { tree: Some(tree), what: "jobs".into(), comment: "what one of the jobs collects".into() }
}

/// What all lists begin with, what each has for itself, and what all end with.
fn apart(lists: &[Vec<Item>]) -> (Vec<Item>, Vec<&[Item]>, Vec<Item>) {
    let shortest = lists.iter().map(Vec::len).min().unwrap_or_default();
    let same = |at: &dyn Fn(&Vec<Item>) -> usize| {
        let plain_at = |list: &Vec<Item>| list[at(list)].tree.as_ref().map(plain);
        lists.iter().all(|list| plain_at(list) == plain_at(&lists[0]))
    };
    let before = (0..shortest).take_while(|index| same(&|_| *index)).count();
    let behind = (0..shortest - before).take_while(|index| same(&|list| list.len() - 1 - index)).count();
    let own = lists.iter().map(|list| &list[before..list.len() - behind]).collect();
    let first = lists.first().map(Vec::as_slice).unwrap_or_default();
    (first[..before].to_vec(), own, first[first.len() - behind..].to_vec())
}

/// A tree without its places.
fn plain(tree: &Tree) -> Tree {
    tree.with_place(&Place::start_of(""))
}

/// A rule that makes a label, for the containers of a job.
fn only_for(item: &Item, selection: &Selection, job: &Job) -> Result<Item, String> {
    let Some(rule) = &item.tree else { return Ok(item.clone()) };
    let action = field(rule, "action").to_lowercase();
    let refused = |why: &str| Err(format!("{} ({}): {why}", item.what, origin_of(&rule.place)));
    if !matches!(action.as_str(), "" | "replace") {
        return refused(&format!("the action {action} cannot be limited to the pods of one job"));
    }
    let sources = list(rule, "source_labels");
    let tree = if sources.is_empty() {
        let is_fixed = field(rule, "regex").is_empty() && !field(rule, "replacement").replace("$$", "").contains('$');
        if !is_fixed || rule.get("replacement").is_none() {
            return refused("a rule without source_labels that has a regex cannot be limited to the pods of one job");
        }
        selection.behind_marker(rule, &[], None)
    } else {
        let sources: Vec<String> = sources.into_iter().map(str::to_owned).collect();
        let Some(regex) = unanchored(rule) else {
            return refused("its regex cannot be limited to the pods of one job");
        };
        selection.behind_marker(rule, &sources, Some(&regex))
    };
    let comment = format!("{} ({})", item.comment, job.name);
    Ok(Item { tree: Some(tree), what: item.what.clone(), comment })
}

/// A rule's regex as a part of a longer one; `None` where it has anchors within.
fn unanchored(rule: &Tree) -> Option<String> {
    let regex = rule.get("regex").and_then(|pair| pair.value.as_text()).unwrap_or("(.*)");
    let inner = regex.strip_prefix('^').unwrap_or(regex);
    let inner = match inner.strip_suffix('$') {
        Some(rest) if !rest.ends_with(['\\', '$']) => rest,
        _ => inner,
    };
    let (mut before, mut depth, mut has_alternatives) = (' ', 0_usize, false);
    for c in inner.chars() {
        let is_escaped = before == '\\';
        let is_anchor = !is_escaped && (c == '^' && before != '[' || c == '$');
        if is_anchor || is_escaped && matches!(c, 'A' | 'z' | 'B' | 'b' | 'Q') {
            return None;
        }
        match c {
            '(' if !is_escaped => depth += 1,
            ')' if !is_escaped => depth = depth.saturating_sub(1),
            '|' if !is_escaped && depth == 0 => has_alternatives = true,
            _ => {}
        }
        // Of two backslashes the second one is a plain character.
        before = if is_escaped { ' ' } else { c };
    }
    // An anchor that was taken off belonged to one alternative only.
    (inner.len() == regex.len() || !has_alternatives).then(|| inner.to_owned())
}

/// A rule that gives the containers of a job its name as a label.
fn selection_rule(job: &Job, selection: &Selection, name: &str) -> Item {
    let place = &job.place;
    let value = job.name.replace('$', "$$$$");
    let rule =
        Tree::group(place, [("target_label", Tree::text(place, name)), ("replacement", Tree::text(place, value))]);
    let comment = format!("{} tells its lines apart, for the stages", origin_of(place));
    Item { tree: Some(selection.behind_marker(&rule, &[], None)), what: name.to_owned(), comment }
}

/// Everything of the first job but rules and stages, with the findings of all.
fn joined(jobs: Vec<Job>, relabel: Vec<Item>, stages: Vec<Item>) -> Draft {
    let names: Vec<String> = jobs.iter().map(|job| quoted(&job.name)).collect();
    let mut drafts = jobs.into_iter().map(|job| (job.place, job.draft));
    let Some((_, mut all)) = drafts.next() else { return Draft::default() };
    for (number, (place, draft)) in (1..).zip(drafts) {
        let text = format!(
            "stands beside {}: rules tell which of them a container is of, and no container can be of two; what differs goes by it",
            names[..number].join(" and ")
        );
        all.findings.push(Finding::new(Kind::Changed, &place, format!("job {}", names[number]), text));
        all.findings.extend(draft.findings);
        all.jobs.extend(draft.jobs);
    }
    (all.relabel, all.stages) = (relabel, stages);
    all
}
