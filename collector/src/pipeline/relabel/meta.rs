//! What is known of a container, as labels: their names are those of Prometheus' discovery of pods
//! (prometheus discovery/kubernetes/pod.go), and Promtail's.
//!
//! Whole pods are never asked for, so what stands in their spec and status is not known: [`why_unknown`] says so.

use crate::model::PodName;

use super::Labels;

/// `metadata.namespace`.
const NAMESPACE: &str = "__meta_kubernetes_namespace";
/// `metadata.name`.
const POD_NAME: &str = "__meta_kubernetes_pod_name";
/// The UID in the name of the pod's log folder: `metadata.uid`, for a static pod its config hash.
const POD_UID: &str = "__meta_kubernetes_pod_uid";
/// `spec.nodeName`, which is this node.
const NODE_NAME: &str = "__meta_kubernetes_pod_node_name";
/// The container's name.
const CONTAINER_NAME: &str = "__meta_kubernetes_pod_container_name";
/// The container's files, as a glob; Promtail's name.
const PATH: &str = "__path__";
/// `stdout` or `stderr`.
const STREAM: &str = "__meta_pilcrow_stream";

/// With a pod label's name behind it.
const LABEL: &str = "__meta_kubernetes_pod_label_";
const LABEL_PRESENT: &str = "__meta_kubernetes_pod_labelpresent_";
/// With a pod annotation's name behind it.
const ANNOTATION: &str = "__meta_kubernetes_pod_annotation_";
const ANNOTATION_PRESENT: &str = "__meta_kubernetes_pod_annotationpresent_";
/// The owner that is the pod's controller.
const CONTROLLER_KIND: &str = "__meta_kubernetes_pod_controller_kind";
const CONTROLLER_NAME: &str = "__meta_kubernetes_pod_controller_name";

/// What is known of a container and one of its streams.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub pod: &'a PodName,
    pub container: &'a str,
    /// The folder with its files.
    pub folder: &'a str,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// What the Kubernetes API knows of the pod, as names and values; empty where nothing is known.
    pub from_api: &'a [(Box<str>, Box<str>)],
}

impl Target<'_> {
    /// Adds what is known to `labels`.
    pub(super) fn add_to(&self, node: &str, labels: &mut Labels) {
        let Self { pod, container, folder, stream, from_api } = self;
        let path = format!("{folder}/*.log");
        let known = [
            (NAMESPACE, pod.namespace.as_str()),
            (POD_NAME, &pod.pod),
            (POD_UID, &pod.uid),
            (NODE_NAME, node),
            (CONTAINER_NAME, container),
            (PATH, &path),
            (STREAM, stream),
        ];
        let from_api = from_api.iter().map(|(name, value)| (&**name, &**value));
        let all = known.into_iter().chain(from_api).filter(|(_, value)| !value.is_empty());
        labels.extend(all.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}

/// The two names under which a pod's label is known: by its value, and by being there.
#[must_use]
pub fn label_names(label: &str) -> [String; 2] {
    let label = sanitized(label);
    [format!("{LABEL}{label}"), format!("{LABEL_PRESENT}{label}")]
}

/// As [`label_names`], for an annotation.
#[must_use]
pub fn annotation_names(annotation: &str) -> [String; 2] {
    let annotation = sanitized(annotation);
    [format!("{ANNOTATION}{annotation}"), format!("{ANNOTATION_PRESENT}{annotation}")]
}

/// The names of the kind and the name of a pod's controller.
#[must_use]
pub fn controller_names() -> [&'static str; 2] {
    [CONTROLLER_KIND, CONTROLLER_NAME]
}

/// Whether only the Kubernetes API knows the value of the label of this name.
#[must_use]
pub fn is_from_api(name: &str) -> bool {
    [LABEL, LABEL_PRESENT, ANNOTATION, ANNOTATION_PRESENT].iter().any(|prefix| name.starts_with(prefix))
        || controller_names().contains(&name)
}

/// Whether the value of the label of this name is known from the first line on, whatever the Kubernetes API says.
pub(super) fn is_given(name: &str) -> bool {
    [NAMESPACE, POD_NAME, POD_UID, NODE_NAME, CONTAINER_NAME, PATH, STREAM].contains(&name)
}

/// Why the label of this name never has a value; `None` where it may have one.
#[must_use]
pub fn why_unknown(name: &str) -> Option<String> {
    let rest = name.strip_prefix("__meta_")?;
    if is_from_api(name) || is_given(name) {
        return None;
    }
    let Some(of_kubernetes) = rest.strip_prefix("kubernetes_") else {
        return Some(format!("Pilcrow has no such label; its own is {STREAM}"));
    };
    let in_spec = ["pod_ip", "pod_host_ip", "pod_phase", "pod_ready", "pod_container_"];
    let of_others = ["namespace_", "node_", "service_", "endpoint", "ingress_"];
    Some(if of_kubernetes == "container_name" {
        format!("the name is {CONTAINER_NAME}")
    } else if in_spec.iter().any(|prefix| of_kubernetes.starts_with(prefix)) {
        "it stands in the pod's spec or status, and Pilcrow asks the Kubernetes API for the pods' metadata only".into()
    } else if of_others.iter().any(|prefix| of_kubernetes.starts_with(prefix)) {
        "it is none of a pod, and Pilcrow asks the Kubernetes API for pods only".into()
    } else {
        "Prometheus knows no such label of a pod".into()
    })
}

/// Every character that a label's name may not have becomes `_` (prometheus util/strutil, `SanitizeLabelName`).
fn sanitized(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_pilcrow_never_knows_are_told_from_those_that_it_may() {
        for name in [
            "__meta_kubernetes_pod_label_app_kubernetes_io_name",
            "__meta_kubernetes_pod_annotationpresent_x",
            "__meta_kubernetes_pod_controller_name",
            "__meta_kubernetes_namespace",
            "__meta_pilcrow_stream",
            "__tmp",
            "app",
        ] {
            assert_eq!(why_unknown(name), None, "{name}");
        }
        for (name, word) in [
            ("__meta_kubernetes_pod_ip", "spec or status"),
            ("__meta_kubernetes_pod_container_image", "spec or status"),
            ("__meta_kubernetes_namespace_label_team", "pods only"),
            ("__meta_kubernetes_container_name", "__meta_kubernetes_pod_container_name"),
            ("__meta_kubernetes_pod_nmae", "no such label"),
            ("__meta_docker_container_id", "__meta_pilcrow_stream"),
        ] {
            assert!(why_unknown(name).is_some_and(|why| why.contains(word)), "{name}");
        }
    }
}
