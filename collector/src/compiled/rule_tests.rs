//! `tests`: what is wrong with them that decoding cannot find.

use super::Problems;
use crate::config::{Expectation, Problem, RuleTest};

/// Everything that is wrong, without places in a file.
#[must_use]
pub fn check_tests(tests: &[RuleTest]) -> Vec<Problem> {
    let mut problems = Problems::default();
    check(tests, &mut problems);
    problems.0
}

pub(super) fn check(tests: &[RuleTest], problems: &mut Problems) {
    for (i, test) in tests.iter().enumerate() {
        let key = format!("tests.[{i}]");
        if test.lines.is_empty() {
            problems.add(&key, "needs lines: what goes in");
        }
        if let Some(from) = &test.from {
            for (name, value) in [("namespace", &from.namespace), ("pod", &from.pod), ("container", &from.container)] {
                if value.is_empty() {
                    problems.add(&format!("{key}.from"), format!("{name} is missing"));
                }
            }
        }
        for (j, expectation) in test.expect.iter().enumerate() {
            let Expectation { labels, metadata, time, dropped, .. } = expectation;
            if dropped.is_some() && (labels.is_some() || metadata.is_some() || time.is_some()) {
                let message =
                    "what is dropped has no labels, metadata or time; give its reason in dropped, and its text in line";
                problems.add(&format!("{key}.expect.[{j}]"), message);
            }
        }
    }
}
