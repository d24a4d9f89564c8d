//! What Loki, or what stands before it, answers: nothing is given up for an answer that does not say so, and a refused stream
//! harms no other.

use std::time::Duration;

use rig::receiver::{FaultScript, Limits, Options, Refusal, Told, Verdict};

use crate::program::{Node, Program, append, noise, record, settles, texts, wait_for};

fn with_limits(limits: Limits) -> Node {
    Node::with_receiver(Options { limits, ..Options::default() })
}

fn with_faults(faults: FaultScript) -> Node {
    Node::with_receiver(Options { faults, ..Options::default() })
}

/// Appends lines with these numbers to containers `c0`, `c1` …
fn write(node: &Node, containers: std::ops::Range<u64>, numbers: std::ops::Range<u64>) {
    for container in containers {
        let live = node.container("web", &format!("c{container}")).join("0.log");
        append(&live, numbers.clone().map(|n| record(n, &format!("line {n}"))).collect::<String>());
    }
}

/// Whether each of the containers has this many lines, each once and in order.
fn assert_complete(node: &Node, program: &Program, containers: impl IntoIterator<Item = u64>, count: u64) {
    let expected: Vec<_> = (0..count).map(|n| format!("line {n}")).collect();
    for container in containers {
        let name = format!("c{container}");
        let came = || texts(node, &name);
        let complete = settles(Duration::from_secs(15), || came().len() >= expected.len());
        assert!(complete, "{name}: {} of {count} lines; {:?}\n{}", came().len(), node.receiver.counts(), program.log());
        assert_eq!(came(), expected, "{name}");
    }
}

fn acknowledged(program: &Program) -> f64 {
    program.metric("pilcrow_acknowledged_lines_total", &[])
}

#[test]
fn a_page_with_status_200_acknowledges_nothing() {
    let node = with_faults(FaultScript::each(|_| Verdict::HtmlPage));
    write(&node, 0..1, 0..100);
    let program = node.start();
    node.wait_until(&program, "some pages", |counts| counts.pushes >= 2);
    assert_eq!(acknowledged(&program), 0.0);
    let (status, reason) = wait_for("the status", || program.get("/ready"));
    assert_eq!(status, 503, "{reason}");
    assert!(program.log().contains("this is not Loki"), "{}", program.log());
    node.receiver.set_faults(FaultScript::default());
    assert_complete(&node, &program, 0..1, 100);
    node.assert_no_violations();
}

#[test]
fn an_unknown_400_that_passes_costs_no_line() {
    for text in ["unexpected EOF", "Bad Request", "upstream sent too big header", ""] {
        let node = with_faults(FaultScript::list(vec![Verdict::text(400, text); 3]));
        write(&node, 0..2, 0..100);
        let program = node.start();
        assert_complete(&node, &program, 0..2, 100);
        assert_eq!(program.metric("pilcrow_dropped_lines_total", &[]), 0.0, "{text}");
        node.assert_no_violations();
    }
}

#[test]
fn an_unknown_400_for_one_line_costs_that_line_alone_and_is_counted_as_one() {
    let limits = Limits::default().refuse_whole(|stream| {
        let poison = stream.entries.iter().any(|entry| entry.line == "line 77");
        poison.then(|| Refusal { status: 400, body: "something in this request is not right".into() })
    });
    let node = with_limits(limits);
    write(&node, 0..1, 0..200);
    write(&node, 1..2, 300..400);
    let program = node.start();
    let came = || texts(&node, "c0").len() + texts(&node, "c1").len();
    let complete = settles(Duration::from_secs(20), || came() == 299);
    assert!(complete, "{} of 299 lines; {:?}\n{}", came(), node.receiver.counts(), program.log());
    wait_for("the count", || (program.metric("pilcrow_dropped_lines_total", &[]) >= 1.0).then_some(()));
    assert_eq!(program.metric("pilcrow_dropped_lines_total", &[]), 1.0);
    node.assert_no_violations();
}

