//! Time zones by their IANA names, from the system's files or else from those that are built in.

use jiff::{Timestamp, civil, tz::TimeZone};

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

    /// Seconds since 1970 of a local time that is given as if it were UTC. Of two possible ones the first; a time that a
    /// change of clocks passes over is read by the clock before the change.
    pub fn utc_of(&self, local: i64) -> i64 {
        if self.0 == TimeZone::UTC {
            return local;
        }
        let Some(civil) = civil_of(local) else { return local };
        self.0.to_ambiguous_timestamp(civil).compatible().map_or(local, Timestamp::as_second)
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

fn civil_of(local: i64) -> Option<civil::DateTime> {
    Some(TimeZone::UTC.to_datetime(Timestamp::from_second(local).ok()?))
}
