//! Starting and ending, and what the status server says meanwhile.

use std::fs;

use rig::receiver::{FaultScript, Options, Verdict};

use crate::program::{Node, append, record, texts, wait_for};

#[test]
fn a_stop_sends_what_is_on_the_disk_and_the_next_start_repeats_nothing() {
    let mut node = Node::new();
    // Nothing but the stop may seal the batch.
    node.extra_config = "shutdown: {deadline: 30s}".into();
    let live = node.container("web", "stopped").join("0.log");
    append(&live, (0..1000).map(|n| record(n, &format!("line {n}"))).collect::<String>());
    let program = node.start();
    wait_for("readiness", || program.get("/ready").filter(|(status, _)| *status == 200));
    append(&live, (1000..2000).map(|n| record(n, &format!("line {n}"))).collect::<String>());
    assert!(program.terminate().success());
    assert_eq!(node.receiver.counts().entries, 2000);
    let program = node.start();
    append(&live, record(2000, "line 2000"));
    node.wait_until(&program, "the new line", |counts| counts.entries > 2000);
    assert_eq!(node.receiver.counts().entries, 2001);
    assert_eq!(texts(&node, "stopped").len(), 2001);
    node.assert_no_violations();
}

#[test]
fn a_stop_while_loki_is_away_keeps_to_its_deadline_and_loses_nothing() {
    let mut node = Node::new();
    node.extra_config = "shutdown: {deadline: 200ms}".into();
    let live = node.container("web", "away").join("0.log");
    append(&live, record(0, "before"));
    let program = node.start();
    node.wait_until(&program, "the first line", |counts| counts.entries == 1);
    node.receiver.set_down(true);
    append(&live, record(1, "during"));
    assert!(program.terminate().success());
    node.receiver.set_down(false);
    let program = node.start();
    node.wait_until(&program, "the second line", |counts| counts.entries >= 2);
    assert_eq!(texts(&node, "away"), ["before", "during"]);
}

#[test]
fn from_the_end_means_only_what_is_written_after_the_start() {
    let mut node = Node::new();
    node.extra_config = "start_at: end".into();
    let live = node.container("web", "old").join("0.log");
    append(&live, record(0, "old"));
    let program = node.start();
    wait_for("readiness", || program.get("/ready").filter(|(status, _)| *status == 200));
    append(&live, record(1, "new"));
    append(&node.container("later", "young").join("0.log"), record(2, "all of a new pod"));
    node.wait_until(&program, "two lines", |counts| counts.entries == 2);
    assert_eq!(texts(&node, "old"), ["new"]);
    assert_eq!(texts(&node, "young"), ["all of a new pod"]);
}

#[test]
fn a_pods_folder_that_appears_later_is_followed() {
    let node = Node::new();
    fs::remove_dir(node.pods()).unwrap();
    let program = node.start();
    wait_for("a word of the missing folder", || program.log().contains("paths.pods").then_some(()));
    let not_ready =
        || program.get("/ready").filter(|(status, body)| *status == 503 && body.contains("paths.pods cannot"));
    wait_for("a reason for not being ready", not_ready);
    append(&node.container("web", "late").join("0.log"), record(0, "here"));
    node.wait_until(&program, "its line", |counts| counts.entries == 1);
    wait_for("readiness", || program.get("/ready").filter(|(status, _)| *status == 200));
}

#[test]
fn every_answer_of_loki_is_survived_without_a_loss() {
    let verdicts = [429, 500, 503, 413, 401, 404].map(Verdict::status);
    let node = Node::with_receiver(Options { faults: FaultScript::list(verdicts), ..Options::default() });
    let live = node.container("web", "refused").join("0.log");
    append(&live, (0..500).map(|n| record(n, &format!("line {n}"))).collect::<String>());
    let program = node.start();
    node.wait_until(&program, "all lines", |counts| counts.entries >= 500);
    assert_eq!(texts(&node, "refused").len(), 500);
    for status in [429, 500, 503, 413, 401, 404] {
        assert!(program.metric("pilcrow_push_requests_total", &[&format!("\"{status}\"")]) >= 1.0, "{status}");
    }
    node.assert_no_violations();
}

#[test]
fn the_metrics_tell_what_was_done() {
    let node = Node::new();
    let live = node.container("web", "counted").join("0.log");
    append(&live, (0..100).map(|n| record(n, "text")).collect::<String>());
    append(&live, "no record at all\n");
    let program = node.start();
    node.wait_until(&program, "all lines", |counts| counts.entries == 101);
    wait_for("the acknowledgement", || {
        (program.metric("pilcrow_acknowledged_lines_total", &[]) == 101.0).then_some(())
    });
    assert_eq!(program.metric("pilcrow_parsed_lines_total", &["cri"]), 100.0);
    assert_eq!(program.metric("pilcrow_parsed_lines_total", &["raw"]), 1.0);
    assert_eq!(program.metric("pilcrow_read_bytes_total", &[]), fs::metadata(&live).unwrap().len() as f64);
    wait_for("no lag", || (program.metric("pilcrow_lag_bytes", &["counted"]) == 0.0).then_some(()));
}

