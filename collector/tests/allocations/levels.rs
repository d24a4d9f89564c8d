//! Finding the level of a line needs no memory of its own.

use std::time::Duration;

use collector::pipeline::{Action, Budget, Entry, Level, Origin, Pipeline, Selector};

use crate::only_the_first_round_allocates;

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
    let mut pipeline = Pipeline::compile(&[]).unwrap().with_levels(true);
    let (mut state, mut entry, mut metadata) = (pipeline.new_state(Origin::default()), Entry::default(), 0);
    only_the_first_round_allocates("levels", || {
        for line in lines.iter().cycle().take(600) {
            entry.metadata.clear();
            entry.line.clear();
            entry.line.extend_from_slice(line.as_bytes());
            pipeline.process(&mut state, &mut entry, 0, &mut |entry| metadata += entry.metadata.len());
        }
    });
    assert_eq!(metadata, 1200);
}

#[test]
fn counts_repeats_and_budgets_allocate_nothing_per_line_once_buffers_have_grown() {
    let budget = Budget {
        selector: Selector::of_labels("{app=\"\"}").unwrap(),
        rate: 1,
        burst: 10_000,
        action: Action::Drop,
        keep_levels: vec![Level::Error],
    };
    let mut pipeline = Pipeline::compile(&[]).unwrap().with_levels(true).with_dedupe(Duration::from_secs(1));
    pipeline = pipeline.with_budgets(vec![budget]);
    let (mut state, mut entry, mut bytes) = (pipeline.new_state(Origin::default()), Entry::default(), 0);
    only_the_first_round_allocates("counts, repeats and budgets", || {
        for line in ["one line", "another line", "level=error x"].iter().cycle().take(6000) {
            entry.metadata.clear();
            entry.line.clear();
            entry.line.extend_from_slice(line.as_bytes());
            pipeline.process(&mut state, &mut entry, 0, &mut |entry| bytes += entry.line.len());
        }
    });
    assert!(bytes < 70_000, "{bytes}");
}
