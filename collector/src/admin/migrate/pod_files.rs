//! Globs of the kubelet's files of logs, as rules that select the same pods.
//!
//! In: `__path__` and `__path_exclude__` of a target. Out: which containers they name, by labels that Pilcrow knows, or why no rule can
//! say it. Names of namespaces, pods and containers have neither `_` nor `/`, so that a glob over a path is a regular expression over
//! the names with `_` between them. Guarantees that nothing is selected in silence that the globs do not name. Knows nothing of the
//! languages that they stand in.

use regex::Regex;

use super::origin::{Finding, Kind, Pair, Place, Tree, Value};

/// `NAMESPACE_POD_UID/CONTAINER/NUMBER.log`.
const FOLDERS: &str = "/var/log/pods/";
/// `POD_NAMESPACE_CONTAINER-ID.log`.
const LINKS: &str = "/var/log/containers/";

const NAMESPACE: &str = "__meta_kubernetes_namespace";
const POD: &str = "__meta_kubernetes_pod_name";
const UID: &str = "__meta_kubernetes_pod_uid";
const CONTAINER: &str = "__meta_kubernetes_pod_container_name";

/// What a target's own label is called: rules set it for the containers that its globs name.
const SELECTED: &str = "__tmp_target_";

/// Which containers a glob names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    /// None: there is no such file.
    None,
    All,
    /// Those whose labels, with the separator between them, match.
    Those(Names),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Names {
    labels: Vec<&'static str>,
    separator: &'static str,
    regex: String,
}

/// Place, name and value of a label, as a rule writes it.
pub type Label = (Place, String, Tree);

/// The files of one target, with the labels that it gives them.
pub struct Target {
    place: Place,
    path: Option<Names>,
    exclude: Option<Names>,
    labels: Vec<Label>,
}

impl Target {
    /// All logs.
    #[must_use]
    pub fn all(place: &Place, labels: Vec<Label>) -> Self {
        Self { place: place.clone(), path: None, exclude: None, labels }
    }
}

/// Whether files of this path are logs of pods.
#[must_use]
pub fn are_of_pods(path: &str) -> bool {
    [FOLDERS, LINKS].iter().any(|folder| path.starts_with(folder))
}

/// Reads a target's globs; `None` where they name no log of a pod. `labels`: those that it gives its files.
pub fn target(
    path: &str,
    exclude: Option<(&Place, &str)>,
    labels: Vec<Label>,
    (place, what): (&Place, &str),
    findings: &mut Vec<Finding>,
) -> Option<Target> {
    let mut find = |kind, place: &Place, text: String| findings.push(Finding::new(kind, place, what, text));
    let names = "their names make the labels namespace, pod and container";
    let mut target = Target { place: place.clone(), path: None, exclude: None, labels };
    match named(path) {
        Ok(Named::All) => {
            find(Kind::Changed, place, format!("{path}: all logs of pods are read from /var/log/pods, and {names}"));
        }
        Ok(Named::Those(those)) => {
            let text = format!(
                "{path}: logs of pods are read from /var/log/pods, a rule keeps those that it names, and {names}"
            );
            find(Kind::Changed, place, text);
            target.path = Some(those);
        }
        Ok(Named::None) => {
            let text = format!(
                "{path} names no log of a pod: those are /var/log/pods/NAMESPACE_POD_UID/CONTAINER/NUMBER.log and \
                                /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log"
            );
            find(Kind::NotPossible, place, text);
            return None;
        }
        Err(why) => {
            let text = format!(
                "{path}: {why}, so that the logs of all pods are read: write a rule with the action keep (docs/labels.md)"
            );
            find(Kind::NotPossible, place, text);
        }
    }
    let Some((place, exclude)) = exclude else { return Some(target) };
    let folder = if path.starts_with(LINKS) { LINKS } else { FOLDERS };
    let literal = exclude.split(['*', '?', '[', '{', '\\', '$']).next().unwrap_or_default();
    let excluded = match exclude.strip_prefix(folder) {
        Some(_) => named(exclude),
        None if folder.starts_with(literal) => Err("its folder is a pattern".into()),
        None => Ok(Named::None),
    };
    match excluded {
        Ok(Named::None) => {
            find(Kind::Taken, place, format!("{exclude} names no file that Pilcrow reads, so that it has no effect"));
        }
        Ok(Named::Those(those)) => {
            find(Kind::Taken, place, format!("{exclude}: relabel_configs: a rule leaves out what it names"));
            target.exclude = Some(those);
        }
        Ok(Named::All) => {
            find(
                Kind::NotPossible,
                place,
                format!("{exclude} leaves out every log, so that this target collects nothing"),
            );
            return None;
        }
        Err(why) => {
            let text = format!(
                "{exclude}: {why}, so that nothing is left out: write a rule with the action drop (docs/labels.md)"
            );
            find(Kind::NotPossible, place, text);
        }
    }
    Some(target)
}

