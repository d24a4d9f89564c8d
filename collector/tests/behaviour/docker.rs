//! Docker's containers, without Kubernetes: `paths.docker`.

use std::{fs, path::PathBuf};

use crate::program::{Node, append, wait_for};

const SHOP: &str = r#"{"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}"#;

fn record(n: u32, text: &str) -> String {
    let (seconds, nanoseconds) = (n / 1000, n % 1000);
    format!(
        "{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:{seconds:02}.{nanoseconds:09}Z\"}}\n"
    )
}

/// As Docker makes it; gives the path of its log.
fn container(node: &Node, digit: &str, name: &str, labels: &str) -> PathBuf {
    let id = digit.repeat(64);
    let folder = node.containers().join(&id);
    fs::create_dir_all(&folder).unwrap();
    let description = format!(r#"{{"ID": "{id}", "Name": "/{name}", "Config": {{"Labels": {labels}}}}}"#);
    fs::write(folder.join("config.v2.json"), description).unwrap();
    fs::write(folder.join("hostconfig.json"), r#"{"LogConfig": {"Type": "json-file", "Config": {}}}"#).unwrap();
    folder.join(format!("{id}-json.log"))
}

#[test]
fn dockers_containers_are_collected_with_the_names_that_compose_gives_them() {
    let node = Node::with_docker();
    let web = container(&node, "a", "shop-web-1", SHOP);
    append(&web, (0..100).map(|n| record(n, &format!("line {n}"))).collect::<String>());
    let program = node.start();
    node.wait_until(&program, "the first lines", |counts| counts.entries == 100);

    // As Docker rotates.
    fs::rename(&web, web.with_extension("log.1")).unwrap();
    append(&web, record(100, "line 100"));
    let cron = container(&node, "b", "cron", "null");
    append(&cron, record(0, "another container"));
    node.wait_until(&program, "what came later", |counts| counts.entries == 102);
    let labels = |namespace, pod, container| [("namespace", namespace), ("pod", pod), ("container", container)];
    let lines = node.receiver.texts(&labels("shop", "shop-web-1", "web"));
    assert_eq!(lines, (0..=100).map(|n| format!("line {n}")).collect::<Vec<_>>());
    assert_eq!(node.receiver.texts(&labels("docker", "cron", "cron")), ["another container"]);
    assert!(program.terminate().success());

    append(&web, record(101, "while nothing ran"));
    fs::remove_dir_all(cron.parent().unwrap()).unwrap();
    let program = node.start();
    node.wait_until(&program, "the line that was written meanwhile", |counts| counts.entries > 102);
    wait_for("the removed container's link to go", || (fs::read_dir(node.pods()).unwrap().count() == 1).then_some(()));
    assert_eq!(node.receiver.counts().entries, 103);
    node.assert_no_violations();
}

#[test]
fn dockers_folder_may_appear_later() {
    let node = Node::with_docker();
    fs::remove_dir(node.containers()).unwrap();
    let program = node.start();
    wait_for("a word of the missing folder", || program.log().contains("paths.docker").then_some(()));
    append(&container(&node, "a", "web", "null"), record(0, "here"));
    node.wait_until(&program, "its line", |counts| counts.entries == 1);
}
