//! A line on its way through stages needs no memory of its own.

use collector::{
    config::StageConfig,
    pipeline::{Entry, Origin, Pairs, Pipeline},
};

use crate::only_the_first_round_allocates;

/// Lines that the stages take apart, and others.
const LINES: [&str; 5] = [
    r#"10.1.2.3 - bob [03/Mar/2026:10:02:11 +0100] "GET /cart HTTP/1.1" 200 5123 "-" "Mozilla/5.0 [x]" token=abc"#,
    r#"10.1.2.4 - - [03/Mar/2026:10:02:12 +0100] "GET /straße HTTP/1.1" 404 0 "-" "curl" token=abc token=def"#,
    r#"{"level":"info","msg":"a \"quoted\" text","trace_id":"7f2c","status":200,"ok":true,"o":{"a":[1,2]}}"#,
    r#"level=warn msg="a text" took=1.5s"#,
    "plain",
];

fn allocate_nothing(stages: &str) {
    let stages = StageConfig::list(stages).unwrap_or_else(|problems| panic!("{stages}: {problems:?}"));
    let mut pipeline = Pipeline::compile(&stages).unwrap();
    let mut labels = Pairs::from_iter([("app", "web"), ("namespace", "shop"), ("pod", "web-1")]);
    labels.mark();
    let mut state = pipeline.new_state(Origin { labels: &labels, ..Origin::default() });
    let (mut entry, mut bytes) = (Entry::default(), 0);
    only_the_first_round_allocates(&format!("{stages:?}"), || {
        for line in LINES.iter().cycle().take(600) {
            entry.labels.copy_from(&labels);
            entry.metadata.clear();
            entry.line.clear();
            entry.line.extend_from_slice(line.as_bytes());
            pipeline.process(&mut state, &mut entry, 0, &mut |entry| bytes += entry.line.len());
        }
    });
    assert!(bytes > 0);
}

#[test]
fn lines_through_stages_allocate_nothing_once_buffers_have_grown() {
    allocate_nothing(
        r#"
- regex: {expression: '^(?P<ip>\S+) - (?P<user>[^ ]*) \[(?P<time>.*)\] "(?P<method>\S+) (?P<path>[^"]*) HTTP/\d\.\d" (?P<status>\d+) '}
- timestamp: {source: time, format: '02/Jan/2006:15:04:05 -0700', action_on_failure: skip}
- replace: {expression: 'token=(\w+)', replace: '***'}
- structured_metadata: {user: , ip: }
- labels: {method: , status: }
- drop: {source: path, expression: '^/health'}
"#,
    );
    allocate_nothing(
        r#"
- json: {expressions: {level: , trace: trace_id, status: , ok: , o: , first: 'o.a[0]'}}
- logfmt: {mapping: {level: , took: }}
- match: {selector: '{app="web"} |~ "^level"', stages: [{labels: {level: }}]}
- output: {source: msg}
- structured_metadata: {trace: }
"#,
    );
    allocate_nothing("[{multiline: {firstline: '^(10|\\{|level)', max_lines: 3}}, {decolorize: }]");
}
