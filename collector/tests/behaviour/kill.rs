//! kill -9 at any moment loses nothing.

use crate::program::{Node, append, record, texts};

#[test]
fn kills_in_the_middle_lose_no_line_and_repeat_only_identical_ones() {
    let node = Node::new();
    let live = node.container("web", "killed").join("0.log");
    let mut program = node.start();
    for round in 0..10 {
        let lines: String =
            (0..2000).map(|n| record(round * 2000 + n, &format!("line {}", round * 2000 + n))).collect();
        append(&live, lines);
        // At another place of the way in each round.
        let reached = round * 1900;
        node.wait_until(&program, "some lines", |counts| counts.entries >= reached);
        program.kill();
        program = node.start();
    }
    node.wait_until(&program, "all lines", |counts| counts.entries >= 20_000);
    crate::program::wait_for("every line", || (texts(&node, "killed").len() >= 20_000).then_some(()));
    let expected: Vec<_> = (0..20_000).map(|n| format!("line {n}")).collect();
    assert_eq!(texts(&node, "killed"), expected);
    node.assert_no_violations();
}

/// The fingerprint of an empty file says nothing: it has to be taken again before the position is saved.
#[test]
fn a_file_that_was_empty_when_it_was_found_is_known_after_a_kill() {
    let node = Node::new();
    let live = node.container("web", "empty").join("0.log");
    append(&live, "");
    let program = node.start();
    crate::program::wait_for("readiness", || program.get("/ready").filter(|(status, _)| *status == 200));
    append(&live, (0..10).map(|n| record(n, &format!("line {n}"))).collect::<String>());
    node.wait_until(&program, "the lines", |counts| counts.entries == 10);
    crate::program::wait_for("a saved position", || {
        let saved = std::fs::read_to_string(node.state().join("checkpoint")).ok()?;
        let len = std::fs::metadata(&live).unwrap().len();
        saved.contains(&format!("\"offset\":{len}")).then_some(())
    });
    program.kill();
    let program = node.start();
    append(&live, record(10, "line 10"));
    node.wait_until(&program, "the new line", |counts| counts.entries >= 11);
    assert_eq!(texts(&node, "empty").last().unwrap(), "line 10");
    assert_eq!(node.receiver.counts().entries, 11, "nothing twice\n{}", program.log());
}
