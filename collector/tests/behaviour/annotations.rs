//! What pods ask for by annotations.

use serde_json::json;

use crate::{
    pods_api::{NODE, PodsApi},
    program::{Node, append, record, texts, wait_for},
};

fn node(api: &PodsApi, allow: &str) -> Node {
    let mut node = Node::new();
    let kubeconfig = api.kubeconfig();
    node.kubernetes = format!(
        "{{enabled: true, node_name: {NODE}, kubeconfig: {}, wait: 10m, annotations: {{allow: {allow}}}}}",
        kubeconfig.display()
    );
    node
}

#[test]
fn a_pods_annotations_change_its_own_lines_and_no_others() {
    let api = PodsApi::start();
    let annotations = json!({
        "pilcrow.dev/multiline": "java", "pilcrow.dev/drop.web": "^debug", "pilcrow.dev/level.side": "warn", "pilcrow.dev/sample": "0",
    });
    api.put_metadata("shop", json!({"annotations": annotations}));
    api.put_metadata("other", json!({}));
    let node = node(&api, "[multiline, drop, level]");
    let lines = ["debug a", "info b", "\tat c.d(E.java:5)", "info f"];
    let lines: String = (0..).zip(lines).map(|(n, line)| record(n, line)).collect();
    for (pod, container) in [("shop", "web"), ("shop", "side"), ("other", "plain")] {
        append(&node.container(pod, container).join("0.log"), &lines);
    }
    append(&node.container("shop", "side").join("0.log"), [record(4, "an error"), record(5, "x")].concat());
    let program = node.start();
    // The last line of the block at the end waits for what follows; that of `side` comes after 3 seconds.
    wait_for("all lines", || (node.receiver.counts().entries >= 4 + 2 + 2).then_some(()));
    assert_eq!(texts(&node, "plain").len(), 4);
    assert_eq!(texts(&node, "web"), ["info b\n\tat c.d(E.java:5)", "info f"]);
    assert_eq!(texts(&node, "side"), ["an error", "x"]);
    let dropped = |reason: &str| program.metric("pilcrow_dropped_lines_total", &[&format!("reason=\"{reason}\"")]);
    assert_eq!((dropped("pod_drop"), dropped("pod_level"), dropped("pod_sample")), (1.0, 3.0, 0.0));
    node.assert_no_violations();
}

#[test]
fn a_mistake_is_reported_once_and_the_lines_go_on() {
    let api = PodsApi::start();
    let annotate = |more: &str| {
        let annotations = json!({"pilcrow.dev/multiline": "jva", "pilcrow.dev/drop": "x", "other": more});
        api.put_metadata("shop", json!({"annotations": annotations}));
    };
    annotate("1");
    let node = node(&api, "[multiline, drop]");
    let live = node.container("shop", "web").join("0.log");
    append(&live, [record(0, "x"), record(1, "y")].concat());
    let program = node.start();
    node.wait_until(&program, "the lines", |counts| counts.entries == 2);
    annotate("2");
    append(&node.container("shop", "side").join("0.log"), record(0, "z"));
    node.wait_until(&program, "the other container's line", |counts| counts.entries == 3);
    assert_eq!(program.metric("pilcrow_annotation_errors_total", &[]), 1.0);
    let log = program.log();
    let told = "pilcrow.dev/multiline: expected one of java,";
    assert_eq!(log.matches(told).count(), 1, "{log}");
    node.assert_no_violations();
}

#[test]
fn lines_that_are_held_back_are_given_out_when_a_pod_asks_for_something_else() {
    let api = PodsApi::start();
    let annotate = |multiline: &str| {
        api.put_metadata("shop", json!({"annotations": {"pilcrow.dev/multiline": multiline}}));
    };
    annotate("^never");
    let mut node = node(&api, "[multiline]");
    node.extra_config = "pipeline_stages: [{multiline: {firstline: '^\\d', max_wait_time: 1h}}]\n".into();
    let live = node.container("shop", "web").join("0.log");
    append(&live, [record(0, "1 a"), record(1, "b")].concat());
    let program = node.start();
    wait_for("the status server", || program.get("/healthz"));
    wait_for("the lines to be read", || (program.metric("pilcrow_parsed_lines_total", &[]) == 2.0).then_some(()));
    assert_eq!(texts(&node, "web"), [""; 0]);
    annotate("indent");
    node.wait_until(&program, "the block", |counts| counts.entries == 1);
    assert_eq!(texts(&node, "web"), ["1 a\nb"]);
    node.assert_no_violations();
}
