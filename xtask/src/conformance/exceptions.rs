//! Where Pilcrow differs from Promtail on purpose; docs/pipeline.md lists the same differences.
//!
//! An exception that nothing needs any more is an error.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    Request,
    compare::{Difference, Field, text},
};

/// A deliberate difference.
pub struct Exception {
    pub name: &'static str,
    /// Whether it explains this difference.
    pub applies: fn(&Request, &Difference) -> bool,
}

static EXCEPTIONS: [Exception; 13] = [
    Exception {
        name: "timestamp: action_on_failure is skip by default",
        applies: |request, difference| {
            difference.field == Field::Time
                && request.stages.contains("timestamp")
                && !request.stages.contains("action_on_failure")
        },
    },
    Exception {
        name: "multiline: a block keeps its first line's structured metadata",
        applies: |request, difference| {
            difference.field == Field::Metadata && request.stages.contains("multiline") && difference.promtail == "[]"
        },
    },
    Exception {
        name: "sampling: decided by a hash instead of at random",
        applies: |request, difference| {
            request.stages.contains("sampling: {rate: 0.")
                && matches!(difference.field, Field::Entries | Field::Metrics)
        },
    },
    Exception {
        name: "json: members of extracted objects keep their order",
        applies: |_, difference| {
            let json =
                |text: &str| -> Option<serde_json::Value> { serde_json::from_str(&text[text.find('{')?..]).ok() };
            let (theirs, ours) = (json(&difference.promtail), json(&difference.pilcrow));
            matches!(difference.field, Field::Extracted | Field::Line | Field::Labels)
                && theirs.is_some()
                && theirs == ours
        },
    },
    Exception {
        name: "logfmt: all names of one key are filled, and not one of them at random",
        applies: |request, _| request.stages.lines().any(maps_a_key_twice),
    },
    Exception {
        name: "template: trunc cuts between characters",
        applies: |request, difference| {
            // What Promtail cut within a character is shown as replacement characters.
            let whole = |text: &str| text.replace(char::REPLACEMENT_CHARACTER, "").replace(r"\ufffd", "");
            // As a label, extracted or metadata it is refused, being no UTF-8.
            let line = difference.entry.and_then(|id| request.entries.get(usize::try_from(id).ok()?));
            let is_refused =
                request.stages.contains("trunc 4") && line.is_some_and(|line| !text(&line.line).is_char_boundary(4));
            request.stages.contains("trunc")
                && difference.promtail != difference.pilcrow
                && (is_refused || whole(&difference.promtail) == whole(&difference.pilcrow))
        },
    },
    Exception {
        name: "structured_metadata: a name that is set twice has its last value only",
        applies: |_, difference| {
            difference.field == Field::Metadata
                && difference.promtail.len() > difference.pilcrow.len()
                && difference.promtail.contains(difference.pilcrow.trim_matches(['[', ']']))
        },
    },
    Exception {
        name: "metrics: tenants share a series, where Promtail makes equal ones that its registry refuses",
        applies: |_, difference| {
            difference.field == Field::Error
                && difference.pilcrow.is_empty()
                && difference.promtail.contains("was collected before with the same name and label values")
        },
    },
    Exception {
        name: "bytes that are no UTF-8 are U+FFFD from reading on: other bytes, lengths and hashes, and labels that Promtail leaves out",
        applies: |request, difference| {
            let line = difference.entry.and_then(|id| request.entries.get(usize::try_from(id).ok()?));
            let is_of_line = line.is_some_and(|line| !is_text(&line.line));
            let is_of_any = difference.entry.is_none() || request.stages.contains("multiline");
            difference.field != Field::Error
                && (is_of_line || is_of_any && !request.entries.iter().all(|line| is_text(&line.line)))
        },
    },
    Exception {
        name: "YAML: unquoted y, n, on and off are texts",
        applies: |_, difference| {
            difference.field == Field::Error
                && difference.pilcrow.is_empty()
                && difference.promtail.contains("type 'bool'")
        },
    },
    Exception {
        name: "unknown fields are errors",
        applies: |_, difference| difference.field == Field::Error && difference.pilcrow.contains("unknown key"),
    },
    Exception {
        name: "parts of templates and JMESPath that are refused by name",
        applies: |_, difference| difference.field == Field::Error && difference.pilcrow.contains("not supported"),
    },
    Exception {
        name: "Alloy's stages and fields, sizes in KiB and backticks in selectors are accepted",
        applies: |request, difference| {
            let alloys = ["pattern:", "truncate:", "label_keep", "KiB", "`"];
            difference.field == Field::Error
                && difference.pilcrow.is_empty()
                && alloys.iter().any(|text| request.stages.contains(text))
        },
    },
];

/// Whether the line is UTF-8.
fn is_text(base64: &str) -> bool {
    BASE64_STANDARD.decode(base64).is_ok_and(|line| std::str::from_utf8(&line).is_ok())
}

/// Whether this is a `logfmt` stage with two names for one key.
fn maps_a_key_twice(stage: &str) -> bool {
    let Some((_, mapping)) = stage.split_once("logfmt: {mapping: {") else { return false };
    let pairs = mapping.split('}').next().unwrap_or_default().split(", ");
    let mut keys: Vec<&str> = pairs
        .filter_map(|pair| pair.split_once(':'))
        .map(|(name, key)| if key.trim().is_empty() { name.trim() } else { key.trim() })
        .collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    keys.len() < all
}

pub fn all() -> impl Iterator<Item = &'static Exception> {
    EXCEPTIONS.iter()
}
