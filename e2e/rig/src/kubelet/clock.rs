//! Time as logs show it: RFC 3339 with nanoseconds as Go prints it, and the kubelet's names for rotated files.

use std::time::SystemTime;

use jiff::{Timestamp, civil::DateTime, tz::Offset};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// What the kubelet appends to the name of a rotated log.
const ROTATION_SUFFIX: &str = "%Y%m%d-%H%M%S";

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
    let at = civil(local_s);
    push_digits(out, at.year().unsigned_abs().into(), 4);
    let fields = [(b'-', at.month()), (b'-', at.day()), (b'T', at.hour()), (b':', at.minute()), (b':', at.second())];
    for (separator, value) in fields {
        out.push(separator);
        push_digits(out, value.unsigned_abs().into(), 2);
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
    civil(local_s).strftime(ROTATION_SUFFIX).to_string()
}

/// The way back from [`rotation_suffix`].
pub fn parse_rotation_suffix(suffix: &str) -> Option<i64> {
    let at = DateTime::strptime(ROTATION_SUFFIX, suffix).ok()?;
    Some(Offset::UTC.to_timestamp(at).ok()?.as_second())
}

fn push_digits(out: &mut Vec<u8>, value: u64, digits: u32) {
    for place in (0..digits).rev() {
        out.push(b'0' + (value / 10u64.pow(place) % 10) as u8);
    }
}

/// Date and time of day; what jiff cannot tell, thousands of years away, is 1970.
fn civil(seconds: i64) -> DateTime {
    Offset::UTC.to_datetime(Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH))
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
