//! Regular expressions as Go's regexp package (RE2) reads them, run over bytes.
//!
//! In: an expression for Go. Out: whether and where it matches, as Go finds it in valid UTF-8. Not anchored unless it is written so.
//! Whether there is a match is the regex crate's to say. Where the groups are is found faster by a [`Program`], for the lines and the
//! expressions that it can do; the two always agree.

mod program;
mod search;
mod translate;

use regex::bytes::{CaptureLocations, Regex, RegexBuilder};

use self::{program::Program, search::Search};
use super::relabel::template::{Part, Template};
pub use translate::translate;

/// A compiled expression, with memory for where its groups are.
#[derive(Debug)]
pub struct Pattern {
    regex: Regex,
    program: Option<Program>,
    search: Search,
    locations: CaptureLocations,
    groups: Groups,
    /// By the groups' numbers.
    names: Vec<Option<String>>,
}

/// What matches become.
pub(super) enum Replacement<'r> {
    Literal(&'r [u8]),
    /// With `$1` and `${name}` for groups, as in Go.
    Expanded(&'r Template),
}

/// Where the groups of a match are; the whole match is number 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(Vec<Option<usize>>);

impl Groups {
    /// Where a group begins and ends; `None`: it did not take part.
    #[must_use]
    pub fn get(&self, group: usize) -> Option<(usize, usize)> {
        Some(((*self.0.get(2 * group)?)?, (*self.0.get(2 * group + 1)?)?))
    }

    /// How many groups there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len() / 2
    }

    fn take(&mut self, locations: &CaptureLocations) {
        self.0.clear();
        for group in 0..locations.len() {
            let (begin, end) = locations.get(group).unzip();
            self.0.extend([begin, end]);
        }
    }
}

/// The memory of each cache of states, as the regex crate has it by default.
const DFA_BYTES_MAX: usize = 2 << 20;

impl Pattern {
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        Self::within(text, 8 << 20)
    }

    /// As [`Self::new`], with at most this many bytes of memory.
    ///
    /// # Errors
    /// What is wrong with it, or that it is too large.
    pub fn within(text: &str, bytes: usize) -> Result<Self, String> {
        let translated = translate(text)?;
        let compiled =
            RegexBuilder::new(&translated).size_limit(bytes).dfa_size_limit(bytes.min(DFA_BYTES_MAX)).build();
        let regex = compiled.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the regular expression is too large".to_owned(),
            // The last line says what is wrong, those before show the translated text.
            other => {
                let message = other.to_string();
                let last = message.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                format!("is not a regular expression: {last}")
            }
        })?;
        let locations = regex.capture_locations();
        let program = Program::compile(&translated, regex.captures_len());
        let names = regex.capture_names().map(|name| name.map(str::to_owned)).collect();
        Ok(Self { regex, program, search: Search::default(), locations, groups: Groups::default(), names })
    }

    /// Whether it matches anywhere in the text.
    #[inline]
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }

    /// The names of its groups with their numbers; the whole match is number 0 and has none.
    pub fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        self.names.iter().enumerate().filter_map(|(i, name)| Some((i, name.as_deref()?)))
    }

    /// How many groups it has, the whole match among them.
    pub fn groups(&self) -> usize {
        self.regex.captures_len()
    }

    /// The first match from `start` on: where each group is.
    pub fn find_at(&mut self, text: &[u8], start: usize) -> Option<&Groups> {
        if self.program.as_ref().is_some_and(|program| !program.is_possible(text, start)) {
            return None;
        }
        if let Some(program) = &self.program
            && text.is_ascii()
        {
            match self.search.find_at(program, text, start, &mut self.groups.0) {
                Some(true) => return Some(&self.groups),
                Some(false) => return None,
                None => {}
            }
            if self.search.gives_up_too_often() {
                self.program = None;
            }
        }
        self.regex.captures_read_at(&mut self.locations, text, start)?;
        self.groups.take(&self.locations);
        Some(&self.groups)
    }

    /// Calls `found` with each match in turn, as Go goes through them, until it returns `false`.
    pub fn each_match(&mut self, text: &[u8], mut found: impl FnMut(&Groups) -> bool) {
        let (mut start, mut last_end) = (0, None);
        while start <= text.len() {
            let Some(groups) = self.find_at(text, start) else { return };
            let Some((begin, end)) = groups.get(0) else { return };
            // An empty match right after another one is none.
            let is_none = begin == end && last_end == Some(begin);
            start = if begin == end { next_character(text, end) } else { end };
            if is_none {
                continue;
            }
            last_end = Some(end);
            if !found(groups) {
                return;
            }
        }
    }

    /// Writes the text with every match replaced.
    pub(super) fn replace_all(&mut self, text: &[u8], replacement: &Replacement<'_>, to: &mut Vec<u8>) {
        // Its own for the time of the search, which writes to the rest of the pattern.
        let (names, mut copied) = (std::mem::take(&mut self.names), 0);
        self.each_match(text, |groups| {
            let (begin, end) = groups.get(0).unwrap_or_default();
            to.extend_from_slice(&text[copied..begin]);
            match replacement {
                Replacement::Literal(literal) => to.extend_from_slice(literal),
                Replacement::Expanded(template) => expand(template, &names, text, groups, to),
            }
            copied = end;
            true
        });
        to.extend_from_slice(&text[copied..]);
        self.names = names;
    }

    /// Writes the text without what matches.
    pub fn remove_all(&self, text: &[u8], to: &mut Vec<u8>) {
        let mut end = 0;
        for found in self.regex.find_iter(text) {
            to.extend_from_slice(&text[end..found.start()]);
            end = found.end();
        }
        to.extend_from_slice(&text[end..]);
    }
}

