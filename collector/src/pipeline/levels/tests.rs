//! Lines with the levels that they are of.

use proptest::prelude::*;

use super::*;
use crate::{
    config::StageConfig,
    pipeline::{Pipeline, Verdict},
};

fn level(text: &str) -> &'static str {
    of_text(text.as_bytes(), false, &mut Vec::new()).name()
}

#[track_caller]
fn assert_levels(table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(level(text), *expected, "{text}");
    }
}

#[test]
fn a_json_line_has_the_level_of_its_first_field_with_such_a_name() {
    assert_levels(&[
        (r#"{"level":"info","msg":"error"}"#, "info"),
        (r#" {"msg": "x", "Severity": "WARNING"} "#, "warn"),
        (r#"{"log.level":"Dbg"}"#, "debug"),
        (r#"{"SeverityText":"Information"}"#, "info"),
        (r#"{"lvl":"ERR"}"#, "error"),
        (r#"{"severity_text":"critical"}"#, "critical"),
        (r#"{"severity":"fatal","level":"info"}"#, "fatal"),
        (r#"{"l\u0065vel":"trc"}"#, "trace"),
        // To depth 2, in the order of the text.
        (r#"{"a":{"level":"debug"},"level":"info"}"#, "debug"),
        (r#"{"a":{"b":{"level":"debug"}},"level":"info"}"#, "info"),
        (r#"{"a":{"b":{"level":"x"}}}"#, "unknown"),
        (r#"{"a":[{"level":"debug"}],"level":"warn"}"#, "warn"),
        // Case matters, and only texts and the numbers of pino and bunyan are levels.
        (r#"{"leVel":"x"}"#, "unknown"),
        (r#"{"level":null,"lvl":"warn"}"#, "warn"),
        (r#"{"level":3,"severity":"warn"}"#, "warn"),
        // No known level: the words decide.
        (r#"{"level":"notice","msg":"an error"}"#, "error"),
        (r#"{"level":"notice","msg":"x"}"#, "unknown"),
        (r#"{"msg":"a","error":"b"}"#, "error"),
        // What follows the level is not looked at; what comes before has to be JSON.
        (r#"{"level":"info","msg":"x" error}"#, "info"),
        (r#"{"msg":x,"level":"info"}"#, "info"),
        (r#"{'level':'x'}"#, "unknown"),
    ]);
}

#[test]
fn numbers_from_10_to_60_are_levels_as_pino_and_bunyan_write_them() {
    assert_levels(&[
        (r#"{"level":10,"msg":"error"}"#, "trace"),
        (r#"{"level":20}"#, "debug"),
        (r#"{"level":30,"time":1531171074631,"msg":"no error found","pid":657}"#, "info"),
        (r#"{"level":35}"#, "info"),
        (r#"{"level":40}"#, "warn"),
        (r#"{"name":"x","level":50}"#, "error"),
        (r#"{"level":60}"#, "fatal"),
        (r#"{"level":61}"#, "unknown"),
        (r#"{"level":9}"#, "unknown"),
        (r#"{"level":100}"#, "unknown"),
        (r#"{"level":30.5}"#, "unknown"),
        ("level=50 msg=x", "error"),
    ]);
}

#[test]
fn a_logfmt_line_has_the_level_of_the_name_that_counts_most_in_any_case_of_letters() {
    assert_levels(&[
        ("ts=1 level=info msg=\"an error\"", "info"),
        ("severity=debug level=warn", "warn"),
        ("severity_text=debug LVL=warn", "warn"),
        ("lEvEl=\"Warning\"", "warn"),
        ("log.level=err x=1", "error"),
        ("level=notice msg=\"a warning\"", "warn"),
        ("level=notice", "unknown"),
        // A syntax error ends it; what was read before counts.
        ("severity=info a\"b level=error", "info"),
        ("a=b=c level=fatal", "fatal"),
        ("x=1 time=\"a", "unknown"),
    ]);
}

#[test]
fn headers_of_klog_and_priorities_of_syslog_are_levels() {
    assert_levels(&[
        ("I0102 15:04:05.678901       1 main.go:12] \"Failed\" err=\"x\"", "info"),
        ("W1231 23:59:59.000000   12345 reflector.go:533] watch error", "warn"),
        ("E0102 15:04:05.678901       1 leader.go:330] no lease", "error"),
        ("F0102 15:04:05.678901       1 x.go:1] gone", "fatal"),
        ("E0102 was the number", "unknown"),
        ("X0102 15:04:05.678901       1 x.go:1] x", "unknown"),
        ("E0102 15:04:0", "unknown"),
        ("<0>dead", "fatal"),
        ("<1>now", "critical"),
        ("<2>disk", "critical"),
        ("<3>no error", "error"),
        ("<4>x", "warn"),
        ("<5>x", "info"),
        ("<6>info", "info"),
        ("<7>x", "debug"),
        ("<34>1 2003-10-11T22:14:15.003Z host su - ID47 - 'su root' failed", "critical"),
        ("<191>x", "debug"),
        ("<192>x", "unknown"),
        ("<>x", "unknown"),
        ("<b>x", "unknown"),
        ("<1234>x", "unknown"),
        ("<3", "unknown"),
    ]);
}

#[test]
fn the_first_word_that_stands_alone_tells_the_level_of_a_text() {
    assert_levels(&[
        ("no error found", "error"),
        ("INFO an error", "info"),
        ("2026-01-02 10:00:00 [Warning] x", "warn"),
        ("Error: x", "error"),
        ("x (debug) y", "debug"),
        ("x|trace|y", "trace"),
        ("a 'critical' one", "critical"),
        ("a \"fatal\" one", "fatal"),
        ("x err", "error"),
        ("error", "error"),
        ("what an error!", "error"),
        ("{error}", "error"),
        ("a\tinfo,b", "info"),
        ("a\nWARN\n", "warn"),
        // Not alone.
        ("misc:error", "unknown"),
        ("errors", "unknown"),
        ("terror", "unknown"),
        ("error.", "unknown"),
        ("/error/", "unknown"),
        ("errors error", "error"),
        ("myinfo information warned", "unknown"),
        ("ä error", "error"),
        ("äerror", "unknown"),
        ("", "unknown"),
        ("plain text", "unknown"),
        ("= x", "unknown"),
    ]);
}

#[test]
fn standard_error_is_an_error_only_where_nothing_else_tells() {
    let on_stderr = |text: &str| of_text(text.as_bytes(), true, &mut Vec::new()).name();
    assert_eq!(on_stderr("cannot open x"), "error");
    assert_eq!(on_stderr(r#"{"msg":"x"}"#), "error");
    assert_eq!(on_stderr("listening, debug is off"), "debug");
    assert_eq!(on_stderr("level=info msg=x"), "info");
    // It has a level, though none that Loki knows.
    assert_eq!(on_stderr("level=notice msg=x"), "unknown");
    assert_eq!(on_stderr("I0102 15:04:05.678901       1 main.go:12] x"), "info");
}

/// What becomes of `detected_level`.
fn detected(stages: &str, line: &str, metadata: &[(&str, &str)], is_stderr: bool) -> String {
    let mut pipeline = Pipeline::compile(&StageConfig::list(stages).unwrap()).unwrap().with_levels(true);
    assert_eq!(pipeline.place(pipeline.len() - 1), "levels");
    let mut state = pipeline.new_state(Origin { is_stderr, ..Origin::default() });
    let mut entry = Entry {
        labels: Pairs::from_iter([("app", "web")]),
        metadata: metadata.iter().copied().collect(),
        line: line.into(),
        ..Entry::default()
    };
    let mut level = None;
    let outcome = pipeline.process(&mut state, &mut entry, 0, &mut |entry| {
        level = entry.metadata.get(DETECTED_LEVEL).map(str::to_owned);
    });
    assert_eq!(outcome.verdict, Verdict::Passed);
    level.unwrap()
}

#[test]
fn what_stages_found_counts_more_than_the_text() {
    let labels = "- json: {expressions: {l: }}\n- labels: {level: l}\n";
    assert_eq!(detected(labels, r#"{"l":"WRN","level":"error"}"#, &[], false), "warn");
    assert_eq!(detected(labels, r#"{"l":"Notice","level":"error"}"#, &[], true), "Notice");
    assert_eq!(detected(labels, r#"{"l":50,"level":"info"}"#, &[], false), "error");
    assert_eq!(detected(labels, r#"{"l":"","level":"info"}"#, &[], true), "info");
    assert_eq!(detected(labels, r#"{"l":"err"}"#, &[("level", "info")], false), "error");
    assert_eq!(detected("[]", "error", &[("lvl", "dbg"), ("severity", "inf")], false), "info");
    assert_eq!(detected(labels, r#"{"l":"err"}"#, &[(DETECTED_LEVEL, "INFORMATION")], false), "info");
    assert_eq!(detected("[]", "error", &[(DETECTED_LEVEL, "odd")], true), "odd");
    assert_eq!(detected("[]", "x", &[], true), "error");
    assert_eq!(detected("[]", "x", &[], false), "unknown");
}

#[test]
fn a_severity_number_of_opentelemetry_counts_more_than_the_text() {
    let numbers = [("1", "trace"), ("-1", "trace"), ("5", "debug"), ("9", "info"), ("16", "warn"), ("17", "error")];
    let others = [("24", "fatal"), ("25", "unknown"), ("0", "unknown"), ("x", "info")];
    for (number, expected) in numbers.into_iter().chain(others) {
        assert_eq!(detected("[]", "an error", &[(SEVERITY_NUMBER, number)], true), expected, "{number}");
    }
    assert_eq!(detected("[]", "x", &[(SEVERITY_NUMBER, "17"), ("level", "info")], false), "info");
}

#[test]
fn a_match_that_jumps_over_the_last_stages_jumps_to_the_level_and_not_over_it() {
    let stages = "- match: {selector: '{app=\"other\"}', stages: [{static_labels: {level: error}}]}\n";
    assert_eq!(detected(stages, "info", &[], false), "info");
}

proptest! {
    #[test]
    fn any_bytes_have_a_level_of_lokis(
        text in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "[IWEF<{\"= :.0-9lev\\\\}\\[\\]a-u>]{0,80}".prop_map(String::into_bytes),
            "\\{(\"(level|a|severity)\":(\"(info|x)\"|[0-9]{1,3}|\\{|\\}|null|\\[),?){0,8}\\}".prop_map(String::into_bytes),
        ],
        is_stderr: bool,
    ) {
        let level = of_text(&text, is_stderr, &mut Vec::new());
        prop_assert!(level == Level::Unknown || NAMES.iter().any(|(_, known)| *known == level));
    }

    #[test]
    fn a_word_between_others_tells_the_level_wherever_it_stands(
        before in "[a-z]{0,9}[ \\[(|]",
        word in prop::sample::select(WORDS.to_vec()),
        after in "([\\]):, ][g-z]{0,9})?",
    ) {
        let before = before.replace(['e', 'i', 'w', 't', 'd', 'f', 'c'], "x");
        let text = [before.as_bytes(), &word.0.to_ascii_uppercase(), after.as_bytes()].concat();
        prop_assert_eq!(of_text(&text, false, &mut Vec::new()), word.1);
    }
}
