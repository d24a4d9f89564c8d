//! Values of the chart k8s-monitoring: its pod logs, as it sends them to Loki.
//!
//! In: the tree of a values file and its text. Out: [`Origin`]. What the chart makes by default is a preset of Pilcrow; what the
//! values add comes behind it. Its other features collect no pod logs and stay with the chart.

use super::{
    alloy,
    origin::{Fault, Finding, Kind, Origin, Pair, Pipeline, Place, Setting, Source, Text, Tree, Value},
    promtail,
    recognise::at,
    yaml,
};
use crate::{config::Preset, pipeline::relabel};

/// The feature's names in the chart's versions.
const FEATURES: [&str; 3] = ["podLogs", "podLogsViaLoki", "podLogsViaKubernetesApi"];

/// Features that send logs which are not pods'.
const OTHER_LOGS: [&str; 3] = ["clusterEvents", "nodeLogs", "applicationObservability"];

/// How a destination's keys are called in Promtail.
const CLIENT: [(&str, &[&str]); 14] = [
    ("url", &["url"]),
    ("tenantId", &["tenant_id"]),
    ("proxyURL", &["proxy_url"]),
    ("extraHeaders", &["headers"]),
    ("extraLabels", &["external_labels"]),
    ("auth.username", &["basic_auth", "username"]),
    ("auth.password", &["basic_auth", "password"]),
    ("auth.bearerToken", &["bearer_token"]),
    ("auth.bearerTokenFile", &["bearer_token_file"]),
    ("tls.insecureSkipVerify", &["tls_config", "insecure_skip_verify"]),
    ("tls.caFile", &["tls_config", "ca_file"]),
    ("tls.certFile", &["tls_config", "cert_file"]),
    ("tls.keyFile", &["tls_config", "key_file"]),
    ("tls.serverName", &["tls_config", "server_name"]),
];

/// Reads a values file.
///
/// # Errors
/// Rules or stages in it are not Alloy's language.
pub fn read(values: &Tree, outer: &Text<'_>, origin: &mut Origin) -> Result<(), Vec<Fault>> {
    let first = origin.clients.len();
    let spelled = promtail::in_our_spelling(values);
    destinations(&spelled, origin);
    if let Some(name) = at(&spelled, &["cluster", "name"]) {
        origin.taken(&name.place, "cluster.name", "labels.cluster, from which the preset makes k8s_cluster_name");
        for client in &mut origin.clients[first..] {
            client.labels.push(Setting::new("labels.cluster", name.clone(), "cluster.name"));
        }
    }
    for pair in spelled.pairs() {
        let key = pair.key.as_str();
        let is_on = at(&pair.value, &["enabled"]).and_then(Tree::as_text) == Some("true");
        match key {
            "cluster" | "destinations" => {}
            _ if FEATURES.contains(&key) && !is_on => {}
            _ if FEATURES.contains(&key) => {
                let raw = at(values, &[key]).unwrap_or(values);
                feature(key, &pair.value, raw, outer, first, origin)?;
            }
            _ if is_on && OTHER_LOGS.contains(&key) => {
                let text = "sends logs that are not pods': keep the chart for it, with the pod logs turned off there";
                origin.not_possible(&pair.place, key, text);
            }
            _ if key.starts_with("alloy") => {
                origin.changed(
                    &pair.place,
                    key,
                    "is a collector of the chart; without pod logs it may have nothing left to do",
                );
            }
            _ if is_on => {
                origin.changed(
                    &pair.place,
                    key,
                    "stays with the chart, as it collects no pod logs; turn the pod logs off there",
                );
            }
            _ => {}
        }
    }
    Ok(())
}