/// A DaemonSet with maxSurge starts the new pod beside the old one, and ends the old one when the new one is ready.
#[test]
fn a_second_pilcrow_stands_by_ready_and_takes_over_when_the_first_ends() {
    let node = Node::new();
    let live = node.container("web", "handed").join("0.log");
    append(&live, record(0, "by the first"));
    let first = node.start();
    node.wait_until(&first, "the first line", |counts| counts.entries == 1);
    let second = node.start();
    let standing_by = || second.get("/ready").filter(|(status, body)| *status == 200 && body.contains("standing by"));
    wait_for("the second to stand by", standing_by);
    assert_eq!(second.get("/healthz").unwrap().0, 200);
    assert!(first.terminate().success());
    wait_for("the second to take over", || second.log().contains("took over the state folder").then_some(()));
    append(&live, record(1, "by the second"));
    node.wait_until(&second, "the second line", |counts| counts.entries >= 2);
    assert_eq!(texts(&node, "handed"), ["by the first", "by the second"]);
    assert!(!second.log().contains(" WARN ") && !second.log().contains("ERROR"), "{}", second.log());
}

/// It was an abort at the next log line.
#[test]
fn a_stderr_that_takes_nothing_stops_nothing() {
    for before in ["exec 2>/dev/full", "exec 2>&-", "rm -f f; mkfifo f && exec 3<>f && exec 2>f && exec 3>&- && rm f"] {
        let mut node = Node::new();
        node.before = format!("cd {} && {before}", node.folder().display());
        let live = node.container("web", "mute").join("0.log");
        append(&live, record(0, "first"));
        let program = node.start();
        node.wait_until(&program, "the first line", |counts| counts.entries == 1);
        node.receiver.set_down(true);
        append(&live, record(1, "second"));
        wait_for("something to log", || (program.metric("pilcrow_push_requests_total", &[]) > 1.0).then_some(()));
        node.receiver.set_down(false);
        node.wait_until(&program, "the second line", |counts| counts.entries >= 2);
        assert!(program.terminate().success(), "{before}");
    }
}

/// The kubelet restarted a pod whose /healthz was behind 64 idle connections; /ready was 200 while nothing was acknowledged.
#[test]
fn ready_ends_while_lines_wait_and_nothing_is_acknowledged() {
    let mut node = Node::new();
    node.extra_config = "ready: {after: 500ms}".into();
    let live = node.container("web", "waits").join("0.log");
    append(&live, record(0, "first"));
    let program = node.start();
    node.wait_until(&program, "the first line", |counts| counts.entries == 1);
    node.receiver.set_down(true);
    append(&live, record(1, "second"));
    let not_ready = || program.get("/ready").filter(|(status, body)| *status == 503 && body.contains("ready.after"));
    wait_for("a reason for not being ready", not_ready);
    node.receiver.set_down(false);
    wait_for("readiness", || program.get("/ready").filter(|(status, _)| *status == 200));
}

#[test]
fn signals_that_ask_for_nothing_end_nothing_and_one_line_says_what_to_do() {
    use rustix::process::Signal;
    let node = Node::new();
    let live = node.container("web", "goes-on").join("0.log");
    append(&live, record(0, "first"));
    let program = node.start();
    node.wait_until(&program, "the first line", |counts| counts.entries == 1);
    for (signal, name) in [(Signal::HUP, "SIGHUP"), (Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")] {
        program.signal(signal);
        let line = format!("{name} is ignored: the configuration is read at the start only, so restart Pilcrow");
        wait_for("the line", || program.log().contains(&line).then_some(()));
    }
    append(&live, record(1, "second"));
    node.wait_until(&program, "the second line", |counts| counts.entries == 2);
}

#[test]
fn each_signal_that_asks_to_end_sends_what_was_read_first() {
    use rustix::process::Signal;
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT"), (Signal::QUIT, "SIGQUIT")] {
        let node = Node::new();
        let live = node.container("web", "last").join("0.log");
        append(&live, record(0, "first"));
        let program = node.start();
        node.wait_until(&program, "the first line", |counts| counts.entries == 1);
        node.receiver.set_down(true);
        append(&live, record(1, "last"));
        wait_for("the line to be read", || (program.metric("pilcrow_parsed_lines_total", &[]) == 2.0).then_some(()));
        program.signal(signal);
        let line = format!("{name}: sending what was read, then exiting");
        wait_for("the signal", || program.log().contains(&line).then_some(()));
        node.receiver.set_down(false);
        assert!(program.end().success(), "{name}: {}", program.log());
        assert_eq!(texts(&node, "last"), ["first", "last"], "{name}");
    }
}
