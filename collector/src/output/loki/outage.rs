//! Says once what keeps Loki from getting the lines, and once that it is over.

use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::answer::{Obstacle, Pace};

/// A state that comes and goes is said no more often than this.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The time since the first attempt that failed, until one succeeds.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Instant>,
    /// Something was said of this outage, so its end is worth a line too.
    said: bool,
    /// What was said, in this outage or lately.
    summaries: Vec<Said>,
}

#[derive(Debug)]
struct Said {
    summary: String,
    at: Instant,
    in_this_outage: bool,
}

/// How an outage ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// How long it was.
    pub(super) duration: Duration,
    /// Its beginning was said.
    said: bool,
}

impl Outage {
    /// An attempt failed. Says so, if this is news.
    pub(super) fn note(&mut self, url: &hyper::Uri, obstacle: &Obstacle) {
        if !self.is_news(&obstacle.summary, Instant::now()) {
            return;
        }
        let Obstacle { summary, detail, mend, pace, .. } = obstacle;
        let colon = if detail.is_empty() { "" } else { ": " };
        match (pace, mend) {
            (Pace::Mend, Some(mend)) => {
                error!(%url, "{summary}{colon}{detail}; {mend}. The lines are kept and sent again until then");
            }
            (_, Some(mend)) => warn!(%url, "{summary}{colon}{detail}; {mend}. The lines are kept and sent again"),
            (_, None) => warn!(%url, "{summary}{colon}{detail}. The lines are kept and sent again"),
        }
    }

    /// An attempt succeeded. `Some` if an outage ended by it.
    pub(super) fn end(&mut self) -> Option<Ended> {
        let since = self.since.take()?;
        let ended = Ended { duration: since.elapsed(), said: std::mem::take(&mut self.said) };
        for said in &mut self.summaries {
            said.in_this_outage = false;
        }
        Some(ended)
    }

    fn is_news(&mut self, summary: &str, now: Instant) -> bool {
        self.since.get_or_insert(now);
        self.summaries.retain(|said| said.in_this_outage || now.duration_since(said.at) < SAY_AGAIN_AFTER);
        match self.summaries.iter_mut().find(|said| said.summary == summary) {
            Some(said) => {
                said.in_this_outage = true;
                false
            }
            None => {
                self.summaries.push(Said { summary: summary.to_owned(), at: now, in_this_outage: true });
                self.said = true;
                true
            }
        }
    }
}

impl Ended {
    /// Says that Loki takes lines again, if it was said that it did not.
    pub(super) fn say(&self, url: &hyper::Uri) {
        if self.said {
            info!(%url, "Loki takes lines again, after {:.1?}", self.duration);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_said_once_per_outage() {
        let mut outage = Outage::default();
        let now = Instant::now();
        assert!(outage.is_news("refused", now));
        assert!(!outage.is_news("refused", now + Duration::from_secs(3600)), "however long it lasts");
        assert!(outage.is_news("503", now));
        assert!(!outage.is_news("refused", now), "also when they alternate");
        assert!(outage.end().unwrap().said);
        assert_eq!(outage.end(), None);
    }

    #[test]
    fn an_outage_soon_after_one_of_the_same_kind_is_not_said_again() {
        let mut outage = Outage::default();
        let now = Instant::now();
        assert!(outage.is_news("429", now));
        assert!(outage.end().unwrap().said);
        assert!(!outage.is_news("429", now + SAY_AGAIN_AFTER / 2));
        assert!(!outage.end().unwrap().said, "nor is its end");
        assert!(outage.is_news("429", now + SAY_AGAIN_AFTER * 2));
    }
}
