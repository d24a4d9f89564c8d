//! What stages do together, on entries from their beginning to their end.

use super::*;
use crate::config::StageConfig;

const SECOND: i64 = 1_000_000_000;

struct Rig {
    pipeline: Pipeline,
    state: State,
    out: Vec<Entry>,
    lines: u64,
}

impl Rig {
    fn new(stages: &str) -> Self {
        let stages = StageConfig::list(stages).unwrap();
        let pipeline = Pipeline::compile(&stages).unwrap_or_else(|errors| panic!("{errors:?}"));
        let state = pipeline.new_state(Origin::default());
        Self { pipeline, state, out: Vec::new(), lines: 0 }
    }

    /// A line a second from the channel `{app="web"}`.
    fn line(&mut self, line: &str) -> Outcome {
        self.lines += 1;
        let now = self.lines as i64 * SECOND;
        let mut entry = Entry {
            at: (1, self.lines),
            logged_ns: now,
            timestamp_ns: now,
            labels: Pairs::from_iter([("app", "web")]),
            line: line.into(),
            ..Entry::default()
        };
        self.pipeline.process(&mut self.state, &mut entry, now, &mut |entry| self.out.push(entry.clone()))
    }

    fn texts(&self) -> Vec<&str> {
        self.out.iter().map(|entry| std::str::from_utf8(&entry.line).unwrap()).collect()
    }
}

