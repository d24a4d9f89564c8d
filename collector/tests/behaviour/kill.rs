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
