//! What a line looks like to the stages of another collector: a record of the container runtime.
//!
//! In: a line that Pilcrow decoded. Out: the record that it came from, as far as that matters; and the stages of Promtail that take
//! records apart, each as the stages that it consists of (grafana/loki clients/pkg/logentry/stages/extensions.go).

use jiff::Timestamp;

use crate::{
    admin::{
        migrate::{
            origin::{Fault, Pair, Source, Text, Tree, Value},
            yaml,
        },
        try_rules::Logged,
    },
    config::Preset,
};

/// Who wrote the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Nobody: lines come as the program wrote them.
    Text,
    /// containerd, CRI-O.
    Cri,
    /// docker.
    Docker,
}

const CRI: &str = r"
- regex: {expression: '^(?s)(?P<time>\S+?) (?P<stream>stdout|stderr) (?P<flags>\S+?) (?P<content>.*)$'}
- labels: {stream: }
- timestamp: {source: time, format: RFC3339Nano, action_on_failure: skip}
- output: {source: content}
";

const DOCKER: &str = r"
- json: {expressions: {output: log, stream: stream, timestamp: time}}
- labels: {stream: }
- timestamp: {source: timestamp, format: RFC3339Nano, action_on_failure: skip}
- output: {source: output}
";

impl Format {
    /// The one that these stages expect. Lines of the Kubernetes API have none, and a preset is about decoded lines.
    pub fn expected(source: Source, stages: &[Tree]) -> Self {
        let is_decoded = source.is_of_lines() || source == Source::Preset(Preset::K8sMonitoring);
        if is_decoded {
            Self::Text
        } else if has_stage(stages, &|name, _| name == "cri") {
            Self::Cri
        } else if has_stage(stages, &|name, settings| name == "docker" || name == "json" && names_log(settings)) {
            Self::Docker
        } else {
            Self::Cri
        }
    }

    /// A line as a record.
    pub fn record(self, line: &Logged) -> Vec<u8> {
        let time = || Timestamp::from_nanosecond(line.time_ns.into()).map(|time| time.to_string()).unwrap_or_default();
        let stream = line.stream.name();
        match self {
            Self::Text => line.text.clone(),
            Self::Cri => [format!("{} {stream} F ", time()).as_bytes(), &line.text].concat(),
            Self::Docker => {
                let text = String::from_utf8_lossy(&line.text);
                serde_json::json!({"log": text, "stream": stream, "time": time()}).to_string().into_bytes()
            }
        }
    }
}

/// Stages that take the top-level key `log` are for docker's records.
fn names_log(settings: &Tree) -> bool {
    let expressions = settings.get("expressions").map(|pair| pair.value.pairs()).unwrap_or_default();
    expressions.iter().any(|pair| pair.value.as_text().unwrap_or(&pair.key) == "log")
}

fn has_stage(stages: &[Tree], is_it: &dyn Fn(&str, &Tree) -> bool) -> bool {
    stages.iter().any(|stage| match stage.pairs() {
        [Pair { key, value, .. }] => is_it(key, value) || has_stage(nested(value), is_it),
        _ => false,
    })
}

fn nested(settings: &Tree) -> &[Tree] {
    settings.get("stages").map(|pair| pair.value.items()).unwrap_or_default()
}

/// Stages as Promtail runs them: those that take records apart as what they consist of, and with its default where Pilcrow has
/// another one.
pub fn as_run(stages: &[Tree], format: Format) -> Result<Vec<Tree>, Vec<Fault>> {
    let mut all = Vec::new();
    for stage in stages {
        let mut stage = stage.clone();
        let place = stage.place.clone();
        let parts = |text| yaml::documents(&Text { place: place.clone(), text });
        if let Value::Group(pairs) = &mut stage.value
            && let [Pair { key, value: settings, .. }] = &mut pairs[..]
        {
            match (key.as_str(), &mut settings.value) {
                ("cri" | "docker", _) if format == Format::Text => continue,
                ("cri", _) => {
                    all.extend(parts(CRI)?.iter().flat_map(Tree::items).map(|part| part.with_place(&place)));
                    continue;
                }
                ("docker", _) => {
                    all.extend(parts(DOCKER)?.iter().flat_map(Tree::items).map(|part| part.with_place(&place)));
                    continue;
                }
                ("timestamp", Value::Group(fields)) if !fields.iter().any(|field| field.key == "action_on_failure") => {
                    let value = Tree::text(&place, "fudge");
                    fields.push(Pair { key: "action_on_failure".into(), place: place.clone(), value });
                }
                (_, Value::Group(fields)) => {
                    if let Some(field) = fields.iter_mut().find(|field| field.key == "stages") {
                        field.value.value = Value::List(as_run(field.value.items(), format)?);
                    }
                }
                _ => {}
            }
        }
        all.push(stage);
    }
    Ok(all)
}
