//! Files that are rotated, compressed, restarted and removed.

use std::fs;

use crate::program::{Node, append, compress, record, texts};

#[test]
fn a_line_that_a_rotation_split_is_joined() {
    let node = Node::new();
    let folder = node.container("web", "split");
    let live = folder.join("0.log");
    append(&live, "2026-01-02T00:00:01.1Z stdout P begin-\n");
    let program = node.start();
    append(&live, "2026-01-02T00:00:01.2Z stderr F meanwhile\n");
    node.wait_until(&program, "the line of stderr", |counts| counts.entries == 1);
    fs::rename(&live, folder.join("0.log.20260102-000002")).unwrap();
    append(&live, "2026-01-02T00:00:02Z stdout F end\n");
    node.wait_until(&program, "the joined line", |counts| counts.entries == 2);
    node.assert_no_violations();
    let mut texts = texts(&node, "split");
    texts.sort();
    assert_eq!(texts, ["begin-end", "meanwhile"]);
}

#[test]
fn several_rotations_while_pilcrow_is_away_lose_and_repeat_nothing() {
    let node = Node::new();
    let folder = node.container("web", "away");
    let live = folder.join("0.log");
    let line = |n: u64| record(n, &format!("line {n}"));
    append(&live, (0..10).map(line).collect::<String>());
    let program = node.start();
    node.wait_until(&program, "the first lines", |counts| counts.entries == 10);
    assert!(program.terminate().success());

    append(&live, (10..20).map(line).collect::<String>());
    for (round, stamp) in ["20260102-000001", "20260102-000002", "20260102-000003"].into_iter().enumerate() {
        let rotated = folder.join(format!("0.log.{stamp}"));
        fs::rename(&live, &rotated).unwrap();
        if round < 2 {
            compress(&rotated);
        }
        let begin = 20 + 10 * round as u64;
        append(&live, (begin..begin + 10).map(line).collect::<String>());
    }
    append(&folder.join("1.log"), (50..60).map(line).collect::<String>());

    let program = node.start();
    node.wait_until(&program, "all lines", |counts| counts.entries >= 60);
    let expected: Vec<_> = (0..60).map(|n| format!("line {n}")).collect();
    assert_eq!(texts(&node, "away"), expected);
    assert_eq!(node.receiver.counts().entries, 60, "nothing twice\n{}", program.log());
    node.assert_no_violations();
}

#[test]
fn a_file_that_is_removed_before_it_is_read_is_read_all_the_same() {
    let node = Node::new();
    let folder = node.container("job", "removed");
    let live = folder.join("0.log");
    append(&live, record(0, "before"));
    let program = node.start();
    node.wait_until(&program, "the first line", |counts| counts.entries == 1);
    node.receiver.set_down(true);
    let many: String = (0..50_000).map(|n| record(n % 86_400, &format!("line {n} {}", "x".repeat(300)))).collect();
    append(&live, &many);
    append(&live, "2026-01-02T23:59:59Z stdout P the last line has no end\n");
    // More than the queue takes: most of it is on the disk only when the name goes.
    fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    node.receiver.set_down(false);
    node.wait_until(&program, "every line", |counts| counts.entries >= 50_002);
    assert_eq!(texts(&node, "removed").last().unwrap(), "the last line has no end");
    node.assert_no_violations();
}

#[test]
fn a_truncated_file_is_read_from_its_new_beginning() {
    let node = Node::new();
    let live = node.container("web", "truncated").join("0.log");
    append(&live, record(0, "long enough to be longer than what follows"));
    let program = node.start();
    node.wait_until(&program, "the first line", |counts| counts.entries == 1);
    fs::File::options().write(true).open(&live).unwrap().set_len(0).unwrap();
    append(&live, record(1, "new"));
    node.wait_until(&program, "the new line", |counts| counts.entries == 2);
    assert_eq!(texts(&node, "truncated")[1], "new");
}

#[test]
fn pods_that_come_and_go_are_followed() {
    let node = Node::new();
    let program = node.start();
    for round in 0..20 {
        let folder = node.container(&format!("pod-{round}"), "short-lived");
        append(&folder.join("0.log"), record(round, &format!("hello from {round}")));
        node.wait_until(&program, "its line", |counts| counts.entries > round);
        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }
    assert_eq!(texts(&node, "short-lived").len(), 20);
    node.assert_no_violations();
}
