//! Lines that a position, a restart or a repetition could lose.

use std::{fs, time::Duration};

use rig::receiver::{Limits, Options, Refusal, Told};

use crate::program::{Node, append, record, settles, texts, wait_for, wait_for_a_save_of_now};

/// A record of a second with everything but its time.
fn at(second: u64, rest: &str) -> String {
    format!("2026-01-02T00:00:{second:02}.5Z {rest}\n")
}

fn wait_for_text(node: &Node, container: &str, text: &str) {
    wait_for(text, || texts(node, container).iter().any(|known| known == text).then_some(()));
}

#[test]
fn a_refused_stderr_line_between_the_pieces_of_a_stdout_line_is_sent_after_a_kill() {
    let limits = Limits::default().refuse_label("stream", "stderr", Refusal::unavailable()).told(Told::AnyStream);
    let node = Node::with_receiver(Options { limits, ..Options::default() });
    let live = node.container("web", "mixed").join("0.log");
    append(&live, at(1, "stdout P one half, ") + &at(2, "stderr F alone on stderr"));
    let program = node.start();
    node.wait_until(&program, "the refusal", |counts| counts.limited_entries > 0);
    append(&live, at(3, "stdout F the other half"));
    // Whether stdout may go on meanwhile is not the matter here, but where it does its position is saved.
    if settles(Duration::from_secs(3), || !texts(&node, "mixed").is_empty()) {
        let writes = || program.metric("pilcrow_checkpoint_writes_total", &[]);
        let before = writes();
        settles(Duration::from_secs(1), || writes() > before);
    }
    program.kill();
    node.receiver.set_limits(Limits::default());
    let program = node.start();
    append(&live, at(4, "stdout F after the restart"));
    wait_for_text(&node, "mixed", "after the restart");
    wait_for_text(&node, "mixed", "one half, the other half");
    wait_for_text(&node, "mixed", "alone on stderr");
    drop(program);
    node.assert_no_violations();
}

#[test]
fn an_unfinished_line_on_stderr_does_not_make_the_lines_of_stdout_come_again_after_a_kill() {
    const LINES: u64 = 3000;
    let node = Node::new();
    let live = node.container("web", "progress").join("0.log");
    append(&live, at(0, "stderr P 10% 20% 30% ") + &(0..LINES).map(|n| record(n, &format!("{n}"))).collect::<String>());
    let program = node.start();
    node.wait_until(&program, "the lines of stdout", |counts| counts.entries >= LINES);
    let lines = LINES + wait_for_a_save_of_now(&program, &live);
    program.kill();
    append(&live, record(1, "after the restart") + &at(50, "stderr F 100%"));
    let program = node.start();
    wait_for_text(&node, "progress", "after the restart");
    wait_for_text(&node, "progress", "10% 20% 30% 100%");
    let again = node.receiver.counts().entries - lines - 2;
    assert!(again < 100, "{again} lines came again\n{}", program.log());
    node.assert_no_violations();
}

#[test]
fn a_progress_bar_that_never_ends_its_line_and_never_falls_silent_is_given_out_by_age() {
    let node = Node::new();
    let live = node.container("web", "bar").join("0.log");
    append(&live, record(0, "first"));
    let program = node.start();
    wait_for_text(&node, "bar", "first");
    for minute in 1..=7 {
        append(&live, format!("2026-01-02T00:{minute:02}:00Z stderr P {minute}% \n"));
    }
    wait_for_text(&node, "bar", "1% 2% 3% 4% 5% 6% ");
    drop(program);
}