#[test]
fn a_stream_that_loki_refuses_at_the_stream_limit_delays_no_other() {
    for told in [Told::AnyStream, Told::LastStream] {
        let refusal = Refusal::stream_limit("{container=\"c3\"}");
        let node = with_limits(Limits::default().refuse_label("container", "c3", refusal).told(told));
        write(&node, 0..8, 0..50);
        let program = node.start();
        node.wait_until(&program, "the refusal", |counts| counts.limited_entries > 0);
        let others = || (0..8).filter(|container| *container != 3);
        assert_complete(&node, &program, others(), 50);
        write(&node, 0..8, 50..80);
        assert_complete(&node, &program, others(), 80);
        let parked = || program.metric("pilcrow_parked_channels", &[]);
        wait_for("the parked channel", || (parked() == 1.0).then_some(()));
        let (_, units) = program.get("/api/v1/units").unwrap();
        let shown = units.contains("\"state\":\"parked\"") && units.contains("are tried again: ");
        assert!(shown && units.contains("stream limit"), "{units}");
        node.receiver.set_limits(Limits::default());
        assert_complete(&node, &program, 0..8, 80);
        wait_for("no parked channel", || (parked() == 0.0).then_some(()));
        assert_eq!(node.receiver.counts().silently_dropped, 0, "{told:?}");
        node.assert_no_violations();
    }
}

#[test]
fn a_noisy_stream_over_its_rate_limit_delays_no_quiet_one() {
    const NOISE: usize = 3000;
    let node = with_limits(Limits::default().stream_rate(200_000, 400_000).told(Told::AnyStream));
    let noisy = node.container("web", "noisy").join("0.log");
    append(&noisy, (0..NOISE as u64).map(|n| record(n, &format!("{n} {}", noise(n, 1000)))).collect::<String>());
    write(&node, 0..5, 0..10);
    let program = node.start();
    node.wait_until(&program, "the rate limit", |counts| counts.limited_entries > 0);
    for round in 1..5 {
        write(&node, 0..5, round * 10..round * 10 + 10);
        assert_complete(&node, &program, 0..5, round * 10 + 10);
    }
    assert!(texts(&node, "noisy").len() < NOISE, "the quiet ones did not wait for the noisy one");
    node.receiver.set_limits(Limits::default());
    wait_for("the noisy one", || (texts(&node, "noisy").len() == NOISE).then_some(()));
    let numbers =
        texts(&node, "noisy").iter().map(|text| text.split(' ').next().unwrap().parse().unwrap()).collect::<Vec<u64>>();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..NOISE as u64).collect::<Vec<_>>());
    node.assert_no_violations();
}

#[test]
fn requests_that_need_longer_than_the_timeout_become_smaller_until_they_get_through() {
    let mut node = with_faults(FaultScript::each(|_| Verdict::Slow { bytes_per_s: 400_000 }));
    node.extra_loki = "  timeout: 1s".into();
    for container in 0..3 {
        let live = node.container("web", &format!("slow-{container}")).join("0.log");
        append(&live, (0..600).map(|n| record(n, &noise(container * 1000 + n, 1000))).collect::<String>());
    }
    let program = node.start();
    node.wait_until(&program, "all lines", |counts| counts.entries >= 1800);
    for container in 0..3 {
        assert_eq!(texts(&node, &format!("slow-{container}")).len(), 600);
    }
    node.assert_no_violations();
}

#[test]
fn loki_that_takes_requests_and_never_answers_is_only_an_outage() {
    let mut node = with_faults(FaultScript::list(vec![Verdict::NoAnswer; 6]));
    node.extra_loki = "  timeout: 300ms".into();
    write(&node, 0..3, 0..100);
    let program = node.start();
    assert_complete(&node, &program, 0..3, 100);
    node.assert_no_violations();
}

#[test]
fn a_long_retry_after_ends_when_others_get_through() {
    let refusal = Verdict::Refuse { status: 429, body: "slow down".into(), retry_after_s: Some(3600) };
    let node = with_faults(FaultScript::list([refusal]));
    write(&node, 0..1, 0..10);
    let program = node.start();
    node.wait_until(&program, "the refusal", |counts| counts.answers.contains_key(&429));
    write(&node, 1..2, 0..10);
    assert_complete(&node, &program, [1, 0], 10);
    node.assert_no_violations();
}
