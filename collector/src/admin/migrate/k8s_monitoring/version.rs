//! Which versions of the chart values are written for, by the keys that only some of them know.
//!
//! In: the values. Out: a [`Version`] with the key that shows it, to be told. Versions before 2 have another form and are refused by
//! [`super::super::recognise`].

use crate::admin::migrate::{
    origin::{Place, Tree, Value},
    recognise::at,
};

/// Versions whose defaults differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 2.1 to 3.x: the feature `podLogs`.
    UpToThree,
    /// 4.x: the features `podLogsViaLoki` and `podLogsViaKubernetesApi`; destinations and collectors by name.
    Four,
}

/// Keys that no version before 4 has.
const OF_FOUR: [&str; 6] = [
    "podLogsViaLoki",
    "podLogsViaKubernetesApi",
    "podLogsViaOpenTelemetry",
    "collectors",
    "collectorCommon",
    "telemetryServices",
];

/// The version, and the key that shows it with its place.
pub fn of(values: &Tree) -> (Version, String, Place) {
    let of_four = OF_FOUR.iter().find_map(|key| values.get(key)).or_else(|| {
        let destinations = values.get("destinations")?;
        matches!(destinations.value.value, Value::Group(_)).then_some(destinations)
    });
    match of_four {
        Some(pair) if pair.key == "destinations" => {
            (Version::Four, "destinations, which is no list".into(), pair.place.clone())
        }
        Some(pair) => (Version::Four, pair.key.clone(), pair.place.clone()),
        None => {
            let pair = ["podLogs", "destinations"].iter().find_map(|key| values.get(key));
            let (key, place) = pair.map_or(("podLogs", &values.place), |pair| (pair.key.as_str(), &pair.place));
            (Version::UpToThree, key.to_owned(), place.clone())
        }
    }
}

/// What the report says of it; nothing where no feature collects pod logs.
pub fn sentence(version: Version, key: &str, values: &Tree) -> String {
    match version {
        Version::Four if at(values, &["podLogs", "enabled"]).is_some() => format!(
            "values of the chart 4.x, by the key {key}, and its defaults; podLogs is the name that the feature has before version 4: \
             check that your release has it"
        ),
        Version::Four => format!("values of the chart 4.x, by the key {key}, and its defaults"),
        Version::UpToThree => format!(
            "values of the chart 2.1 to 3.x, by the key {key}, and the defaults of the last 3.x (labelsToKeep, structuredMetadata, files \
             from their beginning). 2.0 keeps the label pod, and early versions have no service_namespace; exact for every version is \
             what the chart has rendered: kubectl get configmap RELEASE-alloy-logs -o yaml | pilcrow migrate -"
        ),
    }
}
