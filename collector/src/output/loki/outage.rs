//! Reports once what keeps Loki from getting the lines, reminds while it lasts, and reports once that it is over.
//!
//! In: failed attempts and successes. Out: log lines, and when to send a probe: a small request at a fixed pace finds the end of an
//! outage sooner than the requests themselves, whose waits grow.

use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::{
    answer::{Obstacle, Pace, Place},
    failure,
    schedule::note,
};

/// A problem that comes and goes is reported no more often than this.
const REPORT_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// While an outage lasts, what waits is reported this often.
const REMIND_EVERY: Duration = Duration::from_secs(300);
/// The pace of the probes, the first of them so long after the outage began.
const PROBE_EVERY: Duration = Duration::from_secs(10);

/// The time since the first attempt that failed, until one succeeds.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// Where the lines go, without credentials; for the messages.
    pub(super) url: String,
    current: Option<Current>,
    /// What was reported, in this outage or lately.
    reported: Vec<Reported>,
}

#[derive(Debug)]
struct Current {
    since: Instant,
    /// Something of it was reported, so its end is worth a line too.
    reported: bool,
    without_connection: bool,
    /// Loki says that it gets too much: a probe would show nothing.
    too_much: bool,
    /// Somebody has to fix something.
    needs_a_fix: bool,
    reminded: Instant,
    probed: Option<Instant>,
    probe_at: Instant,
    last: String,
}

#[derive(Debug)]
struct Reported {
    summary: String,
    at: Instant,
    in_this_outage: bool,
}

/// How an outage ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// How long it was.
    pub(super) duration: Duration,
    /// There was no connection to Loki at some time.
    pub(super) without_connection: bool,
}

impl Outage {
    /// An attempt failed. Reports it, if this is news.
    pub(super) fn note(&mut self, obstacle: &Obstacle, now: Instant) {
        let Obstacle { summary, pace, .. } = obstacle;
        let text = failure::sentence(obstacle);
        let is_news = self.is_news(summary, now);
        let current = self.current.get_or_insert_with(|| Current::new(now));
        current.reported |= is_news;
        current.without_connection |= obstacle.place == Place::Connection;
        current.too_much = *pace == Pace::Slower;
        current.needs_a_fix = *pace == Pace::Fix;
        if is_news {
            let (url, stop) = (&self.url, full_stop(&text));
            match pace {
                Pace::Fix => error!(%url, "{text}{stop} The lines are kept and sent again until then"),
                _ => warn!(%url, "{text}{stop} The lines are kept and sent again"),
            }
        }
        current.last = text;
    }

    /// Since when, if there is one.
    pub(super) fn since(&self) -> Option<Instant> {
        self.current.as_ref().map(|current| current.since)
    }

    /// An attempt succeeded. `Some` if an outage ended by it. `waited`: how many lines did.
    pub(super) fn end(&mut self, waited: impl FnOnce() -> u64, now: Instant) -> Option<Ended> {
        let current = self.current.take()?;
        let duration = now.saturating_duration_since(current.since);
        for reported in &mut self.reported {
            reported.in_this_outage = false;
        }
        if current.reported {
            info!(url = %self.url, "Loki accepts lines again, after {duration:.1?}; {} lines waited in memory", waited());
        }
        Some(Ended { duration, without_connection: current.without_connection })
    }

    /// Asks for a probe as soon as possible, but no sooner than a second after the last.
    pub(super) fn wants_probe(&mut self, now: Instant) {
        if let Some(current) = &mut self.current {
            let soon = current.probed.map_or(now, |at| now.max(at + Duration::from_secs(1)));
            current.probe_at = current.probe_at.min(soon);
            current.too_much = false;
        }
    }

    /// Whether to send a probe now.
    pub(super) fn probe_is_due(&mut self, now: Instant) -> bool {
        match &mut self.current {
            Some(current) if !current.too_much && now >= current.probe_at => {
                current.probed = Some(now);
                current.probe_at = now + PROBE_EVERY;
                true
            }
            _ => false,
        }
    }

