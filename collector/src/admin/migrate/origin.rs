//! What an old setup means, whatever language it was written in: the form between the readers and the conversion.
//!
//! In: what a reader found. Out: data; the conversion drops from it what Pilcrow does by itself, and compiles the rest. A reader
//! guarantees that nothing of its file is missing: what has no place here is a [`Finding`].
//!
//! A reader is `read(texts: &[Text<'_>]) -> Result<Origin, Vec<Fault>>`. That of Alloy's language also reads the pieces of it that
//! stand in the values of charts: `read_stages` (blocks `stage.…`) and `read_rules` (blocks `rule`), each
//! `(text: &Text<'_>, findings: &mut Vec<Finding>) -> Result<Vec<Tree>, Vec<Fault>>`.
//!
//! All texts are written as they would stand in a file of Pilcrow: `${NAME}` is an environment variable, and what must not be read
//! as one is escaped by [`spelled`].

use std::{fmt, sync::Arc};

use crate::config::{Preset, tree};

/// Where something stands in an old file; line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: Arc<str>,
    pub line: usize,
    /// In characters.
    pub column: usize,
}

impl Place {
    /// The beginning of a file.
    #[must_use]
    pub fn start_of(file: &str) -> Self {
        Self { file: file.into(), line: 1, column: 1 }
    }

    /// The place of a line and column in a text that begins here: a file, or a block of YAML, whose lines are all indented alike.
    #[must_use]
    pub fn at(&self, line: usize, column: usize) -> Self {
        Self { file: self.file.clone(), line: self.line + line - 1, column: self.column + column - 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// What a reader reads: a whole file, or a text in a YAML file.
#[derive(Clone, Debug)]
pub struct Text<'t> {
    /// Where its first character stands.
    pub place: Place,
    pub text: &'t str,
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    pub place: Place,
    pub value: Value,
}

/// As YAML has them; numbers and booleans are the text that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Nothing,
    Text(String),
    List(Vec<Tree>),
    /// In the order in which they are written.
    Group(Vec<Pair>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub key: String,
    pub place: Place,
    pub value: Tree,
}

/// Everything that collects pod logs in an old setup.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Those that collect pod logs; what collects anything else is a finding and no pipeline.
    pub pipelines: Vec<Pipeline>,
    /// In the order of the file.
    pub clients: Vec<Client>,
    /// Keys of Pilcrow for the program itself: `http.listen`, `log.level`, `checkpoint.interval`, `start_at`. They hold for the
    /// pipelines of the same file.
    pub settings: Vec<Setting>,
    /// Values of Pilcrow's chart, such as `resources`.
    pub chart: Vec<Setting>,
    /// Where the old collector keeps its positions, for the pipelines that say nothing else: Promtail's file.
    pub positions: Option<Setting>,
    /// The nodes' folder that it is mounted from, where the chart says it.
    pub positions_folder: Option<Tree>,
    /// But for those of pipelines and clients.
    pub findings: Vec<Finding>,
}

/// One way from a pod's log to the clients.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Promtail's `job_name`, or the label of Alloy's source.
    pub name: String,
    pub place: Place,
    pub source: Source,
    /// Rules in Prometheus' form, each a group with `source_labels`, `regex` and so on, in the order in which they apply. With
    /// those that set `__path__`, `__host__` and the like: the conversion drops them.
    pub relabel: Vec<Tree>,
    /// Stages in Promtail's form, each a group with the stage's name as its one key (Pilcrow also knows Alloy's own stages by their
    /// names), in the order in which they apply. With `cri` and `docker`.
    pub stages: Vec<Tree>,
    /// Indexes of [`Origin::clients`].
    pub clients: Vec<usize>,
    /// Keys of Pilcrow for what is collected: `kubernetes.namespaces.include`, `kubernetes.pod_selector`, `start_at`.
    pub settings: Vec<Setting>,
    /// Where its positions are kept, if elsewhere than those of its file; with Alloy a file below its storage path.
    pub positions: Option<Setting>,
    /// What its discovery adds to the labels of pods.
    pub attached: Vec<Attached>,
    /// Of its keys; they are reported where it is converted.
    pub findings: Vec<Finding>,
}

/// Labels of other objects than pods that discovery adds to each pod's where it is asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// What their names begin with.
    pub prefix: &'static str,
    /// The key that asks for them; nothing where it is not known whether one does.
    pub by: Option<(Place, String)>,
}

/// What the names of a node's and of a namespace's labels begin with.
pub const OF_NODE: &str = "__meta_kubernetes_node_";
pub const OF_NAMESPACE: &str = "__meta_kubernetes_namespace_";

