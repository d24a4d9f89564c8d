//! What a file is: a collector's configuration, values of a chart, or a manifest that holds one of them.
//!
//! In: the text of a file. Out: its pieces, each with its kind and places. Knows configurations by their keys, whatever the file is
//! called.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    origin::{Fault, Finding, Kind, Pair, Place, Text, Tree, Value},
    promtail::{arguments, template},
    yaml,
};

/// A part of a file that a reader knows.
#[derive(Clone, Debug)]
pub enum Piece {
    Promtail(Tree),
    /// The Grafana Agent's static mode.
    Agent(Tree),
    /// Alloy's language, and where it begins.
    Alloy(Place, String),
    /// Values of Promtail's chart, with the file's text for what stands in blocks of it.
    PromtailChart(Tree, Place, String),
    /// Values of Alloy's chart, or of the Agent's: what else they hold beside the configuration.
    AlloyChart(Tree),
    /// Values of the chart k8s-monitoring.
    K8sMonitoring(Tree, Place, String),
    /// Arguments of Promtail's own pods, and what they are called.
    Arguments(Tree, String),
    /// What stands beside the others and is not read.
    Beside(Finding),
}

/// How deep manifests and charts may hold each other.
const DEPTH_MAX: usize = 6;

/// The pieces of a file.
///
/// # Errors
/// It cannot be read, or holds nothing that is known.
pub fn pieces(text: &Text<'_>) -> Result<Vec<Piece>, Vec<Fault>> {
    if is_alloy(text) {
        return Ok(vec![Piece::Alloy(text.place.clone(), text.text.to_owned())]);
    }
    let mut pieces = Vec::new();
    let documents = yaml::documents(text)?;
    for document in &documents {
        of_document(document, text, 0, &mut pieces)?;
    }
    let notes: Vec<&Finding> = pieces.iter().filter_map(Piece::as_note).collect();
    if notes.len() == pieces.len() && !notes.is_empty() {
        return Err(notes.into_iter().map(as_fault).collect());
    }
    if pieces.is_empty() && documents.iter().all(|document| document.value == Value::Nothing) {
        let message = "is empty: helm prints null for a release that has the defaults of its chart; with `helm get values --all` it prints \
                       those, or convert the ConfigMap that its pods mount (kubectl get configmap NAME -o yaml | pilcrow migrate -)";
        return Err(vec![Fault { place: text.place.clone(), message: message.into() }]);
    }
    if pieces.is_empty() {
        let message = "no configuration was found in it: expected one of Promtail, the Grafana Agent or Alloy, the values of one of \
                       their charts, or a ConfigMap or Secret that holds one";
        return Err(vec![Fault { place: text.place.clone(), message: message.into() }]);
    }
    Ok(pieces)
}

impl Piece {
    fn as_note(&self) -> Option<&Finding> {
        match self {
            Self::Beside(finding) => Some(finding),
            _ => None,
        }
    }
}

fn as_fault(finding: &Finding) -> Fault {
    Fault { place: finding.place.clone(), message: format!("{}: {}", finding.what, finding.text) }
}

/// Notes something that is not read, and where it is.
fn note(pieces: &mut Vec<Piece>, place: &Place, what: &str, text: impl Into<String>) {
    pieces.push(Piece::Beside(Finding::new(Kind::NotPossible, place, what, text)));
}

/// Alloy's language has blocks where YAML has keys.
fn is_alloy(text: &Text<'_>) -> bool {
    if [".alloy", ".river"].iter().any(|end| text.place.file.ends_with(end)) {
        return true;
    }
    let mut words =
        text.text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with(['/', '#']));
    words.next().is_some_and(|line| {
        let name: String = line.chars().take_while(|c| c.is_ascii_alphanumeric() || "._".contains(*c)).collect();
        let rest = line[name.len()..].trim_start();
        let is_block = rest.starts_with('{') || rest.starts_with('"');
        is_block && (name.contains('.') || ["logging", "declare", "livedebugging", "tracing"].contains(&name.as_str()))
    })
}

