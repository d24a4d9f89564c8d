//! What can be said of selectors without an entry: that one never matches, or matches only what another one does.

use super::{How, Selector, Test};
use crate::pipeline::pattern::Pattern;

/// What is known of a label's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Possible {
    Anything,
    /// Always this; empty: there is no such label.
    Always(String),
}

impl Selector {
    /// Whether it says something of the label of this name.
    pub fn reads(&self, label: &str) -> bool {
        self.matchers.iter().any(|(name, _)| name == label)
    }

    /// Whether it says something of lines.
    pub fn reads_lines(&self) -> bool {
        !self.filters.is_empty()
    }

    /// Whether it chooses everything, if these labels are always there.
    pub fn chooses_all(&self, is_always_there: &dyn Fn(&str) -> bool) -> bool {
        self.matchers.iter().all(|(name, test)| test.is_any() || is_always_there(name) && test.is_any_but_none())
    }

    /// One that matches lines in which this expression matches.
    ///
    /// # Errors
    /// It is none.
    pub fn of_lines(expression: &str) -> Result<Self, String> {
        let how = How::Pattern(Pattern::new(expression)?);
        Ok(Self { matchers: Vec::new(), filters: vec![Test { negated: false, text: expression.to_owned(), how }] })
    }

    /// One that matches what has this label.
    pub fn of_label(name: &str, value: &str) -> Self {
        let test = Test { negated: false, text: value.to_owned(), how: How::Literal };
        Self { matchers: vec![(name.to_owned(), test)], filters: Vec::new() }
    }
}

/// Why nothing matches all of these, if that is so.
pub fn contradiction(all: &[&Selector], labels: &dyn Fn(&str) -> Possible) -> Option<String> {
    let matchers = || all.iter().flat_map(|selector| &selector.matchers);
    let filters = || all.iter().flat_map(|selector| &selector.filters);
    for (name, test) in matchers() {
        match labels(name) {
            Possible::Always(value) if !test.holds(value.as_bytes()) => {
                return Some(match value.as_str() {
                    "" => format!("there is no label {name} here"),
                    value => format!("{name} is always {value:?} here"),
                });
            }
            _ => {}
        }
        let others = matchers().filter(|(other, _)| other == name);
        if test.is_equality() && others.clone().any(|(_, other)| !other.holds(test.text.as_bytes())) {
            return Some(format!("what it says of {name} contradicts itself"));
        }
    }
    let contains = |test: &&Test| matches!(test.how, How::Contains(_));
    let (wanted, unwanted): (Vec<&Test>, Vec<&Test>) = filters().filter(contains).partition(|test| !test.negated);
    let both = wanted.iter().find(|one| unwanted.iter().any(|other| one.text.contains(&other.text)));
    both.map(|test| format!("lines cannot contain {:?} and not contain it", test.text))
}

/// Whether what matches all of these matches the other one, too.
pub fn imply(all: &[&Selector], other: &Selector) -> bool {
    let matchers = |test: &Test, name: &str| {
        let mut mine = all.iter().flat_map(|selector| &selector.matchers).filter(|(known, _)| known == name);
        mine.any(|(_, mine)| mine.is_same(test) || mine.is_equality() && test.holds(mine.text.as_bytes()))
    };
    let filters = |test: &Test| {
        let mut mine = all.iter().flat_map(|selector| &selector.filters);
        mine.any(|mine| mine.is_same(test) || mine.contains_more_than(test))
    };
    other.matchers.iter().all(|(name, test)| matchers(test, name)) && other.filters.iter().all(filters)
}

impl Test {
    fn is_equality(&self) -> bool {
        matches!(self.how, How::Literal) && !self.negated
    }

    fn is_any(&self) -> bool {
        matches!(self.how, How::Pattern(_)) && !self.negated && matches!(&*self.text, ".*" | "(.*)")
    }

    fn is_any_but_none(&self) -> bool {
        match self.how {
            How::Pattern(_) => !self.negated && matches!(&*self.text, ".+" | "(.+)"),
            _ => self.negated && self.text.is_empty(),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        let same_how = std::mem::discriminant(&self.how) == std::mem::discriminant(&other.how);
        same_how && self.negated == other.negated && self.text == other.text
    }

    fn contains_more_than(&self, other: &Self) -> bool {
        let both = matches!((&self.how, &other.how), (How::Contains(_), How::Contains(_)));
        both && !self.negated && !other.negated && self.text.contains(&other.text)
    }
}
