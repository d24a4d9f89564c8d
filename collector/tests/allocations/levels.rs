//! Finding the level of a line needs no memory of its own.

use collector::pipeline::{Entry, Pipeline};

use crate::allocated;

#[test]
fn levels_of_lines_of_all_kinds_allocate_nothing_once_buffers_have_grown() {
    let lines = [
        r#"{"time":"2026-01-02T00:00:00Z","a\u0062":{"x":1},"level":"info","msg":"x"}"#,
        r#"{"time":1531171074631,"level":30,"msg":"x"}"#,
        "ts=1 caller=\"a \\\"b\\\"\" level=warn msg=x",
        "E0102 15:04:05.678901       1 leader.go:330] no lease",
        "2026-01-02 10:00:00 [Warning] a text of some length, as lines are",
        "nothing",
    ];
    let mut pipeline = Pipeline::compile(&[]).unwrap().with_levels();
    let (mut state, mut entry, mut metadata) = (pipeline.new_state(), Entry::default(), 0);
    let mut round = || {
        let before = allocated();
        for line in lines.iter().cycle().take(600) {
            entry.metadata.clear();
            entry.line.clear();
            entry.line.extend_from_slice(line.as_bytes());
            pipeline.process(&mut state, &mut entry, 0, &mut |entry| metadata += entry.metadata.len());
        }
        allocated() - before
    };
    assert!(round() > 0, "the counter counts");
    assert_eq!(round(), 0);
    assert_eq!(metadata, 1200);
}
