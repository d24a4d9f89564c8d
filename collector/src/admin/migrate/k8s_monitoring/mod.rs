//! Values of the chart k8s-monitoring: its pod logs, as it sends them to Loki.
//!
//! In: the tree of a values file and its text. Out: [`Origin`]. What the chart 4.x makes by default is a preset of Pilcrow, what earlier
//! ones make are rules ([`defaults`]); what the values add comes behind it, in the order of the chart's own template. Its other features
//! collect no pod logs and stay with it.

mod collectors;
mod defaults;
mod destinations;
mod feature;
mod metadata;
mod others;
mod version;

use self::{feature::Feature, version::Version};
use super::{
    origin::{Fault, Kind, Origin, Text, Tree},
    promtail,
    recognise::at,
};

/// The feature's names in the chart's versions.
const FEATURES: [&str; 3] = ["podLogs", "podLogsViaLoki", "podLogsViaKubernetesApi"];

/// Features that send logs which are not pods', or find pods in another way.
const OTHER_LOGS: [(&str, &str); 6] = [
    ("clusterEvents", OF_OTHERS),
    ("nodeLogs", OF_OTHERS),
    ("applicationObservability", OF_OTHERS),
    ("kubernetesManifests", OF_OTHERS),
    (
        "podLogsObjects",
        "PodLogs objects are not read: kubernetes.namespaces, kubernetes.pod_selector and rules select pods",
    ),
    ("podLogsViaOpenTelemetry", "Pilcrow speaks Loki's protocol and no OTLP: turn podLogsViaLoki on, and convert that"),
];
const OF_OTHERS: &str = "sends logs that are not pods': keep the chart for it, with the pod logs turned off there";

/// Reads a values file.
///
/// # Errors
/// Rules or stages in it are not Alloy's language.
pub fn read(values: &Tree, outer: &Text<'_>, origin: &mut Origin) -> Result<(), Vec<Fault>> {
    let spelled = promtail::in_our_spelling(values);
    let destinations = destinations::read(&spelled, origin);
    let (version, shown_by, place) = version::of(&spelled);
    if let Some(name) = at(&spelled, &["cluster", "name"]) {
        let text = match version {
            Version::Four => "labels.cluster, from which the preset makes k8s_cluster_name",
            Version::UpToThree => "labels.cluster and labels.k8s_cluster_name",
        };
        origin.taken(&name.place, "cluster.name", text);
    }
    let is_on = |key: &str| at(&spelled, &[key, "enabled"]).and_then(Tree::as_text) == Some("true");
    let features: Vec<&str> = FEATURES.into_iter().filter(|key| is_on(key)).collect();
    for key in &features {
        if let (Some(own), Some(raw)) = (at(&spelled, &[key]), at(values, &[key])) {
            let feature = Feature { key, values: own, raw, whole: values, outer, version };
            feature::read(&feature, &destinations, origin)?;
        }
    }
    if !features.is_empty() {
        let text = version::sentence(version, &shown_by, &spelled);
        match version {
            Version::Four => origin.taken(&place, "version", text),
            Version::UpToThree => origin.changed(&place, "version", text),
        }
    }
    collectors::read(&spelled, &features, origin);
    for pair in spelled.pairs() {
        let key = pair.key.as_str();
        let is_off = at(&pair.value, &["enabled"]).and_then(Tree::as_text) == Some("false");
        let known = key == "cluster" || key == "destinations" || collectors::is_one(key) || FEATURES.contains(&key);
        let (kind, text) = match OTHER_LOGS.iter().find(|(name, _)| *name == key) {
            _ if known || is_off => continue,
            Some((_, text)) if is_on(key) => (Kind::NotPossible, *text),
            _ if ["logs", "externalServices"].contains(&key) => {
                (Kind::Changed, "is of the chart 1.x, and does nothing beside keys of later versions; left out")
            }
            _ if is_on(key) => {
                (Kind::Changed, "stays with the chart, as it collects no pod logs; turn the pod logs off there")
            }
            _ => (Kind::Changed, "says nothing of how pod logs are collected, so that it stays with the chart"),
        };
        match kind {
            Kind::NotPossible => origin.not_possible(&pair.place, key, text),
            _ => origin.changed(&pair.place, key, text),
        }
    }
    Ok(())
}
