//! Time as logs show it: RFC 3339 with nanoseconds as Go prints it, and the kubelet's names for rotated files.

use std::time::SystemTime;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Gives timestamps that only go forward, each at least one nanosecond after the one before.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's.
    System {
        /// The last timestamp.
        last_ns: i64,
    },
    /// Each timestamp is so much after the one before; the same in every run.
    Steps {
        /// The last timestamp.
        last_ns: i64,
        /// Nanoseconds from one to the next.
        step_ns: i64,
    },
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::System { last_ns: 0 }
    }

    /// A clock that begins at `start_ns` (nanoseconds since 1970) and goes on by `step_ns` with each look at it.
    pub fn steps(start_ns: i64, step_ns: i64) -> Self {
        Self::Steps { last_ns: start_ns, step_ns: step_ns.max(1) }
    }

    /// The time, in nanoseconds since 1970.
    pub fn now_ns(&mut self) -> i64 {
        match self {
            Self::System { last_ns } => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                *last_ns = (since.as_nanos() as i64).max(*last_ns + 1);
                *last_ns
            }
            Self::Steps { last_ns, step_ns } => {
                *last_ns += *step_ns;
                *last_ns
            }
        }
    }
}

/// Appends Go's `time.RFC3339Nano`: trailing zeros of the fraction are left out. `offset_s` is the zone's distance from
/// UTC; 0 prints `Z`.
pub fn write_rfc3339_nano(out: &mut Vec<u8>, timestamp_ns: i64, offset_s: i32) {
    let local_s = timestamp_ns.div_euclid(NANOS_PER_SECOND) + i64::from(offset_s);
    let (date, time) = civil(local_s);
    push_digits(out, date.0 as u64, 4);
    for (separator, value) in [(b'-', date.1), (b'-', date.2), (b'T', time.0), (b':', time.1), (b':', time.2)] {
        out.push(separator);
        push_digits(out, u64::from(value), 2);
    }
    let nanos = timestamp_ns.rem_euclid(NANOS_PER_SECOND) as u64;
    if nanos != 0 {
        out.push(b'.');
        push_digits(out, nanos, 9);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    if offset_s == 0 {
        out.push(b'Z');
    } else {
        out.push(if offset_s < 0 { b'-' } else { b'+' });
        push_digits(out, u64::from(offset_s.unsigned_abs() / 3600), 2);
        out.push(b':');
        push_digits(out, u64::from(offset_s.unsigned_abs() % 3600 / 60), 2);
    }
}

/// `20060102-150405`, the kubelet's suffix for a log that was rotated at `local_s`: seconds since 1970 plus the zone's
/// distance from UTC.
pub fn rotation_suffix(local_s: i64) -> String {
    let ((year, month, day), (hour, minute, second)) = civil(local_s);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

/// The way back from [`rotation_suffix`].
pub fn parse_rotation_suffix(suffix: &str) -> Option<i64> {
    let (date, time) = suffix.split_once('-')?;
    let number = |text: &str, range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    if date.len() != 8 || time.len() != 6 {
        return None;
    }
    let days = days_from_civil(number(date, 0..4)?, number(date, 4..6)?, number(date, 6..8)?);
    let seconds = number(time, 0..2)? * 3600 + number(time, 2..4)? * 60 + number(time, 4..6)?;
    Some(days * SECONDS_PER_DAY + seconds)
}

fn push_digits(out: &mut Vec<u8>, value: u64, digits: u32) {
    for place in (0..digits).rev() {
        out.push(b'0' + (value / 10u64.pow(place) % 10) as u8);
    }
}

/// Year, month and day; hour, minute and second.
fn civil(seconds: i64) -> ((i64, u32, u32), (u32, u32, u32)) {
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY) as u32;
    let date = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
    (date, (of_day / 3600, of_day / 60 % 60, of_day % 60))
}

/// Howard Hinnant's `civil_from_days` (chrono-compatible low-level date algorithms).
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = (if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 }) as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Howard Hinnant's `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let year_of_era = year.rem_euclid(400);
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(timestamp_ns: i64, offset_s: i32) -> String {
        let mut out = Vec::new();
        write_rfc3339_nano(&mut out, timestamp_ns, offset_s);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timestamps_are_as_go_prints_them() {
        assert_eq!(text(1_795_345_754_341_435_724, 0), "2026-11-22T11:09:14.341435724Z");
        assert_eq!(text(1_795_345_754_341_435_700, 0), "2026-11-22T11:09:14.3414357Z");
        assert_eq!(text(1_795_345_754_000_000_000, 0), "2026-11-22T11:09:14Z");
        assert_eq!(text(1_795_345_754_000_000_001, 19_800), "2026-11-22T16:39:14.000000001+05:30");
        assert_eq!(text(1_795_345_754_500_000_000, -12_600), "2026-11-22T07:39:14.5-03:30");
        assert_eq!(text(951_782_400_000_000_000, 0), "2000-02-29T00:00:00Z");
        assert_eq!(text(-1, 0), "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn rotation_suffixes_are_the_kubelets_and_can_be_read_back() {
        assert_eq!(rotation_suffix(1_795_345_754), "20261122-110914");
        for local_s in (0..4_000_000_000).step_by(86_400 * 27 + 12_345) {
            assert_eq!(parse_rotation_suffix(&rotation_suffix(local_s)), Some(local_s));
        }
        assert_eq!(parse_rotation_suffix("20261122"), None);
    }

    #[test]
    fn clocks_only_go_forward() {
        let mut clock = Clock::system();
        let mut last = clock.now_ns();
        for _ in 0..1000 {
            let now = clock.now_ns();
            assert!(now > last);
            last = now;
        }
        let mut clock = Clock::steps(100, 7);
        assert_eq!([clock.now_ns(), clock.now_ns()], [107, 114]);
    }
}
