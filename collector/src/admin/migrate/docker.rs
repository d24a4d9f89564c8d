//! Docker's containers where there is no Kubernetes, as Promtail and Alloy find them, and as Pilcrow knows them (`paths.docker`).
//!
//! In: what the readers find: discovery by Docker's API, or globs of its folder. Out: rules by what Pilcrow knows of a container (its
//! name, ID, Compose project and service), or why there is none. Source: `source/docker.rs`, whose names these are.

use super::{
    convert::draft::group,
    origin::{Finding, Kind, Origin, Pair, Pipeline, Place, Setting, Source, Tree, Value},
    words::DOCKER,
};

/// Docker's folder of containers.
const FOLDER: &str = "/var/lib/docker/containers/";

/// The key by which Pilcrow collects from them.
pub const KEY: &str = "paths.docker";

/// What Pilcrow has in the place of a container's label.
const NAME: &str = "__meta_kubernetes_pod_name";
const PROJECT: &str = "__meta_kubernetes_namespace";
const SERVICE: &str = "__meta_kubernetes_pod_container_name";

/// What is read of a container's own labels.
const OWN: &str = "__meta_docker_";
const OWN_NAME: &str = "__meta_docker_container_name";

/// Names of discovery with those that stand for them here.
const NAMES: [(&str, &str); 8] = [
    ("__meta_docker_container_id", "__meta_kubernetes_pod_uid"),
    ("__meta_docker_container_log_stream", "__meta_pilcrow_stream"),
    (OWN_NAME, "__tmp_docker_name"),
    ("__meta_docker_container_label_com_docker_compose_project", "__tmp_docker_project"),
    ("__meta_docker_container_label_com_docker_stack_namespace", "__tmp_docker_project"),
    ("__meta_docker_container_label_com_docker_compose_service", "__tmp_docker_service"),
    ("__meta_docker_container_label_com_docker_swarm_service_name", "__tmp_docker_service"),
    ("__docker_container_log_stream", "__meta_pilcrow_stream"),
];

/// Why a label of Docker's discovery is not known; nothing where it is, or where it is another one's.
#[must_use]
pub fn why_not_known(name: &str) -> Option<&'static str> {
    let is_known = NAMES.iter().any(|(known, _)| *known == name);
    (name.starts_with(OWN) && !is_known).then_some(
        "Pilcrow knows a container's name, ID, stream, Compose project and service, and nothing else of Docker",
    )
}

/// The setting that collects from Docker's folder.
#[must_use]
pub fn setting(place: &Place, what: &str) -> Setting {
    Setting::new(KEY, Tree::text(place, FOLDER.trim_end_matches('/')), what)
}

/// What is told of a discovery of Docker's containers.
#[must_use]
pub fn finding(place: &Place, what: &str) -> Finding {
    let text = "paths.docker: the files of Docker's containers are read (its log driver json-file); in names all characters but letters, \
                digits, . and - are -";
    Finding::new(Kind::Changed, place, what, text)
}

/// What becomes of the address of Docker's API.
#[must_use]
pub fn host(address: &str) -> (Kind, &'static str) {
    match address.starts_with("unix://") || address.is_empty() {
        true => (Kind::Taken, "the files of this machine's Docker are read, and its API is not asked"),
        false => {
            (Kind::NotPossible, "is another machine's Docker: run Pilcrow there, which reads that machine's files")
        }
    }
}

/// Whether a path names the logs of all of Docker's containers.
#[must_use]
pub fn names_all(path: &str) -> bool {
    let globs = ["*/*log", "*/*.log", "*/*-json.log", "*/*json.log", "**/*log", "**/*.log", "**/*-json.log"];
    path.strip_prefix(FOLDER).is_some_and(|rest| globs.contains(&rest))
}

/// A rule with the names by which Pilcrow knows a container.
#[must_use]
pub fn renamed(rule: &Tree) -> Tree {
    let sources = rule.get("source_labels").map(|pair| texts(&pair.value)).unwrap_or_default();
    let text = |key: &str| rule.get(key).and_then(|pair| pair.value.as_text()).unwrap_or("");
    let is_copy = ["", "replace"].contains(&text("action").to_ascii_lowercase().as_str())
        && ["", "$1", "${1}"].contains(&text("replacement"));
    let without_slash =
        ["/(.*)", "/(.+)", "/?(.*)", "/?(.+)"].contains(&text("regex").trim_start_matches('^').trim_end_matches('$'));
    if sources == [OWN_NAME] && is_copy && without_slash {
        let pairs = rule.pairs().iter().filter(|pair| pair.key != "regex").cloned().collect();
        return with_sources(&Tree { place: rule.place.clone(), value: Value::Group(pairs) }, &|_| NAME.to_owned());
    }
    with_sources(rule, &|name| NAMES.iter().find(|(known, _)| *known == name).map_or(name, |(_, new)| new).to_owned())
}