fn of_document(root: &Tree, text: &Text<'_>, depth: usize, pieces: &mut Vec<Piece>) -> Result<(), Vec<Fault>> {
    if depth > DEPTH_MAX {
        return Ok(());
    }
    let has = |path: &[&str]| at(root, path).is_some();
    let kind = root.get("kind").and_then(|pair| pair.value.as_text());
    match kind {
        Some("ConfigMap" | "Secret") if has(&["apiVersion"]) => return of_manifest(root, text, depth, pieces),
        Some("List") => {
            for item in at(root, &["items"]).map(Tree::items).unwrap_or_default() {
                of_document(item, text, depth + 1, pieces)?;
            }
            return Ok(());
        }
        Some(kind) if has(&["apiVersion"]) => return of_installation(kind, root, text, depth, pieces),
        _ => {}
    }
    if has(&["scrape_configs"]) || has(&["clients"]) || has(&["client"]) {
        pieces.push(Piece::Promtail(root.clone()));
    } else if has(&["logs", "configs"]) || has(&["loki", "configs"]) {
        pieces.push(Piece::Agent(root.clone()));
    } else if ["destinations", "podLogs", "podLogsViaLoki", "podLogsViaKubernetesApi"].iter().any(|key| has(&[key])) {
        pieces.push(Piece::K8sMonitoring(root.clone(), text.place.clone(), text.text.to_owned()));
    } else if let Some(content) =
        at(root, &["alloy", "configMap", "content"]).or(at(root, &["agent", "configMap", "content"]))
    {
        let Some(inner) = yaml::inner(text, content) else { return Ok(()) };
        let filled = template::filled(text, content, root).ok().filter(|_| inner.text.contains("{{"));
        let inner = filled.as_ref().map_or(inner, template::Filled::as_text);
        let static_mode = at(root, &["agent", "mode"]).and_then(Tree::as_text) == Some("static");
        if static_mode {
            for document in yaml::documents(&inner)? {
                of_document(&document, &inner, depth + 1, pieces)?;
            }
        } else {
            pieces.push(Piece::Alloy(inner.place, inner.text.to_owned()));
        }
        pieces.push(Piece::AlloyChart(root.clone()));
    } else if is_promtail_chart(root) {
        pieces.push(Piece::PromtailChart(root.clone(), text.place.clone(), text.text.to_owned()));
    } else if let Some(pair) = root.get("externalServices").or(root.get("logs").filter(|_| has(&["logs", "pod_logs"])))
    {
        let text = "values of the chart k8s-monitoring 1.x, which are not read: convert what this chart has rendered, kubectl get configmap \
                    RELEASE-alloy-logs -o yaml | pilcrow migrate -";
        note(pieces, &pair.place, &pair.key, text);
    } else if let Some(name) =
        ["alloy", "agent"].iter().find_map(|key| root.get(key)?.value.get("configMap")?.value.get("name"))
    {
        let own = name.value.as_text().unwrap_or("NAME");
        let text =
            format!("the configuration is in this ConfigMap: kubectl get configmap {own} -o yaml | pilcrow migrate -");
        note(pieces, &name.place, "configMap.name", text);
    } else {
        of_charts(root, text, depth, pieces)?;
    }
    Ok(())
}

/// A chart of charts, such as loki-stack, has the values of each under its name.
fn of_charts(root: &Tree, text: &Text<'_>, depth: usize, pieces: &mut Vec<Piece>) -> Result<(), Vec<Fault>> {
    for key in ["promtail", "alloy", "grafana-agent", "k8s-monitoring", "loki-stack"] {
        let Some(values) = at(root, &[key]).filter(|values| !values.pairs().is_empty()) else { continue };
        if at(values, &["enabled"]).and_then(Tree::as_text) == Some("false") {
            continue;
        }
        if key != "promtail" {
            of_document(values, text, depth + 1, pieces)?;
            continue;
        }
        // Where it has nothing but how it runs, what it collects is the chart's default.
        let has_address = ["clients", "lokiAddress", "file"].iter().any(|key| at(values, &["config", key]).is_some());
        let values = if root.get("loki").is_some() && !has_address { to_own_loki(values) } else { values.clone() };
        pieces.push(Piece::PromtailChart(values, text.place.clone(), text.text.to_owned()));
    }
    Ok(())
}

