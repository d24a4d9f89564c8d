//! Regular expressions that match a text as a whole, as Prometheus anchors them.
//!
//! With regex-lite: its `\d`, `\w`, `\s` and `\b` are those of ASCII, as RE2's and so Prometheus' are, where the regex crate has
//! Unicode's. That it is slower does not matter: it runs for streams, not for lines. What RE2 has and regex-lite does not
//! (`\pL`, `\Q…\E`, folding of letters that are not ASCII by `(?i)`) is an error when the configuration is read, but for the last.

use regex_lite::{Captures, Regex};

/// See the module.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// `(.*)`, Prometheus' default, which most rules have.
    Anything,
    Regex(Regex),
}

/// The groups of a match.
pub(super) enum Groups<'t> {
    Whole(&'t str),
    Captures(Captures<'t>),
}

impl Pattern {
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        if text == "(.*)" {
            return Ok(Self::Anything);
        }
        // By itself first: `a)|(b` would be a good one inside of the anchors.
        Regex::new(text)
            .and_then(|_| Regex::new(&format!("^(?s:{text})$")))
            .map(Self::Regex)
            .map_err(|error| format!("is no regular expression: {error}"))
    }

    pub fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Anything => true,
            Self::Regex(regex) => regex.is_match(text),
        }
    }

    pub fn match_whole<'t>(&self, text: &'t str) -> Option<Groups<'t>> {
        match self {
            Self::Anything => Some(Groups::Whole(text)),
            Self::Regex(regex) => regex.captures(text).map(Groups::Captures),
        }
    }
}

impl Groups<'_> {
    pub fn numbered(&self, number: usize) -> &str {
        match self {
            Self::Whole(text) if number < 2 => text,
            Self::Whole(_) => "",
            Self::Captures(captures) => captures.get(number).map_or("", |found| found.as_str()),
        }
    }

    pub fn named(&self, name: &str) -> &str {
        match self {
            Self::Whole(_) => "",
            Self::Captures(captures) => captures.name(name).map_or("", |found| found.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_all_of_a_text_and_a_point_any_character() {
        for (pattern, text, matches) in [
            ("b", "abc", false),
            ("b", "b", true),
            ("a|b", "ab", false),
            ("a|bc", "bc", true),
            ("", "", true),
            ("", "a", false),
            (".+", "a\nb", true),
            (".+", "", false),
            ("(?i)AbC", "aBc", true),
            (r"\d+", "12", true),
            // Arabic digits are no \d for RE2.
            (r"\d+", "١٢", false),
            ("[[:alpha:]]+", "abc", true),
            (r"a\/b\-c\.d", "a/b-c.d", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().is_match(text), matches, "{pattern} {text:?}");
        }
    }

    #[test]
    fn what_is_none_is_refused_also_where_the_anchors_would_make_it_one() {
        for text in ["a)|(b", "(", "[", "*", r"\pL", r"\Qa\E"] {
            let error = Pattern::new(text).unwrap_err();
            assert!(error.starts_with("is no regular expression: "), "{text}: {error}");
        }
    }
}
