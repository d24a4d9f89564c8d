//! The old side: the rules and stages of an old setup as they stand, run in the order in which Promtail runs them.
//!
//! Of Promtail's and the Agent's files they are read anew ([`written`]); of Alloy's language and of values of charts they
//! are what the reader found, which a note says. The conversion has no part in it.

use anyhow::Context;

use super::{compare::Outcome, glob, record, record::Format, written};
use crate::{
    admin::{
        migrate::{
            Source,
            convert::{self, Base, Draft, Item},
            origin::{self, Kind, Origin, Pipeline, Tree, Value, replacement},
            prove::Assumed,
        },
        rules::Trace,
        try_rules::LastLines,
    },
    compiled::Compiled,
    pipeline::relabel::why_unknown,
};

/// Promtail's label for the file; Pilcrow has none, so that it is not compared.
pub const FILE_NAME: &str = "filename";

/// What Pilcrow does not ask the Kubernetes API for, with what it is of a container whose log is read.
pub const ASSUMED: [(&str, &str); 4] = [
    ("__meta_kubernetes_pod_container_id", "containerd://0"),
    ("__meta_kubernetes_pod_container_init", "false"),
    ("__meta_kubernetes_pod_phase", "Running"),
    ("__meta_kubernetes_pod_ready", "true"),
];

/// An old setup, ready to run.
pub struct Old {
    pub compiled: Compiled,
    /// What its stages take for a line.
    pub format: Format,
    /// What is assumed or left out of the comparison.
    pub notes: Vec<String>,
    /// Labels of the client.
    external: Vec<(String, String)>,
    /// Whether lines have the label `filename`.
    has_file_name: bool,
    /// The files that it names; empty where the API names pods.
    files: Vec<written::Files>,
    /// The namespaces that its discovery is limited to; empty: all.
    namespaces: Vec<String>,
}

/// Says which of an old setup's files a container's log is, by their number.
const FILES: &str = "__old_files";

/// A container's log among the files that an old setup names.
pub struct Files {
    number: usize,
    path: String,
}

impl Files {
    /// What the rules go by.
    pub fn label(&self) -> (Box<str>, Box<str>) {
        (FILES.into(), self.number.to_string().into())
    }
}

/// What an old setup consists of.
struct Parts {
    rules: Vec<Tree>,
    stages: Vec<Tree>,
    external: Vec<(String, Tree)>,
    files: Vec<written::Files>,
}

impl Old {
    /// Compiles the rules and stages of a job as they are.
    ///
    /// # Errors
    /// They do not compile.
    pub fn new(sources: &[Source], origin: &Origin, pipeline: &Pipeline, assumed: &Assumed) -> anyhow::Result<Self> {
        let mut notes = vec![format!("the label {FILE_NAME} is not compared: Pilcrow makes none")];
        let parts = match written::find(sources, &pipeline.place) {
            Some(written) => Parts {
                rules: written.rules,
                stages: written.stages,
                external: with_arguments(written.external, origin, pipeline),
                files: if pipeline.source == origin::Source::Path { written.files } else { Vec::new() },
            },
            None => {
                notes.push("the old rules and stages are those that were read for the conversion".into());
                Parts::read(origin, pipeline)
            }
        };
        let format = Format::expected(pipeline.source, &parts.stages);
        let draft = draft(pipeline, &parts, format, &mut notes)?;
        let names = node_variables(&parts.rules);
        let environment = |name: &str| match names.iter().any(|known| known == name) {
            true => Some(assumed.node.clone()),
            false => convert::environment(&draft)(name),
        };
        let compiled = Compiled::parse(&draft.yaml(0, &|_| false), &environment)
            .map_err(|problems| anyhow::anyhow!("{}", problems.first().map(ToString::to_string).unwrap_or_default()))?;
        let expanded = |(name, value): &(String, Tree)| -> anyhow::Result<(String, String)> {
            let value = crate::config::tree::expanded(value.as_text().unwrap_or(""), &environment);
            Ok((name.clone(), value.map_err(|why| anyhow::anyhow!("{why}"))?))
        };
        let external = parts.external.iter().map(expanded).collect::<anyhow::Result<_>>().context("external labels")?;
        Ok(Self {
            compiled: assumed.applied(compiled.config)?,
            format,
            notes,
            external,
            has_file_name: !pipeline.source.is_of_lines(),
            files: parts.files,
            namespaces: namespaces(pipeline),
        })
    }

