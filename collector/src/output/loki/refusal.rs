//! Which lines Loki refused for good, as far as its text tells.

use super::{
    answer::first_line,
    sentence::{Sentence, sentences},
};

/// Loki's reason while ingestion is blocked.
pub(super) const BLOCKED: &str = "blocked_ingestion";

/// How Loki's sentence begins, what it holds after that, and Loki's name for the reason (the label of
/// `loki_discarded_samples_total`). From pkg/validation/validate.go and pkg/ingester/stream.go, in lower case.
const REASONS: [(&str, &str, &str); 17] = [
    ("max entry size ", "", "line_too_long"),
    ("entry for stream ", "has timestamp too old", "greater_than_max_sample_age"),
    ("entry for stream ", "has timestamp too new", "too_far_in_future"),
    ("entry too far behind", "", "too_far_behind"),
    ("entry out of order", "", "out_of_order"),
    ("maximum active stream limit exceeded", "", "stream_limit"),
    ("error parsing labels ", "", "invalid_labels"),
    ("error at least one label pair is required", "", "missing_labels"),
    ("entry for stream ", "label names", "max_label_names_per_series"),
    ("stream ", "has label name too long", "label_name_too_long"),
    ("stream ", "has label value too long", "label_value_too_long"),
    ("stream ", "has duplicate label name", "duplicate_label_names"),
    ("missing required labels ", "", "missing_enforced_labels"),
    ("stream ", "this feature is disallowed", "disallowed_structured_metadata"),
    ("stream ", "structured metadata too large", "structured_metadata_too_large"),
    ("stream ", "too many structured metadata", "structured_metadata_too_many"),
    ("per stream rate limit exceeded", "", "rate_limited"),
];

/// Lines that Loki will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// How many for which reason: at least this many, as Loki reports only one stream's failures of those that its
    /// ingesters find, and one error for all lines of a stream whose labels are refused.
    pub(super) counts: Vec<(&'static str, u64)>,
    /// Loki's text.
    pub(super) example: String,
}

impl Refusal {
    /// All of them, for one reason.
    pub(super) fn of_all(reason: &'static str, entries: u64, text: &str) -> Self {
        Self { counts: vec![(reason, entries)], example: first_line(text) }
    }

    /// Reads Loki's text to a request of `entries` lines; `None` where it names no known reason.
    ///
    /// Distributors join different errors with `; ` and write equal ones as `7 errors like: …` (pkg/util/errors.go).
    /// Ingesters write one line for each entry, at most ten, and `user 'x', total ignored: 12 out of 40 for stream: …`
    /// (pkg/ingester/stream.go).
    pub(super) fn read(text: &str, entries: u64) -> Option<Self> {
        let sentences = sentences(text);
        let first = reason_of(sentences.first()?)?;
        let mut counts: Vec<(&'static str, u64)> = Vec::new();
        if let Some(total) = sentences.iter().find_map(total_ignored) {
            counts.push((first, total));
        } else {
            for sentence in &sentences {
                let Some(reason) = reason_of(sentence) else { continue };
                match counts.iter_mut().find(|known| known.0 == reason) {
                    Some(known) => known.1 += sentence.count,
                    None => counts.push((reason, sentence.count)),
                }
            }
        }
        let mut left = entries;
        for (_, count) in &mut counts {
            *count = (*count).min(left);
            left -= *count;
        }
        counts.retain(|(_, count)| *count > 0);
        Some(Self { counts, example: first_line(text) })
    }

    pub(super) fn entries(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

/// The reason that a sentence names.
fn reason_of(sentence: &Sentence) -> Option<&'static str> {
    let named = |(begins, then, _): &&(&str, &str, &str)| {
        sentence.words.strip_prefix(begins).is_some_and(|rest| rest.contains(then))
    };
    REASONS.iter().find(named).map(|(_, _, reason)| *reason)
}

fn total_ignored(sentence: &Sentence) -> Option<u64> {
    let rest = sentence.words.strip_prefix("user '', total ignored: ")?;
    rest.split(' ').next()?.parse().ok()
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
        let refusal = Refusal::read(text, 100).unwrap();
        assert_eq!(refusal.counts, [("line_too_long", 3), ("greater_than_max_sample_age", 2)]);
        assert_eq!(refusal.entries(), 5);
        assert!(refusal.example.starts_with("3 errors like: Max entry size"));
    }

    #[test]
    fn an_ingesters_total_is_taken_at_its_word() {
        let text = "entry with timestamp 2026-01-01 00:00:00 +0000 UTC ignored, reason: 'entry too far behind, entry \
                    timestamp is: 2026-01-01T00:00:00Z, oldest acceptable timestamp is: 2026-01-02T00:00:00Z',\n\
                    user 'fake', total ignored: 12 out of 40 for stream: {app=\"x\"}";
        assert_eq!(Refusal::read(text, 40).unwrap().counts, [("too_far_behind", 12)]);
    }

    #[test]
    fn never_more_are_refused_than_were_sent() {
        let text = "5 errors like: entry out of order; 9 errors like: entry for stream 'x' has timestamp too new: y";
        assert_eq!(Refusal::read(text, 7).unwrap().counts, [("out_of_order", 5), ("too_far_in_future", 2)]);
    }

    #[test]
    fn a_text_that_begins_with_no_known_reason_refuses_nothing() {
        for text in ["  the moon is too full; entry out of order", "", "{app=\"entry out of order\"}"] {
            assert_eq!(Refusal::read(text, 7), None, "{text}");
        }
    }

    #[test]
    fn a_label_count_over_the_limit_is_recognised_though_its_sentence_holds_a_semicolon() {
        let text = "entry for stream '{a=\"b\"}' has 33 label names; limit 15";
        assert_eq!(Refusal::read(text, 7).unwrap().counts, [("max_label_names_per_series", 1)]);
    }
}