    /// Whether a changed file may end it.
    pub(super) fn waits_for_a_fix(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.needs_a_fix)
    }

    /// Reports what waits, if it is time. `waiting` gives batches, lines and bytes.
    pub(super) fn remind(&mut self, waiting: impl FnOnce() -> (usize, u64, u64), now: Instant) {
        let Some(current) = self.current.as_mut().filter(|current| now >= current.reminded + REMIND_EVERY) else {
            return;
        };
        current.reminded = now;
        let (batches, lines, bytes) = waiting();
        let minutes = now.saturating_duration_since(current.since).as_secs() / 60;
        warn!(
            url = %self.url,
            "Loki has taken no lines for {minutes} minutes; {lines} lines ({bytes} bytes) wait in {batches} batches, and what was \
             not read yet waits on the disk. The last attempt: {}",
            current.last
        );
    }

    /// When a probe or a reminder is due.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let current = self.current.as_ref()?;
        let mut wake_at = Some(current.reminded + REMIND_EVERY);
        if !current.too_much {
            note(&mut wake_at, current.probe_at);
        }
        wake_at
    }

    fn is_news(&mut self, summary: &str, now: Instant) -> bool {
        self.reported.retain(|known| known.in_this_outage || now.duration_since(known.at) < REPORT_AGAIN_AFTER);
        match self.reported.iter_mut().find(|known| known.summary == summary) {
            Some(known) => {
                known.in_this_outage = true;
                false
            }
            None => {
                self.reported.push(Reported { summary: summary.to_owned(), at: now, in_this_outage: true });
                true
            }
        }
    }
}

impl Current {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            reported: false,
            without_connection: false,
            too_much: false,
            needs_a_fix: false,
            reminded: now,
            probed: None,
            probe_at: now + PROBE_EVERY,
            last: String::new(),
        }
    }
}

/// What ends a sentence that does not end by itself.
fn full_stop(sentence: &str) -> &'static str {
    if sentence.ends_with(['.', '?', '!']) { "" } else { "." }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_that_asks_has_no_full_stop() {
        assert_eq!(["is Loki running?", "503 Service Unavailable", "slow down."].map(full_stop), ["", ".", ""]);
    }

    fn obstacle(summary: &'static str, pace: Pace) -> Obstacle {
        Obstacle {
            summary: summary.into(),
            detail: String::new(),
            advice: None,
            pace,
            place: Place::Answer,
            retry_after: None,
        }
    }

    #[test]
    fn each_reason_is_news_once_per_outage_and_again_when_it_comes_back_later() {
        let (mut outage, now) = (Outage::default(), Instant::now());
        assert!(outage.is_news("refused", now));
        assert!(!outage.is_news("refused", now + Duration::from_secs(3600)), "however long it lasts");
        assert!(outage.is_news("503", now));
        assert!(!outage.is_news("refused", now), "also when they alternate");
        outage.note(&obstacle("503", Pace::Soon), now);
        assert!(outage.end(|| 3, now).is_some() && outage.end(|| 3, now).is_none());
        assert!(!outage.is_news("503", now + REPORT_AGAIN_AFTER / 2));
        outage.note(&obstacle("503", Pace::Soon), now);
        outage.end(|| 3, now);
        assert!(outage.is_news("503", now + REPORT_AGAIN_AFTER * 2));
    }

    #[test]
    fn an_outage_is_probed_at_a_fixed_pace_and_reminded_of_every_five_minutes() {
        let (mut outage, now) = (Outage::default(), Instant::now());
        assert_eq!(outage.wake_at(), None);
        outage.note(&obstacle("503", Pace::Soon), now);
        let (mut probes, mut reminders) = (0, 0);
        for second in 0..3600 {
            let now = now + Duration::from_secs(second);
            outage.note(&obstacle("503", Pace::Soon), now);
            probes += u32::from(outage.probe_is_due(now));
            outage.remind(
                || {
                    reminders += 1;
                    (1, 2, 3)
                },
                now,
            );
            assert!(outage.wake_at().unwrap() <= now + PROBE_EVERY);
        }
        assert_eq!((probes, reminders), (359, 11));
        let late = now + Duration::from_secs(3600);
        outage.note(&obstacle("429", Pace::Slower), late);
        assert!(!outage.probe_is_due(late), "a probe would not tell whether Loki wants more");
        outage.wants_probe(late);
        assert!(outage.probe_is_due(late));
    }
}
