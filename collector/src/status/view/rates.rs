//! Lines and bytes per second of each unit, between two looks.
//!
//! In: counters that the reader keeps anyway. Out: rates since a look that is at least a second old, so that several viewers may
//! ask as often as they like. Keeps nothing once nobody has asked for a minute.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::rows::Seen;
use crate::model::UnitId;

/// Rates over less time jump.
const SPAN_MIN: Duration = Duration::from_millis(900);
/// Rates over more time are old.
const SPAN_MAX: Duration = Duration::from_secs(60);

type Look = (Instant, HashMap<UnitId, (u64, u64)>);

/// See the module.
#[derive(Debug, Default)]
pub struct Rates {
    before: Option<Look>,
    last: Option<Look>,
}

impl Rates {
    /// Notes what each unit has counted by now.
    pub fn look(&mut self, units: &[Seen], now: Instant) {
        self.forget_old(now);
        if self.last.as_ref().is_none_or(|(at, _)| now - *at >= SPAN_MIN) {
            self.before = self.last.take();
            self.last = Some((now, units.iter().map(|unit| (unit.id, (unit.lines, unit.bytes))).collect()));
        }
    }

    /// Lines and bytes per second; `None`: this is the first look for a while.
    #[must_use]
    pub fn of(&self, unit: &Seen, now: Instant) -> Option<(f64, f64)> {
        let old_enough = |look: &&Look| now.saturating_duration_since(look.0) >= SPAN_MIN;
        let (at, counts) = self.last.as_ref().filter(old_enough).or(self.before.as_ref())?;
        let seconds = now.saturating_duration_since(*at).as_secs_f64();
        // One that was not there has counted from zero.
        let (lines, bytes) = counts.get(&unit.id).copied().unwrap_or_default();
        let rate = |count: u64| (count as f64 / seconds * 10.0).round() / 10.0;
        Some((rate(unit.lines.saturating_sub(lines)), rate(unit.bytes.saturating_sub(bytes))))
    }

    /// Frees what nobody has asked for lately.
    pub fn forget_old(&mut self, now: Instant) {
        let is_old = |look: &Look| now.saturating_duration_since(look.0) > SPAN_MAX;
        if self.last.as_ref().is_some_and(is_old) {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::view::rows::UnitState;

    fn unit(lines: u64) -> Seen {
        let [namespace, pod, container, reason] = ["n", "p", "c", ""].map(str::to_owned);
        let (id, state, levels) = (UnitId(7), UnitState::Collecting, Vec::new());
        Seen { id, namespace, pod, container, state, reason, levels, lines, bytes: lines * 100, lag_bytes: 0 }
    }

    #[test]
    fn the_first_look_has_no_rate_and_later_ones_are_over_a_second_at_least() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let mut look = |millis, lines| {
            rates.look(&[unit(lines)], at(millis));
            rates.of(&unit(lines), at(millis))
        };
        assert_eq!(look(0, 50), None);
        assert_eq!(look(10, 60), None, "a second viewer, at once");
        assert_eq!(look(1000, 150), Some((100.0, 10_000.0)));
        assert_eq!(look(1500, 200), Some((100.0, 10_000.0)), "since the first look");
        assert_eq!(look(2000, 250), Some((100.0, 10_000.0)));
        assert_eq!(look(100_000, 250), None, "nobody has looked for long");
    }
}
