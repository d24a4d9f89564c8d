//! Counts of the whole node, and how they went in the last quarter of an hour.
//!
//! In: what the parts count anyway. Out: a ring of samples, one for each beat of the sender side, in 3 KiB. Takes no sample by
//! itself, and so wakes nobody.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::summary::HistoryRow;
use crate::model::now_ms;

/// A sample is taken this often.
pub const STEP: Duration = Duration::from_secs(10);

/// Samples: a quarter of an hour.
const SAMPLES_MAX: usize = 90;

/// What was counted since the start, and gauges as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    pub lines_read: u64,
    pub bytes_read: u64,
    pub lines_acknowledged: u64,
    /// By rules, or refused by Loki for good.
    pub lines_dropped: u64,
    /// Bytes on the disk that Loki has not acknowledged: as of now where the reader was asked, else as of the last sweep.
    pub lag_bytes: u64,
    pub cpu_seconds: f64,
    pub memory_bytes: u64,
}

/// What is counted on the way to Loki, for the status page and the log's summary.
pub trait Counted: Send + Sync {
    /// What was counted so far; CPU and memory are left at zero.
    fn totals(&self) -> Totals;

    /// How files are read, once that is known, and why not in a better way.
    fn reader(&self) -> Option<(String, String)>;

    /// Encoded bytes that wait for Loki's acknowledgement.
    fn waiting_bytes(&self) -> u64;

    /// Channels whose lines wait on the disk because Loki refuses a stream.
    fn parked_streams(&self) -> u64;
}

#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
    before: Option<(Instant, Totals)>,
    end_ms: i64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    lines_read: f32,
    lines_acknowledged: f32,
    bytes_read: f32,
    cpu_percent: f32,
    lag_bytes: u64,
    memory_bytes: u64,
}

impl History {
    pub fn add(&mut self, totals: Totals, now: Instant) {
        let Some((then, before)) = self.before.replace((now, totals)) else { return };
        let seconds = now.saturating_duration_since(then).as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| (now.saturating_sub(before) as f64 / seconds) as f32;
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            lines_read: rate(totals.lines_read, before.lines_read),
            lines_acknowledged: rate(totals.lines_acknowledged, before.lines_acknowledged),
            bytes_read: rate(totals.bytes_read, before.bytes_read),
            cpu_percent: (100.0 * (totals.cpu_seconds - before.cpu_seconds) / seconds) as f32,
            lag_bytes: totals.lag_bytes,
            memory_bytes: totals.memory_bytes,
        });
        self.end_ms = now_ms();
    }

    #[must_use]
    pub fn row(&self) -> HistoryRow {
        let rounded = |value: f32| (value * 100.0).round() / 100.0;
        let rates = |of: fn(&Sample) -> f32| self.samples.iter().map(|sample| rounded(of(sample))).collect();
        let gauges = |of: fn(&Sample) -> u64| self.samples.iter().map(of).collect();
        HistoryRow {
            step_ms: STEP.as_millis() as u64,
            end: self.end_ms,
            lines_read: rates(|sample| sample.lines_read),
            lines_acknowledged: rates(|sample| sample.lines_acknowledged),
            bytes_read: rates(|sample| sample.bytes_read),
            lag_bytes: gauges(|sample| sample.lag_bytes),
            cpu_percent: rates(|sample| sample.cpu_percent),
            memory_bytes: gauges(|sample| sample.memory_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_is_rates_between_samples_and_keeps_a_quarter_of_an_hour() {
        let (mut history, start) = (History::default(), Instant::now());
        let totals =
            |n: u64| Totals { lines_read: n * 100, cpu_seconds: n as f64 * 0.05, lag_bytes: n, ..Totals::default() };
        history.add(totals(0), start);
        assert_eq!(history.row().lines_read, [0.0; 0], "one look is no rate");
        for n in 1..=200 {
            history.add(totals(n), start + STEP * n as u32);
        }
        let row = history.row();
        assert_eq!((row.step_ms, row.lines_read.len(), row.memory_bytes.len()), (10_000, 90, 90));
        assert!(row.lines_read.iter().all(|rate| *rate == 10.0) && row.cpu_percent.iter().all(|share| *share == 0.5));
        assert_eq!((row.lag_bytes[0], row.lag_bytes[89]), (111, 200));
        assert!(size_of::<Sample>() * SAMPLES_MAX < 30 << 10);
    }

    #[test]
    fn a_counter_that_began_anew_is_no_huge_rate() {
        let (mut history, start) = (History::default(), Instant::now());
        history.add(Totals { lines_read: 50, ..Totals::default() }, start);
        history.add(Totals::default(), start + STEP);
        assert_eq!(history.row().lines_read, [0.0]);
    }
}