#[test]
fn the_equal_pieces_of_a_long_line_are_entries_of_their_own_and_the_same_ones_when_they_come_again() {
    const BYTES: usize = 1_000_000;
    let node = Node::new();
    let text = "a".repeat(BYTES);
    append(&node.container("web", "whole").join("0.log"), record(0, &text));
    let pieces = text.as_bytes().chunks(16_384).map(|piece| at(0, &format!("stdout P {}", "a".repeat(piece.len()))));
    append(&node.container("web", "pieces").join("0.log"), pieces.collect::<String>() + &at(0, "stdout F the end"));
    let lengths = || {
        let bytes = |container| texts(&node, container).iter().map(String::len).sum::<usize>();
        (bytes("whole"), bytes("pieces"))
    };
    for round in 1..=2 {
        let program = node.start();
        let enough = || lengths().0 >= BYTES && lengths().1 >= BYTES + 7;
        assert!(
            settles(Duration::from_secs(10), enough),
            "to Loki only {:?} bytes differ\n{}",
            lengths(),
            program.log()
        );
        let arrived = || node.receiver.streams().values().map(|stream| stream.arrived).sum::<u64>();
        let first = arrived();
        program.kill();
        fs::remove_dir_all(node.state()).unwrap();
        if round == 1 {
            let program = node.start();
            wait_for("the repetition", || (arrived() >= 2 * first).then_some(()));
            drop(program);
        }
        assert_eq!(lengths(), (BYTES, BYTES + 7), "a repetition is the same entries");
    }
    node.assert_no_violations();
}

#[test]
fn a_raw_line_that_is_sent_again_after_a_kill_has_the_same_time() {
    let mut node = Node::new();
    node.checkpoint_interval = "10m";
    append(&node.container("web", "known").join("0.log"), record(0, "known"));
    let program = node.start();
    node.wait_until(&program, "the first line", |counts| counts.entries == 1);
    // What was found at the start may be saved at once, what comes later is not saved before the kill.
    settles(Duration::from_secs(2), || program.metric("pilcrow_checkpoint_writes_total", &[]) >= 1.0);
    let [only, after] = ["only", "after"].map(|name| node.container("web", name).join("0.log"));
    append(&only, "a line without any time\n");
    append(&after, record(5, "a record") + "a line without any time\n");
    node.wait_until(&program, "the lines", |counts| counts.entries == 4);
    program.kill();
    append(&only, "another one\n");
    append(&after, "another one\n");
    let program = node.start();
    for container in ["only", "after"] {
        wait_for_text(&node, container, "another one");
        let of = |text: &str| texts(&node, container).iter().filter(|known| *known == text).count();
        assert_eq!(of("a line without any time"), 1, "{container}: to Loki it is two lines\n{}", program.log());
    }
    node.assert_no_violations();
}

#[test]
fn raw_lines_of_an_archive_that_are_sent_again_after_a_kill_have_the_same_time() {
    const LINES: usize = 4000;
    let slow = Options { answer_after: Duration::from_millis(100), ..Options::default() };
    let mut node = Node::with_receiver(slow);
    node.checkpoint_interval = "100ms";
    // Many batches, so that positions in the middle are saved.
    node.batch = "{age: 50ms, bytes: 8KiB}";
    let live = node.container("web", "packed").join("0.log");
    let line = |n: usize| format!("raw {n}");
    append(&live, record(5, "a record") + &(0..LINES).map(|n| line(n) + "\n").collect::<String>());
    let rotated = live.with_file_name("0.log.20260102-000001");
    fs::rename(&live, &rotated).unwrap();
    crate::program::compress(&rotated);
    append(&live, record(6, "the live file"));
    let program = node.start();
    node.wait_until(&program, "a part", |counts| counts.entries > 1000);
    settles(Duration::from_millis(300), || false);
    program.kill();
    assert!(node.receiver.counts().entries < LINES as u64, "nothing is left to be sent again");
    let program = node.start();
    wait_for_text(&node, "packed", "the live file");
    wait_for_text(&node, "packed", &line(LINES - 1));
    let texts = texts(&node, "packed");
    assert_eq!(texts.len(), LINES + 2, "to Loki a repetition is another line\n{}", program.log());
    node.assert_no_violations();
}
