//! The label `app`, from a stand-in for the Kubernetes API.

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    bounds::MEMORY_MIB,
    pods_api::{NODE, PodsApi},
    program::{Node, Program, append, noise, record, texts, wait_for},
};

/// A node that asks this API; a new pod's lines wait so long.
pub fn node(api: &PodsApi, wait: &str) -> Node {
    let mut node = Node::new();
    node.kubernetes =
        format!("{{enabled: true, node_name: {NODE}, kubeconfig: {}, wait: {wait}}}", api.kubeconfig().display());
    node
}

/// The values of `app` that a container's lines have.
fn apps(node: &Node, container: &str) -> BTreeSet<Option<String>> {
    let streams = node.receiver.streams();
    let of_container = streams.values().filter(|stream| stream.label("container") == Some(container));
    of_container.map(|stream| stream.label("app").map(str::to_owned)).collect()
}

fn only(app: &str) -> BTreeSet<Option<String>> {
    BTreeSet::from([Some(app.to_owned())])
}

fn wait_for_pods(program: &Program, pods: f64) {
    wait_for("the status server", || program.get("/healthz"));
    wait_for("so many pods", || (program.metric("pilcrow_kubernetes_pods", &[]) == pods).then_some(()));
}

#[test]
fn a_pods_app_is_on_its_lines_from_the_first_one_whether_it_was_there_or_is_new() {
    let api = PodsApi::start();
    api.put_app("old", "nginx");
    api.put("plain", "uid-of-plain", json!({"app": "not this one"}), json!({}));
    api.put(
        "mirror",
        "another-uid",
        json!({"app.kubernetes.io/name": "etcd"}),
        json!({"kubernetes.io/config.hash": "uid-of-mirror", "kubernetes.io/config.mirror": "uid-of-mirror"}),
    );
    // So long that only the API's word can end the wait.
    let node = node(&api, "10m");
    for pod in ["old", "plain", "mirror", "new"] {
        append(&node.container(pod, pod).join("0.log"), record(0, "first"));
    }
    let program = node.start();
    node.wait_until(&program, "the lines of the pods that are known", |counts| counts.entries == 3);
    assert_eq!(texts(&node, "new"), [""; 0]);
    api.put_app("new", "redis");
    node.wait_until(&program, "the new pod's line", |counts| counts.entries == 4);
    append(&node.container("new", "sidecar").join("0.log"), record(1, "a second container"));
    node.wait_until(&program, "the second container's line", |counts| counts.entries == 5);
    assert_eq!(apps(&node, "old"), only("nginx"));
    assert_eq!(apps(&node, "plain"), BTreeSet::from([None]));
    assert_eq!(apps(&node, "mirror"), only("etcd"));
    assert_eq!(apps(&node, "new"), only("redis"));
    assert_eq!(apps(&node, "sidecar"), only("redis"));
    assert_eq!(program.metric("pilcrow_metadata_timeouts_total", &[]), 0.0);
    node.assert_no_violations();
}

#[test]
fn a_pod_that_bears_another_ones_uid_in_an_annotation_gives_it_no_labels() {
    let api = PodsApi::start();
    api.put_app("victim", "honest");
    let annotations =
        json!({"kubernetes.io/config.hash": "uid-of-victim", "kubernetes.io/config.mirror": "uid-of-victim"});
    api.put("villain", "uid-of-villain", json!({"app.kubernetes.io/name": "forged"}), annotations);
    let node = node(&api, "10m");
    append(&node.container("victim", "victim").join("0.log"), record(0, "a line"));
    let program = node.start();
    node.wait_until(&program, "the line", |counts| counts.entries == 1);
    assert_eq!(apps(&node, "victim"), only("honest"));
}

#[test]
fn while_the_api_is_away_lines_go_without_app_and_it_joins_later() {
    let api = PodsApi::start();
    api.set_down(true);
    api.put_app("web", "nginx");
    let node = node(&api, "100ms");
    let log = node.container("web", "web").join("0.log");
    append(&log, record(0, "before"));
    let program = node.start();
    node.wait_until(&program, "the first line", |counts| counts.entries == 1);
    assert_eq!(apps(&node, "web"), BTreeSet::from([None]));
    assert_eq!(program.metric("pilcrow_kubernetes_watching", &[]), 0.0);
    api.set_down(false);
    wait_for_pods(&program, 1.0);
    append(&log, record(1, "after"));
    node.wait_until(&program, "the second line", |counts| counts.entries == 2);
    assert_eq!(apps(&node, "web"), BTreeSet::from([None, Some("nginx".to_owned())]));
    assert!(program.log().contains("the Kubernetes API answers again"), "{}", program.log());
    node.assert_no_violations();
}