/// Rules that keep what the targets name, and give it their labels.
#[must_use]
pub fn rules(targets: &[Target]) -> Vec<Tree> {
    let text = |place: &Place, text: &str| Tree::text(place, text);
    if let [target] = targets {
        let action = |names: &Names, action| names.rule(&target.place, [("action", text(&target.place, action))]);
        let keep = target.path.iter().map(|names| action(names, "keep"));
        let drop = target.exclude.iter().map(|names| action(names, "drop"));
        let labels = target.labels.iter().map(|(place, name, value)| {
            Tree::group(place, [("target_label", text(place, name)), ("replacement", value.clone())])
        });
        return keep.chain(drop).chain(labels).collect();
    }
    let mut rules = Vec::new();
    for (number, target) in (1..).zip(targets) {
        let (place, own) = (&target.place, format!("{SELECTED}{number}"));
        let set = |value: &str| [("target_label", text(place, &own)), ("replacement", text(place, value))];
        rules.push(match &target.path {
            Some(names) => names.rule(place, set("selected")),
            None => Tree::group(place, set("selected")),
        });
        rules.extend(target.exclude.iter().map(|names| names.rule(place, set(""))));
        let is_selected = Names { labels: Vec::new(), separator: ";", regex: "selected".into() };
        for (place, name, value) in &target.labels {
            let set = [("target_label", text(place, name)), ("replacement", value.clone())];
            rules.push(is_selected.rule_of(place, &[&own], set));
        }
    }
    let reads_all = |target: &Target| target.path.is_none() && target.exclude.is_none();
    if let Some(first) = targets.first()
        && !targets.iter().any(reads_all)
    {
        let own: Vec<String> = (1..=targets.len()).map(|number| format!("{SELECTED}{number}")).collect();
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let any = Names { labels: Vec::new(), separator: "", regex: "(selected)+".into() };
        rules.push(any.rule_of(&first.place, &own, [("action", text(&first.place, "keep"))]));
    }
    rules
}

impl Names {
    fn rule<const N: usize>(&self, place: &Place, rest: [(&str, Tree); N]) -> Tree {
        self.rule_of(place, &self.labels, rest)
    }

    fn rule_of<const N: usize>(&self, place: &Place, labels: &[&str], rest: [(&str, Tree); N]) -> Tree {
        let labels = labels.iter().map(|name| Tree::text(place, *name)).collect();
        let list = Tree { place: place.clone(), value: Value::List(labels) };
        let pairs = [
            ("source_labels", list),
            ("separator", Tree::text(place, self.separator)),
            ("regex", Tree::text(place, &*self.regex)),
        ];
        let pair = |(key, value): (&str, Tree)| Pair { key: key.to_owned(), place: place.clone(), value };
        Tree { place: place.clone(), value: Value::Group(pairs.into_iter().chain(rest).map(pair).collect()) }
    }
}

/// Which containers a path names, or why that cannot be said by their names.
fn named(path: &str) -> Result<Named, String> {
    if path.contains('$') {
        return Err("a variable is known only where the old collector runs".into());
    }
    match (path.strip_prefix(FOLDERS), path.strip_prefix(LINKS)) {
        (Some(rest), _) => in_folders(rest),
        (_, Some(rest)) => among_links(rest),
        _ => Ok(Named::None),
    }
}