/// Values of Promtail's chart in loki-stack, which sends to the Loki of the same release.
fn to_own_loki(values: &Tree) -> Tree {
    let place = &values.place;
    let url = Tree::text(place, "http://{{ .Release.Name }}:3100/loki/api/v1/push");
    let address = Pair { key: "lokiAddress".into(), place: place.clone(), value: url };
    let mut values = values.clone();
    let Value::Group(pairs) = &mut values.value else { return values };
    match pairs.iter_mut().find(|pair| pair.key == "config").map(|pair| &mut pair.value.value) {
        Some(Value::Group(config)) => config.push(address),
        _ => {
            let config = Tree { place: place.clone(), value: Value::Group(vec![address]) };
            pairs.push(Pair { key: "config".into(), place: place.clone(), value: config });
        }
    }
    values
}

/// Objects that install a chart, with its values in them: of Flux, of Argo CD and of k3s.
fn of_installation(
    kind: &str,
    root: &Tree,
    text: &Text<'_>,
    depth: usize,
    pieces: &mut Vec<Piece>,
) -> Result<(), Vec<Fault>> {
    let before = pieces.len();
    let values: Vec<&Tree> = match kind {
        "HelmRelease" => at(root, &["spec", "values"]).into_iter().collect(),
        "Kustomization" => {
            let charts = at(root, &["helmCharts"]).map(Tree::items).unwrap_or_default();
            charts.iter().filter_map(|chart| at(chart, &["valuesInline"])).collect()
        }
        "HelmChart" | "HelmChartConfig" => at(root, &["spec", "valuesContent"]).into_iter().collect(),
        "Application" | "ApplicationSet" => sources_of(root)
            .into_iter()
            .flat_map(|source| [at(source, &["helm", "valuesObject"]), at(source, &["helm", "values"])])
            .flatten()
            .collect(),
        _ => Vec::new(),
    };
    for values in values {
        match yaml::inner(text, values) {
            Some(inner) => {
                for document in yaml::documents(&inner)? {
                    of_document(&document, &inner, depth + 1, pieces)?;
                }
            }
            None => of_document(values, text, depth + 1, pieces)?,
        }
    }
    of_workload(root, pieces);
    // Other installations have nothing to do with it.
    if pieces.len() > before || is_of_collector(root) {
        beside(root, pieces);
    }
    Ok(())
}

/// Arguments of a collector's own pods, which change what its file says.
fn of_workload(root: &Tree, pieces: &mut Vec<Piece>) {
    const COLLECTORS: [&str; 3] = ["promtail", "alloy", "agent"];
    let kind = root.get("kind").and_then(|pair| pair.value.as_text()).unwrap_or("");
    let containers = at(root, &["spec", "template", "spec", "containers"]).map(Tree::items).unwrap_or_default();
    for container in containers {
        let image = at(container, &["image"]).and_then(Tree::as_text).unwrap_or("");
        let name = image.rsplit('/').next().and_then(|name| name.split([':', '@']).next()).unwrap_or("");
        if !COLLECTORS.contains(&name) {
            continue;
        }
        if let Some(list) = at(container, &["args"]).filter(|_| name == "promtail") {
            pieces.push(Piece::Arguments(list.clone(), format!("{kind} args")));
            continue;
        }
        for argument in at(container, &["args"]).map(Tree::items).unwrap_or_default() {
            let text = argument.as_text().unwrap_or("");
            let word = text.trim_start_matches('-').split('=').next().unwrap_or("");
            if !text.starts_with('-') || word == "storage.path" || arguments::without_effect(word).is_some() {
                continue;
            }
            let text = format!(
                "{word} is an argument of the {kind}, and not read here: write what it says into the file that is converted"
            );
            note(pieces, &argument.place, &format!("{kind} args"), text);
        }
    }
}

/// What an Application of Argo CD is made of.
fn sources_of(root: &Tree) -> Vec<&Tree> {
    let Some(spec) = at(root, &["spec", "template", "spec"]).or(at(root, &["spec"])) else { return Vec::new() };
    let several = at(spec, &["sources"]).map(Tree::items).unwrap_or_default();
    several.iter().chain(at(spec, &["source"])).collect()
}

/// Whether an object installs the chart of a collector.
fn is_of_collector(root: &Tree) -> bool {
    const CHARTS: [&str; 5] = ["promtail", "alloy", "grafana-agent", "k8s-monitoring", "loki-stack"];
    let of_flux = at(root, &["spec", "chart", "spec", "chart"]);
    let of_argo = sources_of(root).into_iter().find_map(|source| at(source, &["chart"]));
    let of_k3s = at(root, &["spec", "chart"]);
    [of_flux, of_argo, of_k3s].into_iter().flatten().filter_map(Tree::as_text).any(|chart| {
        let name = chart.rsplit('/').next().unwrap_or(chart);
        CHARTS.contains(&name)
    })
}