/// Rules that make the names which [`renamed`] has put into these, where Pilcrow has none that is the same.
#[must_use]
pub fn before(place: &Place, rules: &[Tree]) -> Vec<Tree> {
    let read: Vec<String> =
        rules.iter().filter_map(|rule| rule.get("source_labels")).flat_map(|pair| texts(&pair.value)).collect();
    let mut made = Vec::new();
    for (name, source, replacement) in [
        ("__tmp_docker_name", NAME, "/$1"),
        ("__tmp_docker_project", PROJECT, ""),
        ("__tmp_docker_service", SERVICE, ""),
    ] {
        if !read.iter().any(|read| read == name) {
            continue;
        }
        let rule = |source: &str, more: &[(&str, &str)]| {
            let mut pairs = vec![("source_labels", Value::List(vec![Tree::text(place, source)]))];
            pairs.extend(more.iter().map(|(key, text)| (*key, Value::Text((*text).to_owned()))));
            pairs.push(("target_label", Value::Text(name.to_owned())));
            group(place, &pairs)
        };
        if replacement.is_empty() {
            made.push(rule(source, &[]));
            // Containers of no project have neither.
            made.push(rule(PROJECT, &[("regex", "docker"), ("replacement", "")]));
        } else {
            made.push(rule(source, &[("replacement", replacement)]));
        }
    }
    made
}

/// What becomes of a filter of discovery.
pub fn filter(
    name: &str,
    values: &[String],
    (place, what): (&Place, &str),
    findings: &mut Vec<Finding>,
) -> Option<Tree> {
    let keep = |source: &str, regex: String| {
        let (source, regex) = (Value::List(vec![Tree::text(place, source)]), Value::Text(regex));
        Some(group(place, &[("source_labels", source), ("regex", regex), ("action", Value::Text("keep".into()))]))
    };
    let is_plain = |value: &String| value.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
    let of_label = |label: &str| -> Option<Vec<String>> {
        values.iter().map(|value| Some(value.strip_prefix(label)?.to_owned())).collect()
    };
    let found = match name {
        "name" if values.iter().all(is_plain) => keep(NAME, format!(".*(?:{}).*", escaped(values))),
        "label" => {
            [("com.docker.compose.project=", PROJECT), ("com.docker.compose.service=", SERVICE)].into_iter().find_map(
                |(label, source)| keep(source, escaped(&of_label(label).filter(|values| values.iter().all(is_plain))?)),
            )
        }
        "status" => {
            let text = "logs are read whatever state their container is in, so that its last lines are not lost";
            findings.push(Finding::new(Kind::Changed, place, what, text));
            return None;
        }
        _ => None,
    };
    let told = match found {
        Some(_) => Finding::new(Kind::Taken, place, what, "relabel_configs: a rule keeps them"),
        None => {
            let text = format!(
                "{name}={}: is left out, so that containers are read which it leaves out: Pilcrow knows their names, Compose projects and \
                 services; write a rule with the action keep by one of them",
                values.join(",")
            );
            Finding::new(Kind::NotPossible, place, what, text)
        }
    };
    findings.push(told);
    found
}

fn escaped(values: &[String]) -> String {
    values.iter().map(|value| regex::escape(value)).collect::<Vec<_>>().join("|")
}

/// Leaves Docker's containers out where there are pods: a node's Docker runs these, and one Pilcrow collects from either.
pub fn leave_out_beside_pods(origin: &mut Origin) {
    let of_docker = |pipeline: &Pipeline| pipeline.settings.iter().find(|setting| setting.key == KEY).cloned();
    if origin.pipelines.iter().all(|pipeline| of_docker(pipeline).is_some()) {
        return;
    }
    let all = std::mem::take(&mut origin.pipelines);
    for pipeline in all {
        match of_docker(&pipeline) {
            None => origin.pipelines.push(pipeline),
            Some(Setting { value, from, .. }) => origin.not_possible(&value.place, &from, DOCKER),
        }
    }
}

/// Whether a pipeline's lines come from Docker's API, which knows no files.
#[must_use]
pub fn has_no_positions(pipeline: &Pipeline) -> bool {
    pipeline.source == Source::DockerLines
}

fn texts(tree: &Tree) -> Vec<String> {
    tree.as_text().into_iter().chain(tree.items().iter().filter_map(Tree::as_text)).map(str::to_owned).collect()
}

fn with_sources(rule: &Tree, new: &dyn Fn(&str) -> String) -> Tree {
    let pair = |pair: &Pair| match pair.key.as_str() {
        "source_labels" => Pair { value: pair.value.map_texts(&|text| new(text)), ..pair.clone() },
        _ => pair.clone(),
    };
    Tree { place: rule.place.clone(), value: Value::Group(rule.pairs().iter().map(pair).collect()) }
}
