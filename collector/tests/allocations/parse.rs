//! Parsing allocates nothing per line once its buffers have grown.

use collector::{
    config::Oversize,
    decode::{ContainerParser, Counts, Limits, Scratch},
    model::{Line, Position},
};

use crate::allocated;

/// Allocations while `log` is parsed a second time, and the lines that it gave.
fn allocations_when_warm(log: &str) -> (u64, u64) {
    let mut parser = ContainerParser::new(Limits { max_line_bytes: 256 << 10, oversize: Oversize::Split });
    let (mut scratch, mut counts, mut text_bytes) = (Scratch::default(), Counts::default(), 0);
    let mut allocations = 0;
    for _ in 0..2 {
        counts = Counts::default();
        let before = allocated();
        let at = Position { turn: 0, offset: 0 };
        let consumed = parser
            .feed(log.as_bytes(), at, &mut scratch, &mut counts, &mut |line: Line<'_>| text_bytes += line.text.len());
        allocations = allocated() - before;
        assert_eq!(consumed, log.len());
    }
    assert!(text_bytes > 0);
    (allocations, counts.lines)
}

const TIME: &str = "2026-11-22T11:09:06.123456789Z";

#[test]
fn cri_lines_allocate_nothing() {
    let log = format!("{TIME} stdout F hello\n{TIME} stderr F {}\n", "é".repeat(300)).repeat(500);
    assert_eq!(allocations_when_warm(&log), (0, 1000));
}

#[test]
fn lines_joined_from_pieces_allocate_nothing() {
    let piece = "x".repeat(16 << 10);
    let log = format!("{TIME} stdout P {piece}\n{TIME} stdout P {piece}\n{TIME} stdout F end\n").repeat(20);
    assert_eq!(allocations_when_warm(&log), (0, 20));
}

#[test]
fn docker_lines_as_dockerd_writes_them_allocate_nothing() {
    let record = |log: &str| format!("{{\"log\":\"{log}\",\"stream\":\"stdout\",\"time\":\"{TIME}\"}}\n");
    let log = (record(r"plain\n") + &record(r#"{\"level\":\"info\"}\t\u003c\n"#) + &record("par") + &record(r"tial\n"))
        .repeat(300);
    assert_eq!(allocations_when_warm(&log), (0, 900));
}

#[test]
fn docker_lines_of_any_shape_allocate_nothing() {
    let record =
        format!("{{\"time\":\"{TIME}\",\"attrs\":{{\"tag\":\"a\"}},\"stream\":\"stderr\",\"log\":\"a\\tb\\n\"}}\n");
    assert_eq!(allocations_when_warm(&record.repeat(300)), (0, 300));
}

#[test]
fn repaired_lines_allocate_nothing() {
    let mut parser = ContainerParser::new(Limits { max_line_bytes: 256 << 10, oversize: Oversize::Split });
    let (mut scratch, mut counts) = (Scratch::default(), Counts::default());
    let log = [TIME.as_bytes(), b" stdout F caf\xe9 \xff\n"].concat().repeat(300);
    let mut allocations = 0;
    for _ in 0..2 {
        let before = allocated();
        parser.feed(&log, Position { turn: 0, offset: 0 }, &mut scratch, &mut counts, &mut |_: Line<'_>| ());
        allocations = allocated() - before;
    }
    assert_eq!((allocations, counts.invalid_utf8_lines), (0, 600));
}

#[test]
fn an_idle_container_has_no_heap() {
    let before = allocated();
    let mut parser = ContainerParser::new(Limits { max_line_bytes: 256 << 10, oversize: Oversize::Split });
    let (mut scratch, mut counts) = (Scratch::default(), Counts::default());
    let allocations_of_scratch = allocated() - before;
    parser.feed(
        b"2026-11-22T11:09:06Z stdout F x\n",
        Position { turn: 0, offset: 0 },
        &mut scratch,
        &mut counts,
        &mut |_: Line<'_>| (),
    );
    assert_eq!(allocated() - before, allocations_of_scratch);
    assert!(std::mem::size_of::<ContainerParser>() <= 96);
}