/// Destinations of the type `loki`, read as clients of Promtail are.
fn destinations(values: &Tree, origin: &mut Origin) {
    let Some(all) = at(values, &["destinations"]) else { return };
    let items = all.items().iter().enumerate().map(|(index, item)| (format!("destinations[{index}]"), item));
    let named = all.pairs().iter().map(|pair| (format!("destinations.{}", pair.key), &pair.value));
    for (what, item) in items.chain(named) {
        let kind = at(item, &["type"]).and_then(Tree::as_text).unwrap_or("");
        if kind != "loki" {
            origin.changed(
                &item.place,
                &what,
                format!("of the type {kind} takes no lines of Pilcrow: it stays with the chart"),
            );
            continue;
        }
        let mut client = Vec::new();
        let (before, settings_before) = (origin.findings.len(), origin.clients.len());
        leaves(item, "", &mut |path, pair| {
            if ["type", "name", "auth.type"].contains(&path) {
                return true;
            }
            let Some((_, keys)) = CLIENT.iter().find(|(known, _)| *known == path) else { return false };
            put(&mut client, keys, pair);
            true
        })
        .into_iter()
        .for_each(|(path, place)| {
            let from_secret = path.ends_with("From");
            let text = if from_secret {
                "is a reference to a Secret: name it in loki.basicAuth.existingSecret or loki.bearerToken.existingSecret of Pilcrow's chart"
            } else if path.starts_with("secret.") {
                "Pilcrow's chart makes no Secret: it takes one that exists (loki.basicAuth.existingSecret)"
            } else {
                "has no counterpart; left out"
            };
            let kind = if from_secret { Kind::NotPossible } else { Kind::Changed };
            origin.findings.push(Finding::new(kind, &place, format!("{what}.{path}"), text));
        });
        let list = Value::List(vec![Tree { place: item.place.clone(), value: Value::Group(client) }]);
        promtail::clients(&Tree { place: item.place.clone(), value: list }, "destination", origin);
        // Under the names that the values have.
        let renamed = |text: &str| {
            let path = text.trim_start_matches("destination[0].");
            let known = CLIENT
                .iter()
                .find(|(_, keys)| path == keys.join(".") || path.starts_with(&format!("{}.", keys.join("."))));
            let new = known.map_or(path.to_owned(), |(name, keys)| path.replacen(&keys.join("."), name, 1));
            format!("{what}.{new}")
        };
        for finding in &mut origin.findings[before..] {
            if finding.what.starts_with("destination[0].") {
                finding.what = renamed(&finding.what);
            }
        }
        for client in &mut origin.clients[settings_before..] {
            client.name.clone_from(&what);
            client
                .settings
                .iter_mut()
                .chain(&mut client.labels)
                .for_each(|setting| setting.from = renamed(&setting.from));
        }
    }
}

/// Calls `take` with each value that is no group of known keys; returns those that it does not take.
fn leaves<'t>(group: &'t Tree, above: &str, take: &mut impl FnMut(&str, &'t Pair) -> bool) -> Vec<(String, Place)> {
    let mut rest = Vec::new();
    for pair in group.pairs().iter().filter(|pair| pair.value.value != Value::Nothing) {
        let path = format!("{above}{}", pair.key);
        if take(&path, pair) {
            continue;
        }
        if ["auth", "tls", "secret"].contains(&&*path) {
            rest.extend(leaves(&pair.value, &format!("{path}."), take));
        } else {
            rest.push((path, pair.place.clone()));
        }
    }
    rest
}

/// Puts a value at a path of keys.
fn put(group: &mut Vec<Pair>, keys: &[&str], pair: &Pair) {
    let Some((first, rest)) = keys.split_first() else { return };
    let new = |value| Pair { key: (*first).to_owned(), place: pair.place.clone(), value };
    if rest.is_empty() {
        return group.push(new(pair.value.clone()));
    }
    let index = group.iter().position(|known| known.key == *first).unwrap_or_else(|| {
        group.push(new(Tree { place: pair.place.clone(), value: Value::Group(Vec::new()) }));
        group.len() - 1
    });
    if let Value::Group(below) = &mut group[index].value.value {
        put(below, rest, pair);
    }
}

