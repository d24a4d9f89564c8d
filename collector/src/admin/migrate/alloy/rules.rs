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

    /// A rule of a `loki.relabel` behind these: the label `filename`, which its source gives each line, is a path that rules know.
    pub fn by_path(&mut self, rule: Tree, what: &str, before: &[Tree], from_api: bool) -> Tree {
        let is_file_name = |text: &Tree| text.as_text() == Some("filename");
        let reads = rule.get("source_labels").is_some_and(|pair| pair.value.items().iter().any(is_file_name));
        let is_made = before.iter().any(|rule| rule.get("target_label").is_some_and(|pair| is_file_name(&pair.value)));
        if from_api || !reads || is_made {
            return rule;
        }
        let text = "reads __path__ instead of filename: /var/log/pods/NAMESPACE_POD_UID/CONTAINER/*.log, with a * where filename has the \
                    number of a file";
        self.changed(&rule.place, what, text);
        let mut rule = rule;
        if let Written::Group(pairs) = &mut rule.value {
            for pair in pairs.iter_mut().filter(|pair| pair.key == "source_labels") {
                let renamed = |name: &str| if name == "filename" { "__path__" } else { name }.to_owned();
                pair.value = pair.value.map_texts(&renamed);
            }
        }
        rule
    }
}

/// A list of texts, all at one place.
pub fn texts(place: &crate::admin::migrate::origin::Place, texts: &[&str]) -> Tree {
    let items = texts.iter().map(|text| Tree::text(place, *text)).collect();
    Tree { place: place.clone(), value: Written::List(items) }
}
