//! `drop`: entries for which all given conditions hold do not go on.

use serde::{Deserialize, Deserializer, de};

use crate::pipeline::{
    compile::Compiler,
    entry::Entry,
    extracted::Slot,
    go::size,
    pattern::Pattern,
    stage::{Context, Failed, Stage, Step},
    unchanged::{Unchanged, quoted},
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    source: Option<Names>,
    separator: Option<String>,
    expression: Option<String>,
    value: Option<String>,
    older_than: Option<String>,
    longer_than: Option<String>,
    drop_counter_reason: Option<String>,
}

/// One name, or a list of them.
#[derive(Debug)]
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> de::Visitor<'de> for OneOrMore {
            type Value = Names;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a name or a list of names")
            }

            fn visit_str<E>(self, text: &str) -> Result<Names, E> {
                Ok(Names(vec![text.to_owned()]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = items.next_element()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

struct Drop {
    longer_than: Option<usize>,
    older_than_ns: Option<i64>,
    /// As it is written.
    older_than: Option<String>,
    test: Test,
    separator: Vec<u8>,
    joined: Vec<u8>,
    reason: usize,
}

/// What is asked of the text.
enum Test {
    None,
    Exists(Vec<Slot>),
    Line(Pattern),
    Matches(Vec<Slot>, Pattern),
    Equals(Vec<Slot>, Vec<u8>),
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    let has_test = settings.source.is_some() || settings.expression.is_some();
    if settings.value.is_some() && settings.source.is_none() {
        return Err(compiler.error("value", "needs a source"));
    }
    if settings.value.is_some() && settings.expression.is_some() {
        return Err(compiler.error("value", "value and expression exclude each other"));
    }
    if !has_test && settings.older_than.is_none() && settings.longer_than.is_none() {
        return Err(compiler.error("", "needs at least one of source, expression, older_than and longer_than"));
    }
    let longer_than = match &settings.longer_than {
        Some(text) => match size::parse(text).and_then(|bytes| usize::try_from(bytes).ok()) {
            Some(bytes) => Some(bytes),
            None => {
                let message = format!("expected a size such as 8KB or a number of bytes, found {text:?}");
                return Err(compiler.error("longer_than", message));
            }
        },
        None => None,
    };
    let older_than_ns = match &settings.older_than {
        Some(text) => {
            let age = compiler.duration("older_than", text)?;
            Some(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX))
        }
        None => None,
    };
    let pattern = match &settings.expression {
        Some(expression) => Some(compiler.pattern("expression", expression)?),
        None => None,
    };
    let slots = settings.source.map(|Names(names)| names.iter().map(|name| compiler.slot(name)).collect());
    let test = match (slots, pattern, settings.value) {
        (None, None, _) => Test::None,
        (None, Some(pattern), _) => Test::Line(pattern),
        (Some(slots), Some(pattern), _) => Test::Matches(slots, pattern),
        (Some(slots), None, Some(value)) => Test::Equals(slots, value.into()),
        (Some(slots), None, None) => Test::Exists(slots),
    };
    let separator = settings.separator.unwrap_or_else(|| ";".into()).into_bytes();
    let reason = compiler.reason(settings.drop_counter_reason.as_deref(), "drop_stage");
    Ok(vec![Box::new(Drop {
        longer_than,
        older_than_ns,
        older_than: settings.older_than,
        test,
        separator,
        joined: Vec::new(),
        reason,
    })])
}

impl Stage for Drop {
    fn run(&mut self, entry: &mut Entry, context: &mut Context<'_>) -> Step {
        if self.longer_than.is_some_and(|bytes| entry.line.len() <= bytes) {
            return Step::Next;
        }
        let is_younger = |age: i64| entry.timestamp_ns >= context.now_ns.saturating_sub(age);
        if self.older_than_ns.is_some_and(is_younger) {
            return Step::Next;
        }
        if self.holds(entry) { Step::Drop(self.reason) } else { Step::Next }
    }

    fn why(&self, seen: &Unchanged<'_>) -> String {
        if let Some(bytes) = self.longer_than.filter(|bytes| seen.entry.line.len() <= *bytes) {
            return format!("the line has {} bytes, not more than {bytes}", seen.entry.line.len());
        }
        let (slots, what) = match &self.test {
            Test::Line(pattern) if !pattern.is_match(&seen.entry.line) => {
                return "the expression does not match the line".into();
            }
            Test::None | Test::Line(_) => return self.not_older(),
            Test::Exists(slots) => {
                let missing = slots.iter().find(|slot| !seen.entry.extracted.contains(**slot));
                return missing
                    .map_or_else(|| self.not_older(), |slot| format!("{} is not extracted", seen.name(*slot)));
            }
            Test::Matches(slots, _) => (slots, None),
            Test::Equals(slots, value) => (slots, Some(value)),
        };
        let texts: Vec<_> = slots.iter().filter_map(|slot| seen.text(*slot).ok()).collect();
        let (joined, names) = (texts.join(&self.separator[..]), slots.iter().map(|slot| seen.name(*slot)));
        match what {
            _ if texts.is_empty() => seen.missing(slots.iter().copied(), ""),
            Some(value) if joined == *value => self.not_older(),
            Some(value) => {
                let names: Vec<_> = names.collect();
                format!("{} is {}, not {}", names.join(" and "), quoted(&joined), quoted(value))
            }
            None => format!("the expression does not match {}", quoted(&joined)),
        }
    }
}

impl Drop {
    fn not_older(&self) -> String {
        format!("the line is not older than {}", self.older_than.as_deref().unwrap_or("that"))
    }

    fn holds(&mut self, entry: &mut Entry) -> bool {
        match &self.test {
            Test::None => true,
            Test::Exists(slots) => slots.iter().all(|slot| entry.extracted.contains(*slot)),
            Test::Line(pattern) => pattern.is_match(&entry.line),
            Test::Matches(slots, pattern) => {
                join(entry, slots, &self.separator, &mut self.joined) && pattern.is_match(&self.joined)
            }
            Test::Equals(slots, value) => {
                join(entry, slots, &self.separator, &mut self.joined) && self.joined == *value
            }
        }
    }
}

/// The values that there are, joined; `false`: one of them is null.
fn join(entry: &mut Entry, slots: &[Slot], separator: &[u8], joined: &mut Vec<u8>) -> bool {
    joined.clear();
    let mut is_first = true;
    for slot in slots {
        match entry.extracted.text(*slot) {
            Ok(None) => {}
            Ok(Some(text)) => {
                if !is_first {
                    joined.extend_from_slice(separator);
                }
                is_first = false;
                joined.extend_from_slice(text);
            }
            Err(_) => return false,
        }
    }
    true
}
