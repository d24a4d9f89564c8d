//! The arguments and inner blocks of a component, of which none may be lost.
//!
//! In: a block and a table of what becomes of its arguments. Out: settings and findings; what needs more than its value moved is
//! given back. An argument that the table does not have is a finding.

use crate::admin::migrate::{
    origin::{Finding, Kind, Pair, Place, Setting, Tree, Value as Written, our_variable_name, spelled},
    promtail::{keys::Way, walk::converted},
    words::nearest,
};

use super::{
    converter::Converter,
    tree::Block,
    value::{Located, Piece, Text, Value},
};

/// The arguments of a block with what becomes of each; those of inner blocks as `block.argument`.
pub type Table = &'static [(&'static str, Way)];

/// A block with the scope in which its expressions are read.
#[derive(Clone, Copy)]
pub struct InScope<'a> {
    pub block: &'a Block,
    pub scope: usize,
}

/// An argument that the caller reads itself.
pub struct Read<'a> {
    /// As the table has it.
    pub key: &'static str,
    pub place: Place,
    /// How it is called in findings: `loki.write.default endpoint.url`.
    pub what: String,
    pub part: Part<'a>,
}

pub enum Part<'a> {
    Value(Located),
    Block(InScope<'a>),
}

/// The names at this level of a table.
fn known(table: Table, above: &str) -> impl Iterator<Item = &'static str> {
    table.iter().filter_map(move |(key, _)| key.strip_prefix(above)?.split('.').next())
}

