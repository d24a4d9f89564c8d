//! The Gregorian calendar, before and after its beginning, as Go counts.

/// Whether a year has a day more.
pub fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a month, which begins with 1.
pub fn days_in(month: i64, year: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The month and its day of a year's day; all begin with 1. `None`: the year has no such day.
pub fn of_year_day(year: i64, mut day: i64) -> Option<(i64, i64)> {
    let days = if is_leap(year) { 366 } else { 365 };
    if day < 1 || day > days {
        return None;
    }
    let mut month = 1;
    while day > days_in(month, year) {
        day -= days_in(month, year);
        month += 1;
    }
    Some((month, day))
}

/// Days from 1970-01-01; a day beyond its month's end runs over into the next one.
pub fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The year and the month of a day, in UTC.
pub fn year_and_month(days: i64) -> (i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_its_year_and_month() {
        for (year, month, day) in [(1970, 1, 1), (1999, 12, 31), (2000, 2, 29), (2024, 3, 1), (1900, 1, 31)] {
            assert_eq!(year_and_month(days_since_1970(year, month, day)), (year, month));
        }
    }
}
