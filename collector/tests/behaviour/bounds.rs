//! Memory, requests and what is given up stay within bounds, whatever pods print and however slow Loki is.

use std::{fs, path::Path, time::Duration};

use rig::receiver::Options;

use crate::program::{Node, append, noise, record, settles, texts, wait_for};

/// The queue's 4 MiB, the batches in work, read buffers and what a build for debugging needs besides.
pub const MEMORY_MIB: f64 = 48.0;

fn backlog(live: &Path, megabytes: u64) {
    let text = noise(7, 1000);
    for megabyte in 0..megabytes {
        append(live, (0..1000).map(|n| record(megabyte, &format!("{megabyte} {n} {text}"))).collect::<String>());
    }
}

#[test]
fn a_stop_with_a_backlog_and_a_slow_loki_stays_within_the_memory() {
    let slow = Options { answer_after: Duration::from_millis(500), ..Options::default() };
    let mut node = Node::with_receiver(slow);
    node.extra_config = "shutdown: {deadline: 8s}".into();
    for container in 0..6 {
        backlog(&node.container("web", &format!("c{container}")).join("0.log"), 20);
    }
    let program = node.start();
    node.wait_until(&program, "a beginning", |counts| counts.entries > 0);
    program.signal(rustix::process::Signal::TERM);
    let peak = program.peak_anonymous_mib_until("the end", || false);
    assert!(peak < MEMORY_MIB, "{peak} MiB\n{}", program.log());
}

#[test]
fn unfinished_lines_of_many_containers_stay_within_the_memory_and_stop_nobody() {
    const CONTAINERS: usize = 60;
    // More than a request may have where batches are 1 MiB and an entry 256 KiB.
    const PUSH_BYTES: u64 = 3 << 20;
    let mut node = Node::new();
    node.extra_config = "lines: {partial_timeout: 3s}".into();
    let piece = |stream: &str, n: u64| format!("2026-01-02T00:00:00Z {stream} P {}\n", noise(n, 16_000));
    for container in 0..CONTAINERS {
        let live = node.container("evil", &format!("evil-{container}")).join("0.log");
        append(&live, (0..15).flat_map(|n| [piece("stdout", n), piece("stderr", n + 100)]).collect::<String>());
    }
    append(&node.container("good", "good").join("0.log"), record(0, "well"));
    let program = node.start();
    let good = || texts(&node, "good").len() == 1;
    let peak = program.peak_anonymous_mib_until("the end of the unfinished lines", || {
        settles(Duration::from_millis(50), || false);
        good() && node.receiver.counts().decoded_bytes >= (CONTAINERS * 2 * 15 * 16_000) as u64
    });
    assert!(peak < MEMORY_MIB, "{peak} MiB\n{}", program.log());
    let largest = node.receiver.counts().largest_push;
    assert!(largest <= PUSH_BYTES, "a request of {largest} bytes");
    node.assert_no_violations();
}

#[test]
fn long_traces_of_many_containers_leave_no_memory_behind() {
    const CONTAINERS: u64 = 60;
    const TRACES: u64 = 2;
    let mut node = Node::new();
    node.extra_config = "pipeline_stages: [{multiline: {firstline: '^begin', max_wait_time: 1s}}]".into();
    for container in 0..CONTAINERS {
        let live = node.container("java", &format!("java-{container}")).join("0.log");
        let line = |stream: &str, n: u64| match n % 15 {
            0 => format!("2026-01-02T00:00:00Z {stream} F begin\n"),
            _ => format!("2026-01-02T00:00:00Z {stream} F {}\n", noise(n, 16_000)),
        };
        append(&live, (0..15 * TRACES).flat_map(|n| [line("stdout", n), line("stderr", n)]).collect::<String>());
    }
    let program = node.start();
    let peak = program.peak_anonymous_mib_until("all traces", || {
        settles(Duration::from_millis(50), || false);
        node.receiver.counts().entries >= CONTAINERS * TRACES * 2
    });
    assert!(peak < MEMORY_MIB, "{peak} MiB\n{}", program.log());
    node.assert_no_violations();
}

