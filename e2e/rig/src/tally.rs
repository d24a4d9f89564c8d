//! Which marked lines arrived: once, twice, late, in order.
//!
//! In: every accepted entry, in the order of arrival. Out: a [`Report`] that holds them against the
//! [`Ledger`]. Keeps one bit a line, so that it can follow many GB; the lines' own checksums stand
//! in for their text. Knows no HTTP.

#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use crate::{
    latency::Histogram,
    ledger::Ledger,
    mark::{self, Mark, Unreadable},
};

const EXAMPLES_MAX: usize = 10;
const SOURCES_MAX: u32 = 1 << 20;
const SEQUENCE_MAX: u64 = 1 << 36;

/// Whose clock gave log records their timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stamps {
    /// The writer's: they are those of the marks.
    #[default]
    Writer,
    /// A container runtime's, on the same machine: between the mark's, which is older than the write, and the arrival.
    Runtime,
}

/// The lines that arrived.
#[derive(Debug, Default)]
pub struct Tally {
    stamps: Stamps,
    sources: Vec<SourceTally>,
    latency: Histogram,
    faults: Faults,
}

/// What is wrong with lines that arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Arrived again, identical.
    pub repeated: u64,
    /// Arrived for the first time after a later line of their source.
    pub out_of_order: u64,
    /// Text that is not as it was written.
    pub damaged: u64,
    /// Text without a mark: written by something else.
    pub unmarked: u64,
    /// An entry's timestamp that is not the one of the log record.
    pub wrong_timestamps: u64,
    /// Repeats with other labels than the first time: Loki would store them twice.
    pub moved: u64,
    /// Some of them, described.
    pub examples: Vec<String>,
}

#[derive(Debug, Default)]
struct SourceTally {
    arrived: Bits,
    refused: Bits,
    /// All lines before this one arrived or were refused.
    complete_below: u64,
    repeated: u64,
    /// One more than the highest number that arrived.
    next: u64,
    /// From which number on the lines came in which Loki stream.
    streams: Vec<(u64, u32)>,
}

impl Tally {
    /// An empty one.
    pub fn new(stamps: Stamps) -> Self {
        Self { stamps, ..Self::default() }
    }

    /// Counts an accepted entry. `stream` is the caller's number for its label set, `arrived_ns` the time in nanoseconds
    /// since 1970. Says whether the line was new; lines without a readable mark count as new.
    pub fn record(&mut self, stream: u32, timestamp_ns: i64, text: &[u8], arrived_ns: i64) -> bool {
        let Some(mark) = self.read(text) else { return true };
        let is_right = match self.stamps {
            Stamps::Writer => mark.timestamp_ns == timestamp_ns,
            Stamps::Runtime => (mark.timestamp_ns..=arrived_ns).contains(&timestamp_ns),
        };
        if !is_right {
            self.faults.wrong_timestamps += 1;
            self.faults.note(|| format!("timestamp {timestamp_ns} should be {}: {}", mark.timestamp_ns, start(text)));
        }
        let faults = &mut self.faults;
        let source = &mut self.sources[mark.source as usize];
        if !source.arrived.insert(mark.sequence) {
            source.repeated += 1;
            faults.repeated += 1;
            if source.stream_of(mark.sequence) != Some(stream) {
                faults.moved += 1;
                faults.note(|| format!("repeated with other labels: {}", start(text)));
            }
            return false;
        }
        source.extend_complete();
        if mark.sequence < source.next && !source.refused.contains(mark.sequence) {
            faults.out_of_order += 1;
            let (last, age_ms) = (source.next - 1, arrived_ns.saturating_sub(timestamp_ns) / 1_000_000);
            faults.note(|| {
                format!("number {} came after number {last}, {age_ms} ms old: {}", mark.sequence, start(text))
            });
        } else if mark.sequence >= source.next {
            source.next = mark.sequence + 1;
            if source.streams.last().is_none_or(|(_, last)| *last != stream) {
                source.streams.push((mark.sequence, stream));
            }
        }
        self.latency.record(Duration::from_nanos(arrived_ns.saturating_sub(timestamp_ns).max(0) as u64));
        true
    }

    /// Counts an entry that was refused for good; it is not missing then. It may come again all the same, from a
    /// collector that was killed before it had noted the refusal, and is not out of order then.
    pub fn record_refused(&mut self, text: &[u8]) {
        if let Some(mark) = self.read(text) {
            let source = &mut self.sources[mark.source as usize];
            source.refused.insert(mark.sequence);
            source.extend_complete();
        }
    }

    /// Whether of each source all lines before the given number arrived or were refused.
    pub fn has_all(&self, before: &[(u32, u64)]) -> bool {
        let complete = |source: u32| self.sources.get(source as usize).map_or(0, |source| source.complete_below);
        before.iter().all(|(source, number)| complete(*source) >= *number)
    }

