//! `cargo xtask test`: the one runner for everything that can be checked.
//!
//! In: the workspace. Out: each step's own output as it runs, then a closing summary whose last line is
//! `N passed, N failed, N skipped`, also left in target/xtask/test-summary.txt; exit code 1 if anything failed.
//! Every step runs, whatever the ones before it did, so that one run shows all that is wrong.

mod chart;
mod layering;
mod libtest;
mod packages;
mod page;
mod skips;
mod steps;

use std::{
    env, fs,
    process::ExitCode,
    time::{Duration, Instant},
};

pub use libtest::Reader;
pub use packages::deb_installs;

use crate::process;

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Also run the long steps: a real Loki, a real kube-apiserver, a real containerd, and the aarch64 binary under an emulator
    #[arg(long)]
    all: bool,
    /// Run only these steps, whether long or not
    #[arg(long, value_name = "STEP", value_delimiter = ',', value_parser = steps::NAMES)]
    only: Vec<String>,
}

/// What one step found. A step that is no collection of tests counts as one.
#[derive(Default)]
pub struct Report {
    /// Tests that returned without failing, those that skipped themselves included.
    passed: usize,
    /// How many of `passed` said that they could not run.
    skipped_as_passed: usize,
    /// Names of the failed ones, or what went wrong.
    failed: Vec<String>,
    /// Those that could not run here.
    skipped: Vec<Skip>,
}

/// A test or step that could not run here.
pub struct Skip {
    test: String,
    /// What is missing; several reasons where parts of it could not run.
    reasons: Vec<String>,
}

impl Report {
    /// One check that passed.
    fn one_passed() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    /// Checks that passed, and what failed.
    pub fn of_checks(passed: usize, failed: Vec<String>) -> Self {
        Self { passed, failed, ..Self::default() }
    }

    /// One check that cannot run here.
    fn one_skipped(test: &str, reason: impl Into<String>) -> Self {
        Self { skipped: vec![Skip { test: test.to_owned(), reasons: vec![reason.into()] }], ..Self::default() }
    }

    /// Counts a named check of a step, and prints what is wrong.
    fn note(&mut self, step: &str, what: &str, outcome: anyhow::Result<()>) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(error) => {
                println!("{what}: {error:#}");
                self.failed.push(format!("{step}: {what}"));
            }
        }
    }

    /// Tests that ran and passed.
    fn passed_count(&self) -> usize {
        self.passed.saturating_sub(self.skipped_as_passed)
    }

    /// Whether anything failed.
    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// `N passed, N failed, N skipped`
    pub fn counts(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed_count(), self.failed.len(), self.skipped.len())
    }

    /// Takes another one's counts and names.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.skipped_as_passed += other.skipped_as_passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
    }

    /// Turns every skip that is not on the list into a failure.
    fn refuse_skips(&mut self) {
        let (allowed, refused) = std::mem::take(&mut self.skipped).into_iter().partition(skips::is_allowed);
        self.skipped = allowed;
        let refused: Vec<Skip> = refused;
        self.failed.extend(
            refused
                .into_iter()
                .map(|s| format!("{}: skipped, which CI=true forbids: {}", s.test, s.reasons.join("; "))),
        );
    }
}

/// Runs the steps and closes with the summary.
pub fn run(args: &Args) -> ExitCode {
    let in_ci = env::var("CI").is_ok_and(|value| value == "true");
    let chosen: Vec<_> = steps::ALL
        .iter()
        .filter(
            |step| if args.only.is_empty() { args.all || !step.long } else { args.only.iter().any(|o| o == step.name) },
        )
        .collect();

    let mut total = Report::default();
    let mut summary = String::from("summary\n");
    for (index, step) in chosen.iter().enumerate() {
        let place = format!("[{}/{}] {}", index + 1, chosen.len(), step.name);
        println!("\n{place}: {}", step.what);
        let start = Instant::now();
        let mut report = (step.run)()
            .unwrap_or_else(|error| Report { failed: vec![format!("{}: {error:#}", step.name)], ..Report::default() });
        if in_ci {
            report.refuse_skips();
        }
        let (verdict, took, counts) = (verdict(&report), seconds(start.elapsed()), report.counts());
        println!("{place}: {verdict} in {took}: {counts}");
        summary.push_str(&format!("  {verdict:<7} {:<8} {took:>6}  {counts}\n", step.name));
        total.add(report);
    }

    for skip in &total.skipped {
        summary.push_str(&format!("SKIPPED {}: {}\n", skip.test, skip.reasons.join("; ")));
    }
    for failure in &total.failed {
        summary.push_str(&format!("FAILED {failure}\n"));
    }
    summary.push_str(&total.counts());
    summary.push('\n');
    print!("\n{summary}");
    if let Err(error) = keep(&summary) {
        eprintln!("the summary could not be kept: {error}");
    }
    if total.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Leaves the summary for .ci/run, which shows it again after the benchmark.
fn keep(summary: &str) -> std::io::Result<()> {
    let folder = process::target_dir().join("xtask");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("test-summary.txt"), summary)
}

fn verdict(report: &Report) -> &'static str {
    match (report.failed.is_empty(), report.passed_count(), report.skipped.is_empty()) {
        (false, _, _) => "FAILED",
        (true, 0, false) => "SKIPPED",
        _ => "passed",
    }
}

fn seconds(elapsed: Duration) -> String {
    format!("{} s", elapsed.as_secs_f64().round())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_ci_a_skip_that_is_not_on_the_list_is_a_failure() {
        let mut report = Report { passed: 3, skipped_as_passed: 1, ..Report::one_skipped("x::y", "no such kernel") };
        report.refuse_skips();
        assert_eq!(report.counts(), "2 passed, 1 failed, 0 skipped");
        assert!(report.failed[0].contains("no such kernel"));
    }

    #[test]
    fn a_step_that_only_skipped_is_not_called_passed() {
        assert_eq!(verdict(&Report::one_skipped("loki", "no Go")), "SKIPPED");
        assert_eq!(verdict(&Report::one_passed()), "passed");
    }
}
