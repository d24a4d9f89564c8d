//! What a batch holds, read back: for viewers. Nothing on the way to Loki needs it.

use prost::Message;

use super::{Batch, BatchStream, EntryAdapter, entry::entry_len};

/// An entry of a batch, encoded.
pub struct BatchEntry<'b> {
    pub stream: &'b BatchStream,
    bytes: &'b [u8],
}

impl Batch {
    /// The entries behind the first `from` encoded bytes, which must be where one begins.
    pub fn entries_from(&self, from: usize) -> impl Iterator<Item = BatchEntry<'_>> {
        let all = from.min(self.encoded_bytes())..self.encoded_bytes();
        let runs = if all.is_empty() { Vec::new() } else { self.runs_in(&all).collect() };
        runs.into_iter().flat_map(|(run, range)| {
            let stream = &self.streams()[run.stream.index()];
            let mut rest = &self.arena()[range];
            std::iter::from_fn(move || {
                if rest.is_empty() {
                    return None;
                }
                let (bytes, after) = rest.split_at(entry_len(rest).min(rest.len()));
                rest = after;
                Some(BatchEntry { stream, bytes })
            })
        })
    }
}

impl BatchEntry<'_> {
    /// Its time, text and structured metadata; `None`: never, as the batch wrote it.
    pub fn decoded(&self) -> Option<EntryAdapter> {
        // The key of the field takes one byte.
        EntryAdapter::decode_length_delimited(self.bytes.get(1..)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        batch::{Timestamp, structured_metadata},
        model::{ChannelId, Position, Stream, UnitId},
    };

    #[test]
    fn what_was_appended_since_a_mark_is_read_back_with_its_stream() {
        let mut batch = Batch::new(0);
        let channel = |stream| ChannelId { unit: UnitId(1), stream };
        let out = batch.open_stream(&"{a=\"1\"}".into(), channel(Stream::Stdout));
        let err = batch.open_stream(&"{a=\"2\"}".into(), channel(Stream::Stderr));
        let metadata = structured_metadata(&[("node".to_owned(), "pi".to_owned())].into());
        assert_eq!(batch.entries_from(0).count(), 0);
        batch.append(out, Position::START, 5, b"before", &[]);
        let mark = batch.encoded_bytes();
        assert_eq!(batch.entries_from(mark).count(), 0);
        let long = "x".repeat(40_000);
        batch.append(out, Position::START, 1_000_000_000, b"same run", &metadata);
        batch.append(err, Position::START, 1_700_000_000_000_000_007, long.as_bytes(), &[]);
        batch.append(out, Position::START, 1_700_000_000_000_000_008, b"", &[]);
        let read = |from| {
            let entries = batch.entries_from(from);
            entries.map(|entry| (entry.stream.labels.to_string(), entry.decoded().unwrap())).collect::<Vec<_>>()
        };
        let entries = read(mark);
        let texts: Vec<&str> = entries.iter().map(|(_, entry)| entry.line.as_str()).collect();
        assert_eq!(texts, ["same run", &long, ""]);
        assert_eq!([&*entries[0].0, &*entries[1].0, &*entries[2].0], ["{a=\"1\"}", "{a=\"2\"}", "{a=\"1\"}"]);
        assert_eq!(entries[0].1.structured_metadata[0].name, "node");
        assert_eq!(entries[1].1.timestamp, Some(Timestamp { seconds: 1_700_000_000, nanos: 7 }));
        assert_eq!(read(0).len(), 4);
    }
}