#[test]
fn a_pod_that_is_deleted_keeps_its_labels_for_its_last_lines_and_one_that_changes_gets_new_ones() {
    let api = PodsApi::start();
    api.put_app("doomed", "nginx");
    api.put_app("changing", "one");
    let node = node(&api, "10m");
    let (doomed, changing) = (node.container("doomed", "doomed"), node.container("changing", "changing"));
    append(&doomed.join("0.log"), record(0, "alive"));
    append(&changing.join("0.log"), record(0, "one"));
    let program = node.start();
    node.wait_until(&program, "the first lines", |counts| counts.entries == 2);
    api.put_app("changing", "two");
    api.delete("doomed");
    wait_for_pods(&program, 1.0);
    append(&doomed.join("0.log"), record(1, "last words"));
    append(&node.container("doomed", "found-late").join("0.log"), record(1, "found after the end"));
    append(&changing.join("0.log"), record(1, "two"));
    node.wait_until(&program, "the last lines", |counts| counts.entries == 5);
    assert_eq!(apps(&node, "doomed"), only("nginx"));
    assert_eq!(apps(&node, "found-late"), only("nginx"));
    assert_eq!(apps(&node, "changing"), BTreeSet::from([Some("one".to_owned()), Some("two".to_owned())]));
}

#[test]
fn what_happened_while_the_api_was_away_is_known_when_it_is_back() {
    let api = PodsApi::start();
    api.put_app("deleted", "a");
    api.put_app("staying", "b");
    let node = node(&api, "10m");
    let program = node.start();
    wait_for_pods(&program, 2.0);
    api.set_down(true);
    wait_for("the end of the watch", || (program.metric("pilcrow_kubernetes_watching", &[]) == 0.0).then_some(()));
    api.delete("deleted");
    api.put_app("born", "c");
    api.put_app("born-too", "d");
    append(&node.container("born", "born").join("0.log"), record(0, "waits"));
    api.set_down(false);
    node.wait_until(&program, "the line that waited", |counts| counts.entries == 1);
    assert_eq!(apps(&node, "born"), only("c"));
    wait_for_pods(&program, 3.0);
}

#[test]
fn a_missing_role_is_said_with_its_rule_and_costs_only_the_label() {
    let api = PodsApi::start();
    api.refuse(403);
    let node = node(&api, "100ms");
    append(&node.container("web", "web").join("0.log"), record(0, "a line"));
    let program = node.start();
    node.wait_until(&program, "the line", |counts| counts.entries == 1);
    let log = wait_for("the refusal", || Some(program.log()).filter(|log| log.contains("forbids Pilcrow")));
    assert!(log.contains("forbids Pilcrow to read the pods (403 "), "{log}");
    assert!(log.contains("{apiGroups: [\"\"], resources: [pods], verbs: [get, list, watch]}"), "{log}");
    assert!(!log.contains("kube_client"), "{log}");
}

#[test]
fn a_stop_does_not_leave_behind_the_lines_that_wait() {
    let api = PodsApi::start();
    let node = node(&api, "10m");
    append(&node.container("unknown", "unknown").join("0.log"), record(0, "a line"));
    let program = node.start();
    wait_for("readiness", || program.get("/ready").filter(|(status, _)| *status == 200));
    assert_eq!(node.receiver.counts().entries, 0);
    assert!(program.terminate().success());
    assert_eq!(texts(&node, "unknown"), ["a line"]);
}

