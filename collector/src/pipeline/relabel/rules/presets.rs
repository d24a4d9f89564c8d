//! The presets make the labels that the charts make by default.

use proptest::prelude::*;

use super::*;
use crate::model::PodName;

/// What Promtail's chart (6.x) gives its one job, as far as it makes labels: `__path__` is left out, and so is the stage `cri`, which
/// makes the label `stream`.
const PROMTAIL_CHART: &str = r#"
- source_labels: [__meta_kubernetes_pod_controller_name]
  regex: ([0-9a-z-.]+?)(-[0-9a-f]{8,10})?
  action: replace
  target_label: __tmp_controller_name
- source_labels:
    - __meta_kubernetes_pod_label_app_kubernetes_io_name
    - __meta_kubernetes_pod_label_app
    - __tmp_controller_name
    - __meta_kubernetes_pod_name
  regex: ^;*([^;]+)(;.*)?$
  action: replace
  target_label: app
- source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_instance, __meta_kubernetes_pod_label_instance]
  regex: ^;*([^;]+)(;.*)?$
  action: replace
  target_label: instance
- source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_component, __meta_kubernetes_pod_label_component]
  regex: ^;*([^;]+)(;.*)?$
  action: replace
  target_label: component
- {action: replace, source_labels: [__meta_kubernetes_pod_node_name], target_label: node_name}
- {action: replace, source_labels: [__meta_kubernetes_namespace], target_label: namespace}
- {action: replace, replacement: $1, separator: /, source_labels: [namespace, app], target_label: job}
- {action: replace, source_labels: [__meta_kubernetes_pod_name], target_label: pod}
- {action: replace, source_labels: [__meta_kubernetes_pod_container_name], target_label: container}
"#;

fn made(config: Config, from_api: &[(&str, &str)]) -> Option<Relabelled> {
    let pod = PodName { namespace: "shop".into(), pod: "web-6d9c6b5f4-x2x7k".into(), uid: "467433c9".into() };
    let from_api: Vec<_> = from_api.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let mut config = config;
    config.kubernetes.node_name = "pi-3".into();
    let relabel = Relabel::new(&config).unwrap();
    let target = Target { pod: &pod, container: "nginx", folder: "/f", stream: "stderr", from_api: &from_api };
    match relabel.apply(&target) {
        Outcome::Keep(relabelled) => Some(relabelled),
        Outcome::Drop { .. } => None,
    }
}

fn preset(preset: Preset, from_api: &[(&str, &str)]) -> Option<Relabelled> {
    made(Config { preset, labels: [("cluster".to_owned(), "pi".to_owned())].into(), ..Config::default() }, from_api)
}

fn pairs(labels: &Labels) -> Vec<(&str, &str)> {
    labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

const LABEL: &str = "__meta_kubernetes_pod_label_";

proptest! {
    #[test]
    fn promtail_chart_makes_the_labels_of_the_charts_own_rules(
        name in "([a-z;]{1,4})?", app in "([a-z;]{1,4})?", controller in "(web-6d9c6b5f4|db|a-b-0123456789)?",
        instance in "([a-z]{1,3})?", component in "([a-z]{1,3})?", is_new: bool,
    ) {
        let prefix = if is_new { "app_kubernetes_io_" } else { "" };
        let all = [
            (format!("{LABEL}app_kubernetes_io_name"), name), (format!("{LABEL}app"), app),
            ("__meta_kubernetes_pod_controller_name".to_owned(), controller),
            (format!("{LABEL}{prefix}instance"), instance), (format!("{LABEL}{prefix}component"), component),
        ];
        let from_api: Vec<(&str, &str)> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let by_chart = Config {
            labels: [("cluster".to_owned(), "pi".to_owned())].into(),
            relabel_defaults: false,
            relabel_configs: RelabelConfig::list(PROMTAIL_CHART),
            ..Config::default()
        };
        let mut by_chart = made(by_chart, &from_api).unwrap();
        by_chart.labels.insert("stream".into(), "stderr".into());
        prop_assert_eq!(preset(Preset::PromtailChart, &from_api), Some(by_chart));
    }
}

#[test]
fn k8s_monitoring_names_services_and_moves_the_pod_to_structured_metadata() {
    let plain = preset(Preset::K8sMonitoring, &[]).unwrap();
    let expected = [
        ("cluster", "pi"),
        ("container", "nginx"),
        ("flags", "F"),
        ("job", "shop/nginx"),
        ("k8s_cluster_name", "pi"),
        ("namespace", "shop"),
        ("service_name", "nginx"),
        ("service_namespace", "shop"),
        ("stream", "stderr"),
    ];
    assert_eq!(pairs(&plain.labels), expected);
    let instance = "shop.web-6d9c6b5f4-x2x7k.nginx";
    let pod = "web-6d9c6b5f4-x2x7k";
    assert_eq!(pairs(&plain.metadata), [("k8s_pod_name", pod), ("pod", pod), ("service_instance_id", instance)]);
}

#[test]
fn k8s_monitoring_goes_by_the_pods_annotations() {
    let annotation = |name: &str| format!("__meta_kubernetes_pod_annotation_{name}");
    let otel = |name: &str| annotation(&format!("resource_opentelemetry_io_{name}"));
    let all = [
        (annotation("k8s_grafana_com_logs_job"), "my/job"),
        (otel("service_name"), "checkout"),
        (otel("service_namespace"), "store"),
        (otel("service_instance_id"), "one"),
        (otel("deployment_environment"), "prod"),
        (format!("{LABEL}app_kubernetes_io_name"), "web"),
    ];
    let from_api: Vec<(&str, &str)> = all.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let made = preset(Preset::K8sMonitoring, &from_api).unwrap();
    for (name, value) in [
        ("job", "my/job"),
        ("service_name", "checkout"),
        ("service_namespace", "store"),
        ("deployment_environment", "prod"),
        ("app_kubernetes_io_name", "web"),
    ] {
        assert_eq!(made.labels.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(made.metadata.get("service_instance_id").map(String::as_str), Some("one"));
    assert!(!made.labels.contains_key("service_instance_id"));
    let by_label = preset(Preset::K8sMonitoring, &from_api[5..]).unwrap();
    assert_eq!(by_label.labels.get("service_name").map(String::as_str), Some("web"));
}

#[test]
fn k8s_monitoring_leaves_out_pods_whose_annotation_says_so() {
    let annotation = "__meta_kubernetes_pod_annotation_logs_grafana_com_pods_enabled";
    for (value, is_collected) in [("false", false), ("no", false), ("skip", false), ("true", true)] {
        assert_eq!(preset(Preset::K8sMonitoring, &[(annotation, value)]).is_some(), is_collected, "{value}");
    }
}
