//! What the receiver has: streams, their entries, which requests are in flight, and everything that a client did wrong.
//!
//! In: decoded pushes. Out: answers to the tests' questions. Knows no HTTP.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
};

use super::{
    faults::{FaultScript, Verdict},
    labels::Labels,
    limits::{self, Limits},
    push,
    trace::Trace,
};
use crate::{
    mark::checksum,
    tally::{Stamps, Tally},
};

const VIOLATIONS_MAX: usize = 1000;

/// What is kept of the entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Every entry.
    #[default]
    Entries,
    /// Counts, and one bit for each marked line: for GBs.
    Counts,
}

/// An entry as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEntry {
    /// Nanoseconds since 1970.
    pub timestamp_ns: i64,
    /// The text.
    pub line: String,
    /// Structured metadata, in the order of the request.
    pub metadata: Vec<(String, String)>,
    /// The same timestamp and text came before: Loki would store this one no second time.
    pub repeat: bool,
}

/// A stream: what has one label set.
#[derive(Clone, Debug, Default)]
pub struct StreamContents {
    /// The label set.
    pub labels: Labels,
    /// Entries that arrived, repeats included.
    pub arrived: u64,
    /// First arrivals that were older than an earlier one (only with [`Keep::Entries`]).
    pub backward: u64,
    /// All of them in the order of arrival (only with [`Keep::Entries`]).
    pub entries: Vec<KeptEntry>,
}

impl StreamContents {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Timestamps and texts of the first arrivals, in order.
    pub fn lines(&self) -> Vec<(i64, &str)> {
        self.entries.iter().filter(|entry| !entry.repeat).map(|e| (e.timestamp_ns, e.line.as_str())).collect()
    }
}

/// How a request that names a stream stands.
#[derive(Debug, Default)]
pub(super) struct Flight(AtomicU8);

const RUNNING: u8 = 0;
const ANSWERED: u8 = 1;
const ABANDONED: u8 = 2;

impl Flight {
    /// The answer is given out.
    pub(super) fn answer(&self) {
        let _ = self.0.compare_exchange(RUNNING, ANSWERED, SeqCst, SeqCst);
    }

    /// The connection is gone before the answer.
    pub(super) fn abandon(&self) {
        let _ = self.0.compare_exchange(RUNNING, ABANDONED, SeqCst, SeqCst);
    }

    /// The client did not wait for the answer.
    pub(super) fn is_abandoned(&self) -> bool {
        self.0.load(SeqCst) == ABANDONED
    }

    fn is_running(&self) -> bool {
        self.0.load(SeqCst) == RUNNING
    }
}

/// Everything that the receiver knows.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) keep: Keep,
    pub(super) faults: FaultScript,
    pub(super) limits: Limits,
    pub(super) tally: Tally,
    pub(super) violations: Vec<String>,
    /// Answers by status; 0 where the connection was closed without one.
    pub(super) answers: BTreeMap<u16, u64>,
    pub(super) last_headers: Vec<(String, String)>,
    pub(super) pushes: u64,
    pub(super) entries: u64,
    pub(super) refused_entries: u64,
    pub(super) limited_entries: u64,
    pub(super) silently_dropped: u64,
    pub(super) largest_push: u64,
    pub(super) decoded_bytes: u64,
    pub(super) wire_bytes: u64,
    pub(super) trace: Option<Trace>,
    numbers: HashMap<String, u32>,
    streams: Vec<Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    contents: StreamContents,
    greatest_timestamp_ns: Option<i64>,
    seen: HashSet<(i64, u64)>,
    flight: Option<Arc<Flight>>,
}

impl Store {
    pub(super) fn new(keep: Keep, stamps: Stamps, faults: FaultScript, limits: Limits) -> Self {
        Self { keep, faults, limits, tally: Tally::new(stamps), ..Self::default() }
    }

    pub(super) fn violate(&mut self, violation: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    /// Marks the request's streams as being in flight; gives the requests that already were, with the stream's labels.
    pub(super) fn take_off(
        &mut self,
        streams: &[push::Stream<'_>],
        flight: &Arc<Flight>,
    ) -> Vec<(Arc<Flight>, String)> {
        let mut overlapping = Vec::new();
        for stream in streams {
            let number = self.number_of(stream);
            let before = self.streams[number as usize].flight.replace(Arc::clone(flight));
            if let Some(before) = before
                && before.is_running()
                && !Arc::ptr_eq(&before, flight)
            {
                overlapping.push((before, stream.labels_text.to_owned()));
            }
        }
        overlapping
    }

    /// Stores a request but for its first `refused` entries and those that a limit refuses.
    pub(super) fn accept(
        &mut self,
        streams: &[push::Stream<'_>],
        mut refused: usize,
        limited: &limits::Outcome,
        arrived_ns: i64,
    ) {
        for (position, stream) in streams.iter().enumerate() {
            let number = self.number_of(stream);
            for (index, entry) in stream.entries.iter().enumerate() {
                if limited.refused[position].contains(&index) {
                    self.limited_entries += 1;
                    self.silently_dropped += u64::from(limited.answer.is_none());
                    continue;
                }
                if refused > 0 {
                    refused -= 1;
                    self.refused_entries += 1;
                    self.tally.record_refused(entry.line.as_bytes());
                    continue;
                }
                self.entries += 1;
                self.tally.record(number, entry.timestamp_ns, entry.line.as_bytes(), arrived_ns);
                self.streams[number as usize].take(entry, self.keep);
            }
        }
    }

    /// Tells of a push in the trace, where there is one.
    pub(super) fn note_push(
        &mut self,
        arrived_ns: i64,
        verdict: &Verdict,
        streams: &[push::Stream<'_>],
        limited: &limits::Outcome,
    ) {
        if let Some(trace) = &mut self.trace {
            trace.note(arrived_ns, verdict, streams, limited);
        }
    }

    /// The streams by their labels' text as Loki would show it.
    pub(super) fn contents(&self) -> BTreeMap<String, StreamContents> {
        let contents = self.streams.iter().map(|stream| stream.contents.clone());
        contents.map(|contents| (canonical(&contents.labels), contents)).collect()
    }

    fn number_of(&mut self, stream: &push::Stream<'_>) -> u32 {
        if let Some(number) = self.numbers.get(stream.labels_text) {
            return *number;
        }
        // Two ways of writing one label set are one stream.
        let canonical = canonical(&stream.labels);
        let next = self.streams.len() as u32;
        let number = *self.numbers.entry(canonical).or_insert(next);
        self.numbers.insert(stream.labels_text.to_owned(), number);
        if number == next {
            let contents = StreamContents { labels: stream.labels.clone(), ..StreamContents::default() };
            self.streams.push(Stream { contents, ..Stream::default() });
        }
        number
    }
}

impl Stream {
    fn take(&mut self, entry: &push::Entry<'_>, keep: Keep) {
        self.contents.arrived += 1;
        if keep == Keep::Counts {
            return;
        }
        let repeat = !self.seen.insert((entry.timestamp_ns, checksum(entry.line.as_bytes())));
        if !repeat {
            let backward = self.greatest_timestamp_ns.is_some_and(|greatest| entry.timestamp_ns < greatest);
            self.contents.backward += u64::from(backward);
            self.greatest_timestamp_ns = self.greatest_timestamp_ns.max(Some(entry.timestamp_ns));
        }
        self.contents.entries.push(KeptEntry {
            timestamp_ns: entry.timestamp_ns,
            line: entry.line.to_owned(),
            metadata: entry.metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            repeat,
        });
    }
}

/// A label set in Loki's own writing.
fn canonical(labels: &Labels) -> String {
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", quoted(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}