    /// Whether its discovery finds a container's pod.
    #[must_use]
    pub fn finds(&self, read: &LastLines) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(&read.origin.pod.namespace)
    }

    /// Which of the files that it names a container's log is; the first ones count.
    #[must_use]
    pub fn files_of(&self, read: &LastLines) -> Option<Files> {
        let (paths, files) = (paths(read), self.files.iter());
        let named = |files: &written::Files| {
            let is_named = |path: &&String| glob::matches(&files.path, path) && !glob::matches(&files.exclude, path);
            paths.iter().find(is_named).cloned()
        };
        files.enumerate().find_map(|(number, files)| Some(Files { number, path: named(files)? }))
    }

    /// What Promtail adds to a line's labels before its stages: its file, where that lies on every node.
    #[must_use]
    pub fn given(&self, read: &LastLines, files: Option<Files>) -> Option<(&'static str, String)> {
        let path = || files.map_or_else(|| paths(read)[0].clone(), |files| files.path);
        self.has_file_name.then(|| (FILE_NAME, path()))
    }

    /// What Promtail sends of an entry: with the labels of the client where there are none of these names.
    #[must_use]
    pub fn sent(&self, trace: &Trace) -> (u64, Outcome) {
        let sent = trace.sent().cloned().map(|mut sent| {
            sent.labels.retain(|(name, _)| name != FILE_NAME);
            sent.metadata.retain(|(name, _)| name != FILE_NAME);
            for (name, value) in &self.external {
                if !sent.labels.iter().any(|(known, _)| known == name) && !value.is_empty() {
                    sent.labels.push((name.clone(), value.clone()));
                }
            }
            sent.labels.sort();
            sent
        });
        (trace.number, sent)
    }
}

impl Parts {
    /// As the reader of the conversion found them.
    fn read(origin: &Origin, pipeline: &Pipeline) -> Self {
        let client = pipeline.clients.first().and_then(|index| origin.clients.get(*index));
        let external = client.map(|client| client.labels.as_slice()).unwrap_or_default().iter();
        let external =
            external.map(|label| (label.key.trim_start_matches("labels.").to_owned(), label.value.clone())).collect();
        Self { rules: pipeline.relabel.clone(), stages: pipeline.stages.clone(), external, files: Vec::new() }
    }
}

/// With the labels of Promtail's arguments, which stand in another file, or beside it.
fn with_arguments(mut external: Vec<(String, Tree)>, origin: &Origin, pipeline: &Pipeline) -> Vec<(String, Tree)> {
    let client = pipeline.clients.first().and_then(|index| origin.clients.get(*index));
    for label in client.map(|client| client.labels.as_slice()).unwrap_or_default() {
        let name = label.key.trim_start_matches("labels.");
        if label.from.ends_with("client.external-labels") && external.iter().all(|(known, _)| known != name) {
            external.push((name.to_owned(), label.value.clone()));
        }
    }
    external
}

fn namespaces(pipeline: &Pipeline) -> Vec<String> {
    let named = pipeline.settings.iter().filter(|setting| setting.key == "kubernetes.namespaces.include");
    named.flat_map(|setting| setting.value.items()).filter_map(Tree::as_text).map(str::to_owned).collect()
}

/// The paths of a container's log: the file, and the link to it.
fn paths(read: &LastLines) -> [String; 2] {
    let (pod, container) = (&read.origin.pod, &read.origin.container);
    let file = read.file.file_name().unwrap_or_default().to_string_lossy();
    // The number of the container is not known; it has 64 digits.
    [
        format!("/var/log/pods/{}/{container}/{file}", pod.folder_name()),
        format!("/var/log/containers/{}_{}_{container}-{:064}.log", pod.pod, pod.namespace, 0),
    ]
}

/// What else the old setup does with the lines of these jobs, or with others.
pub fn left_out(origin: &Origin, jobs: &[usize]) -> Vec<String> {
    let first = jobs.first().map(|number| origin.pipelines[*number].clients.as_slice()).unwrap_or_default();
    let clients = first.iter().skip(1).filter_map(|index| origin.clients.get(*index));
    let clients = clients.map(|client| {
        format!("not compared: {} ({}), as one Pilcrow sends to one Loki", client.name, at_line(&client.place))
    });
    let others = (0..).zip(&origin.pipelines).filter(|(number, _)| !jobs.contains(number));
    let others = others
        .map(|(_, other)| format!("not compared: job {} ({}); --job {0} does", other.name, at_line(&other.place)));
    clients.chain(others).collect()
}

