//! How old the documents' figures are.
//!
//! In: the day of a measurement, and the time of the commit, so that one commit is judged alike on every day. Out: an error where the
//! figures are of another time.

use anyhow::{Context, ensure};

const DAY_S: u64 = 24 * 3600;

/// A season: what is written meanwhile may have changed them.
const DAYS_MAX: u64 = 90;

/// An error for a day such as 2026-11-29 that is longer ago than figures may be.
pub fn check(day: &str, now_s: u64) -> anyhow::Result<()> {
    let measured = days_since_1970(day).with_context(|| format!("{day:?} is no day"))?;
    let age = (now_s / DAY_S).saturating_sub(measured);
    ensure!(
        age <= DAYS_MAX,
        "the figures are of {day}, {age} days before this commit, and {DAYS_MAX} are too many; measure them anew (docs/performance.md)"
    );
    Ok(())
}

/// By the Gregorian calendar, with years that begin in March, so that a leap day is the last of its year.
fn days_since_1970(day: &str) -> Option<u64> {
    let mut parts = day.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = year - u64::from(month < 3);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    // 719,468 days lie between 1 March of the year 0 and 1 January 1970.
    Some(year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_over_leap_years() {
        let days = ["1970-01-01", "2000-02-29", "2000-03-01", "2026-11-29", "2100-03-01"].map(days_since_1970);
        assert_eq!(days, [Some(0), Some(11_016), Some(11_017), Some(20_786), Some(47_541)]);
        assert_eq!(["November 2026", "2026-13-01", ""].map(days_since_1970), [None; 3]);
    }

    #[test]
    fn figures_of_another_season_are_refused() {
        let at = |days: u64| days * DAY_S + 5;
        assert!(check("2026-11-29", at(20_786 + DAYS_MAX)).is_ok());
        assert!(check("2026-11-29", at(20_786 - 1)).is_ok(), "measured on a clock that is ahead");
        let error = check("2026-11-29", at(20_786 + DAYS_MAX + 1)).unwrap_err().to_string();
        assert!(error.contains("91 days"), "{error}");
    }
}
