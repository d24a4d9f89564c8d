//! Which refusals of streams the log tells: of one stream no more than one a minute, and of all of them a few.
//!
//! In: streams that are parked and released, which may be hundreds of containers within a second, again and again. Out: whether that is
//! worth a line, and how many were not.

use std::time::{Duration, Instant};

use super::streams::Key;

/// A stream is told of no sooner again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Lines within that time: of parked streams, and as many of released ones.
const LINES_MAX: usize = 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ParkingLog {
    /// The streams that were told of lately.
    told: Vec<(Key, Instant)>,
    not_told: u64,
    releases: Vec<Instant>,
    releases_not_told: u64,
}

impl ParkingLog {
    /// Whether to tell that a stream is parked; the number: of how many it was not told since the last time.
    pub(super) fn permit(&mut self, stream: &Key, now: Instant) -> Option<u64> {
        self.told.retain(|(_, at)| now.saturating_duration_since(*at) < AGAIN_AFTER);
        if self.told.len() >= LINES_MAX || self.told.iter().any(|(known, _)| known == stream) {
            self.not_told += 1;
            return None;
        }
        self.told.push((stream.clone(), now));
        Some(std::mem::take(&mut self.not_told))
    }

    /// Whether to tell that a stream of which it was told is accepted again.
    pub(super) fn permit_release(&mut self, now: Instant) -> bool {
        self.releases.retain(|at| now.saturating_duration_since(*at) < AGAIN_AFTER);
        let is_told = self.releases.len() < LINES_MAX;
        if is_told {
            self.releases.push(now);
        } else {
            self.releases_not_told += 1;
        }
        is_told
    }

    /// No stream is parked any more: how many releases were not told.
    pub(super) fn take_releases_not_told(&mut self) -> u64 {
        std::mem::take(&mut self.releases_not_told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(number: usize) -> Key {
        Key { tenant: None, labels: format!("{{n=\"{number}\"}}").into() }
    }

    #[test]
    fn a_stream_that_comes_and_goes_is_told_of_once_a_minute() {
        let (mut log, start) = (ParkingLog::default(), Instant::now());
        let told = (0..180).filter_map(|second| log.permit(&stream(1), start + Duration::from_secs(second)));
        assert_eq!(told.collect::<Vec<_>>(), [0, 59, 59]);
    }

    #[test]
    fn of_hundreds_of_streams_a_few_are_told_and_the_others_counted() {
        let (mut log, start) = (ParkingLog::default(), Instant::now());
        let told = |log: &mut ParkingLog, at| (0..200).filter_map(|n| log.permit(&stream(n), at)).collect::<Vec<_>>();
        assert_eq!(told(&mut log, start), [0; LINES_MAX]);
        let later = told(&mut log, start + AGAIN_AFTER);
        assert_eq!((later.len(), later[0], later[1]), (LINES_MAX, 190, 0));
        assert_eq!((0..200).filter(|_| log.permit_release(start)).count(), LINES_MAX);
        assert_eq!((log.take_releases_not_told(), log.take_releases_not_told()), (190, 0));
    }
}
