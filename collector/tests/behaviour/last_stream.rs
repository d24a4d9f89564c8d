//! Loki's ingester answers for the last stream of a request only: what it refused of those before is dropped under a 204.
//! Nothing that Pilcrow takes for acknowledged may be missing.

use std::time::Duration;

use rig::receiver::{Limits, Options};

use crate::program::{Node, append, noise, record, settles, texts, wait_for};

fn with_limits(limits: Limits) -> Node {
    Node::with_receiver(Options { limits, ..Options::default() })
}

#[test]
fn nothing_is_acknowledged_and_missing_where_loki_allows_fewer_streams_than_there_are() {
    const CONTAINERS: u64 = 12;
    let node = with_limits(Limits::default().streams_max(5));
    let write = |numbers: std::ops::Range<u64>| {
        for container in 0..CONTAINERS {
            let live = node.container("web", &format!("c{container}")).join("0.log");
            append(&live, numbers.clone().map(|n| record(n, &format!("line {n}"))).collect::<String>());
        }
    };
    let complete = |count: usize| {
        (0..CONTAINERS).filter(|container| texts(&node, &format!("c{container}")).len() == count).count()
    };
    write(0..20);
    let program = node.start();
    for (round, count) in [(1, 20), (2, 40)] {
        let five = settles(Duration::from_secs(10), || complete(count) == 5);
        let counts = node.receiver.counts();
        assert_eq!(counts.silently_dropped, 0, "acknowledged and not stored; {counts:?}");
        assert!(five, "round {round}: {} streams are complete; {counts:?}\n{}", complete(count), program.log());
        if round == 1 {
            write(20..40);
        }
    }
    let acknowledged = || program.metric("pilcrow_acknowledged_lines_total", &[]);
    // Lines are counted when all of their batch is acknowledged or parked.
    wait_for("the acknowledged lines", || (acknowledged() >= 200.0).then_some(()));
    assert_eq!(acknowledged(), 200.0);
    node.receiver.set_limits(Limits::default());
    wait_for("all streams", || (complete(40) == CONTAINERS as usize).then_some(()));
    node.assert_no_violations();
}

#[test]
fn nothing_is_acknowledged_and_missing_of_a_hot_stream_beside_quiet_ones_at_lokis_default_limits() {
    const MEGABYTES: u64 = 32;
    let node = with_limits(Limits::loki_defaults());
    let hot = node.container("web", "hot").join("0.log");
    for megabyte in 0..MEGABYTES {
        let lines = (0..250).map(|n| record(megabyte, &format!("{megabyte} {n} {}", noise(megabyte * 250 + n, 4000))));
        append(&hot, lines.collect::<String>());
    }
    let program = node.start();
    let came = || texts(&node, "hot").len() as u64;
    for round in 0..5 {
        for container in 0..8 {
            let live = node.container("web", &format!("quiet-{container}")).join("0.log");
            append(&live, record(round, &format!("line {round}")));
        }
        settles(Duration::from_millis(300), || false);
    }
    node.wait_until(&program, "all lines or a loss", |counts| {
        counts.entries >= MEGABYTES * 250 + 40 || counts.silently_dropped > 0
    });
    let counts = node.receiver.counts();
    assert_eq!(counts.silently_dropped, 0, "acknowledged and not stored; {} came; {counts:?}", came());
    wait_for("the hot stream", || (came() == MEGABYTES * 250).then_some(()));
    for container in 0..8 {
        assert_eq!(texts(&node, &format!("quiet-{container}")).len(), 5);
    }
    node.assert_no_violations();
}

#[test]
fn a_stream_is_sent_no_faster_than_its_configured_rate_and_burst() {
    const LINES: u64 = 1500;
    let mut node = with_limits(Limits::default().stream_rate(300_000, 600_000));
    node.extra_loki = "  stream_rate: 256KiB\n  stream_burst: 512KiB".into();
    for container in ["hot", "warm"] {
        let live = node.container("web", container).join("0.log");
        append(&live, (0..LINES).map(|n| record(n, &noise(n, 1000))).collect::<String>());
    }
    let program = node.start();
    node.wait_until(&program, "all lines", |counts| counts.entries >= 2 * LINES);
    assert_eq!(node.receiver.counts().limited_entries, 0, "nothing had to be refused");
    node.assert_no_violations();
}

#[test]
fn lines_that_are_too_far_behind_are_counted_wherever_they_stand_in_a_request() {
    let node = with_limits(Limits::default().too_far_behind(Duration::from_secs(3600)));
    let live = |name: &str| node.container("web", name).join("0.log");
    let containers = ["a", "b", "c", "d", "e"];
    for name in containers {
        append(&live(name), record(10_000, "new"));
    }
    let program = node.start();
    node.wait_until(&program, "the new lines", |counts| counts.entries == 5);
    // Each in turn, so that it is first, last and in the middle of a request.
    for (turn, late) in containers.iter().enumerate() {
        for name in containers {
            let second = if name == *late { 5_000 } else { 10_001 };
            append(&live(name), record(second + turn as u64, &format!("turn {turn}")));
        }
        node.wait_until(&program, "the turn", |counts| counts.entries == 5 + 4 * (turn as u64 + 1));
    }
    wait_for("the count", || (program.metric("pilcrow_dropped_lines_total", &[]) >= 1.0).then_some(()));
    settles(Duration::from_secs(2), || program.metric("pilcrow_dropped_lines_total", &[]) >= 5.0);
    let counts = node.receiver.counts();
    assert_eq!(counts.silently_dropped, 0, "dropped silently; {counts:?}");
    assert_eq!(program.metric("pilcrow_dropped_lines_total", &[]), 5.0);
    node.assert_no_violations();
}
