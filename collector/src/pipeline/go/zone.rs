//! Time zones by their IANA names, from the system's files or else from those that are built in.

use jiff::{Timestamp, tz::TimeZone};

/// A time zone.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

impl Zone {
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// The zone of this name, `Europe/Berlin`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "" | "UTC" => Some(Self::utc()),
            "Local" => Some(Self(TimeZone::system())),
            name => TimeZone::get(name).ok().map(Self),
        }
    }

    /// Seconds since 1970 of a local time that is given as if it were UTC. Where the clocks change, one of two possible ones, as
    /// `Date` in Go's time/time.go chooses it: by the offset at that time in UTC, and once more by that at what it makes.
    pub fn utc_of(&self, local: i64) -> i64 {
        let offset = |second| self.offset_at(second).unwrap_or(0);
        local - offset(local - offset(local))
    }

    fn offset_at(&self, second: i64) -> Option<i64> {
        Some(self.0.to_offset(Timestamp::from_second(second).ok()?).seconds().into())
    }

    /// Seconds that a zone's abbreviation stands for at this local time, if this zone uses it.
    pub fn offset_of_name(&self, name: &str, local: i64) -> Option<i64> {
        const HALF_YEAR: i64 = 182 * 86_400;
        [local, local - HALF_YEAR, local + HALF_YEAR].into_iter().find_map(|second| {
            let info = self.0.to_offset_info(Timestamp::from_second(second).ok()?);
            (info.abbreviation() == name).then(|| i64::from(info.offset().seconds()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_clocks_change_a_local_time_is_what_go_takes_it_for() {
        let cases = [
            ("Europe/Berlin", "2026-10-25T02:30:00Z", "2026-10-25T01:30:00Z"),
            ("Europe/Berlin", "2026-03-29T02:30:00Z", "2026-03-29T01:30:00Z"),
            ("America/New_York", "2026-03-08T02:30:00Z", "2026-03-08T06:30:00Z"),
            ("America/New_York", "2026-11-01T01:30:00Z", "2026-11-01T05:30:00Z"),
            ("Europe/Berlin", "2026-07-01T12:00:00Z", "2026-07-01T10:00:00Z"),
        ];
        let second = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
        for (zone, local, utc) in cases {
            assert_eq!(Zone::named(zone).unwrap().utc_of(second(local)), second(utc), "{zone} {local}");
        }
    }
}
