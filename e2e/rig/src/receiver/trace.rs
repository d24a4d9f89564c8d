//! A file with the contents and the outcome of each push, to find out why a line came late.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Write},
    path::Path,
};

use super::{faults::Verdict, limits, push};
use crate::mark;

#[derive(Debug)]
pub(super) struct Trace(File);

impl Trace {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        File::create(path).map(Self)
    }

    /// One line for each stream of a push.
    pub(super) fn note(
        &mut self,
        arrived_ns: i64,
        verdict: &Verdict,
        streams: &[push::Stream<'_>],
        limited: &limits::Outcome,
    ) {
        let mut text = String::new();
        for (index, stream) in streams.iter().enumerate() {
            let refused = limited.refused.get(index).map_or(0, HashSet::len);
            let mark = |entry: Option<&push::Entry<'_>>| match entry.map(|entry| mark::read(entry.line.as_bytes())) {
                Some(Ok(mark)) => format!("{}:{}", mark.source, mark.sequence),
                _ => "?".into(),
            };
            let (first, last) = (mark(stream.entries.first()), mark(stream.entries.last()));
            text += &format!(
                "{arrived_ns} {verdict:?} {} of {} streams: {} entries {first} to {last}, {} over a limit\n",
                stream.labels_text,
                streams.len(),
                stream.entries.len(),
                refused,
            );
        }
        // Only a debugging aid: a failed write is ignored.
        let _ = self.0.write_all(text.as_bytes());
    }
}
