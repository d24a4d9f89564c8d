use super::*;
use crate::{mark::Shape, random::Random};

const AT: i64 = 1_700_000_000_000_000_000;

fn line(source: u32, sequence: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mark = Mark { source, sequence, timestamp_ns: AT + sequence as i64 };
    mark::write(&mut out, mark, Shape::Json, 180, &mut Random::new(sequence));
    out
}

fn ledger(lines: &[u64]) -> Ledger {
    let ledger = Ledger::default();
    for (i, lines) in lines.iter().enumerate() {
        let source = ledger.add_source(format!("default/web/c{i} stdout"));
        ledger.add_lines(source, *lines, 180 * lines);
    }
    ledger
}

fn arrived(lines: &[(u32, u64)]) -> Tally {
    let mut tally = Tally::default();
    for (source, sequence) in lines {
        let timestamp_ns = AT + *sequence as i64;
        tally.record(*source, timestamp_ns, &line(*source, *sequence), timestamp_ns + 5_000_000);
    }
    tally
}

#[test]
fn lines_that_all_arrived_once_and_in_order_are_complete() {
    let report = arrived(&[(0, 0), (1, 0), (0, 1), (0, 2), (1, 1)]).compare(&ledger(&[3, 2]));
    assert!(report.is_complete(), "{report}");
    assert_eq!((report.written, report.acknowledged, report.faults.repeated), (5, 5, 0));
    assert_eq!(report.latency.quantile(0.5).as_millis(), 5);
}

#[test]
fn missing_lines_are_counted_and_named_wherever_they_are() {
    for absent in 0..4 {
        let present: Vec<_> = (0..4).filter(|s| *s != absent).map(|s| (0, s)).collect();
        let report = arrived(&present).compare(&ledger(&[4, 0]));
        assert!(!report.is_complete());
        assert_eq!((report.missing, report.acknowledged, report.faults.out_of_order), (1, 3, 0));
        assert_eq!(report.missing_examples, [format!("default/web/c0 stdout: {absent} to {absent}, of 4")]);
    }
    let report = arrived(&[(0, 0)]).compare(&ledger(&[1, 7]));
    assert_eq!(report.missing, 7);
}

#[test]
fn a_repeated_line_is_counted_once_as_acknowledged_and_allowed() {
    let report = arrived(&[(0, 0), (0, 1), (0, 0), (0, 1), (0, 2)]).compare(&ledger(&[3]));
    assert!(report.is_complete());
    assert_eq!((report.acknowledged, report.faults.repeated, report.faults.out_of_order), (3, 2, 0));
}

#[test]
fn a_line_that_first_arrives_after_a_later_one_is_out_of_order() {
    let report = arrived(&[(0, 0), (0, 2), (0, 1), (0, 3)]).compare(&ledger(&[4]));
    assert!(!report.is_complete());
    assert_eq!((report.missing, report.faults.out_of_order), (0, 1));
}

#[test]
fn a_repeat_with_other_labels_is_noticed_but_new_lines_may_have_new_labels() {
    let mut tally = arrived(&[(0, 0), (0, 1)]);
    assert!(tally.record(77, AT + 2, &line(0, 2), AT));
    assert!(!tally.record(77, AT + 2, &line(0, 2), AT));
    assert!(!tally.record(0, AT, &line(0, 0), AT));
    assert_eq!(tally.faults().moved, 0);
    assert!(!tally.record(77, AT + 1, &line(0, 1), AT));
    assert_eq!(tally.faults().moved, 1);
    assert!(!tally.compare(&ledger(&[3])).is_complete());
}

#[test]
fn damaged_unmarked_and_mistimed_lines_are_told_apart() {
    let mut tally = Tally::default();
    tally.record(0, AT, &line(0, 0)[..100], AT);
    tally.record(0, AT, b"panic: no mark", AT);
    tally.record(0, AT + 1, &line(0, 0), AT);
    let faults = tally.faults();
    assert_eq!((faults.damaged, faults.unmarked, faults.wrong_timestamps), (1, 1, 1));
    assert!(!tally.compare(&ledger(&[1])).is_complete());
}

#[test]
fn a_runtime_s_timestamp_lies_between_the_writing_and_the_arrival() {
    let mut tally = Tally::new(Stamps::Runtime);
    for (sequence, (stamped, arrived)) in [(0, 0), (7, 9), (9, 9), (-1, 9), (10, 9)].into_iter().enumerate() {
        let written = AT + sequence as i64;
        tally.record(0, written + stamped, &line(0, sequence as u64), written + arrived);
    }
    assert_eq!(tally.faults().wrong_timestamps, 2);
}

#[test]
fn lines_that_nobody_wrote_are_unknown() {
    assert_eq!(arrived(&[(0, 0), (0, 1), (3, 0)]).compare(&ledger(&[1])).unknown, 2);
}

#[test]
fn refused_lines_are_not_missing() {
    let mut tally = arrived(&[(0, 0), (0, 2)]);
    tally.record_refused(&line(0, 1));
    let report = tally.compare(&ledger(&[3]));
    assert_eq!((report.missing, report.refused), (0, 1));
    assert!(!report.is_complete() && report.is_complete_but_for_refused());
    tally.record(0, AT + 1, &line(0, 1), AT);
    let report = tally.compare(&ledger(&[3]));
    assert_eq!((report.refused, report.faults.out_of_order), (0, 0), "it came again and was taken");
    assert!(report.is_complete());
}

#[test]
fn a_source_has_all_its_lines_before_the_first_gap() {
    let mut tally = arrived(&[(0, 0), (0, 1), (0, 3), (1, 0)]);
    assert!(tally.has_all(&[(0, 2), (1, 1)]) && tally.has_all(&[(2, 0)]));
    assert!(!tally.has_all(&[(1, 1), (0, 3)]) && !tally.has_all(&[(2, 1)]));
    tally.record_refused(&line(0, 2));
    assert!(tally.has_all(&[(0, 4)]) && !tally.has_all(&[(0, 5)]));
}
