//! `pilcrow test`: whether the rules of a configuration make of lines what its `tests` expect.
//!
//! In: a compiled configuration, and further files of tests. Out: a line for each test, the difference for each that failed,
//! and an error if there is one. Each test has stages of its own, with nothing in their memory. Sends nothing.

mod align;
mod compare;
mod outcome;
mod report;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{bail, ensure};

use self::report::Report;
use super::terminal::Paint;
use crate::{
    compiled::{Compiled, check_tests},
    config::{self, ConfigError, Environment, RuleTest, TestsDraft},
};

/// The tests of one file.
struct File {
    path: Option<PathBuf>,
    tests: Vec<RuleTest>,
}

/// What to test.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The file of the configuration.
    pub config: Option<PathBuf>,
    /// Files of further tests.
    pub files: Vec<PathBuf>,
}

/// Runs all tests.
///
/// # Errors
/// A test failed, there is none, or `out` cannot be written to; a [`ConfigError`] where a file of tests is wrong.
pub fn run(
    compiled: &Compiled,
    request: &Request,
    environment: Environment<'_>,
    colours: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut files = vec![File { path: request.config.clone(), tests: compiled.config.tests.clone() }];
    for path in &request.files {
        files.push(File { path: Some(path.clone()), tests: read(path, environment)? });
    }
    let total = files.iter().map(|file| file.tests.len()).sum::<usize>();
    if total == 0 {
        bail!(
            "there are no tests: write them under tests: in the configuration, or name files of tests (docs/pipeline.md)"
        );
    }
    let mut report = Report::new(out, Paint { colours });
    let mut failed = 0;
    for File { path, tests } in &files {
        for (index, test) in tests.iter().enumerate() {
            let outcome = outcome::of(compiled, test)?;
            let rows = align::rows(&test.expect, &outcome);
            let has_failed = rows.iter().any(|row| !row.differences.is_empty());
            failed += usize::from(has_failed);
            report.test(path.as_deref(), index, test, if has_failed { &rows } else { &[] })?;
        }
    }
    report.end(total, failed)?;
    ensure!(failed == 0, "{failed} of {total} {}", if total == 1 { "test failed" } else { "tests failed" });
    Ok(())
}

fn read(path: &Path, environment: Environment<'_>) -> anyhow::Result<Vec<RuleTest>> {
    let invalid = |problems| ConfigError::Invalid { path: Some(path.to_owned()), problems };
    let TestsDraft { tests, findings } = TestsDraft::parse(&config::read(Some(path))?, environment).map_err(invalid)?;
    let problems = findings.problems(check_tests(&tests));
    if problems.is_empty() { Ok(tests) } else { Err(invalid(problems).into()) }
}
