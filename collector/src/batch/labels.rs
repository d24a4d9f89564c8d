//! What a stream's lines carry, encoded once for the stream: its label set in LogQL's form, its structured metadata as wire
//! bytes.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use prost::encoding::{encode_varint, encoded_len_varint};

/// Field 3, length-delimited: `EntryAdapter.structuredMetadata`.
const STRUCTURED_METADATA_KEY: u8 = 0x1a;
/// Field 1, length-delimited: `LabelPairAdapter.name`.
const NAME_KEY: u8 = 0x0a;
/// Field 2, length-delimited: `LabelPairAdapter.value`.
const VALUE_KEY: u8 = 0x12;

/// Renders `{app="nginx", stream="stderr"}`: names sorted, values quoted as Go's `strconv.Quote` does, which is how Loki
/// (pkg/logql/syntax, `ParseLabels`) reads them. Labels with an empty value are left out: to Prometheus and Loki they are
/// the same as no label.
pub fn label_set(labels: &BTreeMap<String, String>) -> Arc<str> {
    let mut out = String::new();
    write_label_set(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())), &mut out);
    out.into()
}

/// As [`label_set`], for names that are sorted; replaces the text of `out`.
pub fn write_label_set<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>, out: &mut String) {
    out.clear();
    out.push('{');
    for (name, value) in labels.filter(|(_, value)| !value.is_empty()) {
        if out.len() > 1 {
            out.push_str(", ");
        }
        out.push_str(name);
        out.push_str("=\"");
        if value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
            out.push_str(value);
        } else {
            value.chars().for_each(|character| quote(character, out));
        }
        out.push('"');
    }
    out.push('}');
}

/// The encoded structured metadata that each entry of a stream ends with, sorted by name; empty where there is none.
pub fn structured_metadata(metadata: &BTreeMap<String, String>) -> Arc<[u8]> {
    let mut out = Vec::new();
    for (name, value) in metadata {
        append_structured_metadata(name, value, &mut out);
    }
    out.into()
}

/// Appends one name and value of an entry's structured metadata; nothing where there is no value.
pub fn append_structured_metadata(name: &str, value: &str, out: &mut Vec<u8>) {
    if value.is_empty() {
        return;
    }
    let field_bytes =
        |text: &str| if text.is_empty() { 0 } else { 1 + encoded_len_varint(text.len() as u64) + text.len() };
    out.push(STRUCTURED_METADATA_KEY);
    encode_varint((field_bytes(name) + field_bytes(value)) as u64, out);
    for (key, text) in [(NAME_KEY, name), (VALUE_KEY, value)] {
        if !text.is_empty() {
            out.push(key);
            encode_varint(text.len() as u64, out);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

fn quote(character: char, out: &mut String) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        control if control.is_control() => {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(control));
        }
        other => out.push(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_values_quoted_and_empty_ones_left_out() {
        let labels = [("stream", "stderr"), ("app", ""), ("cluster", "a\"b\\c\nd\u{1}é")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(&*label_set(&labels), "{cluster=\"a\\\"b\\\\c\\nd\\u0001é\", stream=\"stderr\"}");
        assert_eq!(&*label_set(&BTreeMap::new()), "{}");
    }
}
