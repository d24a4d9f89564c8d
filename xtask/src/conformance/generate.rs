//! Random pipelines of one to six stages over random lines, the same ones for the same seed.

use super::{Request, cases::LINES};

/// Where random choices come from.
pub struct Generator(u64);

/// What Promtail keeps of the order of entries: which stages may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Kept,
    /// The blocks of several label sets are given out in any order: a `limit` drops any of them, and where their labels became
    /// the same, a further `multiline` joins any of them.
    OfBlocks,
    /// Of those that went through a `match` and those that did not.
    Lost,
}

/// One request in this many has a line that is no UTF-8.
const INVALID_ONE_IN: usize = 20;

/// Entries of a request.
const ENTRIES: u64 = 40;

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        // A few entries: the remainder is small and the loss of evenness does not matter.
        (self.next() % end as u64) as usize
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// Bytes of no character somewhere in a line.
    fn damage(&mut self, line: &mut Vec<u8>) {
        let bytes: [&[u8]; 4] = [b"\xff", b"\xe4\xb8", b"\xf0\x9f\x98", b"\x80\xc3"];
        let (at, bytes) = (self.below(line.len() + 1), bytes[self.below(bytes.len())]);
        line.splice(at..at, bytes.iter().copied());
    }

    pub fn request(&mut self) -> Request {
        let mut stages = String::new();
        // Promtail does not keep the order of entries after a match, and these depend on it.
        let mut order = Order::Kept;
        for number in 0..1 + self.below(6) {
            let stage = self.stage(number, order);
            order = match order {
                Order::Kept if stage.starts_with("multiline") => Order::OfBlocks,
                _ if stage.starts_with("match") => Order::Lost,
                same => same,
            };
            stages.push_str(&format!("- {stage}\n"));
        }
        let mut lines: Vec<Vec<u8>> = (0..ENTRIES).map(|_| self.line()).collect();
        if self.below(INVALID_ONE_IN) == 0 {
            let line = self.below(lines.len());
            self.damage(&mut lines[line]);
        }
        let mut request = Request::new(&stages, lines.iter().map(Vec::as_slice));
        for entry in &mut request.entries {
            if self.below(3) == 0 {
                entry.labels.insert("pod".into(), self.of(&["web-2", "db-0", ""]).into());
            }
        }
        request
    }

    fn name(&mut self) -> &'static str {
        self.of(&["level", "msg", "status", "took", "a", "b", "x", "ts", "app", "pod", "none"])
    }

    fn expression(&mut self) -> &'static str {
        self.of(&[
            r"(?P<level>info|error|debug)",
            r"(?P<a>\d+)(?P<b>\.\d+)?",
            r"^(?P<x>\S+)\s(?P<msg>.*)$",
            r"(?i)(?P<level>[a-z]+)",
            r"\b(?P<status>[1-5]\d\d)\b",
            r"(?P<a>[^=\s]+)=(?P<b>[^\s]*)",
            r#""(?P<msg>(?:[^"\\]|\\.)*)""#,
            r"(?P<x>[\w.]+)@?",
            r"(?P<took>\d+(?:ms|s))",
            r"(?P<x>.)$",
        ])
    }

    fn stage(&mut self, number: usize, order: Order) -> String {
        let (one, two, three) = (self.name(), self.name(), self.name());
        let kinds = match order {
            Order::Kept => 23,
            Order::OfBlocks => 21,
            Order::Lost => 20,
        };
        match self.below(kinds) {
            0..3 => {
                let path = self.of(&["level", "msg", "a.b", "a.b.c[0]", "a.b.c[-1].d", "list", "status", "none", "ok"]);
                let malformed = self.of(&["", ", drop_malformed: true"]);
                format!("json: {{expressions: {{{one}: {path}, v{number}: level, z{number}: {two}}}{malformed}}}")
            }
            3 => format!("logfmt: {{mapping: {{{one}: level, z{number}: {two}}}}}"),
            4 => format!("logfmt: {{mapping: {{level: , msg: , x: }}, source: {one}}}"),
            5 | 6 => format!("regex: {{expression: '{}'}}", self.expression()),
            7 => format!("regex: {{expression: '{}', source: {one}}}", self.expression()),
            8 => {
                let text = self.of(&["", "*", "{{ .Value | ToUpper }}", "{{ .app }}-{{ .level }}", "<{{ .Value }}>"]);
                let source = self.of(&["", ", source: msg", ", source: app"]);
                format!("replace: {{expression: '{}', replace: '{text}'{source}}}", self.expression())
            }
            9 => {
                let text = self.of(&[
                    "{{ .Value }}",
                    "{{ ToLower .Value }}",
                    "{{ .level }}/{{ .status }}",
                    "{{ if .level }}{{ .level | ToUpper }}{{ else }}{{ .Entry | trunc 4 | printf \"%s\" }}{{ end }}",
                    "{{ default \"none\" .a }}",
                    "{{ Replace .app \"e\" \"\" -1 }}",
                    "",
                ]);
                format!("template: {{source: {one}, template: '{text}'}}")
            }
            10 => format!("output: {{source: {one}}}"),
            11 => format!("labels: {{{one}: {two}, l{number}: {three}}}"),
            12 => format!("structured_metadata: {{m{number}: {one}}}"),
            13 => format!("labeldrop: [{one}, {two}]"),
            14 => self.of(&["labelallow: [app, level]", "static_labels: {env: prod}", "decolorize:"]).to_owned(),
            15 => {
                let value = self.of(&["value: info", "expression: 'e'", "value: ''", "expression: '^(info|\\d+)'"]);
                self.of_two(format!("drop: {{source: {one}, {value}}}"), format!("drop: {{source: [{one}, {two}]}}"))
            }
            16 => {
                let how = self.of(&["longer_than: 60", "expression: 'GET|debug'", "expression: '^\\s'"]);
                format!("drop: {{{how}, drop_counter_reason: r{number}}}")
            }
            17 => {
                let selector = self.of(&[
                    r#"{app="web"} |= "level""#,
                    r#"{pod=~"web-.*"}"#,
                    r#"{level="info"}"#,
                    r#"{none="",pod!="db-0"} !~ "e""#,
                ]);
                let inner = self.of(&[
                    "action: drop",
                    "stages: [{static_labels: {hit: 'yes'}}]",
                    "stages: [{json: {expressions: {level: , pod: msg}}}, {labels: {level: , pod: }}]",
                    "stages: [{match: {selector: '{app=\"web\"} |= \"5\"', action: drop}}, {output: {source: pod}}]",
                ]);
                format!("match: {{selector: '{selector}', {inner}}}")
            }
            18 => {
                let what = self.of(&[
                    "{type: Counter, source: level, config: {action: inc}}",
                    "{type: Counter, config: {match_all: true, count_entry_bytes: true, action: add}}",
                    "{type: Gauge, source: status, config: {action: set}}",
                    "{type: Histogram, source: took, config: {buckets: [0.01, 1]}}",
                ]);
                // Of a gauge the last entry counts, and which one is that?
                let what =
                    if order != Order::Lost { what } else { "{type: Counter, source: level, config: {action: inc}}" };
                format!("metrics: {{m{number}: {what}}}")
            }
            19 => self
                .of(&[
                    "tenant: {label: pod}",
                    "tenant: {source: level}",
                    "pack: {labels: [app, level], ingest_timestamp: false}",
                ])
                .to_owned(),
            20 => {
                let format = self.of(&["RFC3339", "Unix", "2006-01-02 15:04:05", "02/Jan/2006:15:04:05 -0700"]);
                let action = self.of(&["skip", "fudge"]);
                format!("timestamp: {{source: {one}, format: '{format}', action_on_failure: {action}}}")
            }
            21 => {
                let first = self.of(&["^\\S", "^\\d{4}-", "^[^\\t ]", "level"]);
                format!("multiline: {{firstline: '{first}', max_lines: {}, max_wait_time: 60s}}", 1 + self.below(5))
            }
            _ => format!("limit: {{rate: 0.0001, burst: {}, drop: true}}", 1 + self.below(30)),
        }
    }

    fn of_two(&mut self, one: String, other: String) -> String {
        if self.below(2) == 0 { one } else { other }
    }

    /// Valid UTF-8, as all lines are that reach stages.
    fn line(&mut self) -> Vec<u8> {
        let line = LINES[self.below(LINES.len())].to_owned();
        let mut line: Vec<char> = line.chars().collect();
        match self.below(8) {
            0 => line.truncate(self.below(line.len() + 1)),
            1 => {
                let strange = ['"', '\\', '{', '}', '=', ' ', '\t', 'é', '0', '\u{fffd}', '\u{1}', ','];
                for _ in 0..1 + self.below(4) {
                    let at = self.below(line.len() + 1);
                    line.insert(at, strange[self.below(strange.len())]);
                }
            }
            2 => {
                let (level, status) = (self.of(&["info", "error", "debug", "x y", ""]), self.below(600));
                return format!(
                    r#"{{"level":"{level}","status":{status},"msg":"took {status}ms","took":"{status}ms"}}"#
                )
                .into();
            }
            3 => {
                return format!(
                    "level={} status={} took={}s",
                    self.of(&["info", "warn"]),
                    self.below(600),
                    self.below(9)
                )
                .into();
            }
            _ => {}
        }
        line.into_iter().collect::<String>().into_bytes()
    }
}
