//! Logs that are left out: by annotation, namespace, selector and rule.

use std::fs;

use serde_json::json;

use crate::{
    kubernetes::node,
    pods_api::{NODE, PodsApi},
    program::{Node, Program, append, record, texts, wait_for},
};

fn annotated(api: &PodsApi, name: &str, exclude: &str) {
    api.put_metadata(name, json!({"annotations": {"pilcrow.dev/exclude": exclude}}));
}

fn wait_for_excluded(program: &Program, reason: &str, containers: f64) {
    wait_for("the status server", || program.get("/healthz"));
    let label = format!("reason=\"{reason}\"");
    let excluded = || program.metric("pilcrow_excluded_containers", &[&label]);
    wait_for("so many excluded containers", || (excluded() == containers).then_some(()));
}

#[test]
fn a_pod_with_the_annotation_is_not_read_not_held_open_and_does_not_lag() {
    let api = PodsApi::start();
    annotated(&api, "quiet", "true");
    annotated(&api, "loud", "false");
    let node = node(&api, "10m");
    for pod in ["quiet", "loud"] {
        append(&node.container(pod, pod).join("0.log"), record(0, pod));
    }
    let program = node.start();
    node.wait_until(&program, "the line of the pod that is collected", |counts| counts.entries == 1);
    wait_for_excluded(&program, "annotation", 1.0);
    append(&node.container("quiet", "sidecar").join("0.log"), record(1, "of a container that came later"));
    wait_for_excluded(&program, "annotation", 2.0);
    wait_for("the gauges", || (program.metric("pilcrow_containers", &[]) == 1.0).then_some(()));
    assert_eq!(program.metric("pilcrow_open_files", &[]), 1.0);
    assert_eq!(program.metric("pilcrow_lag_bytes", &["quiet"]), 0.0);
    assert!(!program.get("/metrics").unwrap().1.contains("pod=\"quiet\""));
    assert!(program.terminate().success());
    assert_eq!(texts(&node, "loud"), ["loud"]);
    assert_eq!(node.receiver.counts().entries, 1);
}

#[test]
fn exclusion_that_begins_sends_what_was_read_and_one_that_ends_begins_with_what_is_written_then() {
    let api = PodsApi::start();
    annotated(&api, "web", "false");
    let node = node(&api, "10m");
    let log = node.container("web", "web").join("0.log");
    let begin = record(0, "before") + "2026-01-02T00:00:01.5Z stdout P the piece that was read\n";
    append(&log, &begin);
    let program = node.start();
    node.wait_until(&program, "the first line", |counts| counts.entries == 1);
    let read = || program.metric("pilcrow_read_bytes_total", &[]);
    wait_for("the piece", || (read() == begin.len() as f64).then_some(()));

    annotated(&api, "web", "true");
    node.wait_until(&program, "the piece, which was read", |counts| counts.entries == 2);
    wait_for_excluded(&program, "annotation", 1.0);
    append(&log, record(2, "while it is left out"));
    fs::rename(&log, log.with_file_name("0.log.20260102-000003")).unwrap();
    append(&log, record(4, "left out after a rotation"));

    annotated(&api, "web", "false");
    wait_for_excluded(&program, "annotation", 0.0);
    append(&log, record(5, "after"));
    node.wait_until(&program, "the line after", |counts| counts.entries == 3);
    fs::rename(&log, log.with_file_name("0.log.20260102-000006")).unwrap();
    append(&log, record(7, "after another rotation"));
    node.wait_until(&program, "the next file", |counts| counts.entries == 4);
    let expected = ["before", "the piece that was read", "after", "after another rotation"];
    assert_eq!(texts(&node, "web"), expected);
    assert!(program.terminate().success());

    // What was passed over is not read by the next run either.
    let program = node.start();
    append(&log, record(8, "the next run"));
    node.wait_until(&program, "the next run's line", |counts| counts.entries == 5);
    assert_eq!(texts(&node, "web")[4..], ["the next run"]);
    node.assert_no_violations();
}

