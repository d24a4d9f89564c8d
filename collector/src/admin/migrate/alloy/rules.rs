//! Blocks `rule` to Prometheus' rules.

use crate::admin::migrate::origin::{Pair, Tree, Value as Written};

use super::{
    arguments::{InScope, Part},
    converter::Converter,
    tables,
};

impl<'a> Converter<'_, 'a> {
    /// A rule as a group with the fields that are written. Nothing where one of them cannot be written, as the rest would do
    /// something else.
    pub fn rule(&mut self, rule: InScope<'a>, what: &str) -> Option<Tree> {
        let place = self.place(rule.block.place);
        let (mut fields, mut complete) = (Vec::new(), true);
        for read in self.walk(rule, &format!("{what}."), tables::RULE, &mut Vec::new()) {
            let Part::Value(value) = &read.part else { continue };
            match self.tree(value, &read.what) {
                Some(value) => fields.push(Pair { key: read.key.to_owned(), place: read.place, value }),
                None => complete = false,
            }
        }
        if !complete {
            self.not_possible(&place, what, "is left out as a whole, since a part of it is not known");
            return None;
        }
        Some(Tree { place, value: Written::Group(fields) })
    }
}

/// A list of texts, all at one place.
pub fn texts(place: &crate::admin::migrate::origin::Place, texts: &[&str]) -> Tree {
    let items = texts.iter().map(|text| Tree::text(place, *text)).collect();
    Tree { place: place.clone(), value: Written::List(items) }
}