impl<'a> Converter<'_, 'a> {
    /// Goes through a block. `what` is how it is called in findings, with what separates it from the name of an argument.
    pub fn walk(&mut self, block: InScope<'a>, what: &str, table: Table, settings: &mut Vec<Setting>) -> Vec<Read<'a>> {
        let mut to_read = Vec::new();
        self.level(block, what, "", table, settings, &mut to_read);
        to_read
    }

    fn level(
        &mut self,
        InScope { block, scope }: InScope<'a>,
        what: &str,
        above: &str,
        table: Table,
        settings: &mut Vec<Setting>,
        to_read: &mut Vec<Read<'a>>,
    ) {
        for attribute in &block.body.attributes {
            let value = self.evaluator.evaluate(&attribute.value, scope);
            if value.value == Value::Null {
                continue;
            }
            let path = format!("{above}{}", attribute.name);
            let name = format!("{what}{path}");
            let place = self.place(attribute.place);
            match table.iter().find(|(key, _)| *key == path) {
                Some((new, Way::To(..))) => self.set(new, &value, name, table, settings),
                Some((key, Way::Read(_))) => to_read.push(Read { key, place, what: name, part: Part::Value(value) }),
                Some((_, way)) => self.tell(*way, &place, &name),
                None => self.unknown_argument(&place, &name, nearest(&attribute.name, known(table, above))),
            }
        }
        for inner in &block.body.blocks {
            let path = format!("{above}{}", inner.name);
            let name = format!("{what}{path}");
            let place = self.place(inner.place);
            let inner = InScope { block: inner, scope };
            match table.iter().find(|(key, _)| *key == path) {
                Some((key, Way::Read(_))) => to_read.push(Read { key, place, what: name, part: Part::Block(inner) }),
                Some((_, way)) => self.tell(*way, &place, &name),
                // Stages are read in their order, by themselves.
                None if path.starts_with("stage.") && table.iter().any(|(key, _)| *key == "stage.") => {}
                None if table
                    .iter()
                    .any(|(key, _)| key.strip_prefix(&path).is_some_and(|rest| rest.starts_with('.'))) =>
                {
                    self.level(inner, what, &format!("{path}."), table, settings, to_read);
                }
                None => self.unknown_argument(&place, &name, nearest(&inner.block.name, known(table, above))),
            }
        }
    }

    fn set(&mut self, argument: &str, value: &Located, name: String, table: Table, settings: &mut Vec<Setting>) {
        let Some((_, Way::To(new, unit))) = table.iter().find(|(key, _)| *key == argument) else { return };
        let Some(tree) = self.tree(value, &name) else { return };
        match converted(&tree, *unit) {
            Ok(value) => {
                self.taken(&value.place.clone(), &name, new);
                settings.push(Setting::new(*new, value, name));
            }
            Err(why) => self.not_possible(&tree.place, &name, &format!("{why}; set {new} yourself")),
        }
    }

    fn tell(&mut self, way: Way, place: &Place, name: &str) {
        match way {
            Way::ByItself(text) => self.taken(place, name, text),
            Way::Changed(text) => self.changed(place, name, text),
            Way::NotPossible(text) => self.not_possible(place, name, text),
            Way::To(..) | Way::Read(_) => {}
        }
    }

    fn unknown_argument(&mut self, place: &Place, name: &str, meant: Option<&str>) {
        let text = "is not known, neither here nor in Alloy's documentation when this was written; left out";
        let text = match meant {
            None => text.to_owned(),
            // A block where Alloy has an argument, or the other way round.
            Some(meant) if name.rsplit(['.', ' ']).next() == Some(meant) => {
                format!("is of another form than Alloy's {meant} (a block or an argument), and left out")
            }
            Some(meant) => format!("{text}; did you mean {meant}?"),
        };
        self.not_possible(place, name, &text);
    }

    /// A value as the converted configuration writes it; what cannot be written is a finding.
    pub fn tree(&mut self, value: &Located, what: &str) -> Option<Tree> {
        let place = self.place(value.place);
        let written = match &value.value {
            Value::Null => Written::Nothing,
            Value::Bool(value) => Written::Text(value.to_string()),
            Value::Number(number) => Written::Text(number.to_string()),
            Value::Text(text) => Written::Text(self.spell(text, &place)),
            Value::List(items) => Written::List(items.iter().filter_map(|item| self.tree(item, what)).collect()),
            Value::Object(fields) => {
                Written::Group(fields.iter().filter_map(|(key, value)| self.pair(key, value, what)).collect())
            }
            Value::Unknown(why) => {
                self.not_possible(&place, what, why);
                return None;
            }
            Value::Reference(_) => {
                let text = "is what another component exports, known only while Alloy runs; write the value itself";
                self.not_possible(&place, what, text);
                return None;
            }
        };
        Some(Tree { place, value: written })
    }

    fn pair(&mut self, key: &str, value: &Located, what: &str) -> Option<Pair> {
        let value = self.tree(value, what)?;
        Some(Pair { key: key.to_owned(), place: value.place.clone(), value })
    }

    /// A text as Pilcrow's configuration writes it.
    pub fn spell(&mut self, text: &Text, place: &Place) -> String {
        if let Some(plain) = text.plain() {
            return spelled(plain);
        }
        let mut spelled = String::new();
        for piece in text.pieces() {
            match piece {
                // Beside a variable spelled() would not see what follows.
                Piece::Plain(text) => spelled.push_str(&text.replace('$', "$$")),
                Piece::Hostname => {
                    self.uses_variable("constants.hostname", place);
                    spelled.push_str("${NODE_NAME}");
                }
                Piece::Variable { name, default } => {
                    self.uses_variable(name, place);
                    let name = our_variable_name(name);
                    match default {
                        Some(default) => spelled.push_str(&format!("${{{name}:-{default}}}")),
                        None => spelled.push_str(&format!("${{{name}}}")),
                    }
                }
            }
        }
        spelled
    }

    /// Tells once that a variable is needed.
    fn uses_variable(&mut self, name: &str, place: &Place) {
        if !self.variables.insert(name.to_owned()) {
            return;
        }
        match name {
            "constants.hostname" | "HOSTNAME" => {
                let text =
                    "${NODE_NAME}: Alloy's chart sets HOSTNAME to the name of the node; Pilcrow's chart sets NODE_NAME";
                self.changed(place, name, text);
            }
            "NODE_NAME" => self.taken(place, "sys.env(\"NODE_NAME\")", "${NODE_NAME}, which Pilcrow's chart sets"),
            _ => {
                let text =
                    format!("${{{name}}}: set this variable in Pilcrow's environment too (the chart's extraEnv)");
                self.changed(place, &format!("sys.env({name:?})"), &text);
            }
        }
    }

    pub fn taken(&mut self, place: &Place, what: &str, text: &str) {
        self.find(Finding::new(Kind::Taken, place, what, text));
    }

    pub fn changed(&mut self, place: &Place, what: &str, text: &str) {
        self.find(Finding::new(Kind::Changed, place, what, text));
    }

    pub fn not_possible(&mut self, place: &Place, what: &str, text: &str) {
        self.find(Finding::new(Kind::NotPossible, place, what, text));
    }
}
