//! Files that are rotated, compressed, restarted and removed.

use std::fs;

use rustix::process::Signal;

use crate::program::{Node, append, compress, record, texts, wait_for};

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

/// Found by `cargo xtask chaos --seed 474355954`: after a standstill the sweep came before the rest was read.
#[test]
fn a_line_is_not_torn_when_pilcrow_stood_still_for_longer_than_it_waits_for_the_rest() {
    let mut node = Node::new();
    node.extra_config = "lines: {partial_timeout: 6s}".into();
    let folder = node.container("web", "still");
    let live = folder.join("0.log");
    let program = node.start();
    wait_for("readiness", || program.get("/ready").filter(|(status, _)| *status == 200));
    append(&live, "2026-01-02T00:00:01.1Z stdout P begin-\n");
    wait_for("the first piece to be read", || (program.metric("pilcrow_parsed_lines_total", &[]) > 0.0).then_some(()));
    program.signal(Signal::STOP);
    append(&live, "2026-01-02T00:00:01.2Z stdout P middle-\n");
    fs::rename(&live, folder.join("0.log.20260102-000002")).unwrap();
    append(&live, "2026-01-02T00:00:02Z stdout F end\n");
    std::thread::sleep(std::time::Duration::from_millis(6500));
    program.signal(Signal::CONT);
    node.wait_until(&program, "the joined line", |counts| counts.entries >= 1);
    assert_eq!(texts(&node, "still"), ["begin-middle-end"], "{}", program.log());
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

/// logrotate's copytruncate, while most of the file is unread.
#[test]
fn what_a_truncated_file_held_unread_is_read_from_its_copy() {
    let node = Node::new();
    let live = node.container("web", "copied").join("0.log");
    append(&live, record(0, "line 0"));
    let program = node.start();
    node.wait_until(&program, "the first line", |counts| counts.entries == 1);
    node.receiver.set_down(true);
    let text = |n: u64| format!("line {n} {}", "x".repeat(250));
    append(&live, (1..=40_000).map(|n| record(n % 86_400, &text(n))).collect::<String>());
    // How much depends on how many lines come within the age of a batch.
    wait_for("a part to be read", || (program.metric("pilcrow_read_bytes_total", &[]) > 1e4).then_some(()));
    fs::copy(&live, live.with_file_name("0.log.1")).unwrap();
    fs::File::options().write(true).open(&live).unwrap().set_len(0).unwrap();
    append(&live, record(1, "after"));
    wait_for("the truncation", || (program.metric("pilcrow_truncated_files_total", &[]) == 1.0).then_some(()));
    node.receiver.set_down(false);
    node.wait_until(&program, "all lines", |counts| counts.entries >= 40_002);
    let expected: Vec<_> =
        ["line 0".to_owned()].into_iter().chain((1..=40_000).map(text)).chain(["after".into()]).collect();
    assert!(texts(&node, "copied") == expected, "every line once, in order\n{}", program.log());
    assert_eq!(program.metric("pilcrow_abandoned_files_total", &[]), 0.0);
    node.assert_no_violations();
}

#[test]
fn a_file_that_was_truncated_and_has_grown_past_its_old_end_is_read_from_its_new_beginning() {
    let node = Node::new();
    let live = node.container("web", "regrown").join("0.log");
    append(&live, record(0, "old"));
    let program = node.start();
    node.wait_until(&program, "the first line", |counts| counts.entries == 1);
    // In one step, so that it is never seen shorter than it was.
    fs::write(&live, (1..100).map(|n| record(n, &format!("new line {n}"))).collect::<String>()).unwrap();
    let all = || (1..100).all(|n| texts(&node, "regrown").contains(&format!("new line {n}")));
    wait_for("all new lines", || all().then_some(()));
}

/// The kubelet compresses into `.tmp` and renames that; a pod may be killed between any two steps.
#[test]
fn a_rotation_that_is_under_way_while_pilcrow_starts_is_followed_to_its_end() {
    let node = Node::new();
    let folder = node.container("web", "under-way");
    let line = |n: u64| record(n, &format!("line {n}"));
    let old = folder.join("0.log.20260102-000001");
    append(&old, (0..10).map(line).collect::<String>());
    append(&folder.join("0.log.20260102-000002"), (10..20).map(line).collect::<String>());
    append(&folder.join("0.log"), (20..30).map(line).collect::<String>());
    fs::write(folder.join("0.log.20260102-000001.tmp"), b"\x1f\x8b\x08 not whole").unwrap();
    let program = node.start();
    node.wait_until(&program, "all lines", |counts| counts.entries >= 30);
    compress(&old);
    compress(&folder.join("0.log.20260102-000002"));
    append(&folder.join("0.log"), line(30));
    node.wait_until(&program, "the last line", |counts| counts.entries >= 31);
    assert!(program.terminate().success());
    let program = node.start();
    append(&folder.join("0.log"), line(31));
    node.wait_until(&program, "one more line", |counts| counts.entries >= 32);
    assert_eq!(texts(&node, "under-way"), (0..32).map(|n| format!("line {n}")).collect::<Vec<_>>());
    assert_eq!(program.metric("pilcrow_skipped_files_total", &[]), 0.0, "a .tmp is no stranger");
    node.assert_no_violations();
}

/// Docker with `compress`: the kubelet's folder has a link, every rotation renames all files.
#[test]
fn dockers_rotations_while_loki_and_then_pilcrow_are_away_lose_and_repeat_nothing() {
    let node = Node::new();
    let (folder, docker) = (node.container("web", "docker"), node.folder().join("docker/ab12"));
    fs::create_dir_all(&docker).unwrap();
    let live = docker.join("ab12-json.log");
    let line = |n: u64| {
        format!(
            "{{\"log\":\"line {n}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T00:{:02}:{:02}.5Z\"}}\n",
            n / 60,
            n % 60
        )
    };
    let numbered = |n: u32| docker.join(format!("ab12-json.log.{n}.gz"));
    let rotate = || {
        for n in (1..5).rev().filter(|n| numbered(*n).exists()) {
            fs::rename(numbered(n), numbered(n + 1)).unwrap();
        }
        let first = docker.join("ab12-json.log.1");
        fs::rename(&live, &first).unwrap();
        fs::write(&live, "").unwrap();
        compress(&first);
    };
    append(&live, (0..10).map(line).collect::<String>());
    std::os::unix::fs::symlink(&live, folder.join("0.log")).unwrap();
    let program = node.start();
    node.wait_until(&program, "the first lines", |counts| counts.entries == 10);
    node.receiver.set_down(true);
    for round in 1..3 {
        append(&live, (round * 10..round * 10 + 10).map(line).collect::<String>());
        rotate();
    }
    program.kill();
    append(&live, (30..40).map(line).collect::<String>());
    rotate();
    append(&live, (40..50).map(line).collect::<String>());
    node.receiver.set_down(false);
    let program = node.start();
    node.wait_until(&program, "all lines", |counts| counts.entries >= 50);
    let mut arrived = texts(&node, "docker");
    arrived.dedup();
    assert_eq!(arrived, (0..50).map(|n| format!("line {n}")).collect::<Vec<_>>(), "{}", program.log());
    node.assert_no_violations();
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
