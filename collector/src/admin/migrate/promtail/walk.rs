//! The keys of a group, by the tables of [`super::keys`].

use super::keys::{Unit, Way};
use crate::{
    admin::migrate::{
        origin::{Finding, Kind, Pair, Setting, Tree, Value},
        words::nearest,
    },
    config::{ByteSize, HumanDuration},
    pipeline::go,
};

/// Keys that the caller reads itself, with what it is to say of them.
pub type ToRead<'t> = Vec<(&'static str, &'t Pair)>;

/// What a reader has found so far.
pub struct Walk<'f> {
    pub settings: &'f mut Vec<Setting>,
    pub findings: &'f mut Vec<Finding>,
}

impl Walk<'_> {
    /// Goes through a group; `what`: how its author calls it, `clients[0]`.
    pub fn group<'t>(&mut self, group: &'t Tree, what: &str, table: &'static [(&'static str, Way)]) -> ToRead<'t> {
        let mut to_read = Vec::new();
        group.is_group(what, self.findings);
        self.level(group, what, "", table, &mut to_read);
        to_read
    }

    fn level<'t>(
        &mut self,
        group: &'t Tree,
        what: &str,
        above: &str,
        table: &'static [(&'static str, Way)],
        to_read: &mut ToRead<'t>,
    ) {
        for pair in group.pairs().iter().filter(|pair| pair.value.value != Value::Nothing) {
            let path = format!("{above}{}", pair.key);
            let name = if what.is_empty() { path.clone() } else { format!("{what}.{path}") };
            let below = format!("{path}.");
            match table.iter().find(|(key, _)| *key == path) {
                Some((key, way)) => self.key(key, *way, pair, name, to_read),
                None if table.iter().any(|(key, _)| key.starts_with(&below)) => {
                    pair.value.is_group(&name, self.findings);
                    self.level(&pair.value, what, &below, table, to_read);
                }
                None => {
                    let known = table.iter().filter_map(|(key, _)| key.strip_prefix(above)?.split('.').next());
                    self.findings.push(Finding::new(
                        Kind::NotPossible,
                        &pair.place,
                        name,
                        unknown_key(&pair.key, known),
                    ));
                }
            }
        }
    }

    fn key<'t>(&mut self, key: &'static str, way: Way, pair: &'t Pair, name: String, to_read: &mut ToRead<'t>) {
        let mut find = |kind, text: &str| self.findings.push(Finding::new(kind, &pair.place, &name, text));
        match way {
            Way::To(new, unit) => match converted(&pair.value, unit) {
                Ok(value) => {
                    find(Kind::Taken, new);
                    self.settings.push(Setting::new(new, value, name));
                }
                Err(why) => find(Kind::NotPossible, &format!("{why}; set {new} yourself")),
            },
            Way::ByItself(text) => find(Kind::Taken, text),
            Way::Changed(text) => find(Kind::Changed, text),
            Way::NotPossible(text) => find(Kind::NotPossible, text),
            Way::Read(_) => to_read.push((key, pair)),
        }
    }
}

/// What is said of a key that Promtail does not have, which refuses to start with it.
pub fn unknown_key<'k>(key: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    match nearest(key, known) {
        Some(nearest) => format!("is no key of Promtail, and left out; did you mean {nearest}?"),
        None => "is no key that Promtail's documentation knows; left out".to_owned(),
    }
}

/// The value in Pilcrow's units. One with an environment variable stays as it is.
///
/// # Errors
/// It is none of that kind.
pub fn converted(value: &Tree, unit: Unit) -> Result<Tree, String> {
    let Some(text) = value.as_text() else {
        return if unit == Unit::Text { Ok(value.clone()) } else { Err("expected a number or a text".into()) };
    };
    if unit == Unit::Text || text.contains("${") {
        return Ok(value.clone());
    }
    let new = match unit {
        Unit::Duration => duration(text).ok_or_else(|| format!("{text:?} is no duration")),
        _ => bytes(text).ok_or_else(|| format!("{text:?} is no size")),
    };
    new.map(|new| Tree::text(&value.place, new))
}

/// A duration of Go as Pilcrow writes it, in whole milliseconds.
#[must_use]
pub fn duration(text: &str) -> Option<String> {
    let nanoseconds = u64::try_from(go::duration::parse(text)?).ok()?;
    Some(HumanDuration::from_millis(nanoseconds / 1_000_000).to_string())
}

/// A size whose units count by 1024, as Pilcrow writes it.
#[must_use]
pub fn bytes(text: &str) -> Option<String> {
    go::size::parse(text).map(|bytes| ByteSize(bytes).to_string())
}