/// Values that an installation takes from elsewhere.
fn beside(root: &Tree, pieces: &mut Vec<Piece>) {
    for item in at(root, &["spec", "valuesFrom"]).map(Tree::items).unwrap_or_default() {
        let text = |key: &str| at(item, &[key]).and_then(Tree::as_text).unwrap_or("");
        let (kind, name) = (text("kind"), text("name"));
        let of = if text("targetPath").is_empty() { String::new() } else { format!(" ({})", text("targetPath")) };
        let text = format!(
            "values that are in the {kind} {name} count too{of}, and are not read here: convert what is installed, helm get values RELEASE | \
             pilcrow migrate --values -"
        );
        note(pieces, &item.place, "spec.valuesFrom", text);
    }
    for source in sources_of(root) {
        for (key, what) in [
            ("parameters", "is set over the values"),
            ("valueFiles", "is a file of values"),
            ("fileParameters", "is read from a file"),
        ] {
            for item in at(source, &["helm", key]).map(Tree::items).unwrap_or_default() {
                let name = at(item, &["name"]).unwrap_or(item).as_text().unwrap_or("");
                let text = format!(
                    "{name} {what}, and not read here: write it into the values, or convert what Argo CD has rendered"
                );
                note(pieces, &item.place, &format!("helm.{key}"), text);
            }
        }
    }
}

fn is_promtail_chart(root: &Tree) -> bool {
    ["snippets", "clients", "lokiAddress", "file", "serverPort", "logLevel"]
        .iter()
        .any(|key| at(root, &["config", key]).is_some())
        || at(root, &["loki", "serviceName"]).is_some()
        || at(root, &["defaultVolumes"]).is_some()
        || at(root, &["extraArgs"]).map(Tree::items).unwrap_or_default().iter().filter_map(Tree::as_text).any(|text| {
            let name = text.trim_start_matches('-');
            ["client.", "config.expand-env", "positions."].iter().any(|own| name.starts_with(own))
        })
}

fn of_manifest(root: &Tree, text: &Text<'_>, depth: usize, pieces: &mut Vec<Piece>) -> Result<(), Vec<Fault>> {
    for pair in ["data", "stringData"].iter().filter_map(|key| at(root, &[key])).flat_map(Tree::pairs) {
        let is_base64 = root.get("kind").and_then(|pair| pair.value.as_text()) == Some("Secret")
            && at(root, &["data"]).is_some_and(|data| data.pairs().iter().any(|own| own.place == pair.place));
        let decoded;
        let inner = if is_base64 {
            let packed: String = pair.value.as_text().unwrap_or("").split_whitespace().collect();
            let Some(bytes) = BASE64_STANDARD.decode(packed).ok().and_then(|bytes| String::from_utf8(bytes).ok())
            else {
                continue;
            };
            decoded = bytes;
            // Lines of the decoded text: those of the file say nothing about it.
            Text { place: Place::start_of(&format!("{}[{}]", text.place.file, pair.key)), text: &decoded }
        } else {
            let Some(inner) = yaml::inner(text, &pair.value) else { continue };
            inner
        };
        let key_is_alloy = [".alloy", ".river"].iter().any(|end| pair.key.ends_with(end));
        if key_is_alloy || is_alloy(&inner) {
            pieces.push(Piece::Alloy(inner.place, inner.text.to_owned()));
            continue;
        }
        let documents = match yaml::documents(&inner) {
            Ok(documents) => documents,
            Err(faults) if looks_like_ours(inner.text) => return Err(faults),
            // Other values of a manifest may be anything.
            Err(_) => continue,
        };
        for document in documents {
            of_document(&document, &inner, depth + 1, pieces)?;
        }
    }
    Ok(())
}

fn looks_like_ours(text: &str) -> bool {
    text.contains("scrape_configs") || text.contains("pipeline_stages")
}

/// The value at a path of keys.
#[must_use]
pub fn at<'t>(root: &'t Tree, path: &[&str]) -> Option<&'t Tree> {
    let (first, rest) = path.split_first()?;
    let found = root.get(first)?;
    if rest.is_empty() { (found.value.value != Value::Nothing).then_some(&found.value) } else { at(&found.value, rest) }
}
