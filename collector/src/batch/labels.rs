//! A label set in LogQL's form.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

/// Renders `{app="nginx", stream="stderr"}`: names sorted, values quoted as Go's `strconv.Quote` does, which is how Loki
/// (pkg/logql/syntax, `ParseLabels`) reads them. Labels with an empty value are left out: Prometheus and Loki take the
/// two for the same.
pub fn label_set(labels: &BTreeMap<&str, &str>) -> Arc<str> {
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
        let labels = BTreeMap::from([("stream", "stderr"), ("app", ""), ("cluster", "a\"b\\c\nd\u{1}é")]);
        assert_eq!(&*label_set(&labels), "{cluster=\"a\\\"b\\\\c\\nd\\u0001é\", stream=\"stderr\"}");
        assert_eq!(&*label_set(&BTreeMap::new()), "{}");
    }
}