#[test]
fn without_a_way_to_ask_auto_says_so_once_and_true_does_not_start() {
    let mut node = Node::new();
    node.kubernetes = format!("{{enabled: auto, node_name: {NODE}}}");
    append(&node.container("web", "web").join("0.log"), record(0, "a line"));
    let program = node.start();
    node.wait_until(&program, "the line", |counts| counts.entries == 1);
    let log = program.log();
    assert_eq!(log.matches("there is no app label: Pilcrow does not run in a pod").count(), 1, "{log}");
    assert_eq!(program.metric("pilcrow_metadata_backend_info", &["backend=\"path\"", "not run in a pod"]), 1.0);
    drop(program);

    node.kubernetes = format!("{{enabled: true, node_name: {NODE}}}");
    let program = node.start();
    assert_eq!(program.end().code(), Some(1));
    let log = program.log();
    assert!(
        log.contains("kubernetes.enabled is true and the Kubernetes API cannot be used: Pilcrow does not"),
        "{log}"
    );
}

#[test]
fn pods_with_as_much_metadata_as_kubernetes_allows_stay_within_the_memory_and_have_their_labels() {
    const PODS: usize = 110;
    const BYTES: usize = 250_000;
    let api = PodsApi::start();
    let put = |pod: usize, changed: bool| {
        let mut labels: serde_json::Map<_, _> =
            (0..if pod.is_multiple_of(2) { 0 } else { 5000 }).map(|n| (format!("l{n}"), json!("x"))).collect();
        labels.insert("app.kubernetes.io/name".into(), json!(format!("app-{pod}")));
        let annotations: serde_json::Map<_, _> = match pod % 3 {
            0 => [("large".to_owned(), json!(noise(pod as u64, BYTES)))].into_iter().collect(),
            _ => (0..BYTES / 40).map(|n| (format!("x/{n:05}"), json!("v".repeat(30)))).collect(),
        };
        let fields: serde_json::Map<_, _> = (0..2000).map(|n| (format!("f:{n}"), json!({}))).collect();
        api.put_metadata(
            &format!("pod-{pod}"),
            json!({"labels": labels, "annotations": annotations, "generation": u64::from(changed),
                "managedFields": [{"manager": "m", "fieldsV1": {"f:metadata": fields}}]}),
        );
    };
    (0..PODS).for_each(|pod| put(pod, false));
    let node = node(&api, "10m");
    for pod in 0..PODS {
        append(&node.container(&format!("pod-{pod}"), &format!("c-{pod}")).join("0.log"), record(0, "a line"));
    }
    let program = node.start();
    let peak = program.peak_anonymous_mib_until("all lines", || node.receiver.counts().entries == PODS as u64);
    assert!(peak < MEMORY_MIB, "{peak} MiB\n{}", program.log());
    for pod in [0, 1, PODS - 1] {
        assert_eq!(apps(&node, &format!("c-{pod}")), only(&format!("app-{pod}")));
    }
    // Now by the watch.
    (0..PODS).for_each(|pod| put(pod, true));
    api.put_app("new", "last");
    append(&node.container("new", "new").join("0.log"), record(1, "after all of them"));
    let peak = program.peak_anonymous_mib_until("the new pod", || texts(&node, "new").len() == 1);
    assert!(peak < MEMORY_MIB, "{peak} MiB\n{}", program.log());
    node.assert_no_violations();
}

#[test]
fn a_watch_that_breaks_off_goes_on_where_it_was_and_a_list_that_breaks_off_is_asked_for_again() {
    let api = PodsApi::start();
    api.put_app("old", "a");
    api.break_off_next_list();
    let node = node(&api, "10m");
    append(&node.container("old", "old").join("0.log"), record(0, "a line"));
    let program = node.start();
    node.wait_until(&program, "the line", |counts| counts.entries == 1);
    assert_eq!(apps(&node, "old"), only("a"));
    wait_for_pods(&program, 1.0);
    let errors = program.metric("pilcrow_kubernetes_errors_total", &[]);
    assert_eq!(errors, 1.0, "{}", program.log());
    // So long that it is no watch that ends at once.
    std::thread::sleep(std::time::Duration::from_millis(1200));
    api.break_off_watches();
    api.put_app("new", "b");
    append(&node.container("new", "new").join("0.log"), record(0, "a line"));
    node.wait_until(&program, "the new pod's line", |counts| counts.entries == 2);
    assert_eq!(apps(&node, "new"), only("b"));
    assert_eq!(program.metric("pilcrow_kubernetes_errors_total", &[]), errors, "{}", program.log());
}
