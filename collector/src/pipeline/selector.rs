//! Selectors of `match`: `{app="web", pod=~"a.*"} |= "error" !~ "timeout"`.
//!
//! Promtail's own small LogQL (clients/pkg/logentry/logql): matchers, anchored, an absent label counting as empty; then line
//! filters, all of which must hold. Beside Promtail's strings in double quotes also those in backticks, as LogQL has them.

mod logic;

pub use logic::{Possible, contradiction, imply};

use super::{
    entry::{Entry, Pairs},
    pattern::Pattern,
    unchanged::quoted,
};

/// A compiled selector.
#[derive(Debug)]
pub struct Selector {
    matchers: Vec<(String, Test)>,
    filters: Vec<Test>,
}

/// How a text is looked at.
#[derive(Debug)]
struct Test {
    negated: bool,
    /// As it is written.
    text: String,
    how: How,
}

#[derive(Debug)]
enum How {
    /// Equal.
    Literal,
    /// The literal is searched for with this.
    Contains(Box<memchr::memmem::Finder<'static>>),
    Pattern(Pattern),
}

impl Selector {
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { text, at: 0 };
        parser.selector().map_err(|error| format!("{error} (at character {})", 1 + text[..parser.at].chars().count()))
    }

    /// # Errors
    /// What is wrong; a filter of lines is.
    pub fn of_labels(text: &str) -> Result<Self, String> {
        match Self::parse(text)? {
            Self { filters, .. } if !filters.is_empty() => Err("only labels are looked at here, no lines".into()),
            selector => Ok(selector),
        }
    }

    /// Whether all that it says of labels holds for these.
    pub fn chooses(&self, labels: &Pairs) -> bool {
        self.matchers.iter().all(|(name, test)| test.holds(labels.get(name).unwrap_or("").as_bytes()))
    }

    /// Whether all holds for the entry's labels and line, as they are now.
    pub fn matches(&self, entry: &Entry) -> bool {
        self.chooses(&entry.labels) && self.filters.iter().all(|test| test.holds(&entry.line))
    }
}

impl Selector {
    /// Why it does not choose the entry: `app is "web"`; `None`: it does.
    pub fn why_not(&self, entry: &Entry) -> Option<String> {
        let value = |name: &str| entry.labels.get(name).unwrap_or("");
        if let Some((name, _)) = self.matchers.iter().find(|(name, test)| !test.holds(value(name).as_bytes())) {
            return Some(match entry.labels.get(name) {
                Some(value) => format!("{name} is {}", quoted(value.as_bytes())),
                None => format!("there is no label {name}"),
            });
        }
        let filter = self.filters.iter().find(|test| !test.holds(&entry.line))?;
        let sign = match (&filter.how, filter.negated) {
            (How::Pattern(_), false) => "|~",
            (How::Pattern(_), true) => "!~",
            (_, false) => "|=",
            (_, true) => "!=",
        };
        Some(format!("the line does not satisfy {sign} {:?}", filter.text))
    }
}

impl Test {
    fn holds(&self, text: &[u8]) -> bool {
        let holds = match &self.how {
            How::Literal => self.text.as_bytes() == text,
            How::Contains(finder) => finder.find(text).is_some(),
            How::Pattern(pattern) => pattern.is_match(text),
        };
        holds != self.negated
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn selector(&mut self) -> Result<Selector, String> {
        self.expect("{")?;
        let mut matchers = Vec::new();
        loop {
            matchers.push(self.matcher()?);
            if !self.take(",") {
                break;
            }
        }
        self.expect("}")?;
        let mut filters = Vec::new();
        while !self.rest().is_empty() {
            filters.push(self.filter()?);
        }
        Ok(Selector { matchers, filters })
    }

    fn matcher(&mut self) -> Result<(String, Test), String> {
        let rest = self.rest();
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if length == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("expected the name of a label".into());
        }
        let name = rest[..length].to_owned();
        self.at += length;
        let (negated, is_pattern) = match () {
            () if self.take("=~") => (false, true),
            () if self.take("!~") => (true, true),
            () if self.take("!=") => (true, false),
            () if self.take("=") => (false, false),
            () => return Err("expected =, !=, =~ or !~".into()),
        };
        let text = self.string()?;
        let how = if is_pattern {
            // By itself first: `a)|(b` would be a good one inside of the anchors.
            Pattern::new(&text)?;
            How::Pattern(Pattern::new(&format!("^(?s:{text})$"))?)
        } else {
            How::Literal
        };
        Ok((name, Test { negated, text, how }))
    }

