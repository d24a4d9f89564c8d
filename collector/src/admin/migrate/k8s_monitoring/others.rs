//! Values of the feature that its reader does not look at.
//!
//! In: a value. Out: what the report says of it. Knows no other values.

use crate::admin::migrate::{
    origin::{Kind, Pair, Tree, Value},
    recognise::at,
    words::nearest,
};

/// What the reader of the feature looks at.
const READ: [&str; 18] = [
    "annotationSelector",
    "annotations",
    "attachNamespaceMetadata",
    "attachNodeMetadata",
    "collector",
    "destinations",
    "discoveryMethod",
    "enabled",
    "excludeNamespaces",
    "extraDiscoveryRules",
    "extraLogProcessingStages",
    "labelSelectors",
    "labels",
    "labelsToKeep",
    "namespaces",
    "onlyGatherNewLogLines",
    "staticLabels",
    "structuredMetadata",
];

const BY_ITSELF: (Kind, &str) = (Kind::Taken, "each Pilcrow reads the files of its own node, never the API");
const NOT_OF_PODS: (Kind, &str) =
    (Kind::NotPossible, "cannot be told: Pilcrow asks the Kubernetes API for pods only; write fixed values to labels");

/// What becomes of the other values.
const OTHERS: [(&str, (Kind, &str)); 13] = [
    ("gatherMethod", BY_ITSELF),
    ("volumeGatherSettings", BY_ITSELF),
    ("filelogGatherSettings", BY_ITSELF),
    ("nodeSelectors", BY_ITSELF),
    ("defaultLogFormat", (Kind::Taken, "Pilcrow detects by itself which runtime wrote a log")),
    ("cri", (Kind::Changed, "Pilcrow joins pieces of lines itself, up to lines.max_bytes")),
    ("namespaceLabels", NOT_OF_PODS),
    ("namespaceAnnotations", NOT_OF_PODS),
    ("nodeLabels", NOT_OF_PODS),
    ("nodeAnnotations", NOT_OF_PODS),
    (
        "staticLabelsFrom",
        (
            Kind::NotPossible,
            "has expressions of Alloy, which only Alloy knows the values of: write the values themselves to labels",
        ),
    ),
    (
        "secretFilter",
        (
            Kind::NotPossible,
            "Pilcrow finds no secrets by itself: write a replace stage for each kind, or keep Alloy for these pods",
        ),
    ),
    ("lokiReceiver", (Kind::NotPossible, "Pilcrow takes no lines from others: keep Alloy for what sends them")),
];

/// What is said of a value; nothing where it is read, or does nothing.
pub fn told(pair: &Pair) -> Option<(Kind, String)> {
    let key = pair.key.as_str();
    if READ.contains(&key) || !is_set(&pair.value) {
        return None;
    }
    let is_off = |value: &Tree| at(value, &["enabled"]).and_then(Tree::as_text).is_some_and(|text| text != "true");
    if let Some((_, (kind, text))) = OTHERS.iter().find(|(name, _)| *name == key) {
        return (!is_off(&pair.value)).then(|| (*kind, (*text).to_owned()));
    }
    Some(match nearest(key, READ.into_iter().chain(OTHERS.map(|(name, _)| name))) {
        Some(nearest) => {
            let text = format!("is no value of the chart that is known, and left out; did you mean {nearest}?");
            (Kind::NotPossible, text)
        }
        None => (Kind::Changed, "has no counterpart; left out".to_owned()),
    })
}

fn is_set(value: &Tree) -> bool {
    match &value.value {
        Value::Nothing => false,
        Value::Group(pairs) => !pairs.iter().all(|pair| pair.value.as_text() == Some("false")),
        Value::List(items) => !items.is_empty(),
        Value::Text(text) => !text.is_empty(),
    }
}
