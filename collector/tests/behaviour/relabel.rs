//! Labels and structured metadata by rules.

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    kubernetes::node,
    pods_api::PodsApi,
    program::{Node, append, record, texts, wait_for},
};

/// Labels and structured metadata of a container's lines, as one text for each that is different.
fn carried(node: &Node, container: &str) -> BTreeSet<String> {
    let streams = node.receiver.streams();
    let of_container = streams.iter().filter(|(_, stream)| stream.label("container") == Some(container));
    of_container
        .flat_map(|(labels, stream)| stream.entries.iter().map(move |entry| format!("{labels} {:?}", entry.metadata)))
        .collect()
}

#[test]
fn what_the_api_knows_of_a_pod_becomes_labels_and_structured_metadata_by_rules() {
    let api = PodsApi::start();
    api.put_metadata(
        "web",
        json!({
            "labels": {"app.kubernetes.io/name": "nginx", "team": "Blue"},
            "annotations": {"example.com/version": "1.2", "never": "asked for"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6d9c", "uid": "r",
                "controller": true}],
        }),
    );
    let mut node = node(&api, "10m");
    node.extra_config = "relabel_configs:\n\
        - {action: lowercase, source_labels: [__meta_kubernetes_pod_label_team], target_label: team}\n\
        - source_labels: [__meta_kubernetes_pod_controller_kind, __meta_kubernetes_pod_controller_name]\n\
        \x20 regex: ReplicaSet;(.+)-[0-9a-f]+\n\
        \x20 target_label: deployment\n\
        - {action: labelmap, regex: __meta_kubernetes_pod_annotation_example_com_(.+), replacement: __structured_metadata_$1}\n\
        - {source_labels: [__meta_kubernetes_pod_node_name], target_label: __structured_metadata_node}\n\
        - {action: labeldrop, regex: job|pod}\n"
        .into();
    let folder = node.container("web", "web");
    append(&folder.join("0.log"), record(0, "one"));
    append(&folder.join("0.log"), record(1, "two"));
    let program = node.start();
    node.wait_until(&program, "the lines", |counts| counts.entries == 2);
    let expected = "{app=\"nginx\", cluster=\"test\", container=\"web\", deployment=\"web\", namespace=\"default\", \
                    stream=\"stdout\", team=\"blue\"} [(\"node\", \"pi-3\"), (\"version\", \"1.2\")]";
    assert_eq!(carried(&node, "web"), BTreeSet::from([expected.to_owned()]));
    node.assert_no_violations();
}

#[test]
fn without_the_built_in_rules_only_those_of_the_configuration_make_labels() {
    let mut node = Node::new();
    node.extra_config = "relabel_defaults: false\nrelabel_configs:\n\
        - {source_labels: [__meta_kubernetes_pod_container_name], target_label: container}\n\
        - {source_labels: [__path__], target_label: __structured_metadata_path}\n"
        .into();
    let folder = node.container("web", "web");
    append(&folder.join("0.log"), record(0, "a line"));
    let program = node.start();
    node.wait_until(&program, "the line", |counts| counts.entries == 1);
    let expected = format!("{{cluster=\"test\", container=\"web\"}} [(\"path\", \"{}/*.log\")]", folder.display());
    assert_eq!(carried(&node, "web"), BTreeSet::from([expected]));
    node.assert_no_violations();
}

#[test]
fn a_rule_that_drops_one_stream_leaves_the_other_and_its_lines_are_done_and_counted() {
    let mut node = Node::new();
    node.extra_config =
        "relabel_configs: [{source_labels: [container, stream], regex: web;stderr, action: drop}]\n".into();
    let log = node.container("web", "web").join("0.log");
    append(&log, record(0, "one"));
    append(&log, "2026-01-02T00:00:01.5Z stderr F dropped\n2026-01-02T00:00:02.5Z stderr F dropped too\n");
    append(&log, record(3, "two"));
    append(&log, "2026-01-02T00:00:04.5Z stderr F the file's last line\n");
    let program = node.start();
    node.wait_until(&program, "the other stream's lines", |counts| counts.entries == 2);
    assert_eq!(texts(&node, "web"), ["one", "two"]);
    assert_eq!(program.metric("pilcrow_dropped_lines_total", &["reason=\"relabel\""]), 3.0);
    // Also a line that is dropped at the end is acknowledged, though nothing is sent with it.
    let lag_is_known = || program.get("/metrics").is_some_and(|(_, text)| text.contains("pilcrow_lag_bytes{"));
    wait_for("the sweep", || lag_is_known().then_some(()));
    wait_for("no lag", || (program.metric("pilcrow_lag_bytes", &["web"]) == 0.0).then_some(()));
    node.assert_no_violations();
}
