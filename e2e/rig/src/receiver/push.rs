//! The body of a push, `logproto.PushRequest` (pkg/push/push.proto in grafana/loki), decoded strictly.
//!
//! In: protobuf bytes. Out: streams whose labels and lines are borrowed from them, or the reason of the refusal. Fields
//! out of place, unknown fields, varints that are longer than needed, empty streams and invalid UTF-8 are refused, though
//! Loki would take some of them.

use super::labels::{self, Labels};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

const METADATA_ENTRIES_MAX: usize = 128;
const METADATA_BYTES_MAX: usize = 64 << 10;

/// The entries of one stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Stream<'a> {
    /// The label set as it came.
    pub labels_text: &'a str,
    /// The label set.
    pub labels: Labels,
    /// At least one entry, in the order of the request.
    pub entries: Vec<Entry<'a>>,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Nanoseconds since 1970.
    pub timestamp_ns: i64,
    /// The text.
    pub line: &'a str,
    /// Structured metadata, in the order of the request.
    pub metadata: Vec<(&'a str, &'a str)>,
}

/// Decodes a whole request of at least one stream. `line_bytes_max` is Loki's `max_line_size`.
pub fn decode(body: &[u8], line_bytes_max: usize) -> Result<Vec<Stream<'_>>, String> {
    let mut streams = Vec::new();
    let mut fields = Fields(body);
    while let Some((number, value)) = fields.next("PushRequest")? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => streams.push(decode_stream(bytes, line_bytes_max)?),
            other => return Err(unexpected("PushRequest", other)),
        }
    }
    if streams.is_empty() {
        return Err("PushRequest without streams".into());
    }
    Ok(streams)
}

fn decode_stream(bytes: &[u8], line_bytes_max: usize) -> Result<Stream<'_>, String> {
    let mut labels_text = None;
    let mut entries = Vec::new();
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next("Stream")? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => set_once(&mut labels_text, text("Stream.labels", bytes)?, "Stream.labels")?,
            (2, Value::Bytes(bytes)) => entries.push(decode_entry(bytes, line_bytes_max)?),
            other => return Err(unexpected("Stream", other)),
        }
    }
    let labels_text = labels_text.ok_or("Stream without labels")?;
    if entries.is_empty() {
        return Err(format!("stream {labels_text} without entries"));
    }
    Ok(Stream { labels_text, labels: labels::parse(labels_text)?, entries })
}

fn decode_entry(bytes: &[u8], line_bytes_max: usize) -> Result<Entry<'_>, String> {
    let mut timestamp_ns = None;
    let mut line = None;
    let mut metadata = Vec::new();
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next("Entry")? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => set_once(&mut timestamp_ns, decode_timestamp(bytes)?, "Entry.timestamp")?,
            (2, Value::Bytes(bytes)) => set_once(&mut line, text("Entry.line", bytes)?, "Entry.line")?,
            (3, Value::Bytes(bytes)) => metadata.push(decode_pair(bytes)?),
            other => return Err(unexpected("Entry", other)),
        }
    }
    let line = line.unwrap_or_default();
    if line.len() > line_bytes_max {
        return Err(format!("a line of {} bytes, the limit is {line_bytes_max}", line.len()));
    }
    check_metadata(&metadata)?;
    Ok(Entry { timestamp_ns: timestamp_ns.ok_or("Entry without timestamp")?, line, metadata })
}

/// Names as labels have them, sorted and unique, values that are not empty, and Loki's default limits
/// (`max_structured_metadata_entries_count`, `max_structured_metadata_size`).
fn check_metadata(metadata: &[(&str, &str)]) -> Result<(), String> {
    let mut bytes = 0;
    for (index, (name, value)) in metadata.iter().enumerate() {
        if !labels::is_name(name) || value.is_empty() {
            return Err(format!("structured metadata {name:?} with the value {value:?}"));
        }
        if index > 0 && metadata[index - 1].0 >= *name {
            return Err(format!(
                "structured metadata {name} after {}: must be sorted and unique",
                metadata[index - 1].0
            ));
        }
        bytes += name.len() + value.len();
    }
    if metadata.len() > METADATA_ENTRIES_MAX || bytes > METADATA_BYTES_MAX {
        return Err(format!("structured metadata of {} names and {bytes} bytes", metadata.len()));
    }
    Ok(())
}

fn decode_timestamp(bytes: &[u8]) -> Result<i64, String> {
    let (mut seconds, mut nanos) = (None, None);
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next("Timestamp")? {
        match (number, value) {
            (1, Value::Varint(value)) => set_once(&mut seconds, value as i64, "Timestamp.seconds")?,
            (2, Value::Varint(value)) => set_once(&mut nanos, value as i64, "Timestamp.nanos")?,
            other => return Err(unexpected("Timestamp", other)),
        }
    }
    let (seconds, nanos) = (seconds.unwrap_or(0), nanos.unwrap_or(0));
    if !(0..NANOS_PER_SECOND).contains(&nanos) {
        return Err(format!("timestamp with {nanos} nanoseconds"));
    }
    seconds
        .checked_mul(NANOS_PER_SECOND)
        .and_then(|ns| ns.checked_add(nanos))
        .ok_or_else(|| format!("timestamp of {seconds} seconds does not fit 64 bits of nanoseconds"))
}

fn decode_pair(bytes: &[u8]) -> Result<(&str, &str), String> {
    let (mut name, mut value) = (None, None);
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next("LabelPair")? {
        match (number, field) {
            (1, Value::Bytes(bytes)) => set_once(&mut name, text("LabelPair.name", bytes)?, "LabelPair.name")?,
            (2, Value::Bytes(bytes)) => set_once(&mut value, text("LabelPair.value", bytes)?, "LabelPair.value")?,
            other => return Err(unexpected("LabelPair", other)),
        }
    }
    Ok((name.ok_or("structured metadata without a name")?, value.unwrap_or_default()))
}

fn set_once<T>(slot: &mut Option<T>, value: T, field: &str) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{field} stands twice")),
    }
}

fn text<'a>(field: &str, bytes: &'a [u8]) -> Result<&'a str, String> {
    std::str::from_utf8(bytes).map_err(|error| format!("{field} is not UTF-8: {error}"))
}

fn unexpected(message: &str, (number, value): (u64, Value<'_>)) -> String {
    let kind = match value {
        Value::Varint(_) => "varint",
        Value::Bytes(_) => "bytes",
    };
    format!("{message} has an unknown field {number} ({kind})")
}

/// A field's value; push.proto needs no other wire types.
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// The fields of one message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self, message: &str) -> Result<Option<(u64, Value<'a>)>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint(message)?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint(message)?),
            2 => {
                let len = self.varint(message)?;
                let (bytes, rest) = usize::try_from(len)
                    .ok()
                    .and_then(|len| self.0.split_at_checked(len))
                    .ok_or_else(|| format!("{message}: a field of {len} bytes, {} are there", self.0.len()))?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            wire_type => return Err(format!("{message}: field {} has wire type {wire_type}", key >> 3)),
        };
        Ok(Some((key >> 3, value)))
    }

    fn varint(&mut self, message: &str) -> Result<u64, String> {
        let mut value = 0u64;
        for (i, byte) in self.0.iter().enumerate().take(10) {
            if i == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                if *byte == 0 && i > 0 {
                    return Err(format!("{message}: a varint that is longer than needed"));
                }
                self.0 = &self.0[i + 1..];
                return Ok(value);
            }
        }
        Err(format!("{message}: a varint that does not end"))
    }
}
