//! `service_name`: the label by which Grafana tells services apart.
//!
//! In: a stream's labels after all rules, and the pod's annotation for it. Out: the label, found as Loki does
//! (`discover_service_name`, grafana/loki pkg/loghttp/push) where the annotation does not say it.

use super::Labels;

pub const SERVICE_NAME: &str = "service_name";

/// Where pods say it: the annotation `resource.opentelemetry.io/service.name`.
pub const ANNOTATION: &str = "__meta_kubernetes_pod_annotation_resource_opentelemetry_io_service_name";

/// Loki's default `discover_service_name`: the first of these labels that is there.
const SOURCES: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// Where there is none of them.
const UNKNOWN: &str = "unknown_service";

/// Adds the label; one that is there stays.
pub fn add(labels: &mut Labels, annotation: Option<String>) {
    if labels.get(SERVICE_NAME).is_some_and(|value| !value.is_empty()) {
        return;
    }
    let annotation = annotation.filter(|value| !value.is_empty());
    let found = annotation.unwrap_or_else(|| {
        let mut sources = SOURCES.iter().filter_map(|name| labels.get(*name)).filter(|value| !value.is_empty());
        sources.next().map_or(UNKNOWN, String::as_str).to_owned()
    });
    labels.insert(SERVICE_NAME.to_owned(), found);
}