fn in_folders(rest: &str) -> Result<Named, String> {
    let mut ways: Vec<[&str; 3]> = Vec::new();
    for way in expanded(&parts(rest, '/')?, 3) {
        if let [pod, container, file] = way[..]
            && !ways.contains(&[pod, container, file])
        {
            ways.push([pod, container, file]);
        }
    }
    let [pod, container, file] = match ways[..] {
        [] => return Ok(Named::None),
        [way] => way,
        _ => return Err("it may name a pod or a container".into()),
    };
    let file = Regex::new(&format!("^(?:{})$", regex_of(file, ".*")?)).map_err(|_| "its pattern cannot be read")?;
    match ["0.log", "17.log"].map(|name| file.is_match(name)) {
        [true, true] => {}
        [false, false] => return Ok(Named::None),
        _ => return Err("it names some of a container's files, and Pilcrow reads all of them".into()),
    }
    let is_any = |glob: &str| glob.chars().all(|c| c == '*');
    let of_pod = match pod.split_once('_') {
        _ if is_any(pod) => None,
        Some((namespace, rest)) if is_literal(namespace) && (rest == "*" || rest == "*_*") => {
            Some((vec![NAMESPACE], regex_of(namespace, ".*")?))
        }
        Some((namespace, rest)) if is_any(namespace) && is_any(&rest.replacen('_', "", 1)) => None,
        _ => Some((vec![NAMESPACE, POD, UID], regex_of(pod, ".*")?)),
    };
    let of_container = if is_any(container) { None } else { Some(regex_of(container, "[^_]*")?) };
    Ok(match (of_pod, of_container) {
        (None, None) => Named::All,
        (Some((labels, regex)), None) => Named::Those(Names { separator: separator(&labels), labels, regex }),
        (None, Some(regex)) => Named::Those(Names { labels: vec![CONTAINER], separator: ";", regex }),
        (Some((mut labels, of_pod)), Some(of_container)) => {
            labels.push(CONTAINER);
            Named::Those(Names { labels, separator: "_", regex: format!("{of_pod}_{of_container}") })
        }
    })
}

fn among_links(rest: &str) -> Result<Named, String> {
    let mut ways: Vec<&str> = Vec::new();
    ways.extend(expanded(&parts(rest, '/')?, 1).iter().filter_map(|way| way.first().copied()));
    ways.dedup();
    let [file] = ways[..] else { return Ok(Named::None) };
    let stem = file.strip_suffix(".log").or_else(|| file.strip_suffix("log").filter(|rest| rest.ends_with('*')));
    let stem = stem.unwrap_or(file);
    let before = stem.trim_end_matches('*');
    if before == stem {
        return Err("it goes by the number of a container, which is another one after a restart".into());
    }
    if before.is_empty() {
        return Ok(Named::All);
    }
    // What stands behind the last `*` must not match somewhere in the number, which no label has.
    let (is_anchored, last) = before.rsplit_once('*').map_or((true, before), |(_, last)| (false, last));
    let of_number = |c: char| c.is_ascii_hexdigit() || "-{}[]?,\\!^".contains(c);
    if !is_anchored && last.chars().all(of_number) {
        return Err("it could mean the number of a container".into());
    }
    if let Some(namespace) = before.strip_prefix("*_").and_then(|rest| rest.strip_suffix('_'))
        && is_literal(namespace)
    {
        let regex = regex_of(namespace, ".*")?;
        return Ok(Named::Those(Names { labels: vec![NAMESPACE], separator: ";", regex }));
    }
    // A `-` at the end stands before the number, or within a name.
    let regex = match before.strip_suffix('-') {
        Some(before) => format!("{}(-.*)?", regex_of(before, ".*")?),
        None => format!("{}.*", regex_of(before, ".*")?),
    };
    Ok(Named::Those(Names { labels: vec![POD, NAMESPACE, CONTAINER], separator: "_", regex }))
}

fn separator(labels: &[&str]) -> &'static str {
    if labels.len() > 1 { "_" } else { ";" }
}

/// Names, or alternatives of names.
fn is_literal(glob: &str) -> bool {
    !glob.is_empty() && glob.chars().all(|c| c.is_ascii_alphanumeric() || "-.{,}".contains(c))
}

/// A glob's parts between separators; those in braces cannot be taken apart.
fn parts(glob: &str, separator: char) -> Result<Vec<&str>, String> {
    let parts: Vec<&str> = glob.split(separator).collect();
    let is_whole = |part: &&str| part.matches('{').count() == part.matches('}').count();
    if parts.iter().all(is_whole) { Ok(parts) } else { Err("its alternatives reach over folders".into()) }
}

/// All ways in which the parts, some of them `**` for any number of folders, may be this many.
fn expanded<'g>(parts: &[&'g str], count: usize) -> Vec<Vec<&'g str>> {
    let Some((first, rest)) = parts.split_first() else {
        return if count == 0 { vec![Vec::new()] } else { Vec::new() };
    };
    let with = |folders: usize, name: &'g str| {
        let behind = expanded(rest, count - folders).into_iter();
        behind.map(move |way| std::iter::repeat_n(name, folders).chain(way).collect::<Vec<_>>())
    };
    match *first {
        "**" => (0..=count).flat_map(|folders| with(folders, "*")).collect(),
        _ if count == 0 => Vec::new(),
        name => with(1, name).collect(),
    }
}

