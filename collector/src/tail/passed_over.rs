//! Names in the folders of logs that are not read, each counted and reported once.
//!
//! In: what listings passed over. Out: counts and log lines. Bounded: whoever can write to a folder of logs may make any number of
//! names, or the same one again and again.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{State, chain, survey::LINKED};
use crate::status::Reason;

/// So many names are remembered. What comes on top is counted each time that it is met, and not reported.
const NAMES_MAX: usize = 1000;

/// A name that was not met for so long, which is several listings of all folders, makes room for others.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);

/// The names, and when each was met last.
#[derive(Debug, Default)]
pub(super) struct PassedOver(HashMap<PathBuf, Instant>);

#[derive(Debug, PartialEq, Eq)]
enum Met {
    First,
    Again,
    /// There is no room to remember it.
    Uncertain,
}

impl PassedOver {
    fn note(&mut self, path: &Path, now: Instant) -> Met {
        if let Some(at) = self.0.get_mut(path) {
            *at = now;
            return Met::Again;
        }
        if self.0.len() >= NAMES_MAX {
            self.0.retain(|_, at| now.saturating_duration_since(*at) < FORGOTTEN_AFTER);
        }
        if self.0.len() >= NAMES_MAX {
            return Met::Uncertain;
        }
        self.0.insert(path.to_owned(), now);
        Met::First
    }
}

impl State {
    /// A folder that is a link is not followed: it may lead to any file of the node.
    pub(super) fn note_links(&mut self, links: &[PathBuf]) {
        for path in links {
            if self.is_first(path, chain::OUTSIDE) {
                tracing::warn!(path = %path.display(), "the log folder of a pod or container is a link, which is not followed; {LINKED}");
            }
        }
    }

    /// A folder whose name is no UTF-8 is none of Kubernetes', and no label could have its name.
    pub(super) fn note_unnamed(&mut self, folders: &[PathBuf]) {
        for path in folders {
            if self.is_first(path, "invalid_name") {
                tracing::warn!(path = ?path, "passing over a log folder whose name is not valid UTF-8; it is none of the kubelet's");
            }
        }
    }

    /// Names in a container's folder that are no log files.
    pub(super) fn note_skipped(&mut self, skipped: &[(PathBuf, &'static str)]) {
        for (path, reason) in skipped {
            if !self.is_first(path, reason) {
                continue;
            }
            if *reason == chain::OUTSIDE {
                tracing::warn!(path = %path.display(),
                    "a link in the place of a log leads elsewhere than to Docker's logs; it is not followed");
            } else {
                tracing::info!(path = %path.display(), reason, "passing over a name in a container's log folder");
            }
        }
    }

    /// Whether a name was not met before. Counts it then.
    fn is_first(&mut self, path: &Path, reason: &'static str) -> bool {
        let met = self.survey.passed_over.note(path, Instant::now());
        if met != Met::Again {
            self.metrics.skipped_files.get_or_create(&Reason { reason }).inc();
        }
        met == Met::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_met_first_once_and_any_number_of_them_takes_bounded_memory() {
        let (mut names, now) = (PassedOver::default(), Instant::now());
        let name = |number: usize| PathBuf::from(format!("/var/log/pods/a_b_c/d/{number}"));
        for number in 0..NAMES_MAX {
            assert_eq!(names.note(&name(number), now), Met::First);
            assert_eq!(names.note(&name(number), now), Met::Again);
        }
        assert_eq!(names.note(&name(NAMES_MAX), now), Met::Uncertain);
        let later = now + FORGOTTEN_AFTER;
        assert_eq!(names.note(&name(0), later), Met::Again);
        assert_eq!(names.note(&name(NAMES_MAX), later), Met::First);
        assert_eq!(names.note(&name(0), later), Met::Again, "it was met meanwhile");
        assert_eq!(names.0.len(), 2);
    }
}
