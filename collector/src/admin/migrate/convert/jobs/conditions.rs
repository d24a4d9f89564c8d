//! What must be true of a container that a job selects, and whether two jobs can select the same one.
//!
//! Says that they cannot only where one condition of each shows it; else nothing is known, and they may.

use regex::Regex;

use super::{field, list};
use crate::admin::migrate::origin::Tree;

/// What a `keep` or a `drop` asks for.
#[derive(Debug)]
pub struct Condition {
    sources: Vec<String>,
    separator: String,
    regex: String,
    keeps: bool,
}

/// A label that rules made, and what it is a copy of.
pub struct Read {
    pub name: String,
    copy_of: Option<String>,
    number: usize,
}

impl Read {
    /// Of the rule that makes it in the job of this number; `all`: that job's rules.
    pub fn of<'t>(rule: &Tree, number: usize, all: impl Iterator<Item = &'t Tree>) -> Self {
        let name = field(rule, "target_label").to_owned();
        let is_only = all.filter(|other| field(other, "target_label") == name).count() == 1;
        let is_plain = ["", "(.*)"].contains(&field(rule, "regex")) && ["", "$1"].contains(&field(rule, "replacement"));
        let copy_of = match list(rule, "source_labels")[..] {
            [source] if is_only && is_plain && source.starts_with("__meta_") => Some(source.to_owned()),
            _ => None,
        };
        Self { name, copy_of, number }
    }

    /// What conditions go by: the label that it is a copy of, else one that no other job has.
    fn stands_for(&self) -> String {
        self.copy_of.clone().unwrap_or_else(|| format!("{} of job {}", self.name, self.number))
    }
}

impl Condition {
    pub fn of(rule: &Tree, known: &[Read]) -> Self {
        let resolved =
            |name: &str| known.iter().find(|read| read.name == name).map_or_else(|| name.to_owned(), Read::stands_for);
        let is_separated = rule.pairs().iter().find(|pair| pair.key == "separator");
        Self {
            sources: list(rule, "source_labels").into_iter().map(resolved).collect(),
            separator: is_separated.map_or(";", |pair| pair.value.as_text().unwrap_or("")).to_owned(),
            regex: rule
                .pairs()
                .iter()
                .find(|pair| pair.key == "regex")
                .map_or("(.*)", |pair| pair.value.as_text().unwrap_or(""))
                .to_owned(),
            keeps: field(rule, "action").eq_ignore_ascii_case("keep"),
        }
    }

    /// Whether a value of its labels is one that it asks for; nothing where that is not known.
    fn accepts(&self, value: &str) -> Option<bool> {
        let regex = Regex::new(&format!("^(?s:{})$", self.regex)).ok()?;
        Some(regex.is_match(value) == self.keeps)
    }

    /// The values that its label must have one of, where they can be listed.
    fn values(&self) -> Option<Vec<String>> {
        let inner = self.regex.trim_start_matches('^').trim_end_matches('$');
        let inner = inner.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(inner);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_/ |".contains(c);
        let plain = inner.replace("\\.", "\u{1}").replace("\\-", "-");
        let is_list = plain.chars().all(|c| is_plain(c) || c == '\u{1}');
        (self.keeps && is_list).then(|| plain.split('|').map(|value| value.replace('\u{1}', ".")).collect())
    }

    /// Labels that have no value then.
    fn empty(&self) -> &[String] {
        let is_one = self.sources.len() == 1 || self.separator.is_empty();
        let is_none = self.accepts("") == Some(true)
            && (self.keeps && self.regex.is_empty() || !self.keeps && self.regex == ".+");
        if is_one && is_none { &self.sources } else { &[] }
    }

    fn is_of_same(&self, other: &Self) -> bool {
        self.sources == other.sources && (self.sources.len() < 2 || self.separator == other.separator)
    }

    /// Whether both cannot be true of the same container.
    fn excludes(&self, other: &Self) -> bool {
        if self.is_of_same(other) {
            if self.regex == other.regex && self.keeps != other.keeps {
                return true;
            }
            // Not the names of values, but their texts count: each of them is tried.
            if let Some(values) = self.values()
                && values.iter().all(|value| other.accepts(value) == Some(false))
            {
                return true;
            }
        }
        // A label that has to be empty here, and must not be there.
        matches!(&other.sources[..], [source] if self.empty().contains(source)) && other.accepts("") == Some(false)
    }
}

/// Whether no container fulfils both lists.
pub fn are_disjoint(one: &[Condition], other: &[Condition]) -> bool {
    one.iter().any(|a| other.iter().any(|b| a.excludes(b) || b.excludes(a)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(text: &str) -> Condition {
        let (action, rest) = text.split_once(' ').unwrap();
        let (sources, regex) = rest.split_once(' ').unwrap();
        Condition {
            sources: sources.split(['+', ';']).map(str::to_owned).collect(),
            separator: if sources.contains('+') { "" } else { ";" }.into(),
            regex: regex.into(),
            keeps: action == "keep",
        }
    }

    #[test]
    fn only_conditions_that_no_container_can_fulfil_together_tell_jobs_apart() {
        for (one, other, are_apart) in [
            ("keep ns shop", "drop ns shop", true),
            ("keep a x.*y", "drop a x.*y", true),
            ("keep ns shop|batch", "keep ns web", true),
            ("keep ns (shop|batch)", "keep ns kube-.*", true),
            ("keep ns shop", "drop ns s.*", true),
            ("drop name ", "drop name .+", true),
            ("keep name .+", "keep name ", true),
            ("keep name a", "drop name+app .+", true),
            ("keep a;b x;y", "keep a;b x;z", false),
            ("keep a;b x", "keep a;b y", true),
            ("keep ns shop", "keep ns shop|web", false),
            ("keep ns shop", "drop ns web", false),
            ("keep ns shop.*", "keep ns web.*", false),
            ("keep ns shop", "keep pod web", false),
            ("keep a .*", "drop a .+", false),
            ("drop a;b .+", "keep a x", false),
            ("keep a (", "keep a b", false),
        ] {
            let (one, other) = (condition(one), condition(other));
            let found = are_disjoint(std::slice::from_ref(&one), std::slice::from_ref(&other));
            assert_eq!(found, are_apart, "{one:?} {other:?}");
        }
    }
}