/// A glob as a regular expression; `any`: what `*` matches.
fn regex_of(glob: &str, any: &str) -> Result<String, String> {
    let mut regex = String::new();
    let (mut depth, mut chars) = (0, glob.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '*' => {
                while chars.next_if_eq(&'*').is_some() {}
                regex.push_str(any);
            }
            '?' => regex.push_str(if any == ".*" { "." } else { "[^_]" }),
            '[' => {
                regex.push('[');
                if chars.next_if(|c| matches!(c, '!' | '^')).is_some() {
                    regex.push('^');
                }
                loop {
                    match chars.next() {
                        Some(']') => break regex.push(']'),
                        Some(c) if c.is_ascii_alphanumeric() || "-_.".contains(c) => regex.push(c),
                        _ => return Err("its pattern in brackets cannot be read".into()),
                    }
                }
            }
            '{' => {
                depth += 1;
                regex.push('(');
            }
            '}' if depth > 0 => {
                depth -= 1;
                regex.push(')');
            }
            ',' if depth > 0 => regex.push('|'),
            '\\' => regex.push_str(&regex::escape(&chars.next().map(String::from).unwrap_or_default())),
            // In a regular expression `-` is a plain character outside brackets.
            '-' => regex.push('-'),
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    Ok(regex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str) -> String {
        match named(path) {
            Ok(Named::None) => "none".into(),
            Ok(Named::All) => "all".into(),
            Ok(Named::Those(names)) => {
                let labels = names.labels.iter().map(|name| name.trim_start_matches("__meta_kubernetes_"));
                format!("{} {}", labels.collect::<Vec<_>>().join(names.separator), names.regex)
            }
            Err(why) => format!("cannot: {why}"),
        }
    }

    #[test]
    fn globs_of_both_folders_are_expressions_over_the_names_of_containers() {
        for (path, expected) in [
            ("/var/log/pods/*/*/*.log", "all"),
            ("/var/log/pods/**/*.log", "all"),
            ("/var/log/pods/**/*log", "all"),
            ("/var/log/pods/*_*_*/**/*.log", "all"),
            ("/var/log/pods/**", "all"),
            ("/var/log/pods/argo_*/*/*.log", "namespace argo"),
            ("/var/log/pods/argo_*_*/**/*.log", "namespace argo"),
            ("/var/log/pods/{argo,shop}_*/*/[0-9]*.log", "namespace (argo|shop)"),
            ("/var/log/pods/*/main/*.log", "pod_container_name main"),
            ("/var/log/pods/argo_*/main*/*.log", "namespace_pod_container_name argo_main[^_]*"),
            ("/var/log/pods/*_web-?_*/*/*.log", "namespace_pod_name_pod_uid .*_web-._.*"),
            ("/var/log/pods/*/*.log", "none"),
            ("/var/log/pods/*/*/*.gz", "none"),
            ("/var/log/pods/*/*/0.log", "cannot: it names some of a container's files, and Pilcrow reads all of them"),
            ("/var/log/pods/**/argo*/**/*.log", "cannot: it may name a pod or a container"),
            ("/var/log/pods/${NAMESPACE}_*/*/*.log", "cannot: a variable is known only where the old collector runs"),
            ("/var/log/containers/*.log", "all"),
            ("/var/log/containers/**/*.log", "all"),
            ("/var/log/containers/*_default_*.log", "namespace default"),
            ("/var/log/containers/web-*.log", "pod_name_namespace_pod_container_name web(-.*)?"),
            ("/var/log/containers/*_shop_app-*.log", "pod_name_namespace_pod_container_name .*_shop_app(-.*)?"),
            ("/var/log/containers/*ingress*.log", "pod_name_namespace_pod_container_name .*ingress.*"),
            ("/var/log/containers/*/*.log", "none"),
            ("/var/log/containers/*abc*.log", "cannot: it could mean the number of a container"),
            (
                "/var/log/containers/a_b_c-0123.log",
                "cannot: it goes by the number of a container, which is another one after a restart",
            ),
        ] {
            assert_eq!(shown(path), expected, "{path}");
        }
    }
}
