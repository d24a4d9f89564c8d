//! What a stream's lines carry, encoded once for the stream: its label set in LogQL's form, its structured metadata as wire
//! bytes.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use super::logproto::LabelPairAdapter;

/// Field 3: `EntryAdapter.structuredMetadata`.
const STRUCTURED_METADATA: u32 = 3;

/// Renders `{app="nginx", stream="stderr"}`: names sorted, values quoted as Go's `strconv.Quote` does, which is how Loki
/// (pkg/logql/syntax, `ParseLabels`) reads them. Labels with an empty value are left out: Prometheus and Loki take the
/// two for the same.
pub fn label_set(labels: &BTreeMap<String, String>) -> Arc<str> {
    let mut out = String::from("{");
    for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
        if out.len() > 1 {
            out.push_str(", ");
        }
        out.push_str(name);
        out.push_str("=\"");
        for character in value.chars() {
            quote(character, &mut out);
        }
        out.push('"');
    }
    out.push('}');
    out.into()
}

/// The bytes that each entry of a stream with this structured metadata ends with: none where there is none. Sorted by name.
pub fn structured_metadata(metadata: &BTreeMap<String, String>) -> Arc<[u8]> {
    let mut out = Vec::new();
    for (name, value) in metadata.iter().filter(|(_, value)| !value.is_empty()) {
        let pair = LabelPairAdapter { name: name.clone(), value: value.clone() };
        prost::encoding::message::encode(STRUCTURED_METADATA, &pair, &mut out);
    }
    out.into()
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