#[test]
fn an_archive_that_unpacks_to_one_endless_line_stays_within_the_memory_and_stops_nobody() {
    let mut node = Node::new();
    node.extra_config = "lines: {oversize: cut}".into();
    let rotated = node.container("evil", "evil").join("0.log.20260102-000001");
    append(&rotated, record(0, &"a".repeat(64 << 20)));
    crate::program::compress(&rotated);
    append(&rotated.with_file_name("0.log"), record(1, "the live file"));
    append(&node.container("good", "good").join("0.log"), record(0, "well"));
    let program = node.start();
    let peak = program.peak_anonymous_mib_until("the lines of both", || {
        texts(&node, "good").len() == 1 && texts(&node, "evil").iter().any(|text| text == "the live file")
    });
    assert!(peak < MEMORY_MIB, "{peak} MiB\n{}", program.log());
}

#[test]
fn the_largest_holder_gives_up_its_deleted_files_before_a_quiet_pod_does() {
    let mut node = Node::new();
    node.extra_config = "hold: {bytes: 1MiB}\nmemory: {queue: 1MiB}".into();
    let [quiet, noisy] = ["quiet", "noisy"].map(|name| node.container("web", name).join("0.log"));
    append(&quiet, record(0, "first"));
    append(&noisy, record(0, "first"));
    let program = node.start();
    node.wait_until(&program, "the first lines", |counts| counts.entries == 2);
    node.receiver.set_down(true);
    // The queue is full of noise before the quiet one writes.
    backlog(&noisy, 8);
    let mut before = 0.0;
    wait_for("a full queue", || {
        let read = program.metric("pilcrow_read_bytes_total", &[]);
        settles(Duration::from_millis(300), || false);
        (std::mem::replace(&mut before, read) == read && read > 1e5).then_some(())
    });
    append(&quiet, (1..100).map(|n| record(n, &format!("{n} {}", noise(n, 200)))).collect::<String>());
    for live in [&quiet, &noisy] {
        let rotated = live.with_file_name("0.log.20260102-000001");
        fs::rename(live, &rotated).unwrap();
        append(live, record(3600, "after"));
    }
    settles(Duration::from_secs(2), || false);
    for live in [&quiet, &noisy] {
        fs::remove_file(live.with_file_name("0.log.20260102-000001")).unwrap();
        settles(Duration::from_secs(1), || false);
    }
    let abandoned = || program.metric("pilcrow_abandoned_bytes_total", &[]);
    wait_for("the giving up", || (abandoned() > 0.0).then_some(()));
    node.receiver.set_down(false);
    for name in ["quiet", "noisy"] {
        wait_for("the live file", || texts(&node, name).iter().any(|text| text == "after").then_some(()));
    }
    assert_eq!(texts(&node, "quiet").len(), 101, "the quiet one's lines were given up\n{}", program.log());
}

#[test]
fn the_debug_log_of_its_own_pod_does_not_feed_itself() {
    let mut node = Node::new();
    node.extra_config = "log: {level: debug}".into();
    let live = node.container("pilcrow", "pilcrow").join("0.log");
    append(&live, record(0, "its own log"));
    let program = node.start();
    let mut copied = 0;
    // Once a second as the age of a batch is by default.
    let mut copy = || {
        let log = program.log();
        let new: String = log[copied..].split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
        copied += new.len();
        append(&live, new.lines().map(|line| record(1, line)).collect::<String>());
        !new.is_empty()
    };
    let mut quiet_rounds = 0;
    let quiet = settles(Duration::from_secs(12), || {
        settles(Duration::from_millis(300), || false);
        quiet_rounds = if copy() { 0 } else { quiet_rounds + 1 };
        quiet_rounds >= 5
    });
    assert!(
        quiet,
        "{:?}\n{}",
        node.receiver.counts(),
        program.log().lines().rev().take(20).collect::<Vec<_>>().join("\n")
    );
}
