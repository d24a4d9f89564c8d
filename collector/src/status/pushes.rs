//! What Loki said last: for the status page.
//!
//! In: each answer, refusals with the units that they concern, the beginning and the end of an outage. Out: the same, as of now. A
//! success costs two stores; only what is not one copies a text.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use super::view::Refusal;
use crate::model::{UnitId, now_ms};

/// Units whose last refusal is remembered.
const REFUSALS_MAX: usize = 256;
/// Bytes of a text.
const TEXT_BYTES_MAX: usize = 512;

/// Times are milliseconds since 1970; 0: never.
#[derive(Debug, Default)]
pub struct Pushes {
    acknowledged_ms: AtomicI64,
    outage_since_ms: AtomicI64,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    at_ms: i64,
    /// The HTTP status of a success; 0: it was none.
    status: u16,
    /// What it was if it was none, and what to do about it.
    text: String,
    advice: Option<String>,
    refusals: HashMap<UnitId, Refused>,
}

#[derive(Clone, Debug)]
struct Refused {
    refusal: Refusal,
    /// Loki did not say it: the stream waits for its own rate.
    by_rate: bool,
}

impl Pushes {
    /// Loki has acknowledged a request.
    pub fn acknowledged(&self) {
        self.acknowledged_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// Loki answered with a success.
    pub fn succeeded(&self, status: u16) {
        let mut said = self.said();
        (said.at_ms, said.status) = (now_ms(), status);
        said.text.clear();
        said.advice = None;
    }

    /// A push failed; `text` is Loki's answer, or what was met on the way to it, `advice` what to do, where that is known.
    pub fn failed(&self, text: &str, advice: Option<&str>) {
        let mut said = self.said();
        (said.at_ms, said.status) = (now_ms(), 0);
        said.text = cut(text);
        said.advice = advice.map(cut);
    }

    /// Loki refused lines of a unit; `by_rate`: it did not, they wait for `loki.stream_rate`.
    pub fn refused(&self, unit: UnitId, text: &str, by_rate: bool) {
        let mut said = self.said();
        if said.refusals.len() >= REFUSALS_MAX && !said.refusals.contains_key(&unit) {
            let oldest = said.refusals.iter().min_by_key(|(_, refused)| refused.refusal.at).map(|(unit, _)| *unit);
            oldest.map(|unit| said.refusals.remove(&unit));
        }
        let refusal = Refusal { at: now_ms(), text: cut(text) };
        said.refusals.insert(unit, Refused { refusal, by_rate });
    }

    /// Since when Loki takes nothing; `None`: it does.
    pub fn outage(&self, since: Option<Instant>) {
        let known = self.outage_since_ms.load(Ordering::Relaxed);
        match since {
            None if known != 0 => self.outage_since_ms.store(0, Ordering::Relaxed),
            Some(since) if known == 0 => {
                let age = i64::try_from(since.elapsed().as_millis()).unwrap_or(0);
                self.outage_since_ms.store(now_ms() - age, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// When Loki last acknowledged lines.
    #[must_use]
    pub fn last_acknowledged(&self) -> Option<i64> {
        Some(self.acknowledged_ms.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    /// Since when Loki takes nothing.
    #[must_use]
    pub fn outage_since(&self) -> Option<i64> {
        Some(self.outage_since_ms.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    /// The last answer and when it came.
    #[must_use]
    pub fn last_answer(&self) -> Option<(String, i64)> {
        let said = self.said();
        let text = if said.status == 0 { said.text.clone() } else { said.status.to_string() };
        (said.at_ms != 0).then_some((text, said.at_ms))
    }

    /// What to do about the last answer.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        self.said().advice.clone()
    }

    /// What Loki said when it last refused lines of a unit.
    #[must_use]
    pub fn last_refusal(&self, unit: UnitId) -> Option<Refusal> {
        self.said().refusals.get(&unit).filter(|refused| !refused.by_rate).map(|refused| refused.refusal.clone())
    }

    /// Why lines of a parked unit wait.
    #[must_use]
    pub fn why_parked(&self, unit: UnitId) -> Option<String> {
        self.said().refusals.get(&unit).map(|refused| refused.refusal.text.clone())
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_answer_is_a_status_or_what_went_wrong() {
        let pushes = Pushes::default();
        assert_eq!((pushes.last_answer(), pushes.last_acknowledged()), (None, None));
        pushes.failed("429 Too Many Requests: slower", Some("raise the limit"));
        assert_eq!(pushes.advice().unwrap(), "raise the limit");
        assert_eq!(pushes.last_answer().unwrap().0, "429 Too Many Requests: slower");
        pushes.succeeded(204);
        pushes.acknowledged();
        assert_eq!((pushes.last_answer().unwrap().0.as_str(), pushes.advice()), ("204", None));
        assert!(pushes.last_acknowledged().unwrap() > 1_600_000_000_000);
    }

    #[test]
    fn refusals_are_kept_for_each_unit_and_the_oldest_make_room() {
        let pushes = Pushes::default();
        for n in 0..REFUSALS_MAX as u32 + 10 {
            pushes.refused(UnitId(n), "no", false);
        }
        assert_eq!(pushes.said().refusals.len(), REFUSALS_MAX);
        let last = UnitId(REFUSALS_MAX as u32 + 9);
        assert_eq!(pushes.last_refusal(last).unwrap().text, "no");
        pushes.refused(last, "its rate", true);
        assert_eq!((pushes.last_refusal(last), pushes.why_parked(last).as_deref()), (None, Some("its rate")));
    }

    #[test]
    fn an_outage_has_the_time_of_its_beginning_until_it_ends() {
        let pushes = Pushes::default();
        let since = Instant::now().checked_sub(Duration::from_secs(5));
        pushes.outage(since);
        let told = pushes.outage_since().unwrap();
        assert!(told <= now_ms() - 5000);
        pushes.outage(Some(Instant::now()));
        assert_eq!(pushes.outage_since(), Some(told));
        pushes.outage(None);
        assert_eq!(pushes.outage_since(), None);
    }
}
