//! How old the documents' figures are.
//!
//! In: the day of a measurement, and the time of the commit, so that one commit is judged alike on every day. Out: an error where the
//! figures are of another time.

use anyhow::{Context, ensure};
use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// A season: what is written meanwhile may have changed them.
const DAYS_MAX: i64 = 90;

/// An error for a day such as 2026-11-29 that is longer ago than figures may be.
pub fn check(day: &str, now_s: i64) -> anyhow::Result<()> {
    let measured: Date = day.parse().ok().with_context(|| format!("{day:?} is no day"))?;
    let today = Timestamp::from_second(now_s).unwrap_or_default().to_zoned(TimeZone::UTC).date();
    let age = measured.duration_until(today).as_hours() / 24;
    ensure!(
        age <= DAYS_MAX,
        "the figures are of {day}, {age} days before this commit, and {DAYS_MAX} are too many; measure them anew (docs/performance.md)"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_another_season_are_refused() {
        // 2026-11-29 is 20,786 days after 1 January 1970.
        let check_after = |days: i64| check("2026-11-29", (20_786 + days) * 24 * 3600 + 5);
        assert!(check_after(DAYS_MAX).is_ok());
        assert!(check_after(-1).is_ok(), "measured on a clock that is ahead");
        let error = check_after(DAYS_MAX + 1).unwrap_err().to_string();
        assert!(error.contains("91 days"), "{error}");
        assert!(check("November 2026", 0).is_err());
    }
}