    fn filter(&mut self) -> Result<Test, String> {
        let (negated, is_pattern) = match () {
            () if self.take("|=") => (false, false),
            () if self.take("!=") => (true, false),
            () if self.take("|~") => (false, true),
            () if self.take("!~") => (true, true),
            () if self.rest().starts_with('|') => {
                return Err(
                    "only the line filters |=, !=, |~ and !~ are possible here; no parsers and no label filters".into(),
                );
            }
            () => return Err("expected |=, !=, |~ or !~".into()),
        };
        let text = self.string()?;
        let how = if is_pattern {
            How::Pattern(Pattern::new(&text)?)
        } else {
            How::Contains(Box::new(memchr::memmem::Finder::new(text.as_bytes()).into_owned()))
        };
        Ok(Test { negated, text, how })
    }

    /// A string as Go writes them.
    fn string(&mut self) -> Result<String, String> {
        let rest = self.rest();
        if let Some(inner) = rest.strip_prefix('`') {
            let end = inner.find('`').ok_or("expected a closing `")?;
            let text = inner[..end].to_owned();
            self.at += end + 2;
            return Ok(text);
        }
        let Some(inner) = rest.strip_prefix('"') else { return Err("expected a string in double quotes".into()) };
        let mut end = None;
        let mut escaped = false;
        for (i, c) in inner.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    end = Some(i);
                    break;
                }
                '\n' => return Err("a string in double quotes must not have a line break in it".into()),
                _ => {}
            }
        }
        let end = end.ok_or("expected a closing \"")?;
        let text = super::template::unquote(&inner[..end])
            .ok_or("a string in double quotes has an escape that Go does not know; write \\\\ for a backslash")?;
        self.at += end + 2;
        Ok(text)
    }

    /// What is left, without blanks before it.
    fn rest(&mut self) -> &str {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        &self.text[self.at..]
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { Err(format!("expected {token}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, line: &str) -> bool {
        let labels = Pairs::from_iter([("app", "web"), ("pod", "web-1")]);
        let entry = Entry { labels, line: line.into(), ..Entry::default() };
        Selector::parse(selector).unwrap().matches(&entry)
    }

    #[test]
    fn matchers_are_anchored_and_filters_are_not() {
        for (selector, expected) in [
            (r#"{app="web"}"#, true),
            (r#"{ app = "web" , pod =~ "web" }"#, false),
            (r#"{app="web",pod=~"web-.*"}"#, true),
            (r#"{pod!~"web-.*"}"#, false),
            (r#"{container=""}"#, true),
            (r#"{container!="x"}"#, true),
            (r#"{app="web"} |= "err""#, true),
            (r#"{app="web"} |= "err" != "or""#, false),
            (r#"{app="web"} |~ "e.r" !~ "^r""#, true),
            ("{app=~`w\\w+`} |= `error`", true),
            (r#"{app="web"} |~ "\\d""#, false),
        ] {
            assert_eq!(matches(selector, "error"), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_says_where() {
        for (selector, error) in [
            ("{}", "expected the name of a label (at character 2)"),
            ("app", "expected { (at character 1)"),
            (r#"{app="web""#, "expected } (at character 11)"),
            (r#"{app="web"} | json"#, "only the line filters"),
            (r#"{app="\d"}"#, "a string in double quotes has an escape"),
            (r#"{app=~"("}"#, "is not a regular expression"),
        ] {
            let found = Selector::parse(selector).unwrap_err();
            assert!(found.starts_with(error), "{selector}: {found}");
        }
    }
}
