//! `levels`, `dedupe` and `budgets` through the whole program.

use std::time::Duration;

use crate::program::{Node, append, record, settles, texts, wait_for};

fn node(config: &str) -> Node {
    let mut node = Node::new();
    node.extra_config = config.into();
    node
}

/// The texts of a container's entries with their metadata.
fn entries(node: &Node, container: &str) -> Vec<String> {
    let mut entries = Vec::new();
    for stream in node.receiver.streams().values().filter(|stream| stream.label("container") == Some(container)) {
        entries.extend(
            stream.entries.iter().map(|entry| (entry.timestamp_ns, entry.line.clone(), entry.metadata.clone())),
        );
    }
    entries.sort();
    // Sent again after a kill.
    entries.dedup();
    entries.into_iter().map(|(_, line, metadata)| format!("{line} {metadata:?}")).collect()
}

#[test]
fn lines_are_counted_by_level_where_levels_are_on() {
    let node = node("levels: true\n");
    append(
        &node.container("web", "web").join("0.log"),
        [record(1, "level=error a"), record(2, "level=error b"), record(3, "level=info c"), record(4, "d")].concat(),
    );
    let program = node.start();
    node.wait_until(&program, "the lines", |counts| counts.entries == 4);
    let lines = |level: &str| {
        program.metric("pilcrow_lines_total", &["namespace=\"default\"", "app=\"\"", &format!("level=\"{level}\"")])
    };
    assert_eq!((lines("error"), lines("info"), lines("unknown")), (2.0, 1.0, 1.0));
    node.assert_no_violations();
}

#[test]
fn equal_lines_in_a_row_are_one_entry_also_after_a_kill_between_them() {
    let node = node("dedupe: {window: 1h}\n");
    let live = node.container("web", "web").join("0.log");
    append(&live, [record(1, "a"), record(2, "again 10:00:02"), record(3, "again 10:00:03")].concat());
    let program = node.start();
    node.wait_until(&program, "the first line", |counts| counts.entries == 1);
    wait_for("the lines to be read", || (program.metric("pilcrow_repeated_lines_total", &[]) == 1.0).then_some(()));
    program.kill();
    append(&live, [record(4, "again 10:00:04"), record(5, "b")].concat());
    let program = node.start();
    wait_for("the equal lines", || (entries(&node, "web").len() == 2).then_some(()));
    let times =
        "(\"first\", \"2026-01-02T00:00:02.5Z\"), (\"last\", \"2026-01-02T00:00:04.5Z\"), (\"repeated\", \"3\")";
    assert_eq!(entries(&node, "web"), ["a []".to_owned(), format!("again 10:00:02 [{times}]")], "{}", program.log());
    node.assert_no_violations();
}

#[test]
fn the_last_line_of_a_stream_comes_when_its_window_is_over() {
    let node = node("dedupe: {window: 1s}\n");
    append(&node.container("web", "web").join("0.log"), record(1, "a"));
    let program = node.start();
    node.wait_until(&program, "the line", |counts| counts.entries == 1);
}

#[test]
fn what_a_budget_drops_is_counted_and_reported_and_errors_are_kept() {
    let node = node(
        "budgets:\n- {selector: '{container=\"loud\"}', rate: 1, burst: 100, action: drop, keep_levels: [error]}\n",
    );
    let (loud, quiet) = (node.container("web", "loud").join("0.log"), node.container("web", "quiet").join("0.log"));
    let line = |n: u64| format!("{:>10}", if n == 15 { "error".to_owned() } else { n.to_string() });
    let lines: String = (0..30).map(|n| record(n, &line(n))).collect();
    append(&loud, &lines);
    append(&quiet, &lines);
    let program = node.start();
    node.wait_until(&program, "the burst and an error", |counts| counts.entries >= 30 + 13);
    assert_eq!(program.metric("pilcrow_dropped_lines_total", &["reason=\"budget_drop\""]), 17.0);
    // At the end of the period or of the program, whichever comes first.
    assert!(program.terminate().success());
    let found = entries(&node, "loud");
    assert_eq!(found.len(), 14, "{found:#?}");
    assert!(found.iter().any(|entry| entry.starts_with("     error")), "{found:#?}");
    let report = found.last().unwrap();
    assert!(
        report.starts_with("pilcrow: 17 lines (170 bytes)") && report.contains("(\"dropped_lines\", \"17\")"),
        "{report}"
    );
    let program = node.start();
    append(&quiet, record(99, "last"));
    node.wait_until(&program, "the next line", |counts| counts.entries >= 45);
    assert_eq!(entries(&node, "loud").len(), 14, "{}", program.log());
    node.assert_no_violations();
}

#[test]
fn a_container_whose_budget_waits_waits_alone() {
    let node = node("budgets: [{selector: '{container=\"loud\"}', rate: 1, burst: 100}]\n");
    let (loud, quiet) = (node.container("web", "loud").join("0.log"), node.container("web", "quiet").join("0.log"));
    let lines: String = (0..30).map(|n| record(n, &format!("{n:>50}"))).collect();
    append(&loud, &lines);
    let program = node.start();
    node.wait_until(&program, "the burst", |counts| counts.entries == 3);
    append(&quiet, &lines);
    node.wait_until(&program, "the other container", |counts| counts.entries == 33);
    assert!(!settles(Duration::from_millis(600), || texts(&node, "loud").len() > 3));
    node.assert_no_violations();
}

#[test]
fn what_is_wrong_with_a_budget_is_reported_with_its_place() {
    let node = node(
        "dedupe: {window: 2h}\nbudgets:\n- {selector: '{a=\"b\"} |= \"x\"', rate: unlimited, burst: 0}\n\
         - {selector: 'x', rate: 1KiB/s, keep_levels: [error]}\n- {rate: 1KiB/s, action: drop, keep_levels: [eror]}\n",
    );
    let (code, text) = node.run("check", &[]);
    assert_eq!(code, Some(2), "{text}");
    for problem in [
        "dedupe.window: must be 0, or lie between 100ms and 1h",
        "budgets[0].selector: only labels are looked at here",
        "budgets[0].rate: must be set to a size per second",
        "budgets[0].burst: must lie between",
        "budgets[1].selector: expected {",
        "budgets[1].keep_levels: has no meaning with action: wait",
        "budgets[2].selector: must be set",
        "budgets[2].keep_levels[0]: expected one of trace, debug, info, warn, error, critical, fatal, unknown",
    ] {
        assert!(text.contains(problem), "{problem}\n{text}");
    }
}