/// The old setup as a configuration that has nothing but its rules and stages.
fn draft(pipeline: &Pipeline, parts: &Parts, format: Format, notes: &mut Vec<String>) -> anyhow::Result<Draft> {
    let base = match pipeline.source {
        origin::Source::Preset(preset) => Base::Preset(preset),
        _ => Base::None,
    };
    let mut draft = Draft { base, ..Draft::default() };
    let item = |tree: &Tree, what: String| Item { tree: Some(tree.clone()), what, comment: at_line(&tree.place) };
    draft.relabel = parts.files.iter().enumerate().flat_map(|(number, files)| of_files(number, files)).collect();
    if !parts.files.is_empty() {
        let keep = [("action", Tree::text(&pipeline.place, "keep"))];
        draft.relabel.push(item(&by_files(&pipeline.place, ".+", keep), FILES.into()));
    }
    for (index, rule) in parts.rules.iter().enumerate() {
        match why_left_out(rule, pipeline) {
            Some(why) => notes.push(format!("not compared: {}: {why}", at_line(&rule.place))),
            None => draft.relabel.push(item(rule, format!("relabel_configs[{index}]"))),
        }
    }
    // Promtail's lines have this label when no rule makes any; its value comes with each file.
    let path = Tree::text(&pipeline.place, "__path__");
    draft.relabel.push(item(&rule(&path, FILE_NAME), FILE_NAME.into()));
    let stages = record::as_run(&parts.stages, format)
        .map_err(|faults| anyhow::anyhow!("{}", faults.first().map(ToString::to_string).unwrap_or_default()))?;
    draft.stages = stages.iter().map(|stage| item(stage, "pipeline_stages".into())).collect();
    convert::settle(&mut draft).map_err(|why| anyhow::anyhow!("{why}"))?;
    for finding in draft.findings.iter().filter(|finding| finding.kind == Kind::NotPossible) {
        let (place, what) = (at_line(&finding.place), &finding.what);
        notes.push(format!("not compared, as Pilcrow cannot do it: {place}: {what}: {}", finding.text));
    }
    Ok(draft)
}

/// Why a rule cannot be run here.
fn why_left_out(rule: &Tree, pipeline: &Pipeline) -> Option<String> {
    if text(rule, "target_label") == "__path_exclude__" {
        return Some("Pilcrow finds the files of pods by itself".into());
    }
    // What Promtail does not have either is empty on both sides.
    let is_empty = |name: &str| convert::was_empty(name, &pipeline.attached);
    if let Some(prefix) = convert::maps_others(rule).filter(|prefix| !is_empty(prefix)) {
        return Some(format!("{prefix}… is none of a pod"));
    }
    let is_assumed = |name: &str| ASSUMED.iter().any(|(known, _)| *known == name);
    let names = texts(rule, "source_labels").into_iter().filter(|name| !is_assumed(name) && !is_empty(name));
    names.into_iter().find_map(|name| Some(format!("{name} is not known, as {}", why_unknown(name)?)))
}

/// Variables that stand for the node's name.
fn node_variables(rules: &[Tree]) -> Vec<String> {
    let of_node = ["__meta_kubernetes_pod_node_name", "__host__"];
    let by_node = rules.iter().filter(|rule| {
        let sources = texts(rule, "source_labels");
        !sources.is_empty() && sources.iter().all(|name| of_node.contains(name))
    });
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    by_node
        .flat_map(|rule| {
            text(rule, "regex")
                .split("${")
                .skip(1)
                .map(|rest| rest.chars().take_while(|c| is_name(*c)).collect())
                .collect::<Vec<String>>()
        })
        .collect()
}

fn at_line(place: &origin::Place) -> String {
    format!("{}:{}", place.file, place.line)
}

/// A rule that copies a label.
fn rule(source: &Tree, target: &str) -> Tree {
    let place = &source.place;
    let list = Tree { place: place.clone(), value: Value::List(vec![source.clone()]) };
    Tree::group(place, [("source_labels", list), ("target_label", Tree::text(place, target))])
}

/// Rules that give files their labels.
fn of_files(number: usize, files: &written::Files) -> impl Iterator<Item = Item> {
    files.labels.iter().map(move |(name, value)| {
        let place = &value.place;
        let value = Tree::text(place, replacement(value.as_text().unwrap_or("")));
        let set = [("target_label", Tree::text(place, name.clone())), ("replacement", value)];
        Item { tree: Some(by_files(place, &number.to_string(), set)), what: name.clone(), comment: at_line(place) }
    })
}

/// A rule for files whose number matches.
fn by_files<const N: usize>(place: &origin::Place, number: &str, rest: [(&str, Tree); N]) -> Tree {
    let list = Tree { place: place.clone(), value: Value::List(vec![Tree::text(place, FILES)]) };
    let condition = Tree::group(place, [("source_labels", list), ("regex", Tree::text(place, number))]);
    let rest = Tree::group(place, rest);
    let pairs = condition.pairs().iter().chain(rest.pairs()).cloned().collect();
    Tree { place: place.clone(), value: Value::Group(pairs) }
}

fn text<'t>(tree: &'t Tree, key: &str) -> &'t str {
    tree.get(key).and_then(|pair| pair.value.as_text()).unwrap_or("")
}

/// The texts of a list, or the one text.
fn texts<'t>(tree: &'t Tree, key: &str) -> Vec<&'t str> {
    let Some(pair) = tree.get(key) else { return Vec::new() };
    let one = pair.value.as_text();
    one.into_iter().chain(pair.value.items().iter().filter_map(Tree::as_text)).collect()
}
