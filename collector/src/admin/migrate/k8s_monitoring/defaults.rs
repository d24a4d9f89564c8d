//! What the chart 3.x makes by default, as rules (grafana/k8s-monitoring-helm, charts/feature-pod-logs: values.yaml,
//! templates/_common_pod_discovery.alloy.tpl and _common_log_processing.alloy.tpl).
//!
//! The chart copies all labels and annotations of a pod and keeps those of a list at the end. Here only those are copied that the list
//! has, or that something reads: the same labels, by less work. What 4.x makes is a preset of Pilcrow.

use std::collections::BTreeSet;

use crate::admin::migrate::{
    origin::{Fault, Place, Text, Tree},
    yaml,
};

/// `labelsToKeep` of 3.x.
pub const KEPT: [&str; 16] = [
    "app_kubernetes_io_name",
    "container",
    "job",
    "level",
    "namespace",
    "service_name",
    "service_namespace",
    "deployment_environment",
    "deployment_environment_name",
    "k8s_namespace_name",
    "k8s_deployment_name",
    "k8s_statefulset_name",
    "k8s_daemonset_name",
    "k8s_cronjob_name",
    "k8s_job_name",
    "k8s_node_name",
];

/// `structuredMetadata` of 3.x and 4.x, which make each of the label of the same name.
pub const METADATA: [&str; 3] = ["k8s_pod_name", "pod", "service_instance_id"];

/// `labels` and `annotations` of all versions.
pub const LABELS: [(&str, &str); 1] = [("app_kubernetes_io_name", "app.kubernetes.io/name")];
pub const ANNOTATIONS: [(&str, &str); 1] = [("job", "k8s.grafana.com/logs.job")];

/// The rules up to the resource attributes. `wanted`: the names of the labels that may be copied; nothing: all.
///
/// # Errors
/// None: the text is YAML.
pub fn rules(place: &Place, wanted: Option<&BTreeSet<String>>) -> Result<Vec<Tree>, Vec<Fault>> {
    let names = wanted.map_or_else(|| ".+".to_owned(), |names| names.iter().cloned().collect::<Vec<_>>().join("|"));
    let text = format!(
        "- {{source_labels: [__meta_kubernetes_namespace], target_label: namespace}}
- {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
- {{source_labels: [__meta_kubernetes_pod_container_name], target_label: container}}
- {{source_labels: [namespace, container], separator: /, target_label: job}}
- {{regex: '__meta_kubernetes_pod_label_({names})', action: labelmap}}
- {{regex: '__meta_kubernetes_pod_annotation_({names})', action: labelmap}}
- source_labels:
    - __meta_kubernetes_pod_annotation_resource_opentelemetry_io_service_name
    - __meta_kubernetes_pod_label_app_kubernetes_io_name
    - __meta_kubernetes_pod_container_name
  regex: ;*([^;]+).*
  target_label: service_name
- source_labels: [__meta_kubernetes_pod_annotation_resource_opentelemetry_io_service_namespace, namespace]
  regex: ;*([^;]+).*
  target_label: service_namespace
- source_labels: [__meta_kubernetes_pod_annotation_resource_opentelemetry_io_service_instance_id]
  target_label: service_instance_id
- source_labels: [service_instance_id, namespace, pod, container]
  separator: .
  regex: \\.([^.]+\\.[^.]+\\.[^.]+)
  target_label: service_instance_id
- {{regex: '__meta_kubernetes_pod_annotation_resource_opentelemetry_io_({names})', action: labelmap}}
"
    );
    let lists = yaml::documents(&Text { place: place.clone(), text: &text })?;
    Ok(lists.iter().flat_map(|list| list.items().iter().map(|rule| rule.with_place(place))).collect())
}
