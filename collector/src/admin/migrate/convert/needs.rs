//! What the new configuration needs that is not in it, and what Loki may not take of it.
//!
//! In: a [`Draft`] that compiles. Out: findings: variables of the environment that nothing sets, and more labels than Loki accepts.

use super::{Draft, settle::compiled};
use crate::admin::{
    check,
    migrate::origin::{Finding, Kind, NODE_NAME, Place, Setting, Tree, Value},
};

/// Tells what is needed.
pub fn tell(draft: &mut Draft) {
    let set: Vec<String> = set(draft).into_iter().map(str::to_owned).collect();
    for finding in draft.findings.iter_mut().filter(|finding| finding.kind == Kind::Changed) {
        if let Some(name) = set.iter().find(|name| finding.what == format!("sys.env({name:?})")) {
            (finding.kind, finding.text) =
                (Kind::Taken, format!("${{{name}}}, which extraEnv of the chart sets (--values)"));
        }
    }
    let mut told: Vec<Finding> = variables(draft);
    if let Ok(compiled) = compiled(draft)
        && let Some(text) = check::too_many_labels(&compiled)
    {
        let place = draft.relabel.iter().find_map(|item| item.tree.as_ref()).map(|tree| tree.place.clone());
        let place = place.or_else(|| draft.labels.first().map(|label| label.value.place.clone()));
        let place = place.or_else(|| draft.settings.first().map(|setting| setting.value.place.clone()));
        told.push(Finding::new(Kind::Changed, &place.unwrap_or_else(|| Place::start_of("")), "labels", text));
    }
    draft.findings.append(&mut told);
}

/// The variables that values of the chart set.
fn set(draft: &Draft) -> Vec<&str> {
    draft
        .chart
        .iter()
        .filter(|setting| setting.key == "extraEnv")
        .flat_map(|setting| setting.value.items())
        .filter_map(|item| item.get("name")?.value.as_text())
        .collect()
}

/// Variables in the settings and labels of the client that neither the chart's values nor a default gives a value.
fn variables(draft: &Draft) -> Vec<Finding> {
    let set = set(draft);
    let mut names: Vec<String> = Vec::new();
    let mut findings = Vec::new();
    for Setting { value, .. } in draft.settings.iter().chain(&draft.labels) {
        texts(value, &mut |place, text| {
            for name in without_default(text) {
                let is_told =
                    || draft.findings.iter().any(|finding| finding.kind != Kind::Taken && finding.text.contains(&name));
                let is_known = [NODE_NAME, "LOKI_URL", "LOKI_USERNAME"].contains(&&*name) || set.contains(&&*name);
                if is_known || names.contains(&name) || is_told() {
                    continue;
                }
                let text = "set this variable in Pilcrow's environment too (the chart's extraEnv)";
                findings.push(Finding::new(Kind::Changed, place, format!("${{{name}}}"), text));
                names.push(name);
            }
        });
    }
    findings
}

fn texts(tree: &Tree, take: &mut impl FnMut(&Place, &str)) {
    match &tree.value {
        Value::Nothing => {}
        Value::Text(text) => take(&tree.place, text),
        Value::List(items) => items.iter().for_each(|item| texts(item, take)),
        Value::Group(pairs) => pairs.iter().for_each(|pair| texts(&pair.value, take)),
    }
}

/// The names of `${NAME}` in a text of a file of Pilcrow.
fn without_default(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let plain = text.replace("$$", "");
    for rest in plain.split("${").skip(1) {
        if let Some((name, _)) = rest.split_once('}').filter(|(name, _)| !name.contains(':')) {
            names.push(name.to_owned());
        }
    }
    names
}
