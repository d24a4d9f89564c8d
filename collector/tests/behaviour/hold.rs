//! Files that are deleted while Loki is away, and what holding them open may cost.

use std::{fs, path::PathBuf};

use crate::program::{Node, Program, append, compress, record, texts, wait_for};

/// More than the batches take, so that most of it stays on the disk.
const LINES: u64 = 40_000;

fn line(n: u64) -> String {
    record(n % 86_400, &format!("line {n} {}", "x".repeat(250)))
}

/// A container with one line that has arrived; Loki is away since.
fn follow_then_take_loki_away(node: &Node) -> (Program, PathBuf) {
    let live = node.container("web", "held").join("0.log");
    append(&live, line(0));
    let program = node.start();
    node.wait_until(&program, "the first line", |counts| counts.entries == 1);
    node.receiver.set_down(true);
    (program, live)
}

/// Writes [`LINES`] lines, rotates and gives the rotated file's path.
fn write_and_rotate(live: &std::path::Path) -> PathBuf {
    append(live, (1..=LINES).map(line).collect::<String>());
    let rotated = live.with_file_name("0.log.20260102-000001");
    fs::rename(live, &rotated).unwrap();
    append(live, record(1, "after"));
    rotated
}

/// Waits until the program has read what its batches take.
fn wait_for_full_queue(program: &Program) {
    let mut before = 0.0;
    wait_for("a full queue", || {
        let read = program.metric("pilcrow_read_bytes_total", &[]);
        std::thread::sleep(std::time::Duration::from_millis(200));
        (std::mem::replace(&mut before, read) == read && read > 1e5).then_some(())
    });
}

fn holds_deleted_files(program: &Program) -> bool {
    program.open_files().iter().any(|path| path.contains("0.log") && path.ends_with("(deleted)"))
}

#[test]
fn a_deleted_file_that_fits_into_hold_bytes_is_held_and_read() {
    let node = Node::new();
    let (program, live) = follow_then_take_loki_away(&node);
    let rotated = write_and_rotate(&live);
    wait_for_full_queue(&program);
    let bytes = fs::metadata(&rotated).unwrap().len() as f64;
    fs::remove_file(rotated).unwrap();
    wait_for("the held file", || (program.metric("pilcrow_held_bytes", &[]) == bytes).then_some(()));
    assert_eq!(program.metric("pilcrow_held_files", &[]), 1.0);
    node.receiver.set_down(false);
    node.wait_until(&program, "all lines", |counts| counts.entries == LINES + 2);
    wait_for("nothing held", || (program.metric("pilcrow_held_bytes", &[]) == 0.0).then_some(()));
    assert_eq!(program.metric("pilcrow_abandoned_files_total", &[]), 0.0);
    node.assert_no_violations();
}

#[test]
fn deleted_files_over_hold_bytes_are_given_up_with_a_warning_and_the_chain_goes_on() {
    for (config, why) in [("{bytes: 1MiB}", "hold.bytes"), ("{bytes: 0}", "hold.bytes"), ("{age: 1s}", "hold.age")] {
        let mut node = Node::new();
        node.extra_config = format!("hold: {config}");
        let (program, live) = follow_then_take_loki_away(&node);
        append(&live, "2026-01-02T00:00:00.7Z stdout P a line that never ends\n");
        let rotated = write_and_rotate(&live);
        wait_for_full_queue(&program);
        let bytes = fs::metadata(&rotated).unwrap().len() as f64;
        fs::remove_file(rotated).unwrap();
        let abandoned = wait_for("the giving up", || {
            Some(program.metric("pilcrow_abandoned_bytes_total", &[])).filter(|bytes| *bytes > 0.0)
        });
        assert!(!holds_deleted_files(&program), "{:?}", program.open_files());
        assert_eq!(abandoned, bytes - program.metric("pilcrow_read_bytes_total", &[]), "all but the batches' lines");
        let log = program.log();
        let said = log.lines().find(|line| line.contains("gave up")).unwrap();
        for part in ["namespace=\"default\"", "pod=\"web\"", "container=\"held\"", "20260102-000001", why] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(said.contains(&format!("lost_bytes={abandoned}")), "{said}");

        node.receiver.set_down(false);
        wait_for("the line after", || texts(&node, "held").iter().any(|text| text == "after").then_some(()));
        wait_for("the acknowledgement", || (program.metric("pilcrow_lag_bytes", &["held"]) == 0.0).then_some(()));
        let texts_before = texts(&node, "held");
        assert_eq!(texts_before.last().unwrap(), "after");
        assert!(program.terminate().success());
        let program = node.start();
        append(&live, record(2, "after the restart"));
        let one_more = texts_before.len() as u64 + 1;
        node.wait_until(&program, "the line after the restart", |counts| counts.entries >= one_more);
        assert_eq!(node.receiver.counts().entries, one_more, "nothing is repeated");
        node.assert_no_violations();
    }
}

#[test]
fn a_deleted_file_whose_compressed_form_is_there_is_read_from_that_and_not_given_up() {
    let mut node = Node::new();
    node.extra_config = "hold: {bytes: 1MiB}".into();
    let (program, live) = follow_then_take_loki_away(&node);
    let rotated = write_and_rotate(&live);
    wait_for_full_queue(&program);
    compress(&rotated);
    wait_for("the deleted file to be closed", || (!holds_deleted_files(&program)).then_some(()));
    node.receiver.set_down(false);
    node.wait_until(&program, "all lines", |counts| counts.entries >= LINES + 2);
    let expected: Vec<_> =
        (0..=LINES).map(|n| format!("line {n} {}", "x".repeat(250))).chain(["after".into()]).collect();
    assert!(texts(&node, "held") == expected, "every line once, in order\n{}", program.log());
    assert_eq!(program.metric("pilcrow_abandoned_files_total", &[]), 0.0);
    node.assert_no_violations();
}

#[test]
fn the_files_of_a_deleted_pod_are_closed_once_loki_has_their_lines() {
    let node = Node::new();
    let (program, live) = follow_then_take_loki_away(&node);
    append(&live, line(1));
    let read = fs::metadata(&live).unwrap().len() as f64;
    wait_for("the line to be read", || (program.metric("pilcrow_read_bytes_total", &[]) == read).then_some(()));
    // All batches are in flight.
    append(&node.container("web", "busy").join("0.log"), (1..=LINES).map(line).collect::<String>());
    wait_for_full_queue(&program);
    fs::remove_dir_all(live.parent().unwrap()).unwrap();
    assert!(holds_deleted_files(&program), "Loki may refuse its lines, which are then to be read again");
    node.receiver.set_down(false);
    node.wait_until(&program, "all lines", |counts| counts.entries == LINES + 2);
    wait_for("the deleted file to be closed", || (!holds_deleted_files(&program)).then_some(()));
    assert_eq!(program.metric("pilcrow_abandoned_files_total", &[]), 0.0);
}
