//! One line of the log from time to time that says what was done since the last one (`log.summary`).
//!
//! In: the totals, at each beat of the sender side. Out: a line. Wakes nobody: it is as late as the beat.

use std::time::{Duration, Instant};

use crate::status::view::{Totals, View};

/// See the module.
pub(super) struct Told {
    /// Zero: never.
    every: Duration,
    at: Instant,
    totals: Totals,
    dropped: u64,
}

impl Told {
    pub(super) fn new(every: Duration, view: &View) -> Self {
        Self { every, at: Instant::now(), totals: view.totals(), dropped: view.lines_dropped() }
    }

    /// Says what was done, if it is time.
    pub(super) fn beat(&mut self, view: &View) {
        if self.every.is_zero() || self.at.elapsed() < self.every {
            return;
        }
        let (totals, dropped) = (view.totals(), view.lines_dropped());
        let before = std::mem::replace(self, Self { every: self.every, at: Instant::now(), totals, dropped });
        tracing::info!(
            "{}",
            sentence(
                &before.totals,
                &totals,
                dropped.saturating_sub(before.dropped),
                view.parked_streams(),
                before.at.elapsed()
            )
        );
    }
}

fn sentence(before: &Totals, now: &Totals, dropped: u64, parked: u64, span: Duration) -> String {
    let mut sentence = format!(
        "in the last {} s: {} lines ({} bytes) read, {} acknowledged by Loki; {} bytes wait on the disk",
        span.as_secs(),
        now.lines_read.saturating_sub(before.lines_read),
        now.bytes_read.saturating_sub(before.bytes_read),
        now.lines_acknowledged.saturating_sub(before.lines_acknowledged),
        now.lag_bytes,
    );
    if dropped > 0 {
        sentence += &format!(", {dropped} lines dropped (pilcrow_dropped_lines_total)");
    }
    if parked > 0 {
        sentence += &format!(", {parked} streams parked");
    }
    sentence
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
        assert_eq!(sentence(&before, &now, 0, 0, span), plain);
        let odd = format!("{plain}, 4 lines dropped (pilcrow_dropped_lines_total), 2 streams parked");
        assert_eq!(sentence(&before, &now, 4, 2, span), odd);
    }
}
