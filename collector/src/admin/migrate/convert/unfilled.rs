//! Texts that somebody else fills in before the old collector reads them: Helm, Flux, SOPS and the like.
//!
//! In: parts of a draft. Out: the same without such texts, each of which is a finding: as a label or an address they would be wrong, and
//! look right. Knows the marks of these tools and none of their languages.

use super::{Draft, placeholder};
use crate::admin::migrate::origin::{Finding, Kind, Pair, Place, Setting, Tree, Value};

/// Takes out of clients' settings and labels what is not the text that the old collector has.
pub fn take_out_of(settings: Vec<Setting>, findings: &mut Vec<Finding>) -> Vec<Setting> {
    let mut kept = Vec::new();
    for setting in settings {
        match find(&setting.value, &whole) {
            None => kept.push(setting),
            Some((place, why)) => {
                findings.retain(|finding| finding.kind != Kind::Taken || finding.what != setting.from);
                findings.push(Finding::new(Kind::NotPossible, &place, &setting.from, why));
                match setting.key.as_str() {
                    "loki.url" => kept.push(placeholder(&setting.value.place, &setting.from)),
                    "loki.basic_auth.username" => {
                        let variable = Tree::text(&setting.value.place, "${LOKI_USERNAME}");
                        kept.push(Setting { value: variable, ..setting });
                    }
                    _ => {}
                }
            }
        }
    }
    kept
}

/// Takes out of a draft what nobody has filled in: keys, values of the chart, rules and stages.
pub fn take_out(draft: &mut Draft) {
    let Draft { settings, chart, relabel, stages, findings, .. } = draft;
    *settings = take_out_of(std::mem::take(settings), findings);
    *chart = of_chart(std::mem::take(chart), findings);
    for item in relabel.iter_mut().chain(stages.iter_mut()) {
        let Some(tree) = &item.tree else { continue };
        let Some((place, why)) = find(tree, &inside) else { continue };
        findings.retain(|finding| finding.kind != Kind::Taken || finding.place != tree.place);
        findings.push(Finding::new(Kind::NotPossible, &place, &item.what, &why));
        item.comment = format!("{} is not possible: {why}", item.comment);
        item.tree = None;
    }
}

/// Of lists each item goes by itself.
fn of_chart(settings: Vec<Setting>, findings: &mut Vec<Finding>) -> Vec<Setting> {
    let mut kept = Vec::new();
    for mut setting in settings {
        let mut is_empty = false;
        if let Value::List(items) = &mut setting.value.value {
            items.retain(|item| {
                let found = find(item, &whole);
                if let Some((place, why)) = &found {
                    findings.push(Finding::new(Kind::NotPossible, place, &setting.from, why));
                }
                found.is_none()
            });
            is_empty = items.is_empty();
        }
        if !is_empty {
            kept.extend(take_out_of(vec![setting], findings));
        }
    }
    kept
}

/// The first text of a tree that is not filled in, and why.
fn find(tree: &Tree, why: &dyn Fn(&str) -> Option<String>) -> Option<(Place, String)> {
    match &tree.value {
        Value::Nothing => None,
        Value::Text(text) => why(text).map(|why| (tree.place.clone(), why)),
        Value::List(items) => items.iter().find_map(|item| find(item, why)),
        Value::Group(pairs) => pairs.iter().find_map(|Pair { value, .. }| find(value, why)),
    }
}

/// A text that has no meaning of its own for braces.
fn whole(text: &str) -> Option<String> {
    if text.contains("{{") {
        return Some(of_helm("a template"));
    }
    foreign(text).or_else(|| variable(text))
}

/// A text of a rule or a stage, which may have templates of its own.
fn inside(text: &str) -> Option<String> {
    let of_release = [".Values.", ".Release.", ".Chart.", ".Capabilities.", "include \"", "tpl "];
    let mut templates = text.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap_or(rest));
    if templates.any(|template| of_release.iter().any(|word| template.contains(word))) {
        return Some(of_helm("a template of Helm"));
    }
    foreign(text)
}

fn of_helm(what: &str) -> String {
    format!(
        "{what} that was not filled in: write the value itself, or convert what is installed (kubectl get configmap NAME -o yaml, or helm \
         template)"
    )
}

fn foreign(text: &str) -> Option<String> {
    let text = text.trim();
    if text.starts_with("ENC[") && text.ends_with(']') {
        return Some("encrypted by SOPS: decrypt the file first (sops --decrypt FILE | pilcrow migrate -)".into());
    }
    let is_secret = text.starts_with("<path:") || text.starts_with("ref+");
    is_secret.then(|| "filled in from a store of secrets by what installs this: write the value itself".into())
}

/// `${NAME}`, spelled so that it is none of Pilcrow's.
fn variable(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some(at) = rest.find("$${") {
        // Four are two plain ones.
        let is_doubled = rest[..at].ends_with('$');
        rest = &rest[at + 3..];
        if is_doubled {
            continue;
        }
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if is_name && rest[name.len()..].starts_with(['}', ':']) {
            return Some(format!(
                "${{{name}}} is filled in by what installs this, such as Flux, envsubst or a shell: write the value itself, or a variable of \
                 Pilcrow's environment"
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_not_filled_in_are_told_from_others() {
        for (text, is_found) in [
            ("http://{{ .Release.Name }}:3100", true),
            ("$${loki_host}", true),
            ("http://$${loki_host:=x}:3100", true),
            ("ENC[AES256_GCM,data:abc,iv:def,type:str]", true),
            ("<path:kv/loki#url>", true),
            ("${LOKI_HOST}", false),
            ("$$${1}", false),
            ("$$$${X}", false),
            ("a$$b", false),
            ("http://loki:3100", false),
        ] {
            assert_eq!(whole(text).is_some(), is_found, "{text}");
        }
        for (text, is_found) in [
            ("{{ .level | ToUpper }}", false),
            ("{{ .Value }}", false),
            ("{{ .Values.cluster }}", true),
            ("{{- include \"x.name\" . }}", true),
            ("$${name}", false),
        ] {
            assert_eq!(inside(text).is_some(), is_found, "{text}");
        }
    }
}
