use super::*;

const STAGES: &str = "pipeline_stages:\n\
    - json: {expressions: {level: , n: }}\n\
    - drop: {source: level, value: debug, drop_counter_reason: noise}\n\
    - match: {selector: '{app=\"web\"}', stages: [{labels: {level: }}]}\n\
    - multiline: {firstline: '^\\{'}\n\
    - structured_metadata: {n: }\n";

fn compiled(yaml: &str) -> Compiled {
    Compiled::parse(yaml, &|_| None).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn given(number: u64, text: &str) -> Given<'_> {
    let time_ns = 1_000_000 * number as i64;
    Given { number, time_ns, now_ns: time_ns, text: text.as_bytes() }
}

#[test]
fn what_each_stage_did_is_traced_to_its_place() {
    let compiled = compiled(STAGES);
    let mut rules = Rules::new(&compiled, true).unwrap();
    let mut channel = rules.channel_with(Stream::Stdout, Pairs::from_iter([("app", "web")]));
    let dropped = rules.line(&mut channel, given(1, r#"{"level":"debug"}"#));
    assert_eq!(dropped.len(), 1);
    assert_eq!(dropped[0].end, End::Dropped { reason: "noise", stage: 1 });
    assert_eq!(rules.place(1), "pipeline_stages[1].drop");
    let held = rules.line(&mut channel, given(2, r#"{"level":"info","n":1.5}"#));
    assert_eq!(held[0].end, End::Held { stage: 4 });
    let changes: Vec<_> =
        held[0].steps.iter().map(|step| (rules.place(step.stage), step.did, step.changes.clone())).collect();
    let extracted = |name: &str, text: &str| Change::Extracted(name.into(), Some(text.into()));
    let label = Change::Label("level".into(), Some("info".into()));
    assert_eq!(
        changes,
        [
            ("pipeline_stages[0].json".into(), Did::GoOn, vec![extracted("level", "\"info\""), extracted("n", "1.5")]),
            ("pipeline_stages[1].drop".into(), Did::GoOn, vec![]),
            ("pipeline_stages[2].match".into(), Did::GoOn, vec![]),
            ("pipeline_stages[2].match.stages[0].labels".into(), Did::GoOn, vec![label]),
            ("pipeline_stages[3].multiline".into(), Did::Hold, vec![]),
        ]
    );
}

#[test]
fn a_block_is_traced_before_the_line_that_ends_it_and_counts_once() {
    let compiled = compiled(STAGES);
    let mut rules = Rules::new(&compiled, true).unwrap();
    let mut channel = rules.channel_with(Stream::Stdout, Pairs::from_iter([("app", "db")]));
    rules.line(&mut channel, given(1, r#"{"n":1}"#));
    rules.line(&mut channel, given(2, "  more"));
    let traces = rules.line(&mut channel, given(3, r#"{"n":2}"#));
    let [block, line] = &traces[..] else { panic!("{traces:?}") };
    assert_eq!((block.number, block.held_by, block.before.as_str()), (1, Some(4), "{\"n\":1}\n  more"));
    let End::Sent(sent) = &block.end else { panic!("{block:?}") };
    assert_eq!(sent.metadata, [("n".to_owned(), "1".to_owned())]);
    assert_eq!((line.number, line.end.clone()), (3, End::Held { stage: 4 }));
    assert_eq!(line.steps.iter().filter(|step| step.did == Did::Hold).count(), 1);
    assert_eq!(rules.finish(&mut channel, 3_000_000).len(), 1);
    let counts = rules.counts();
    assert_eq!((counts.given.lines, counts.sent.lines, counts.streams()), (3, 2, 1));
    assert_eq!((counts.stages[4].came.lines, counts.stages[5].came.lines), (3, 2));
}

#[test]
fn labels_that_loki_would_not_take_are_shown_as_the_collector_sends_them() {
    let compiled = compiled("lines: {max_bytes: 256}\npipeline_stages: [{labeldrop: [app]}]\n");
    let mut rules = Rules::new(&compiled, false).unwrap();
    let mut channel = rules.channel_with(Stream::Stdout, Pairs::from_iter([("app", "web")]));
    let traces = rules.line(&mut channel, given(1, &"ä".repeat(200)));
    let End::Sent(sent) = &traces[0].end else { panic!("{traces:?}") };
    assert_eq!((sent.line.len(), sent.is_cut, sent.has_moved_labels), (256, true, true));
    assert_eq!(sent.labels, [("app".to_owned(), "web".to_owned())]);
}

#[test]
fn a_measurement_needs_lines_and_stages() {
    let with = compiled(STAGES);
    let mut rules = Rules::new(&with, false).unwrap();
    let mut channels = [rules.channel_with(Stream::Stdout, Pairs::from_iter([("app", "web")]))];
    let mut samples = Samples::default();
    assert_eq!(rules.measure(&mut channels, &samples), None);
    samples.add(0, &given(1, r#"{"level":"info"}"#));
    assert!(rules.measure(&mut channels, &samples).is_some());
    let without = compiled("");
    assert_eq!(Rules::new(&without, false).unwrap().measure(&mut channels, &samples), None);
}
