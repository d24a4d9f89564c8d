//! Folders of logs that are not what they should be: Pilcrow says so, when it begins and when it is over.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use crate::program::{Node, Program, append, record, wait_for};

fn wait_for_readiness(program: &Program, status: u16, text: &str) {
    let is = |(found, body): &(u16, String)| *found == status && body.contains(text);
    wait_for(text, || program.get("/ready").filter(is));
}

fn warnings(program: &Program, text: &str) -> usize {
    program.log().lines().filter(|line| line.contains("WARN") && line.contains(text)).count()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A node whose program may read what its permissions say, and no more; `None` where that cannot be.
fn without_privileges() -> Option<Node> {
    let dropping = "setpriv --bounding-set -dac_override,-dac_read_search --inh-caps -dac_override,-dac_read_search";
    let mut node = Node::new();
    let locked = node.folder().join("locked");
    fs::create_dir(&locked).unwrap();
    set_mode(&locked, 0);
    let listing = Command::new("sh").args(["-c", &format!("{dropping} ls {}", locked.display())]).output();
    let works = Command::new("sh").args(["-c", &format!("{dropping} true")]).output();
    if listing.is_ok_and(|output| output.status.success()) || !works.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: cannot run a program without the privilege to read everything");
        return None;
    }
    node.before = format!("exec {dropping} \"$0\" \"$@\"");
    Some(node)
}

#[test]
fn folders_that_may_not_be_read_are_reported_with_the_permissions_that_are_missing_until_they_may() {
    let Some(node) = without_privileges() else { return };
    let folder = node.container("web", "closed");
    append(&folder.join("0.log"), record(0, "one"));
    set_mode(&folder, 0);
    let program = node.start();
    wait_for_readiness(&program, 503, "CAP_DAC_READ_SEARCH");
    assert_eq!(warnings(&program, "CAP_DAC_READ_SEARCH"), 1, "{}", program.log());
    assert!(!program.log().contains("max_user_watches"), "{}", program.log());
    append(&node.container("web", "open").join("0.log"), record(0, "one"));
    wait_for_readiness(&program, 200, "CAP_DAC_READ_SEARCH");
    set_mode(&folder, 0o700);
    node.wait_until(&program, "the lines of both", |counts| counts.entries == 2);
    wait_for("the end of it", || program.log().contains("can be read and hold logs").then_some(()));
}

#[test]
fn a_pods_folder_that_may_not_be_read_is_reported_with_the_permissions_that_are_missing() {
    let Some(node) = without_privileges() else { return };
    set_mode(&node.pods(), 0);
    let program = node.start();
    wait_for_readiness(&program, 503, "CAP_DAC_READ_SEARCH");
    assert!(!program.log().contains("max_user_watches"), "{}", program.log());
    set_mode(&node.pods(), 0o700);
    append(&node.container("web", "open").join("0.log"), record(0, "one"));
    node.wait_until(&program, "its line", |counts| counts.entries == 1);
}

#[test]
fn a_pods_folder_that_is_dockers_or_empty_or_another_is_reported() {
    let mut node = Node::new();
    let program = node.start();
    wait_for_readiness(&program, 200, "it is empty");
    assert_eq!(warnings(&program, "it is empty"), 1, "{}", program.log());
    append(&node.container("web", "first").join("0.log"), record(0, "one"));
    wait_for("the end of it", || program.log().contains("can be read and hold logs").then_some(()));
    assert!(!program.get("/ready").unwrap().1.contains("empty"));
    drop(program);
    node = Node::new();
    fs::create_dir(node.pods().join("ab12")).unwrap();
    append(&node.pods().join("ab12/ab12-json.log"), "{}");
    let program = node.start();
    wait_for_readiness(&program, 503, "Docker's containers");
    assert_eq!(warnings(&program, "Docker's containers"), 1, "{}", program.log());
    let (code, report) = node.run("doctor", &[]);
    assert!(code != Some(0) && report.contains("cannot work here"), "{report}");
}

#[test]
fn a_node_all_of_whose_containers_are_excluded_is_reported() {
    let mut node = Node::new();
    node.kubernetes = "{enabled: false, namespaces: {include: [other]}}".into();
    append(&node.container("web", "excluded").join("0.log"), record(0, "one"));
    let program = node.start();
    wait_for_readiness(&program, 200, "every container of this node is excluded by");
    assert_eq!(warnings(&program, "every container of this node is excluded by"), 1, "{}", program.log());
    let (code, report) = node.run("doctor", &[]);
    assert!(code != Some(0) && report.contains("cannot work here"), "{report}");
}

#[test]
fn a_pods_folder_that_is_a_link_is_reported_once_with_what_to_do() {
    let node = Node::new();
    let elsewhere = node.folder().join("elsewhere");
    fs::create_dir_all(elsewhere.join("name")).unwrap();
    append(&elsewhere.join("name/0.log"), record(0, "linked"));
    symlink(&elsewhere, node.pods().join("default_linked_uid")).unwrap();
    append(&node.container("web", "good").join("0.log"), record(0, "one"));
    let program = node.start();
    node.wait_until(&program, "the other's line", |counts| counts.entries == 1);
    fs::create_dir(node.pods().join("default_new_uid")).unwrap();
    append(&node.container("web", "good2").join("0.log"), record(0, "two"));
    node.wait_until(&program, "another line", |counts| counts.entries == 2);
    assert_eq!(warnings(&program, "default_linked_uid"), 1, "{}", program.log());
    assert!(program.log().contains("mount --bind"));
    assert_eq!(program.metric("pilcrow_skipped_files_total", &["outside_roots"]), 1.0);
}