impl Attached {
    /// What a key below `attach_metadata` asks for: `node` or `namespace`.
    #[must_use]
    pub fn by_key(key: &str, place: &Place, what: &str) -> Self {
        let prefix = if key.ends_with("node") { OF_NODE } else { OF_NAMESPACE };
        Self { prefix, by: Some((place.clone(), what.to_owned())) }
    }
}

/// How a pipeline finds the logs of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the Kubernetes API: rules read `__meta_kubernetes_…`.
    Api,
    /// As `Api`, and the lines come from there too: without a label `filename` and without the runtime's format.
    ApiLines,
    /// From Docker's API, as [`Source::ApiLines`]: rules read `__meta_docker_…`.
    DockerLines,
    /// By a path to the files of pods (`/var/log/pods/…`, `/var/log/containers/…`); of a pod nothing is known but the label
    /// `filename`.
    Path,
    /// Nobody says it: a preset of a chart makes the labels, and [`Pipeline::relabel`] comes behind it.
    Preset(Preset),
}

impl Source {
    /// Whether lines come from an API: without a label `filename` and without the runtime's format.
    #[must_use]
    pub fn is_of_lines(self) -> bool {
        matches!(self, Self::ApiLines | Self::DockerLines)
    }
}

/// Where lines are sent.
#[derive(Clone, Debug)]
pub struct Client {
    pub name: String,
    pub place: Place,
    /// Keys of Pilcrow that begin with `loki.`, in Pilcrow's units.
    pub settings: Vec<Setting>,
    /// External labels, each as the key `labels.NAME`.
    pub labels: Vec<Setting>,
    /// Values of Pilcrow's chart, such as the Secret with the password.
    pub chart: Vec<Setting>,
    /// Of its keys; they are reported where it becomes Pilcrow's client.
    pub findings: Vec<Finding>,
}

/// A key of Pilcrow's configuration (or chart) with the value that the old file gives it.
#[derive(Clone, Debug)]
pub struct Setting {
    /// `loki.batch.bytes`.
    pub key: String,
    /// Its place is that of the old value.
    pub value: Tree,
    /// The old key, for the comment: `clients[0].batchsize`.
    pub from: String,
}

/// What became of a part of the old file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub kind: Kind,
    pub place: Place,
    /// The part, as its author knows it: `clients[0].batchsize`, `stage.geoip`.
    pub what: String,
    /// `Taken`: mostly the new key, or that Pilcrow does it by itself. `Changed`: how and why. `NotPossible`: why, and what to do
    /// instead.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    NotPossible,
    Changed,
    Taken,
}

/// Why a file cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub place: Place,
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl Finding {
    #[must_use]
    pub fn new(kind: Kind, place: &Place, what: impl Into<String>, text: impl Into<String>) -> Self {
        Self { kind, place: place.clone(), what: what.into(), text: text.into() }
    }
}

impl Setting {
    #[must_use]
    pub fn new(key: impl Into<String>, value: Tree, from: impl Into<String>) -> Self {
        Self { key: key.into(), value, from: from.into() }
    }
}

impl Origin {
    /// Adds what another file says. Its settings and positions are those of its own pipelines; without any, of all.
    pub fn append(&mut self, mut other: Self) {
        let clients_before = self.clients.len();
        if other.pipelines.is_empty() {
            self.settings.append(&mut other.settings);
            self.positions = self.positions.take().or(other.positions.take());
        }
        for mut pipeline in other.pipelines {
            pipeline.clients.iter_mut().for_each(|index| *index += clients_before);
            pipeline.settings.splice(0..0, other.settings.iter().cloned());
            pipeline.positions = pipeline.positions.or_else(|| other.positions.clone());
            pipeline.name = self.free_name(&pipeline.name);
            self.pipelines.push(pipeline);
        }
        self.positions_folder = self.positions_folder.take().or(other.positions_folder);
        self.clients.append(&mut other.clients);
        self.chart.append(&mut other.chart);
        self.findings.append(&mut other.findings);
    }

    /// A name that no other pipeline has: this one, or with a number.
    #[must_use]
    pub fn free_name(&self, name: &str) -> String {
        let is_free = |name: &String| self.pipelines.iter().all(|pipeline| pipeline.name != *name);
        let numbered = (2..).map(|number| format!("{name}#{number}"));
        std::iter::once(name.to_owned()).chain(numbered).find(is_free).unwrap_or_default()
    }

