//! One line of the log from time to time that says what was done since the last one (`log.summary`).
//!
//! In: the totals, at each beat of the sender side. Out: a line. Wakes nobody: it is as late as the beat.

use std::time::{Duration, Instant};

use crate::status::view::{Totals, View};

/// See the module.
pub(super) struct SummaryLog {
    /// Zero: never.
    every: Duration,
    at: Instant,
    totals: Totals,
}

impl SummaryLog {
    pub(super) fn new(every: Duration, view: &View) -> Self {
        Self { every, at: Instant::now(), totals: view.totals() }
    }

    /// Says what was done, if it is time.
    pub(super) fn beat(&mut self, view: &View) {
        if self.every.is_zero() || self.at.elapsed() < self.every {
            return;
        }
        let totals = view.totals();
        let before = std::mem::replace(self, Self { every: self.every, at: Instant::now(), totals });
        tracing::info!("{}", sentence(&before.totals, &totals, view.parked_streams(), before.at.elapsed()));
    }
}

fn sentence(before: &Totals, now: &Totals, parked: u64, span: Duration) -> String {
    let mut sentence = format!(
        "in the last {} s: {} ({}) read, {} acknowledged by Loki; {} {} on the disk",
        span.as_secs(),
        count(now.lines_read.saturating_sub(before.lines_read), "line"),
        count(now.bytes_read.saturating_sub(before.bytes_read), "byte"),
        now.lines_acknowledged.saturating_sub(before.lines_acknowledged),
        count(now.lag_bytes, "byte"),
        if now.lag_bytes == 1 { "waits" } else { "wait" },
    );
    let dropped = now.lines_dropped.saturating_sub(before.lines_dropped);
    if dropped > 0 {
        sentence += &format!(", {} dropped (pilcrow_dropped_lines_total)", count(dropped, "line"));
    }
    if parked > 0 {
        sentence += &format!(", {} parked", count(parked, "stream"));
    }
    sentence
}

/// `1 line`, `2 lines`.
fn count(n: u64, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_what_was_done_and_only_what_went_wrong() {
        let before = Totals { lines_read: 10, bytes_read: 1000, lines_acknowledged: 9, ..Totals::default() };
        let now = Totals { lines_read: 30, bytes_read: 3000, lines_acknowledged: 25, lag_bytes: 7, ..before };
        let span = Duration::from_secs(300);
        let plain = "in the last 300 s: 20 lines (2000 bytes) read, 16 acknowledged by Loki; 7 bytes wait on the disk";
        assert_eq!(sentence(&before, &now, 0, span), plain);
        let odd = format!("{plain}, 4 lines dropped (pilcrow_dropped_lines_total), 2 streams parked");
        assert_eq!(sentence(&before, &Totals { lines_dropped: 4, ..now }, 2, span), odd);
        let one = Totals { lines_read: 1, lines_dropped: 1, lag_bytes: 1, ..Totals::default() };
        assert_eq!(
            sentence(&Totals::default(), &one, 1, span),
            "in the last 300 s: 1 line (0 bytes) read, 0 acknowledged by Loki; 1 byte waits on the disk, 1 line dropped \
             (pilcrow_dropped_lines_total), 1 stream parked"
        );
    }
}
