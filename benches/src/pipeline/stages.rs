//! A backlog through Promtail's stages: JSON parsed, access logs rewritten, traces joined.
//!
//! In: three lists of stages, each with lines that it is about. Out: what a collector took for each. As many entries must arrive as the
//! stages leave; their texts are not compared, which `cargo xtask conformance` does. A peer finds the list in its environment, as `STAGES`.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufWriter, Write},
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};

use super::{Place, program::Program, report::Figures, say, sink::Sink, watch::Watch};

/// Files that wait.
const FILES: u64 = 10;
/// A collector from which nothing comes for so long will send no more.
const STALL: Duration = Duration::from_secs(30);
/// Lines of a trace, its head included.
const TRACE_LINES: u64 = 25;
/// One line in so many is of the level debug.
const DEBUG_ONE_IN: u64 = 5;
/// 2026-01-02T00:00:00Z: lines are a millisecond apart from there on.
const DAY: &str = "2026-01-02";

/// A list of stages, and lines for it.
struct Kind {
    name: &'static str,
    /// As a flow of YAML in one line.
    stages: &'static str,
    /// Writes a line's text.
    line: fn(u64, &mut String),
    /// How many entries become of so many lines of a file.
    entries: fn(u64) -> u64,
}

const KINDS: [Kind; 3] = [
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

/// Runs a collector on each of the lists, with so many bytes of lines.
///
/// # Errors
/// Where it fails, or another number of entries arrives.
pub fn run(program: &Program, folder: &std::path::Path, bytes: u64) -> anyhow::Result<Vec<Figures>> {
    KINDS.iter().map(|kind| kind.run(program, &Place::new(folder)?, bytes)).collect()
}

impl Kind {
    fn run(&self, program: &Program, place: &Place, bytes: u64) -> anyhow::Result<Figures> {
        let (lines, bytes) = self.write(place, bytes)?;
        let expected = FILES * (self.entries)(lines / FILES);
        let sink = Sink::start()?;
        let (mut running, started) =
            program.start_with_stages(place, &place.path().join("pods"), self.stages, &sink)?;
        let watch = Watch::from_start(running.pid(), started);
        let (mut last, mut since) = (0, Instant::now());
        while sink.counts().entries < expected {
            running.check_running()?;
            let arrived = sink.counts().entries;
            if arrived != last {
                (last, since) = (arrived, Instant::now());
            } else if since.elapsed() > STALL {
                bail!("{}: {arrived} of {expected} entries came, and then none for {} s", self.name, STALL.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let figures = watch.end(self.name, lines, bytes)?;
        running.end()?;
        sink.verify_protocol()?;
        let arrived = sink.counts().entries;
        ensure!(arrived == expected, "{}: {arrived} entries came, and {expected} were expected", self.name);
        say(&figures);
        Ok(figures)
    }

    /// Writes the files; returns how many lines and bytes that is.
    fn write(&self, place: &Place, bytes: u64) -> anyhow::Result<(u64, u64)> {
        let (mut lines, mut written, mut record) = (0, 0, String::new());
        for file in 0..FILES {
            let folder =
                place.path().join(format!("pods/default_web-{file}_00000000-0000-0000-0000-00000000000{file}/app"));
            fs::create_dir_all(&folder)?;
            let mut out = BufWriter::new(File::create(folder.join("0.log"))?);
            let (mut in_file, mut n) = (0, 0);
            // Whole traces, and as many lines in each file.
            while in_file < bytes / FILES || n % TRACE_LINES != 0 || n % DEBUG_ONE_IN != 0 {
                record.clear();
                write_time(n, &mut record);
                record.push_str(" stdout F ");
                (self.line)(n, &mut record);
                record.push('\n');
                out.write_all(record.as_bytes())?;
                in_file += record.len() as u64;
                n += 1;
            }
            out.flush()?;
            (lines, written) = (lines + n, written + in_file);
        }
        println!("{}: {lines} lines, {} MB in {FILES} files", self.name, written / 1_000_000);
        Ok((lines, written))
    }
}

/// The time of a line, as CRI has it.
fn write_time(n: u64, out: &mut String) {
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
