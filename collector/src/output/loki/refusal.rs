//! Which lines Loki refused for good, as far as its text says.

/// Loki's reason while ingestion is blocked.
pub(super) const BLOCKED: &str = "blocked_ingestion";
/// For a text that names none of the known reasons.
const UNKNOWN: &str = "refused";

/// Loki's words, in lower case, and its name for the reason (the label of `loki_discarded_samples_total`).
const REASONS: [(&str, &str); 17] = [
    ("max entry size", "line_too_long"),
    ("timestamp too old", "greater_than_max_sample_age"),
    ("timestamp too new", "too_far_in_future"),
    ("entry too far behind", "too_far_behind"),
    ("entry out of order", "out_of_order"),
    ("maximum active stream limit", "stream_limit"),
    ("error parsing labels", "invalid_labels"),
    ("at least one label pair", "missing_labels"),
    ("label names; limit", "max_label_names_per_series"),
    ("label name too long", "label_name_too_long"),
    ("label value too long", "label_value_too_long"),
    ("duplicate label name", "duplicate_label_names"),
    ("missing required labels", "missing_enforced_labels"),
    ("feature is disallowed", "disallowed_structured_metadata"),
    ("structured metadata too large", "structured_metadata_too_large"),
    ("too many structured metadata", "structured_metadata_too_many"),
    ("rate limit exceeded", "rate_limited"),
];

/// Lines that Loki will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// How many for which reason: at least so many, as Loki reports only one stream's failures of those that its
    /// ingesters find, and one error for all lines of a stream whose labels are refused.
    pub(super) counts: Vec<(&'static str, u64)>,
    /// One of Loki's sentences.
    pub(super) example: String,
}

impl Refusal {
    /// All of them, for one reason.
    pub(super) fn of_all(reason: &'static str, entries: u64, text: &str) -> Self {
        Self { counts: vec![(reason, entries)], example: text.trim().to_owned() }
    }

    /// Reads Loki's text to a request of `entries` lines.
    ///
    /// Distributors join different errors with `; ` and write equal ones as `7 errors like: …` (pkg/util/errors.go).
    /// Ingesters write one line for each entry, at most ten, and `total ignored: 12 out of 40 for stream: …`
    /// (pkg/ingester/stream.go).
    pub(super) fn read(text: &str, entries: u64) -> Self {
        let mut counts: Vec<(&'static str, u64)> = Vec::new();
        let mut example = None;
        let mut add = |reason, count: u64| match counts.iter_mut().find(|known| known.0 == reason) {
            Some(known) => known.1 += count,
            None => counts.push((reason, count)),
        };
        if let Some(total) = number_after(text, "total ignored: ") {
            add(reason_in(text).unwrap_or(UNKNOWN), total);
        } else {
            // A label's value may hold "; " too: what names no reason belongs to the sentence before it.
            for sentence in text.split("; ") {
                if let Some(reason) = reason_in(sentence) {
                    add(reason, equal_errors(sentence));
                    example.get_or_insert(sentence);
                }
            }
        }
        if counts.is_empty() {
            counts.push((UNKNOWN, 1));
        }
        let mut left = entries;
        for (_, count) in &mut counts {
            *count = (*count).min(left);
            left -= *count;
        }
        counts.retain(|(_, count)| *count > 0);
        Self { counts, example: example.unwrap_or(text).trim().to_owned() }
    }

    /// How many lines in all.
    pub(super) fn entries(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

fn reason_in(text: &str) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    REASONS.iter().find(|(words, _)| text.contains(words)).map(|(_, reason)| *reason)
}

/// 7 for `7 errors like: …`, otherwise 1.
fn equal_errors(sentence: &str) -> u64 {
    sentence.split_once(" errors like: ").and_then(|(count, _)| count.trim().parse().ok()).unwrap_or(1)
}

fn number_after(text: &str, words: &str) -> Option<u64> {
    let rest = &text[text.find(words)? + words.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distributors_errors_are_counted_by_reason() {
        let text = "3 errors like: Max entry size '262144' bytes exceeded for stream '{a=\"b; c\"}' while adding an \
                    entry with length '300000' bytes; entry for stream '{a=\"b\"}' has timestamp too old: \
                    2020-01-01T00:00:00Z, oldest acceptable timestamp is: 2026-01-01T00:00:00Z; entry for stream \
                    '{a=\"b\"}' has timestamp too old: 2020-01-02T00:00:00Z, oldest acceptable timestamp is: \
                    2026-01-01T00:00:00Z\n";
        let refusal = Refusal::read(text, 100);
        assert_eq!(refusal.counts, [("line_too_long", 3), ("greater_than_max_sample_age", 2)]);
        assert_eq!(refusal.entries(), 5);
        assert!(refusal.example.starts_with("3 errors like: Max entry size"));
    }

    #[test]
    fn an_ingesters_total_is_taken_at_its_word() {
        let text = "entry with timestamp 2026-01-01 00:00:00 +0000 UTC ignored, reason: 'entry too far behind, entry \
                    timestamp is: 2026-01-01T00:00:00Z, oldest acceptable timestamp is: 2026-01-02T00:00:00Z',\n\
                    user 'fake', total ignored: 12 out of 40 for stream: {app=\"x\"}";
        assert_eq!(Refusal::read(text, 40).counts, [("too_far_behind", 12)]);
    }

    #[test]
    fn never_more_are_refused_than_were_sent() {
        let text = "5 errors like: entry out of order; 9 errors like: entry for stream 'x' has timestamp too new: y";
        assert_eq!(Refusal::read(text, 7).counts, [("out_of_order", 5), ("too_far_in_future", 2)]);
    }

    #[test]
    fn an_unknown_reason_counts_one_line_and_keeps_the_text() {
        let refusal = Refusal::read("  the moon is too full; really\n", 7);
        assert_eq!(refusal, Refusal { counts: vec![("refused", 1)], example: "the moon is too full; really".into() });
        assert_eq!(Refusal::read("", 3).counts, [("refused", 1)]);
    }
}