/// The pod logs; `raw` has the texts as they are written.
fn feature(
    key: &str,
    values: &Tree,
    raw: &Tree,
    outer: &Text<'_>,
    first_client: usize,
    origin: &mut Origin,
) -> Result<(), Vec<Fault>> {
    let mut pipeline = Pipeline {
        name: key.to_owned(),
        place: values.place.clone(),
        source: Source::Preset(Preset::K8sMonitoring),
        relabel: Vec::new(),
        stages: yaml::documents(&Text { place: values.place.clone(), text: "cri: {}" })?,
        clients: (first_client..origin.clients.len()).collect(),
        settings: vec![Setting::new(
            "start_at",
            Tree::text(&values.place, "end"),
            format!("{key}: files that are there already"),
        )],
    };
    for pair in values.pairs().iter().filter(|pair| pair.value.value != Value::Nothing) {
        let what = format!("{key}.{}", pair.key);
        let place = &pair.place;
        let mut set = |new: &str| {
            origin.findings.push(Finding::new(Kind::Taken, place, &what, new));
            pipeline.settings.push(Setting::new(new, pair.value.clone(), &what));
        };
        match pair.key.as_str() {
            "enabled" | "collector" => {}
            "namespaces" => set("kubernetes.namespaces.include"),
            "excludeNamespaces" => set("kubernetes.namespaces.exclude"),
            "gatherMethod" | "volumeGatherSettings" => {
                origin.taken(
                    place,
                    &what,
                    "files are read, never the API; start_at says where files begin that are there already",
                );
            }
            "labels" | "annotations" => {
                origin.taken(place, &what, "relabel_configs");
                for label in pair.value.pairs() {
                    let source = label.value.as_text().unwrap_or("");
                    let names = if pair.key == "labels" {
                        relabel::label_names(source)
                    } else {
                        relabel::annotation_names(source)
                    };
                    pipeline.relabel.push(rule(&label.place, &names[0], &label.key));
                }
            }
            "staticLabels" => {
                for label in pair.value.pairs() {
                    let what = format!("{what}.{}", label.key);
                    origin.findings.push(Finding::new(
                        Kind::Taken,
                        &label.place,
                        &what,
                        format!("labels.{}", label.key),
                    ));
                    for client in &mut origin.clients[first_client..] {
                        client.labels.push(Setting::new(format!("labels.{}", label.key), label.value.clone(), &what));
                    }
                }
            }
            "structuredMetadata" => pipeline.stages.push(stage(place, "structured_metadata", &pair.value)),
            "labelsToKeep" => pipeline.stages.push(stage(place, "labelallow", &pair.value)),
            "extraDiscoveryRules" | "extraLogProcessingStages" => {
                let raw = at(raw, &[&pair.key]).unwrap_or(&pair.value);
                let Some(text) = yaml::inner(outer, raw) else { continue };
                if pair.key == "extraDiscoveryRules" {
                    pipeline.relabel.extend(alloy::read_rules(&text, &mut origin.findings)?);
                } else {
                    pipeline.stages.extend(alloy::read_stages(&text, &mut origin.findings)?);
                }
            }
            "namespaceLabels" | "namespaceAnnotations" | "nodeLabels" | "nodeAnnotations" | "staticLabelsFrom" => {
                let text =
                    "cannot be told: Pilcrow asks the Kubernetes API for pods only; write fixed values to labels";
                origin.not_possible(place, &what, text);
            }
            "destinations" if origin.clients.len() > first_client + 1 => {
                let text = "Pilcrow sends to one Loki, here that of the first destination: see loki.url, and run one Pilcrow for each";
                origin.not_possible(place, &what, text);
            }
            "secretFilter" => {
                let text = "Pilcrow finds no secrets by itself: write a replace stage for each kind, or keep Alloy for these pods";
                origin.not_possible(place, &what, text);
            }
            _ => origin.changed(place, &what, "has no counterpart; left out"),
        }
    }
    origin.pipelines.push(pipeline);
    Ok(())
}

fn rule(place: &Place, source: &str, target: &str) -> Tree {
    let pair = |key: &str, value: Value| Pair {
        key: key.to_owned(),
        place: place.clone(),
        value: Tree { place: place.clone(), value },
    };
    let list = Value::List(vec![Tree::text(place, source)]);
    let pairs = vec![
        pair("source_labels", list),
        pair("regex", Value::Text("(.+)".into())),
        pair("target_label", Value::Text(target.to_owned())),
    ];
    Tree { place: place.clone(), value: Value::Group(pairs) }
}

fn stage(place: &Place, name: &str, settings: &Tree) -> Tree {
    let pair = Pair { key: name.to_owned(), place: place.clone(), value: settings.clone() };
    Tree { place: place.clone(), value: Value::Group(vec![pair]) }
}
