//! Loki's texts, taken apart into sentences whose words are Loki's own.
//!
//! In: an answer's text. Out: its sentences in lower case, without what stands in braces or quotes. A label's value, which whoever
//! runs a pod can choose, may hold any words, also those that Loki uses; only what is left here may decide on anything.

/// The sentences, each trimmed and without its wrappings (`rpc error: … desc = `, `7 errors like: `, `entry with timestamp …
/// ignored, reason: '`). Quoted words are left out, their quotes stay: `stream '' has label value too long: ''`.
pub(super) fn sentences(text: &str) -> Vec<Sentence> {
    let text = without_braces(text).to_ascii_lowercase();
    let sentences = text.split('\n').flat_map(|line| line.split("; ")).map(str::trim);
    sentences.filter(|sentence| !sentence.is_empty()).map(Sentence::of).collect()
}

/// One sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    /// Loki's words.
    pub(super) words: String,
    /// How many equal errors it stands for.
    pub(super) count: u64,
}

impl Sentence {
    fn of(text: &str) -> Self {
        let mut rest = text;
        if let Some(error) = rest.strip_prefix("rpc error: code = ").and_then(|rest| rest.split_once(" desc = ")) {
            rest = error.1;
        }
        let mut count = 1;
        if let Some((number, error)) = rest.split_once(" errors like: ")
            && let Ok(number) = number.trim().parse()
        {
            (count, rest) = (number, error);
        }
        if rest.starts_with("entry with timestamp ")
            && let Some((_, reason)) = rest.split_once(" ignored, reason: '")
        {
            rest = reason;
        }
        Self { words: without_quoted(rest), count }
    }
}

/// Label sets are written as `{a="b"}`, values quoted as Go's `strconv.Quote` does.
fn without_braces(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut depth = 0usize;
    let (mut quoted, mut escaped) = (false, false);
    for character in text.chars() {
        match (depth, character) {
            (0, '{') => depth = 1,
            (0, _) => out.push(character),
            _ if escaped => escaped = false,
            (_, '\\') if quoted => escaped = true,
            (_, '"') => quoted = !quoted,
            (_, '{') if !quoted => depth += 1,
            (_, '}') if !quoted => depth -= 1,
            _ => {}
        }
    }
    out
}

fn without_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quote = None;
    for character in text.chars() {
        match quote {
            Some(open) if character == open => {
                quote = None;
                out.push(character);
            }
            Some(_) => {}
            None => {
                let in_word = out.ends_with(|before: char| before.is_alphanumeric());
                // The apostrophe of "couldn't" opens nothing.
                if character == '"' || character == '\'' && !in_word {
                    quote = Some(character);
                }
                out.push(character);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        sentences(text).into_iter().map(|sentence| sentence.words).collect()
    }

    #[test]
    fn what_stands_in_a_label_set_or_in_quotes_is_not_lokis_word() {
        let text = r#"entry for stream '{app="tenant id; }\" ingestion blocked", b="x"}' has timestamp too old: 2020"#;
        assert_eq!(words(text), ["entry for stream '' has timestamp too old: 2020"]);
        let text = "Error parsing labels '{a=\"request body too large\"' with error: no } here";
        assert_eq!(words(text), ["error parsing labels '"], "an open brace takes the rest with it");
        let text = "stream '{}' has label value too long: 'no org id'";
        assert_eq!(words(text), ["stream '' has label value too long: ''"]);
        assert_eq!(words("couldn't parse labels: it's 'x'"), ["couldn't parse labels: it's ''"]);
    }

    #[test]
    fn wrappings_are_taken_off_and_equal_errors_counted() {
        let text = "7 errors like: Max entry size '1' bytes exceeded; rpc error: code = Code(429) desc = entry with \
                    timestamp 2026-01-01 00:00:00 +0000 UTC ignored, reason: 'Per stream rate limit exceeded (limit: \
                    3MB/sec) while attempting to ingest for stream '{a=\"b\"}' totaling 8B',\nuser 'fake', total ignored: \
                    1 out of 2 for stream: {a=\"b\"}";
        let all = sentences(text);
        assert_eq!((all[0].count, &all[0].words[..]), (7, "max entry size '' bytes exceeded"));
        assert!(all[1].words.starts_with("per stream rate limit exceeded (limit: 3mb/sec) while"), "{all:?}");
        assert_eq!(all[2].words, "user '', total ignored: 1 out of 2 for stream:");
    }
}
