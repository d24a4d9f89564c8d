//! What the stages are measured with: three lists of stages, each with lines that it is about.
//!
//! Out: the same lists and lines for the whole collector ([`crate::pipeline`]) and for single steps ([`crate::instructions`]).

use std::fmt::Write as _;

/// Lines of a trace, its head included.
pub const TRACE_LINES: u64 = 25;
/// One line in so many is of the level debug.
pub const DEBUG_ONE_IN: u64 = 5;
/// 2026-01-02T00:00:00Z: lines are a millisecond apart from there on.
const DAY: &str = "2026-01-02";

/// A list of stages, and lines for it.
pub struct Kind {
    /// As the benchmark names it.
    pub name: &'static str,
    /// As a flow of YAML in one line.
    pub stages: &'static str,
    /// Writes a line's text.
    pub line: fn(u64, &mut String),
    /// How many entries become of so many lines of a file.
    pub entries: fn(u64) -> u64,
}

/// JSON parsed, access logs rewritten, traces joined.
pub const KINDS: [Kind; 3] = [
    Kind {
        name: "stages: json",
        stages: r#"[{cri: {}}, {json: {expressions: {level: level, trace_id: trace_id, status: status}}}, {drop: {source: level, value: debug}}, {labels: {level: level}}, {structured_metadata: {trace_id: trace_id}}]"#,
        line: |n, out| {
            let level =
                if n.is_multiple_of(DEBUG_ONE_IN) { "debug" } else { ["info", "warn", "error"][n as usize % 3] };
            let trace = u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
            let status = 200 + n % 4 * 100;
            let _ = write!(
                out,
                r#"{{"level":"{level}","msg":"order {n} was taken to the kitchen and waits there","status":{status},"trace_id":"{trace:032x}"}}"#
            );
        },
        entries: |lines| lines - lines.div_ceil(DEBUG_ONE_IN),
    },
    Kind {
        name: "stages: regex",
        stages: r#"[{cri: {}}, {regex: {expression: '"(?P<method>\w+) (?P<path>\S+) [^"]*" (?P<status>\d+) \d+ "token=(?P<token>\w+)" (?P<ts>\S+)$'}}, {timestamp: {source: ts, format: RFC3339Nano, action_on_failure: skip}}, {replace: {expression: 'token=(\w+)', replace: '***'}}]"#,
        line: |n, out| {
            let _ =
                write!(out, r#"10.1.{}.7 - - "GET /cart/{n} HTTP/1.1" 200 {} "token=a{n:x}" "#, n % 250, 100 + n % 900);
            write_time(n, out);
        },
        entries: |lines| lines,
    },
    Kind {
        name: "stages: multiline",
        stages: r#"[{cri: {}}, {multiline: {firstline: '^\d{4}-\d{2}-\d{2} ', max_wait_time: 3s}}]"#,
        line: |n, out| {
            let _ = match n % TRACE_LINES {
                0 => write!(out, "{DAY} 10:00:00 ERROR [main] shop.Checkout - order {n} failed"),
                1 => write!(out, "java.lang.IllegalStateException: no card for order {n}"),
                frame => write!(out, "\tat shop.checkout.Payment.take(Payment.java:{})", frame * 7),
            };
        },
        entries: |lines| lines.div_ceil(TRACE_LINES),
    },
];

/// The time of a line, as CRI has it.
pub fn write_time(n: u64, out: &mut String) {
    let (seconds, millis) = (n / 1000 % 86_400, n % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    // Writing to a string cannot fail.
    let _ = write!(out, "{DAY}T{hour:02}:{minute:02}:{second:02}.{millis:03}000000Z");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_lines_are_dropped_or_joined_as_the_entries_say() {
        for (kind, lines, entries) in [(&KINDS[0], 100, 80), (&KINDS[1], 100, 100), (&KINDS[2], 100, 4)] {
            assert_eq!((kind.entries)(lines), entries, "{}", kind.name);
        }
        let mut line = String::new();
        (KINDS[0].line)(5, &mut line);
        assert!(line.contains(r#""level":"debug""#), "{line}");
        (KINDS[2].line)(25, &mut line);
        assert!(line.ends_with("order 25 failed"), "{line}");
    }
}