    fn read(&mut self, text: &[u8]) -> Option<Mark> {
        let mark = match mark::read(text) {
            Ok(mark) if mark.source < SOURCES_MAX && mark.sequence < SEQUENCE_MAX => mark,
            Err(Unreadable::NoMark) => {
                self.faults.unmarked += 1;
                self.faults.note(|| format!("unmarked ({} bytes): {}", text.len(), start(text)));
                return None;
            }
            Ok(_) | Err(Unreadable::Damaged) => {
                self.faults.damaged += 1;
                self.faults.note(|| format!("damaged ({} bytes): {}", text.len(), start(text)));
                return None;
            }
        };
        if self.sources.len() <= mark.source as usize {
            self.sources.resize_with(mark.source as usize + 1, SourceTally::default);
        }
        Some(mark)
    }

    /// Marked lines that arrived, each counted once.
    pub fn lines(&self) -> u64 {
        self.latency.count()
    }

    /// What is wrong with the lines so far.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Compares what arrived with what was written.
    pub fn compare(&self, ledger: &Ledger) -> Report {
        let mut report = Report {
            written: 0,
            acknowledged: self.lines(),
            missing: 0,
            refused: 0,
            unknown: 0,
            faults: self.faults.clone(),
            missing_examples: Vec::new(),
            latency: self.latency.clone(),
        };
        let nothing = SourceTally::default();
        let written = ledger.written();
        for (index, (name, lines)) in written.iter().enumerate() {
            let source = self.sources.get(index).unwrap_or(&nothing);
            report.written += lines;
            report.unknown += source.next.saturating_sub(*lines);
            if source.arrived.count == *lines && source.next == *lines {
                continue;
            }
            report.find_missing(name, *lines, source);
        }
        for source in self.sources.iter().skip(written.len()) {
            report.unknown += source.arrived.count;
        }
        report
    }
}

impl SourceTally {
    fn extend_complete(&mut self) {
        while self.arrived.contains(self.complete_below) || self.refused.contains(self.complete_below) {
            self.complete_below += 1;
        }
    }

    /// The Loki stream in which a line arrived first.
    fn stream_of(&self, sequence: u64) -> Option<u32> {
        let after = self.streams.partition_point(|(from, _)| *from <= sequence);
        self.streams.get(after.checked_sub(1)?).map(|(_, stream)| *stream)
    }
}

impl Faults {
    fn note(&mut self, example: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }
}

/// The beginning of a line, for a message.
fn start(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(100)]).into_owned()
}

/// What was written, compared with what arrived.
#[derive(Clone, Debug)]
pub struct Report {
    /// Lines in the logs.
    pub written: u64,
    /// Lines that the receiver has, each counted once.
    pub acknowledged: u64,
    /// Lines that neither arrived nor were refused.
    pub missing: u64,
    /// Lines that the receiver refused for good (a fault script's doing).
    pub refused: u64,
    /// Marked lines that nobody wrote.
    pub unknown: u64,
    /// What is wrong with those that arrived.
    pub faults: Faults,
    /// Some of the missing ones: source and first and last number.
    pub missing_examples: Vec<String>,
    /// Arrival minus the entry's timestamp, first arrivals only.
    pub latency: Histogram,
}

impl Report {
    /// Every line arrived as it was written and in order. Repeats are allowed.
    pub fn is_complete(&self) -> bool {
        self.refused == 0 && self.is_complete_but_for_refused()
    }

    /// As [`Self::is_complete`], but for lines that the receiver refused for good.
    pub fn is_complete_but_for_refused(&self) -> bool {
        let faults = &self.faults;
        self.missing + self.unknown == 0
            && faults.out_of_order + faults.damaged + faults.unmarked + faults.wrong_timestamps + faults.moved == 0
    }

    fn find_missing(&mut self, name: &str, lines: u64, source: &SourceTally) {
        let mut sequence = 0;
        while sequence < lines {
            if source.arrived.contains(sequence) {
                sequence += 1;
                continue;
            }
            if source.refused.contains(sequence) {
                self.refused += 1;
                sequence += 1;
                continue;
            }
            let first = sequence;
            while sequence < lines && !source.arrived.contains(sequence) && !source.refused.contains(sequence) {
                sequence += 1;
            }
            self.missing += sequence - first;
            if self.missing_examples.len() < EXAMPLES_MAX {
                self.missing_examples.push(format!("{name}: {first} to {}, of {lines}", sequence - 1));
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = &self.faults;
        write!(
            f,
            "written {}, acknowledged {}, missing {}, repeated {}, out of order {}, damaged {}, unmarked {}, \
             wrong timestamps {}, moved {}, refused {}, unknown {}",
            self.written,
            self.acknowledged,
            self.missing,
            faults.repeated,
            faults.out_of_order,
            faults.damaged,
            faults.unmarked,
            faults.wrong_timestamps,
            faults.moved,
            self.refused,
            self.unknown,
        )?;
        for example in self.missing_examples.iter().map(|e| format!("missing {e}")).chain(faults.examples.clone()) {
            write!(f, "\n  {example}")?;
        }
        Ok(())
    }
}

/// A set of small numbers, a bit for each up to the highest.
#[derive(Debug, Default)]
pub struct Bits {
    words: Vec<u64>,
    count: u64,
}

impl Bits {
    /// Adds `number`; whether it was not in the set.
    pub fn insert(&mut self, number: u64) -> bool {
        let word = (number / 64) as usize;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let bit = 1 << (number % 64);
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += u64::from(new);
        new
    }

    fn contains(&self, number: u64) -> bool {
        self.words.get((number / 64) as usize).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}
