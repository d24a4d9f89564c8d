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
    for stages in [
        "[{logfmt: {mapping: {level: , took: }}}, {template: {source: level, template: '{{ ToUpper .Value | TrimSpace | printf \"%5s|%q|%d\" .took 7 }}'}}, {output: {source: level}}]",
        "[{json: {expressions: {status: , ok: }}}, {template: {source: x, template: '{{ if eq .status \"200\" }}{{ .ok }} {{ Sha2Hash .status \"salt\" }}{{ else }}{{ default \"-\" .status }}{{ end }}'}}, {structured_metadata: {x: }}]",
        "[{template: {source: x, template: '{{ regexReplaceAll \"([0-9]+) ?(x)?\" (Replace .Entry \"a\" \"bb\" -1) \"<$1>\" | trunc 20 }}'}}, {output: {source: x}}]",
        "[{template: {source: x, template: '{{ regexReplaceAll \"([a-z]+)=(?P<v>.)\" .Entry \"$${v}=$1\" }}'}}, {output: {source: x}}]",
        "[{replace: {expression: '(token)=(\\w+)', replace: '{{ .Value | ToLower | Hash \"s\" }}'}}]",
        "[{pattern: {pattern: '<ip> - <user> [<time>] \"<method> <_>', labels_from_groups: true}}, {labeldrop: [time]}]",
        "[{pack: {labels: [app, pod], ingest_timestamp: false}}]",
        "[{truncate: {rules: [{limit: 30, suffix: '…'}, {limit: 2, source_type: label}]}}]",
        "[{static_labels: {env: prod}}, {tenant: {label: app}}, {labelallow: [app, env]}]",
        "[{json: {regex: '^(l|m)'}}, {structured_metadata: {regex: '^l'}}, {structured_metadata_drop: [level]}]",
        "[{sampling: {rate: 0.5}}, {limit: {rate: 1000000, burst: 1000000, drop: true, by_label_name: app}}]",
        "[{metrics: {lines: {type: Counter, config: {match_all: true, action: inc}}, bytes: {type: Histogram, source: app, config: {buckets: [1, 2]}}}}]",
        "[{multiline: {preset: auto}}, {drop: {longer_than: 8KB}}, {match: {selector: '{app=\"web\"} !~ \"GET\"', action: drop}}]",
    ] {
        allocate_nothing(stages);
    }
}