/// Where the character after this place begins.
fn next_character(text: &[u8], at: usize) -> usize {
    let mut next = at + 1;
    while text.get(next).is_some_and(|byte| byte & 0xC0 == 0x80) {
        next += 1;
    }
    next
}

/// Appends a replacement; a group that is not there, or did not take part, is empty.
fn expand(template: &Template, names: &[Option<String>], text: &[u8], groups: &Groups, to: &mut Vec<u8>) {
    for part in template.parts() {
        let group = match part {
            Part::Fixed(fixed) => {
                to.extend_from_slice(fixed.as_bytes());
                continue;
            }
            Part::Numbered(number) => Some(*number),
            Part::Named(name) => names.iter().position(|known| known.as_ref() == Some(name)),
        };
        if let Some((begin, end)) = group.and_then(|group| groups.get(group)) {
            to.extend_from_slice(&text[begin..end]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn expressions_mean_what_they_mean_to_go() {
        for (pattern, text, matches) in [
            (r"\d+", "١٢", false),
            (r"^\w+$", "ä", false),
            (r"\bcat\b", "äcatä", true),
            (r"a\vb", "a\x0bb", true),
            (r"^\s$", "\x0b", false),
            (r"^[\d\s]+$", "1 2", true),
            (r"^[^\D]+$", "12", true),
            (r"^[\W]$", "é", true),
            (r"^{.*}$", "{x}", true),
            (r"a{,2}", "a{,2}", true),
            (r"a{2}", "aa", true),
            (r"[[a]", "[", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[a-c-]+$", "b-", true),
            (r"^[]a]+$", "]a", true),
            (r"\<b\>", "<b>", true),
            (r"\Qa.b\E+", "a.bbb", true),
            (r"\Qa.b\E", "axb", false),
            (r"\101", "A", true),
            (r"(?i)straße", "STRASSE", false),
            (r"(?i)ÄRGER", "ärger", true),
            (r"\p{Greek}", "α", true),
            (r"\pL", "x", true),
            (r"^[[:alpha:]]$", "ä", false),
            (r"\x{41}\x42", "AB", true),
            (r"^.$", "ä", true),
            (r"a$", "a\n", false),
        ] {
            let compiled = Pattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(compiled.is_match(text.as_bytes()), matches, "{pattern} {text:?}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in ["(", "[", "*", r"\1", r"\y", "(?x)a", "a{1001}", r"\", "(?P<a", "[b-a]", "(?=a)"] {
            let error = Pattern::new(pattern).unwrap_err();
            assert!(error.starts_with("is not a regular expression: "), "{pattern}: {error}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        assert!(Pattern::new("a.*b").unwrap().is_match(b"\xffa b\xff"));
    }

    /// What the regex crate finds.
    fn expected(pattern: &mut Pattern, text: &[u8], start: usize) -> Option<Groups> {
        pattern.regex.captures_read_at(&mut pattern.locations, text, start)?;
        let mut groups = Groups::default();
        groups.take(&pattern.locations);
        Some(groups)
    }

    #[test]
    fn expressions_that_people_write_are_programs_and_find_the_same() {
        let nginx = r#"^(?P<addr>[\w\.]+) - (?P<user>[^ ]*) \[(?P<time>.*)\] "(?P<method>[^ ]*) (?P<path>[^ ]*) (?P<protocol>[^ ]*)" (?P<status>[\d]+) (?P<bytes>[\d]+) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"?"#;
        let line =
            r#"192.168.1.9 - - [03/Mar/2026:10:02:11 +0100] "GET /cart HTTP/1.1" 200 5123 "-" "Mozilla/5.0 [x] (X11)""#;
        for (expression, text) in [
            (nginx, line),
            (nginx, "2026/03/03 10:02:13 [error] 31#31: *9 connect() failed"),
            (
                r"^(?P<ts>\S+ \S+) \[(?P<pid>\d+)\] (?:(?P<user>[^@\s]*)@(?P<db>\S+) )?(?P<level>[A-Z]+):  (?P<msg>.*?)(?:\n|$)",
                "a b [7] LOG:  x\ny",
            ),
            (r"(?i)level=(error|warn(?:ing)?)\b.*?(\d{3})?$", "x LEVEL=Warning took 200"),
            (r"(?m)^(\w+)$", "a b\ncd\n"),
            (r"((?:\d{1,3}\.){3}\d{1,3})", "from 10.1.22.3:80"),
            (r"(a|ab)(c|bcd)(d*)", "abcd"),
            (r"(?:(a)b|ac)", "ac"),
            (r#"(?:msg|message)=(?:"([^"]*)"|(\S+))"#, r#"x=mm msg="a b""#),
            (r"(\d+)\.(\d+)", "123 12345. 7.25"),
            (r"(?:error|warn|info|debug)(\d*)", "an information"),
            (r"\b(?:x|y|z)?(\d+)", "ax1 y23"),
        ] {
            let mut pattern = Pattern::new(expression).unwrap();
            assert!(pattern.program.is_some(), "{expression}");
            let expected = expected(&mut pattern, text.as_bytes(), 0);
            assert_eq!(pattern.find_at(text.as_bytes(), 0).cloned(), expected, "{expression} {text:?}");
            assert_eq!(pattern.search.give_ups(), 0, "{expression}");
        }
    }

    #[test]
    fn an_expression_that_goes_back_too_often_is_the_regex_crates() {
        let mut pattern = Pattern::new(r"^(.*).(.*).(.*).(.*)x").unwrap();
        let text = "a".repeat(1000);
        assert!(pattern.find_at(text.as_bytes(), 0).is_none());
        assert_eq!(pattern.search.give_ups(), 1);
        for _ in 0..100 {
            assert!(pattern.find_at(text.as_bytes(), 0).is_none());
        }
        assert!(pattern.program.is_none());
        assert!(pattern.find_at(b"abcdx", 0).is_some());
    }

    #[test]
    fn a_long_line_of_many_rounds_takes_no_more_memory_than_a_short_one() {
        let mut pattern = Pattern::new(r"^(?:(a)|(b))*$").unwrap();
        let text = "ab".repeat(100_000);
        let groups = pattern.find_at(text.as_bytes(), 0).unwrap();
        assert_eq!((groups.get(0), groups.get(2)), (Some((0, 200_000)), Some((199_999, 200_000))));
        assert_eq!(pattern.search.give_ups(), 1);
    }

    /// Expressions of all that a program can do, and some that it cannot.
    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "a", "b", "ab", " ", "\"", r"\w", r"\S", r"[^ ]", ".", r"\d", "[ab]", "(?s:.)", "^", "$", r"\b", r"\B",
            "(?i:A)", "(?m:$)", "é",
        ]);
        leaf.prop_map(str::to_owned).prop_recursive(5, 24, 4, |inner| {
            let repeat = prop::sample::select(vec!["*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{0,2}?"]);
            prop_oneof![
                4 => prop::collection::vec(inner.clone(), 1..5).prop_map(|parts| parts.concat()),
                2 => (inner.clone(), repeat).prop_map(|(inner, repeat)| format!("(?:{inner}){repeat}")),
                2 => inner.clone().prop_map(|inner| format!("({inner})")),
                1 => (inner.clone(), inner).prop_map(|(one, other)| format!("(?:{one}|{other})")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_program_finds_what_the_regex_crate_finds(
            expression in expression(), texts in prop::collection::vec("[abA \"\n1é-]{0,12}", 8), start in 0_usize..3,
        ) {
            let mut pattern = Pattern::new(&expression).unwrap();
            for text in texts {
                let start = start.min(text.len());
                let expected = expected(&mut pattern, text.as_bytes(), start);
                prop_assert_eq!(pattern.find_at(text.as_bytes(), start).cloned(), expected, "{} {:?} {}", expression, text, start);
            }
        }
    }
}
