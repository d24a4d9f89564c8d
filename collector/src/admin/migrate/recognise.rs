//! What a file is: a collector's configuration, values of a chart, or a manifest that holds one of them.
//!
//! In: the text of a file. Out: its pieces, each with its kind and places. Knows configurations by their keys, whatever the file is
//! called.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    origin::{Fault, Place, Text, Tree, Value},
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
    for document in yaml::documents(text)? {
        of_document(&document, text, 0, &mut pieces)?;
    }
    if pieces.is_empty() {
        let message = "no configuration was found in it: expected one of Promtail, the Grafana Agent or Alloy, the values of one of \
                       their charts, or a ConfigMap or Secret that holds one";
        return Err(vec![Fault { place: text.place.clone(), message: message.into() }]);
    }
    Ok(pieces)
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
    } else {
        // A chart of charts, such as loki-stack, has the values of each under its name.
        for key in ["promtail", "alloy", "grafana-agent", "k8s-monitoring"] {
            if let Some(values) = at(root, &[key]) {
                of_document(values, text, depth + 1, pieces)?;
            }
        }
    }
    Ok(())
}

/// Objects that install a chart, with its values in them: of Flux, of Argo CD and of k3s.
fn of_installation(
    kind: &str,
    root: &Tree,
    text: &Text<'_>,
    depth: usize,
    pieces: &mut Vec<Piece>,
) -> Result<(), Vec<Fault>> {
    let values: Vec<&Tree> = match kind {
        "HelmRelease" => at(root, &["spec", "values"]).into_iter().collect(),
        "HelmChart" | "HelmChartConfig" => at(root, &["spec", "valuesContent"]).into_iter().collect(),
        "Application" => {
            let several = at(root, &["spec", "sources"]).map(Tree::items).unwrap_or_default();
            let sources = several.iter().chain(at(root, &["spec", "source"]));
            sources
                .flat_map(|source| [at(source, &["helm", "valuesObject"]), at(source, &["helm", "values"])])
                .flatten()
                .collect()
        }
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
    Ok(())
}

fn is_promtail_chart(root: &Tree) -> bool {
    ["snippets", "clients", "lokiAddress", "file", "serverPort", "logLevel"]
        .iter()
        .any(|key| at(root, &["config", key]).is_some())
        || at(root, &["loki", "serviceName"]).is_some()
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
