//! Reads what `cargo test … -- --show-output` prints.
//!
//! In: its lines, one by one. Out: for each line whether to show it, and at the end the counts, the names of failed
//! tests and the skips. A passing test's own output is read for `SKIPPED: reason` and not shown; a failing test's is shown.
//! Guarantee: a test binary that died before its `test result:` line counts as one failure, never as nothing.

use std::{
    io::{self, BufRead, BufReader, Write},
    process::Command,
};

use anyhow::Context;

use super::{Report, Skip};
use crate::process;

/// How a test says that it could not run here. It passes for libtest, as there is no other way to return.
const SKIPPED: &str = "SKIPPED: ";

/// Where in one test binary's output we are.
#[derive(Clone, Copy, PartialEq)]
enum Section {
    /// Before `running N tests`, or after `test result:`.
    Outside,
    /// Among the `test name ... ok` lines.
    Progress,
    /// Among the outputs of passing tests.
    Successes,
    /// Among the outputs of failing tests.
    Failures,
}

/// Runs a command that prints as `cargo test` does, shows what is to be shown, and counts. `step` names a failure of the whole.
pub fn follow(step: &str, mut command: Command) -> anyhow::Result<Report> {
    let line = process::line_of(&command);
    println!("$ {line}");
    // One pipe for both outputs keeps cargo's `Running …` lines before the tests that they announce.
    let (pipe, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot start `{line}`"))?;
    drop(command); // and with it our ends of the pipe, so that reading ends when the child does

    let mut reader = Reader::new();
    let mut terminal = io::stdout().lock();
    for line in BufReader::new(pipe).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if reader.take(&line) {
            writeln!(terminal, "{line}")?;
        }
    }
    let status = child.wait()?;
    let mut report = reader.finish();
    if !status.success() && report.failed.is_empty() {
        report.failed.push(format!("{step}: `{line}` ended with {status}"));
    }
    if report.passed_count() == 0 && report.failed.is_empty() && report.skipped.is_empty() {
        report.failed.push(format!("{step}: no test ran"));
    }
    Ok(report)
}

/// A reader for the output of one `cargo test`.
pub struct Reader {
    section: Section,
    /// The crate or file whose tests run, from cargo's `Running …` and `Doc-tests …` lines.
    binary: String,
    /// The test whose output is being read.
    test: String,
    report: Report,
    /// How many skips are of earlier binaries, whose tests may have the same names.
    earlier_skips: usize,
}

impl Reader {
    /// A reader that has seen nothing.
    pub fn new() -> Self {
        Self {
            section: Section::Outside,
            binary: String::new(),
            test: String::new(),
            report: Report::default(),
            earlier_skips: 0,
        }
    }

    /// Takes one line without its newline; true if it is for the terminal.
    pub fn take(&mut self, line: &str) -> bool {
        let trimmed = line.trim_start();
        if let Some(reason) = trimmed.strip_prefix(SKIPPED) {
            self.skip(reason.trim());
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.finish_binary(result);
        } else if line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")) {
            self.died();
            self.section = Section::Progress;
        } else if self.section == Section::Outside {
            self.cargo_line(trimmed);
        } else if line == "failures:" {
            self.section = Section::Failures;
        } else if line == "successes:" && self.section == Section::Progress {
            self.section = Section::Successes;
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.test = name.to_owned();
        } else if self.section == Section::Progress {
            self.progress_line(line);
        }
        self.section != Section::Successes
    }

    /// The report, when cargo has ended.
    pub fn finish(mut self) -> Report {
        self.died();
        self.report
    }

    fn cargo_line(&mut self, line: &str) {
        if let Some(running) = line.strip_prefix("Running ") {
            self.binary = running.split(" (").next().unwrap_or(running).to_owned();
        } else if let Some(name) = line.strip_prefix("Doc-tests ") {
            self.binary = format!("doc-tests {name}");
        }
    }

    fn progress_line(&mut self, line: &str) {
        let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) else {
            return;
        };
        if outcome.starts_with("FAILED") {
            self.report.failed.push(format!("{} ({})", name, self.binary));
        } else if let Some(reason) = outcome.strip_prefix("ignored") {
            let reason = reason.trim_start_matches(", ");
            let reason = if reason.is_empty() { "ignored without a reason" } else { reason };
            self.report.skipped.push(Skip { test: name.to_owned(), reasons: vec![reason.to_owned()] });
        }
    }

    /// One test may say several reasons and is still one test.
    fn skip(&mut self, reason: &str) {
        // Outside its captured output a line tells no test's name: a child process wrote it, and the test failed or not.
        if self.section != Section::Successes {
            return;
        }
        match self.report.skipped[self.earlier_skips..].iter_mut().find(|skip| skip.test == self.test) {
            Some(skip) => skip.reasons.push(reason.to_owned()),
            None => {
                self.report.skipped.push(Skip { test: self.test.clone(), reasons: vec![reason.to_owned()] });
                self.report.skipped_as_passed += 1;
            }
        }
    }

    /// `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
    fn finish_binary(&mut self, result: &str) {
        for part in result.split(['.', ';']) {
            let mut words = part.split_whitespace();
            if let (Some(Ok(count)), Some("passed")) = (words.next().map(str::parse::<usize>), words.next()) {
                self.report.passed += count;
            }
        }
        self.earlier_skips = self.report.skipped.len();
        self.section = Section::Outside;
    }

    fn died(&mut self) {
        if self.section != Section::Outside {
            self.report.failed.push(format!("{} died before its last test", self.binary));
            self.section = Section::Outside;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_BINARIES: &str = "\
   Compiling collector v0.1.0
     Running unittests src/lib.rs (target/debug/deps/collector-1)

running 4 tests
test a ... ok
test b ... ok
test c ... FAILED
test d ... ignored, needs two nodes

successes:

---- b stdout ----
SKIPPED: no /sys/fs/bpf
SKIPPED: not root
noise


successes:
    a
    b

failures:

---- c stdout ----
assertion failed

failures:
    c

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/behaviour.rs (target/debug/deps/behaviour-1)

running 1 test
test e ... ok

successes:

successes:
    e

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

    fn read(text: &str) -> (Report, Vec<&str>) {
        let mut reader = Reader::new();
        let shown = text.lines().filter(|line| reader.take(line)).collect();
        (reader.finish(), shown)
    }

    #[test]
    fn a_test_that_says_why_it_could_not_run_counts_as_skipped_and_not_as_passed() {
        let (report, _) = read(TWO_BINARIES);
        assert_eq!(report.passed_count(), 2);
        let skips: Vec<_> = report.skipped.iter().map(|s| (s.test.as_str(), s.reasons.join("; "))).collect();
        assert_eq!(skips, [("d", "needs two nodes".to_owned()), ("b", "no /sys/fs/bpf; not root".to_owned())]);
    }

    #[test]
    fn a_failed_test_is_named_with_its_binary() {
        let (report, _) = read(TWO_BINARIES);
        assert_eq!(report.failed, ["c (unittests src/lib.rs)"]);
    }

    #[test]
    fn a_failing_test_s_output_is_shown_and_a_passing_one_s_is_not() {
        let (_, shown) = read(TWO_BINARIES);
        assert!(shown.contains(&"assertion failed"));
        assert!(!shown.contains(&"noise"));
    }

    #[test]
    fn a_binary_that_dies_is_a_failure() {
        let (report, _) = read("     Running tests/crash.rs (x)\n\nrunning 2 tests\ntest a ... ok\n");
        assert_eq!(report.failed, ["tests/crash.rs died before its last test"]);
    }
}
