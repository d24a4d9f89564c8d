//! Finding the groups of an expression, by our own program and by the regex crate: `cargo bench --package benches --bench groups`.
//!
//! Out: for logs of several kinds, with expressions as people write them for such logs, how long both take for a line. The regex crate
//! uses the same memory for all lines, and of its two ways to read ASCII's classes, with Unicode's texts and without, the faster one
//! counts. Of many runs in turn the fastest counts.

use std::hint::black_box;

use benches::{corpora, fastest};
use collector::pipeline::pattern::{Pattern, translate};
use regex::bytes::Regex;

/// Of each kind of logs.
const CORPUS_BYTES: usize = 1 << 20;
const RUNS: usize = 20;
/// The kind of logs, what the expression is, and the expression.
const EXPRESSIONS: [(&str, &str, &str); 13] = [
    (
        "access",
        "nginx, each field ends where the next begins",
        r#"^(?P<addr>\S+) - (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<method>\S+) (?P<path>\S+) (?P<protocol>[^"]+)" (?P<status>\d+) (?P<bytes>\d+) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"$"#,
    ),
    (
        "access",
        "nginx, with `.*`",
        r#"^(?P<addr>[\w\.]+) - (?P<user>[^ ]*) \[(?P<time>.*)\] "(?P<method>[^ ]*) (?P<path>[^ ]*) (?P<protocol>[^ ]*)" (?P<status>[\d]+) (?P<bytes>[\d]+) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"?"#,
    ),
    ("access", "the status, not anchored", r#"" (?P<status>\d{3}) \d+ ""#),
    (
        "java",
        "Spring; one line of 24 matches",
        r"^(?P<time>\S+) +(?P<level>[A-Z]+) \[(?P<app>[^,]*),(?P<trace>[^,]*),(?P<span>[^\]]*)\] \d+ --- \[(?P<thread>[^\]]+)\] (?P<logger>\S+) +: (?P<message>.*)$",
    ),
    ("java", "the frame", r"^\s+at (?P<method>[\w.$/]+)\((?P<file>\w+\.java):(?P<line>\d+)\)$"),
    (
        "klog",
        "all fields",
        r"^(?P<level>[IWEF])(?P<date>\d{4}) (?P<time>\d{2}:\d{2}:\d{2}\.\d+)\s+(?P<pid>\d+) (?P<file>[^:]+):(?P<line>\d+)\] (?P<message>.*)$",
    ),
    ("json", "level and logger, not anchored", r#""level":"(?P<level>\w+)","logger":"(?P<logger>[^"]+)""#),
    (
        "json",
        "level and trace, with `.*`; one line of 4 matches",
        r#""level":"(?P<level>\w+)".*"trace_id":"(?P<trace>\w+)""#,
    ),
    ("logfmt", "level and caller, with `.*`", r"level=(?P<level>\w+) .*?caller=(?P<caller>\S+)"),
    ("logfmt", "alternatives", r#"(?:msg|message)=(?:"(?P<quoted>[^"]*)"|(?P<plain>\S+))"#),
    ("klog", "nginx: none matches", r#"^(?P<addr>\S+) - (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<method>\S+)"#),
    ("text", "an address, not anchored: none matches", r"(?P<addr>\d+\.\d+\.\d+\.\d+)"),
    ("chinese", "no ASCII: the regex crate's", r"^(?P<time>\S+) \[(?P<level>[^\]]+)\] (?P<message>.*)$"),
];

fn main() {
    println!("| logs | expression | bytes a line | regex crate, ns | Pilcrow, ns | times |");
    println!("| --- | --- | ---: | ---: | ---: | ---: |");
    let corpora = corpora::generated(CORPUS_BYTES);
    for (logs, what, expression) in EXPRESSIONS {
        let Some(corpus) = corpora.iter().find(|corpus| corpus.name == logs) else { panic!("no logs are {logs}") };
        let lines = &corpus.lines;
        let mut pattern = Pattern::new(expression).expect("an expression");
        let of_unicode = translate(expression).expect("an expression");
        let library = [of_unicode, format!("(?-u){expression}")].map(|expression| {
            let regex = Regex::new(&expression).expect("an expression");
            let mut locations = regex.capture_locations();
            for line in lines {
                let expected = regex.captures_read_at(&mut locations, line, 0).map(|_| &locations);
                let groups = pattern.find_at(line, 0);
                assert_eq!(groups.is_some(), expected.is_some(), "{expression}");
                let (Some(groups), Some(expected)) = (groups, expected) else { continue };
                assert!((0..expected.len()).all(|group| groups.get(group) == expected.get(group)), "{expression}");
            }
            fastest(RUNS, || {
                for line in lines {
                    black_box(regex.captures_read_at(&mut locations, black_box(line), 0));
                }
            })
        });
        let library = library[0].min(library[1]);
        let own = fastest(RUNS, || {
            for line in lines {
                black_box(pattern.find_at(black_box(line), 0));
            }
        });
        let a_line = |seconds: f64| seconds * 1e9 / lines.len() as f64;
        let bytes = lines.iter().map(Vec::len).sum::<usize>() / lines.len();
        println!("| {logs} | {what} | {bytes} | {:.0} | {:.0} | {:.1} |", a_line(library), a_line(own), library / own);
    }
}