#[test]
fn namespaces_are_left_out_at_once_also_while_the_api_is_away() {
    let api = PodsApi::start();
    api.set_down(true);
    let mut node = Node::new();
    node.kubernetes = format!(
        "{{enabled: true, node_name: {NODE}, kubeconfig: {}, wait: 10m, namespaces: {{include: [default, other, third], \
         exclude: [other]}}}}",
        api.kubeconfig().display()
    );
    node.extra_config =
        "relabel_configs: [{source_labels: [__meta_kubernetes_namespace], regex: third, action: drop}]\n".into();
    for namespace in ["default", "other", "third", "none-of-them"] {
        let folder = node.pods().join(format!("{namespace}_pod_uid-of-pod")).join(namespace);
        fs::create_dir_all(&folder).unwrap();
        append(&folder.join("0.log"), record(0, namespace));
    }
    let program = node.start();
    wait_for_excluded(&program, "namespace", 2.0);
    wait_for_excluded(&program, "relabel", 1.0);
    assert_eq!(program.metric("pilcrow_open_files", &[]), 1.0);
    assert!(program.terminate().success());
    assert_eq!(texts(&node, "default"), ["default"]);
    assert_eq!(node.receiver.counts().entries, 1);
}

#[test]
fn what_a_selector_or_a_rule_decides_by_labels_waits_for_them_and_loses_nothing() {
    let keep_web = "relabel_configs: [{source_labels: [__meta_kubernetes_pod_label_tier], regex: web, action: keep}]\n";
    for (selector, rules, reason) in [("tier=web", "", "selector"), ("", keep_web, "relabel")] {
        let api = PodsApi::start();
        api.set_down(true);
        api.put_metadata("web", json!({"labels": {"tier": "web", "app.kubernetes.io/name": "nginx"}}));
        api.put_metadata("db", json!({"labels": {"tier": "db"}}));
        let mut node = Node::new();
        node.kubernetes = format!(
            "{{enabled: true, node_name: {NODE}, kubeconfig: {}, wait: 100ms, pod_selector: '{selector}'}}",
            api.kubeconfig().display()
        );
        node.extra_config = rules.into();
        for pod in ["web", "db"] {
            append(&node.container(pod, pod).join("0.log"), record(0, "while the API is away"));
        }
        let program = node.start();
        wait_for("the status server", || program.get("/healthz"));
        let timeouts = || program.metric("pilcrow_metadata_timeouts_total", &[]);
        wait_for("the end of the wait", || (timeouts() == 2.0).then_some(()));
        append(&node.container("web", "web").join("0.log"), record(1, "still away"));
        api.set_down(false);
        node.wait_until(&program, "the lines of the pod that is selected", |counts| counts.entries == 2);
        wait_for_excluded(&program, reason, 1.0);
        assert_eq!(program.metric("pilcrow_open_files", &[]), 1.0);
        assert!(program.terminate().success());
        assert_eq!(texts(&node, "web"), ["while the API is away", "still away"], "{reason}");
        assert_eq!(node.receiver.counts().entries, 2, "{reason}");
        assert!(node.receiver.streams().values().all(|stream| stream.label("app") == Some("nginx")));
    }
}

#[test]
fn without_the_api_a_selector_has_no_effect_and_that_is_reported() {
    let mut node = Node::new();
    node.kubernetes = format!("{{enabled: auto, node_name: {NODE}, pod_selector: tier=web}}");
    node.extra_config =
        "relabel_configs: [{source_labels: [__meta_kubernetes_pod_label_tier], target_label: tier}]\n".into();
    append(&node.container("db", "db").join("0.log"), record(0, "a line"));
    let program = node.start();
    node.wait_until(&program, "the line", |counts| counts.entries == 1);
    let log = program.log();
    assert!(log.contains("kubernetes.pod_selector has no effect, as the Kubernetes API is not used"), "{log}");
    assert!(log.contains("__meta_kubernetes_pod_label_tier"), "{log}");
}