    pub fn taken(&mut self, place: &Place, what: &str, text: impl Into<String>) {
        self.find(Kind::Taken, place, what, text);
    }

    pub fn changed(&mut self, place: &Place, what: &str, text: impl Into<String>) {
        self.find(Kind::Changed, place, what, text);
    }

    pub fn not_possible(&mut self, place: &Place, what: &str, text: impl Into<String>) {
        self.find(Kind::NotPossible, place, what, text);
    }

    fn find(&mut self, kind: Kind, place: &Place, what: &str, text: impl Into<String>) {
        self.findings.push(Finding::new(kind, place, what, text));
    }
}

impl Tree {
    /// The same with other places.
    #[must_use]
    pub fn map_places(&self, place: &impl Fn(&Place) -> Place) -> Self {
        self.mapped(place, &|text| text.to_owned())
    }

    /// The same, all of it in one place.
    #[must_use]
    pub fn with_place(&self, place: &Place) -> Self {
        self.map_places(&|_| place.clone())
    }

    /// The same with other texts; keys stay.
    #[must_use]
    pub fn map_texts(&self, text: &impl Fn(&str) -> String) -> Self {
        self.mapped(&Place::clone, text)
    }

    fn mapped(&self, place: &impl Fn(&Place) -> Place, text: &impl Fn(&str) -> String) -> Self {
        let value = match &self.value {
            Value::Nothing => Value::Nothing,
            Value::Text(old) => Value::Text(text(old)),
            Value::List(items) => Value::List(items.iter().map(|item| item.mapped(place, text)).collect()),
            Value::Group(pairs) => Value::Group(
                pairs
                    .iter()
                    .map(|pair| Pair {
                        key: pair.key.clone(),
                        place: place(&pair.place),
                        value: pair.value.mapped(place, text),
                    })
                    .collect(),
            ),
        };
        Self { place: place(&self.place), value }
    }

    /// A group of these keys, all at one place.
    #[must_use]
    pub fn group<const N: usize>(place: &Place, pairs: [(&str, Self); N]) -> Self {
        let pairs = pairs.map(|(key, value)| Pair { key: key.to_owned(), place: place.clone(), value });
        Self { place: place.clone(), value: Value::Group(pairs.into()) }
    }

    #[must_use]
    pub fn text(place: &Place, text: impl Into<String>) -> Self {
        Self { place: place.clone(), value: Value::Text(text.into()) }
    }

    /// The value of a key of a group, unless it is nothing.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Pair> {
        let Value::Group(pairs) = &self.value else { return None };
        pairs.iter().find(|pair| pair.key == key && pair.value.value != Value::Nothing)
    }

    /// What it is, in the words of a message.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Nothing => "nothing",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Group(_) => "a group of keys",
        }
    }

    /// Whether it may stand where a list is expected; else that is a finding.
    pub fn is_list(&self, what: &str, findings: &mut Vec<Finding>) -> bool {
        self.is("a list", what, findings)
    }

    /// Whether it may stand where a group of keys is expected; else that is a finding.
    pub fn is_group(&self, what: &str, findings: &mut Vec<Finding>) -> bool {
        self.is("a group of keys", what, findings)
    }

    fn is(&self, expected: &str, what: &str, findings: &mut Vec<Finding>) -> bool {
        let is = self.value == Value::Nothing || self.kind() == expected;
        if !is {
            let text = format!("expected {expected}, found {}, so that it is left out", self.kind());
            findings.push(Finding::new(Kind::NotPossible, &self.place, what, text));
        }
        is
    }

    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    #[must_use]
    pub fn pairs(&self) -> &[Pair] {
        match &self.value {
            Value::Group(pairs) => pairs,
            _ => &[],
        }
    }
}

/// The variable in which Pilcrow's chart has the name of the node.
pub const NODE_NAME: &str = "NODE_NAME";

/// The name of a variable where Pilcrow runs. Promtail's and Alloy's charts set HOSTNAME to the name of the node; in Pilcrow's pod it is
/// the pod's.
#[must_use]
pub fn our_variable_name(name: &str) -> &str {
    if name == "HOSTNAME" { NODE_NAME } else { name }
}

/// A text as it is written in a file of Pilcrow, where `$` may begin the name of an environment variable.
#[must_use]
pub fn spelled(text: &str) -> String {
    tree::unexpanded(text).into_owned()
}

/// A text as a rule writes it: `$` stands for a group there, but in the name of a variable.
pub fn replacement(text: &str) -> String {
    if text.contains("${") { text.to_owned() } else { text.replace('$', "$$$$") }
}
