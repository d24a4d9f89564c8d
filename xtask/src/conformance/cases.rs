//! Hand-written pipelines, for each field of each stage. Each runs over all of the [`LINES`].

use super::{FIRST_NS, Request, real::REAL};

/// Lines as they occur, and lines that are hard to read.
pub const LINES: [&str; 44] = [
    r#"{"level":"info","msg":"started","status":200,"took":"12ms","ok":true,"none":null}"#,
    r#"{"level":"debug","a":{"b":{"c":[1,2.5,{"d":"x"}]}},"ts":"2023-11-14T22:13:20.5Z","user-agent":"curl/8"}"#,
    r#"{"level":"ERROR","msg":"a \"quoted\" <b>&</b> \u00e4 \ud83d\ude00 \n end","status":"500","n":-0.5,"big":12345678901234567890}"#,
    r#"{ "level" : "warn" , "unix" : 1700000000 , "f" : 1e3, "tiny":0.0000001, "list":[], "obj":{} }"#,
    r#"{"level":"info","level":"twice","msg":""}"#,
    r#"{"level":"info"} trailing"#,
    r#"{"level":"in"#,
    r#"{"a":01}"#,
    r#"{"a":1,}"#,
    r#"["level","info"]"#,
    "null",
    "\"text\"",
    "{}",
    "",
    " ",
    r#"level=info msg="hello world" status=200 took=1.5s ts=1700000000.25 path=/x"#,
    r#"level=error err="bad \"thing\" \u00e4\n" empty= flag status=500"#,
    r#"level=debug =bad x=1"#,
    r#"level=warn a"b=2 c=3"#,
    "level=info x=1\nlevel=second y=2",
    r#"key="unterminated"#,
    r#"127.0.0.1 - frank [14/Nov/2023:22:13:20 +0000] "GET /index.html HTTP/1.1" 200 2326 "-" "Mozilla/5.0""#,
    r#"10.0.0.9 - - [01/Jan/2024:00:00:00 +0100] "POST /a?b=c HTTP/2" 503 0 "https://x.y/" "k6""#,
    "2023-11-14 22:13:20,123 ERROR [main] com.example.App: failed",
    "java.lang.IllegalStateException: no",
    "\tat com.example.App.run(App.java:15)",
    "\tat com.example.App.main(App.java:5)",
    "Caused by: java.io.IOException: disk",
    "2023-11-14 22:13:21.000 INFO  [main] com.example.App: on",
    "Nov 14 22:13:20 host sshd[123]: Failed password for root from 10.1.2.3 port 22",
    "I1114 22:13:20.123456       1 main.go:10] klog line",
    "time=2023-11-14T22:13:20Z level=info msg=ok",
    "\u{1b}[31mred\u{1b}[0m plain \u{1b}[1;32mgreen\u{1b}[m",
    "\u{1b}]0;title\u{7}text",
    "ünïcödé ✓ 日本語 line",
    "replacement \u{fffd}\u{fffd} characters",
    "tabs\tand  blanks ",
    "11.11.11.11 - \"FRANK\" - \"22.22.22.22\" - \"frank\"",
    "password=secret token=abc123 password=again",
    "aaa",
    "x=1 y=2",
    "1700000000000",
    "2023-02-30T00:00:00Z",
    "a very long line: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

const JSON: &str = "- json: {expressions: {level: , msg: , status: , took: , ok: , none: , ts: , unix: , n: , f: }}\n";
const LOGFMT: &str = "- logfmt: {mapping: {level: , msg: , status: , took: , ts: , err: , empty: , flag: , x: }}\n";
const ACCESS: &str = "- regex: {expression: '^(?P<ip>\\S+) (?P<id>\\S+) (?P<user>\\S+) \\[(?P<time>[^\\]]+)\\] \"(?P<method>\\S+) \
                      (?P<path>\\S+)( (?P<proto>[^\"]+))?\" (?P<status>\\d{3}) (?P<size>\\d+)'}\n";
const WORDS: &str = "- regex: {expression: '^(?P<first>\\S*)\\s?(?P<rest>.*)$'}\n";

/// Pipelines behind none of the above.
const ALONE: [&str; 62] = [
    "- json: {expressions: {level: level}}",
    "- json: {expressions: {l: level, c0: 'a.b.c[0]', c1: 'a.b.c[1]', d: 'a.b.c[2].d', last: 'a.b.c[-1].d', none: 'a.b.c[7]'}}",
    "- json: {expressions: {ua: '\"user-agent\"', a: , b: a.b, list: , obj: , big: , tiny: }}",
    "- json: {expressions: {app: }}\n- labels: {app: }",
    "- json: {expressions: {level: }, drop_malformed: true}",
    "- json: {expressions: {msg: }}\n- json: {expressions: {inner: msg}, source: msg}",
    "- json: {expressions: {level: }, source: missing, drop_malformed: true}",
    "- json: {expressions: {}}",
    "- json: {source: ''}",
    "- json: {expressions: {n: 'length(a)'}}",
    "- json: {expresions: {a: }, expressions: {a: }}",
    "- logfmt: {mapping: {level: , m: msg}}",
    "- logfmt: {mapping: {}}",
    "- logfmt: {mapping: {a: b}, source: app}",
    "- regex: {expression: '(?P<a>a+)(?P<b>b)?'}\n- labels: {a: , b: }",
    "- regex: {expression: '(?P<app>\\d+)'}\n- output: {source: app}",
    "- regex: {expression: '(?i)(?P<word>error|INFO)'}\n- template: {source: word, template: '{{ ToLower .Value }}'}\n- labels: {word: }",
    "- regex: {expression: 'web-(?P<n>\\d)', source: pod}\n- labels: {n: }",
    "- regex: {expression: '('}",
    "- regex: {expression: ''}",
    "- regex: {expression: '\\bpassword\\b.(?P<p>[[:word:]]+)'}",
    "- regex: {expression: '^{(?P<inner>.*)}$'}",
    "- regex: {expression: '(?P<w>[^\\W\\d_]+)\\s(?P<u>\\pL+)'}",
    "- replace: {expression: 'password=(\\S+)', replace: '****'}",
    "- replace: {expression: '(\\d{2}.\\d{2}.\\d{2}.\\d{2}) - \"(?P<who>\\S+?)\"', replace: '[{{ .Value | ToLower }}]'}\n- labels: {who: }",
    "- replace: {expression: '(a(a))', replace: 'b'}",
    "- replace: {expression: 'a', replace: 'b'}",
    "- replace: {expression: '(a*)', replace: '<{{ .Value }}>'}",
    "- replace: {expression: '(\\S+)', replace: '{{ .missing }}{{ .app }}'}",
    "- replace: {expression: '(w)', source: app, replace: 'W'}\n- labels: {app: }",
    "- replace: {expression: '(?P<x>x)|(?P<y>y)', replace: '{{ if eq .Value \"x\" }}1{{ else }}2{{ end }}'}\n- output: {source: 'y'}",
    "- replace: {expression: '(l)evel'}",
    "- template: {source: new, template: '{{ .app }}-{{ .pod }}-{{ .missing }}'}\n- labels: {new: }",
    "- template: {source: app, template: '{{ if eq .Value \"web\" }}W{{ end }}{{ .Entry | trunc 5 }}'}\n- output: {source: app}",
    "- template: {source: app, template: ''}\n- labels: {app: }",
    "- template: {source: h, template: '{{ Hash \"salt\" .app }} {{ .app | Sha2Hash \"salt\" }}'}\n- output: {source: h}",
    "- template: {source: t, template: '{{ Replace .pod \"-\" \"_\" 1 }}|{{ Trim .pod \"w1\" }}|{{ TrimLeft .pod \"we\" }}|{{ TrimRight .pod \"1-\" }}|{{ TrimPrefix .pod \"web\" }}|{{ TrimSuffix .pod \"1\" }}'}\n- output: {source: t}",
    "- template: {source: t, template: '{{ regexReplaceAll \"(e)b\" .pod \"${1}x\" }}{{ regexReplaceAllLiteral \"e\" .pod \"$1\" }}'}\n- output: {source: t}",
    "- template: {source: t, template: '{{ default \"d\" .missing }}{{ contains \"e\" .app }}{{ hasPrefix \"w\" .app }}{{ hasSuffix \"x\" .app }}{{ printf \"%5s|%-4s|%s\" .app .app .pod }}'}\n- output: {source: t}",
    "- template: {source: t, template: '{{ ToUpper .missing }}'}\n- output: {source: t}",
    "- template: {source: t, template: '{{ if and .app (not .missing) }}A{{ else if or .pod .x }}B{{ else }}C{{ end }} {{- \" x \" -}} y'}\n- output: {source: t}",
    "- template: {source: t, template: '{{ if eq .missing \"a\" }}yes{{ else }}no{{ end }}{{ ne .app \"web\" }}'}\n- output: {source: t}",
    "- template: {source: t, template: '{{ range .app }}{{ end }}'}",
    "- template: {source: t, template: '{{ nofunction .app }}'}",
    "- static_labels: {env: prod, empty: '', none: , num: '5'}",
    "- labeldrop: [pod, other]",
    "- labelallow: [pod]",
    "- labeldrop: []",
    "- decolorize:",
    "- pack: {labels: [app, pod, missing], ingest_timestamp: false}",
    "- pack: {labels: [app]}",
    "- tenant: {value: t1}",
    "- tenant: {label: app}\n- labeldrop: [app]",
    "- tenant: {source: missing}",
    "- tenant: {source: a, value: b}",
    "- tenant: {source: pod}\n- labelallow: [pod]",
    "- limit: {rate: 0.001, burst: 7, drop: true}",
    "- limit: {rate: 0, burst: 7}",
    "- limit: {rate: 1, burst: 1, by_label_name: app}",
    "- limit: {rate: 0.001, burst: 3, drop: true, by_label_name: pod}",
    "- sampling: {rate: 0.5}",
    "- sampling: {rate: 1}\n- sampling: {rate: 0, drop_counter_reason: none_left}",
];

const CHOOSING: [&str; 30] = [
    "- drop: {expression: 'level'}",
    "- drop: {longer_than: 40}",
    "- drop: {longer_than: 1kb}",
    "- drop: {longer_than: 1KiB}",
    "- drop: {older_than: 1h, drop_counter_reason: old}",
    "- drop: {older_than: 1000000h}",
    "- drop: {older_than: 1d}",
    "- drop: {source: app}",
    "- drop: {source: [app, missing]}",
    "- drop: {source: app, value: web}",
    "- drop: {source: [app, pod], value: 'web;web-1'}",
    "- drop: {source: [app, missing, pod], separator: '#', expression: '^web#web-1$'}",
    "- drop: {source: missing, value: ''}",
    "- drop: {source: app, expression: 'w.b', longer_than: 20}",
    "- drop: {value: x}",
    "- drop: {source: app, value: x, expression: x}",
    "- drop: {}",
    "- match: {selector: '{app=\"web\"}', action: drop}",
    "- match: {selector: '{app=~\"w.*\",pod!=\"x\"} |= \"level\" != \"debug\"', action: drop, drop_counter_reason: why}",
    "- match: {selector: '{app=\"web\"} |~ \"err|ERR\" !~ \"x{2,}\"', stages: [{static_labels: {hit: 'yes'}}]}\n- static_labels: {after: all}",
    "- match: {selector: '{other=\"\"}', stages: [{labeldrop: [app]}, {match: {selector: '{app=\"\"}', action: drop}}]}",
    "- match: {selector: '{app!~\"web\"}', stages: [{output: {source: pod}}]}",
    "- match: {selector: '{app=\"web\"}'}",
    "- match: {selector: '{app=\"web\"}', action: drop, stages: [{output: {source: pod}}]}",
    "- match: {selector: 'app', action: drop}",
    "- match: {selector: '{app=\"web\"} | json', action: drop}",
    "- match: {selector: '{app=`web`}', action: drop}",
    "- match: {selector: '{app=\"web\"}', action: keep, pipeline_name: ''}",
    "- match: {selector: '', action: drop}",
    "- match: {selector: '{app=\"web\"} != \"a\" |= \"e\"', action: none}",
];

const BLOCKS: [&str; 9] = [
    "- multiline: {firstline: '^\\S'}",
    "- multiline: {firstline: '^\\d{4}-', max_wait_time: 10s}",
    "- multiline: {firstline: '^\\d{4}-', max_lines: 3, max_wait_time: 10s}",
    "- multiline: {firstline: '^\\{', max_lines: 1}",
    "- multiline: {firstline: 'never'}",
    "- structured_metadata: {pod: }\n- multiline: {firstline: '^\\S'}",
    "- multiline: {firstline: '^\\S'}\n- drop: {longer_than: 100}\n- metrics: {blocks: {type: Counter, config: {match_all: true, action: inc}}}",
    "- multiline: {}",
    "- multiline: {firstline: '('}",
];

/// Behind each of the parsers.
const BEHIND: [&str; 25] = [
    "- labels: {level: , code: status, none: }",
    "- labels: {bad-name: level}",
    "- structured_metadata: {level: , app: , renamed: status, none: }",
    "- structured_metadata: {pod: pod}\n- structured_metadata: {pod: level}",
    "- labels: {pod: level}\n- structured_metadata: {pod: }",
    "- output: {source: msg}",
    "- output: {source: none}",
    "- template: {source: level, template: '{{ .Value | ToUpper }}:{{ .status }}'}\n- output: {source: level}",
    "- drop: {source: level, value: debug}",
    "- drop: {source: none}",
    "- drop: {source: [level, none], expression: 'x'}",
    "- drop: {source: [level, status], expression: '^(info|warn);'}",
    "- tenant: {source: level}",
    "- pack: {labels: [level, msg, none, app], ingest_timestamp: false}",
    "- replace: {source: msg, expression: '(o+)', replace: '{{ .level }}'}\n- output: {source: msg}",
    "- metrics: {status: {type: Counter, description: d, config: {action: inc}}}",
    "- json: {expressions: {level: level}}\n- tenant: {source: level}\n- metrics: {tenants: {type: Counter, config: {match_all: true, action: inc}}}",
    "- metrics: {fives: {type: counter, source: status, prefix: my_, config: {action: inc, value: '500'}}}",
    "- metrics: {took_total: {type: Counter, source: took, config: {action: add}}}",
    "- metrics: {bytes: {type: Counter, config: {match_all: true, count_entry_bytes: true, action: add}}}",
    "- metrics: {g: {type: Gauge, source: status, config: {action: set}}, h: {type: Gauge, source: ok, config: {action: add}}, i: {type: Gauge, source: x, config: {action: sub}}}",
    "- metrics: {up: {type: Gauge, source: level, config: {action: inc}}, down: {type: Gauge, source: none, config: {action: dec}}}",
    "- metrics: {t: {type: Histogram, source: took, config: {buckets: [0.001, 0.01, 1, 10]}}}",
    "- labels: {level: }\n- metrics: {n: {type: Counter, source: none, config: {action: inc}}}",
    "- match: {selector: '{app=\"web\"}', stages: [{labels: {level: }}, {match: {selector: '{level=~\"err.*\"}', action: drop}}]}",
];

/// Formats with texts for them.
const TIMES: [(&str, &str, &str); 34] = [
    ("RFC3339", "2023-11-14T22:13:20Z", ""),
    ("RFC3339", "2023-11-14T22:13:20.123456789+02:00", ""),
    ("RFC3339Nano", "2023-11-14T22:13:20.5Z", ""),
    ("ANSIC", "Tue Nov 14 22:13:20 2023", ""),
    ("ANSIC", "Tue Nov  4 22:13:20 2023", ""),
    ("UnixDate", "Tue Nov 14 22:13:20 UTC 2023", ""),
    ("UnixDate", "Tue Nov 14 22:13:20 CET 2023", ""),
    ("RubyDate", "Tue Nov 14 22:13:20 +0100 2023", ""),
    ("RFC822", "14 Nov 23 22:13 GMT", ""),
    ("RFC822Z", "14 Nov 23 22:13 -0500", ""),
    ("RFC850", "Tuesday, 14-Nov-23 22:13:20 UTC", ""),
    ("RFC1123", "Tue, 14 Nov 2023 22:13:20 GMT+3", ""),
    ("RFC1123Z", "Tue, 14 Nov 2023 22:13:20 +0000", ""),
    ("Unix", "1700000000", ""),
    ("Unix", "1700000000.123", ""),
    ("Unix", "1700000000.1.2", ""),
    ("Unix", "-5.25", ""),
    ("UnixMs", "1700000000123", ""),
    ("UnixUs", "1700000000123456", ""),
    ("UnixNs", "1700000000123456789", ""),
    ("UnixNs", "x", ""),
    ("2006-01-02 15:04:05", "2023-07-01 12:00:00", "Europe/Berlin"),
    ("2006-01-02 15:04:05", "2023-01-01 12:00:00,25", "America/New_York"),
    ("2006-01-02 15:04:05 MST", "2023-07-01 12:00:00 CEST", "Europe/Berlin"),
    ("2006-01-02 15:04:05.000", "2023-07-01 12:00:00.5", ""),
    ("2006-01-02 15:04:05.000", "2023-07-01 12:00:00.500", ""),
    ("02/Jan/2006:15:04:05 -0700", "14/Nov/2023:22:13:20 +0000", ""),
    ("Jan _2 15:04:05", "Jun 14 22:13:20", ""),
    ("Jan 2 15:04:05", "Jan 02 22:13:20", "Asia/Tokyo"),
    ("2006/1/2 3:04:05 PM", "2023/11/14 10:13:20 PM", ""),
    ("2006-002", "2023-318", ""),
    ("06-01-02", "70-01-01", ""),
    ("2006-01-02", "2023-02-29", ""),
    ("RFC3339", "2023-11-14T22:13:20Z", "No/Where"),
];

pub fn all() -> Vec<Request> {
    let lines = || LINES.iter().map(|line| line.as_bytes());
    let mut all: Vec<Request> =
        ALONE.iter().chain(&CHOOSING).chain(&BLOCKS).map(|stages| Request::new(stages, lines())).collect();
    for parser in [JSON, LOGFMT, ACCESS, WORDS] {
        all.extend(BEHIND.iter().map(|stages| Request::new(&format!("{parser}{stages}"), lines())));
    }
    for (format, text, location) in TIMES {
        let location = if location.is_empty() { String::new() } else { format!(", location: {location}") };
        for action in [", action_on_failure: skip", ", action_on_failure: fudge", ", fallback_formats: [RFC3339, Unix]"]
        {
            let stages = format!(
                "- regex: {{expression: '^(?P<t>.*)$'}}\n- timestamp: {{source: t, format: '{format}'{location}{action}}}"
            );
            let given = [text, "no time", "nor this", "2023-11-14T22:13:20Z", text, "1700000000"];
            all.push(Request::new(&stages, given.map(str::as_bytes)));
        }
    }
    for (_, stages, lines) in REAL {
        all.push(Request::new(stages, lines.iter().map(|line| line.as_bytes())));
    }
    let members: &[u8] = br#"{"o":{"a":1,"b":[{"x":1,"y":2}],"c":"<d>","e":null}}"#;
    all.push(Request::new("- json: {expressions: {o: }}", [members; 20]));
    let metadata = Request::new("- labels: {x: pod}", lines());
    all.push(with_metadata(metadata));
    all.push(with_metadata(Request::new("- structured_metadata: {given: app}", lines())));
    all
}

/// Entries that bring structured metadata, at times of their own.
fn with_metadata(mut request: Request) -> Request {
    for (number, entry) in (0..).zip(&mut request.entries) {
        entry.metadata.push(("given".into(), "before".into()));
        entry.time = FIRST_NS - number * 60_000_000_000;
    }
    request
}