fn errors(stages: &str) -> Vec<String> {
    let stages = StageConfig::list(stages).unwrap();
    Pipeline::compile(&stages).err().unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn json_labels_metadata_and_drop_work_together() {
    let mut rig = Rig::new(
        "- json: {expressions: {level: , trace: ids.trace}}\n- labels: {level: }\n- structured_metadata: {trace: }\n\
         - drop: {source: level, value: debug}\n",
    );
    assert_eq!(rig.line(r#"{"level":"debug"}"#).verdict, Verdict::Dropped("drop_stage"));
    assert_eq!(rig.line(r#"{"level":"info","ids":{"trace":"abc"}}"#).verdict, Verdict::Passed);
    assert_eq!(rig.out[0].labels.get("level"), Some("info"));
    assert_eq!(rig.out[0].metadata.get("trace"), Some("abc"));
    assert_eq!(rig.pipeline.drops().collect::<Vec<_>>(), [("drop_stage", 1)]);
}

#[test]
fn a_multiline_block_holds_the_position_of_its_first_line_and_goes_on_through_later_stages() {
    let mut rig =
        Rig::new("- multiline: {firstline: '^\\S'}\n- match: {selector: '{app=\"web\"}', stages: [{decolorize: }]}");
    assert_eq!(rig.line("a").verdict, Verdict::Held);
    assert_eq!(rig.line("\tb").verdict, Verdict::Held);
    assert_eq!((rig.state.held_from(), rig.state.held_bytes() >= 4), (Some((1, 1)), true));
    rig.line("c");
    assert_eq!((rig.texts(), rig.state.held_from()), (vec!["a\n\tb"], Some((1, 3))));
    assert_eq!((rig.out[0].at, rig.out[0].timestamp_ns), ((1, 1), SECOND));
    let due = rig.state.due_ns().unwrap();
    assert_eq!(due, 6 * SECOND);
    rig.pipeline.tick(&mut rig.state, due - 1, &mut |_| panic!("nothing is due yet"));
    rig.pipeline.tick(&mut rig.state, due, &mut |entry| rig.out.push(entry.clone()));
    assert_eq!((rig.texts(), rig.state.held_from()), (vec!["a\n\tb", "c"], None));
}

#[test]
fn a_multiline_block_ends_by_the_clock_of_the_log_while_a_backlog_is_read() {
    let mut rig = Rig::new("- multiline: {firstline: '^x', max_wait_time: 3s}");
    rig.line("x");
    rig.lines += 10;
    rig.line("y");
    rig.pipeline.finish(&mut rig.state, 0, &mut |entry| rig.out.push(entry.clone()));
    assert_eq!(rig.texts(), ["x", "y"]);
}

#[test]
fn auto_takes_the_preset_of_the_first_trace_and_tells_it_once() {
    let mut rig = Rig::new("- multiline: {preset: auto}");
    for line in
        ["a", " b", "java.lang.Error: x", "\tat a.B.c(B.java:5)", "Caused by: d.E: y", "\tat a.B.c(B.java:5)", "f"]
    {
        rig.line(line);
    }
    let note = Note { preset: "java", labels: "{}".into() };
    assert_eq!((rig.pipeline.take_notes(), rig.pipeline.take_notes()), (vec![note], vec![]));
    let trace = "java.lang.Error: x\n\tat a.B.c(B.java:5)\nCaused by: d.E: y\n\tat a.B.c(B.java:5)";
    assert_eq!(rig.texts(), ["a\n b", trace]);
}

#[test]
fn a_limit_without_drop_lets_the_entry_pass_and_says_how_long_to_wait() {
    let mut rig = Rig::new("- limit: {rate: 0.1, burst: 1}");
    let passed = |wait_until_ns| Outcome { verdict: Verdict::Passed, wait_until_ns };
    assert_eq!(rig.line("a"), passed(None));
    let waits = rig.line("b");
    assert_eq!(waits.verdict, Verdict::Passed);
    assert!((11 * SECOND..=11 * SECOND + 2).contains(&waits.wait_until_ns.unwrap()), "{waits:?}");
}

#[test]
fn a_line_that_is_sent_again_is_sampled_the_same_way() {
    let verdicts = |rig: &mut Rig| (0..1000).map(|i| rig.line(&format!("line {i}")).verdict).collect::<Vec<_>>();
    let stages = "- sampling: {rate: 0.25}";
    let first = verdicts(&mut Rig::new(stages));
    let kept = first.iter().filter(|verdict| **verdict == Verdict::Passed).count();
    assert!((200..300).contains(&kept), "{kept}");
    assert_eq!(first, verdicts(&mut Rig::new(stages)));
}

#[test]
fn a_label_overwrites_what_was_extracted_where_a_match_begins() {
    let mut rig = Rig::new(
        "- static_labels: {level: label}\n- json: {expressions: {level: }}\n\
         - match: {selector: '{app=\"web\"} |= \"y\"', stages: [{output: {source: level}}]}\n",
    );
    rig.line(r#"{"level":"y"}"#);
    rig.line(r#"{"level":"x"}"#);
    assert_eq!(rig.texts(), ["label", r#"{"level":"x"}"#]);
}

#[test]
fn cuts_fall_between_characters() {
    let mut rig = Rig::new("- truncate: {rules: [{limit: 5, suffix: '…'}]}");
    rig.line("äää");
    rig.line("äab");
    assert_eq!(rig.texts(), ["ä…", "äab"]);
}

#[test]
fn a_tenant_is_a_label_that_is_not_sent() {
    let mut rig = Rig::new("- tenant: {value: team-a}");
    rig.line("x");
    assert_eq!(rig.out[0].tenant(), Some("team-a"));
}

#[test]
fn metrics_count_by_labels_and_no_more_series_than_allowed() {
    let stages =
        StageConfig::list("- metrics: {lines: {type: Counter, config: {match_all: true, action: inc}}}\n").unwrap();
    let limits = compile::Limits { max_series: 1, ..Default::default() };
    let mut pipeline = Pipeline::compile_with(&stages, &limits).unwrap_or_else(|errors| panic!("{errors:?}"));
    let mut state = pipeline.new_state(Origin::default());
    for app in ["a", "a", "b"] {
        let mut entry = Entry { labels: Pairs::from_iter([("app", app), ("__hidden", "x")]), ..Entry::default() };
        pipeline.process(&mut state, &mut entry, 0, &mut |_| ());
    }
    let samples = pipeline.metrics().samples(0);
    assert_eq!(samples.len(), 1);
    assert_eq!(&*samples[0].name, "promtail_custom_lines");
    assert_eq!(samples[0].labels, [("app".to_owned(), "a".to_owned())]);
    assert_eq!(samples[0].measure, stages::metrics::Measure::Counter(2.0));
    assert_eq!(pipeline.metrics().refused(), 1);
}

#[test]
fn every_error_says_where_it_is() {
    assert_eq!(
        errors(
            "- json: {expresions: {a: }}\n- geoip: {}\n- match:\n    selector: '{a=\"b\"}'\n    stages:\n    - cri:\n    \
             - regex: {expression: '('}\n- timestmp: {}\n- drop: {}\n",
        ),
        [
            "pipeline_stages[0].json.expresions: unknown key; did you mean expressions?",
            "pipeline_stages[1].geoip: is not supported: a database of addresses does not belong on a node; look addresses up \
             in Grafana or where logs are read",
            "pipeline_stages[2].match.stages[1].regex.expression: is not a regular expression: unclosed group",
            "pipeline_stages[3].timestmp: unknown stage; did you mean timestamp?",
            "pipeline_stages[4].drop: needs at least one of source, expression, older_than and longer_than",
        ]
    );
}

#[test]
fn alloys_forms_are_accepted_too() {
    let mut rig = Rig::new(
        "- json: {regex: '^t_'}\n- label_keep: {values: [app]}\n- pattern: {pattern: '<_>\"t_a\":\"<a>\"'}\n\
         - labels: {values: {got: a}}\n- structured_metadata: {regex: '^t_'}\n",
    );
    rig.line(r#"{"t_a":"x","u":1}"#);
    assert_eq!(rig.out[0].labels.get("got"), Some("x"));
    assert_eq!(rig.out[0].metadata.get("t_a"), Some("x"));
}

#[test]
fn stages_allocate_nothing_once_their_memory_has_grown() {
    // Counted where the allocator can be replaced: collector/tests/allocations. Here: the memory does not move.
    let mut rig = Rig::new("- json: {expressions: {a: }}\n- labels: {a: }\n- drop: {source: a, value: x}\n");
    let mut entry = Entry::default();
    let mut places = Vec::new();
    for _ in 0..3 {
        entry.line.clear();
        entry.line.extend_from_slice(br#"{"a":"y"}"#);
        entry.labels.clear();
        rig.pipeline.process(&mut rig.state, &mut entry, 0, &mut |_| ());
        places.push(entry.labels.get("a").map(str::as_ptr));
    }
    assert_eq!(places[1], places[2]);
}
