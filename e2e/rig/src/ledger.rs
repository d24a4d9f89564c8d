//! What was written: the number of whole lines of each source.
//!
//! A source is one stream of one container, over all its restarts. Its lines are numbered from 0, so its count is all
//! that [`crate::tally::Tally`] needs to find a missing one.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// The count of lines of all sources; shared by the writers.
#[derive(Debug, Default)]
pub struct Ledger {
    sources: Mutex<Vec<Source>>,
    lines: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug)]
struct Source {
    name: String,
    lines: u64,
}

impl Ledger {
    /// A new source without lines. `name` is for people: namespace/pod/container stream.
    pub fn add_source(&self, name: String) -> u32 {
        let mut sources = self.sources();
        sources.push(Source { name, lines: 0 });
        (sources.len() - 1) as u32
    }

    /// Counts lines of `source` that are wholly in its log; `bytes` is their text.
    pub fn add_lines(&self, source: u32, lines: u64, bytes: u64) {
        self.sources()[source as usize].lines += lines;
        self.lines.fetch_add(lines, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Lines of all sources.
    pub fn lines(&self) -> u64 {
        self.lines.load(Relaxed)
    }

    /// Bytes of text of all sources.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Name and number of lines of each source, in the order of their numbers.
    pub fn written(&self) -> Vec<(String, u64)> {
        self.sources().iter().map(|source| (source.name.clone(), source.lines)).collect()
    }

    fn sources(&self) -> std::sync::MutexGuard<'_, Vec<Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
