//! A file system that stops answering: its server stops, or it keeps reads to itself.

use std::{path::Path, time::Duration};

use crate::{
    fuse::{Fuse, Mode},
    program::{Node, Program, append, record, settles, texts, wait_for},
};

fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|n| record(n, &format!("line {n}"))).collect()
}

fn wait_for_lines(node: &Node, program: &Program, container: &str, count: usize) {
    let expected: Vec<_> = (0..count).map(|n| format!("line {n}")).collect();
    let all = settles(Duration::from_secs(20), || texts(node, container) == expected);
    assert!(all, "{container}: {} of {count}\n{}", texts(node, container).len(), program.log());
}

/// A node with a container whose folder is such a file system, and 10 lines of it that came.
fn with_mount(config: &str) -> Option<(Node, Fuse, Program)> {
    let mut node = Node::new();
    node.extra_config = format!("{config}\nshutdown: {{deadline: 1s}}");
    let fuse = Fuse::mount(&node.container("web", "mounted"))?;
    fuse.append(lines(0..10).as_bytes());
    let program = node.start();
    wait_for_lines(&node, &program, "mounted", 10);
    Some((node, fuse, program))
}

fn assert_others_go_on(node: &Node, program: &Program) {
    let stalled = || program.metric("pilcrow_stalled_folders", &[]) >= 1.0;
    let live = |name: &str| node.container(name, name).join("0.log");
    append(&live("good"), lines(0..5));
    wait_for_lines(node, program, "good", 5);
    wait_for("the container to be set aside", || stalled().then_some(()));
    append(&live("good"), lines(5..10));
    append(&live("new"), lines(0..10));
    wait_for_lines(node, program, "good", 10);
    wait_for_lines(node, program, "new", 10);
    assert_eq!(program.get("/healthz").map(|(status, _)| status), Some(200), "{}", program.log());
}

fn reads_that_do_not_return_are_left_behind(config: &str) {
    let Some((node, fuse, program)) = with_mount(config) else { return };
    fuse.set(Mode::HoldReads);
    fuse.append(lines(10..20).as_bytes());
    assert_others_go_on(&node, &program);
    fuse.set(Mode::Serve);
    wait_for_lines(&node, &program, "mounted", 20);
    fuse.append(lines(20..30).as_bytes());
    wait_for_lines(&node, &program, "mounted", 30);
    assert!(program.terminate().success());
    node.assert_no_violations();
}

#[test]
fn reads_by_io_uring_that_do_not_return_are_left_behind_and_the_file_is_read_on_when_they_do() {
    reads_that_do_not_return_are_left_behind("reader: {backend: auto}");
}

#[test]
fn reads_by_pread_that_do_not_return_are_left_behind_and_the_file_is_read_on_when_they_do() {
    reads_that_do_not_return_are_left_behind("reader: {backend: pread}");
}

#[test]
fn a_mount_whose_server_stops_answering_stops_neither_the_others_nor_the_end() {
    for config in ["reader: {backend: auto}", "reader: {backend: pread}\nsignal: poll"] {
        let Some((node, fuse, program)) = with_mount(config) else { return };
        fuse.append(lines(10..20).as_bytes());
        fuse.set(Mode::Silent);
        assert_others_go_on(&node, &program);
        program.signal(rustix::process::Signal::TERM);
        assert!(program.end().success(), "{}", program.log());
        fuse.set(Mode::Serve);
        let program = node.start();
        wait_for_lines(&node, &program, "mounted", 20);
        node.assert_no_violations();
    }
}

#[test]
fn a_mount_that_does_not_answer_at_the_start_delays_only_its_own_lines() {
    let node = Node::new();
    let Some(fuse) = Fuse::mount(&node.container("web", "mounted")) else { return };
    fuse.append(lines(0..10).as_bytes());
    fuse.set(Mode::Silent);
    let program = node.start();
    assert_others_go_on(&node, &program);
    fuse.set(Mode::Serve);
    wait_for_lines(&node, &program, "mounted", 10);
    node.assert_no_violations();
}

#[test]
fn a_program_all_of_whose_logs_lie_on_a_mount_that_does_not_answer_ends_in_time() {
    let mut node = Node::new();
    node.extra_config = "shutdown: {deadline: 1s}".into();
    let Some(fuse) = Fuse::mount(Path::new(&node.pods())) else { return };
    fuse.set(Mode::Silent);
    let program = node.start();
    settles(Duration::from_secs(2), || false);
    program.signal(rustix::process::Signal::TERM);
    program.end();
}
