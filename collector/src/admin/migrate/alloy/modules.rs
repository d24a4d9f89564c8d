//! The files of a configuration and the modules that they import.
//!
//! In: texts. Out: their trees, which of them are the configuration itself, and which body an import block stands for. An
//! imported file is found among the texts by its name; no file is opened.

use std::collections::BTreeMap;

use crate::admin::migrate::origin::{Fault, Place, Text};

use super::{
    parse::parse,
    tree::{self, Block, Body, Kind},
};

/// How large a text may be: far above any real configuration.
const TEXT_MAX: usize = 8 << 20;

/// How many modules may stand in strings.
const MODULES_MAX: usize = 200;

#[derive(Default)]
pub struct Modules {
    pub bodies: Vec<Body>,
    /// Where the text of each body stands.
    pub beginnings: Vec<Beginning>,
    /// Import blocks, by their places, with the indexes of what they import.
    pub imports: Vec<(tree::Place, usize)>,
}

impl Modules {
    /// Reads the texts, and what stands in strings of `import.string`.
    ///
    /// # Errors
    /// Each text that is not Alloy's language, with the first place where it is not.
    pub fn read(texts: &[Text<'_>]) -> Result<Self, Vec<Fault>> {
        let (mut modules, mut faults) = (Self::default(), Vec::new());
        for text in texts {
            faults.extend(modules.add(text.text, Beginning::Of(text.place.clone())).err());
        }
        let mut next = 0;
        while next < modules.bodies.len() && faults.is_empty() {
            let mut blocks = Vec::new();
            imports_in(&modules.bodies[next], &mut blocks);
            let found: Vec<Import> = blocks.into_iter().filter_map(import).collect();
            for import in found {
                faults.extend(modules.resolve(import, texts.len()).err());
            }
            next += 1;
        }
        if faults.is_empty() { Ok(modules) } else { Err(faults) }
    }

    /// The bodies that no other imports.
    pub fn main(&self) -> Vec<&Body> {
        let is_imported = |index: &usize| self.imports.iter().any(|(_, imported)| imported == index);
        (0..self.bodies.len()).filter(|index| !is_imported(index)).map(|index| &self.bodies[index]).collect()
    }

    /// Components that have the name of another one in the same configuration or module, which Alloy refuses.
    #[must_use]
    pub fn duplicates(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.duplicates_in(&self.main(), &mut faults);
        for (_, imported) in &self.imports {
            self.duplicates_in(&[&self.bodies[*imported]], &mut faults);
        }
        faults.sort_by(|a, b| a.place.cmp(&b.place));
        faults.dedup();
        faults
    }

    fn duplicates_in(&self, bodies: &[&Body], faults: &mut Vec<Fault>) {
        let mut known: BTreeMap<String, tree::Place> = BTreeMap::new();
        for block in bodies.iter().flat_map(|body| &body.blocks) {
            let place = |place: tree::Place| self.beginnings[place.file].at(place.line, place.column);
            match known.get(&block.id()) {
                Some(first) => {
                    let message =
                        format!("there is another {} at {}: a name can be used once", block.id(), place(*first));
                    faults.push(Fault { place: place(block.place), message });
                }
                None => {
                    known.insert(block.id(), block.place);
                }
            }
            if block.name == "declare" {
                self.duplicates_in(&[&block.body], faults);
            }
        }
    }

    fn add(&mut self, text: &str, beginning: Beginning) -> Result<(), Fault> {
        if text.len() > TEXT_MAX {
            let message = format!("larger than {} MiB", TEXT_MAX >> 20);
            return Err(Fault { place: beginning.at(1, 1), message });
        }
        let body = parse(text, self.bodies.len()).map_err(|error| Fault {
            place: beginning.at(error.place.line, error.place.column),
            message: error.message,
        })?;
        self.bodies.push(body);
        self.beginnings.push(beginning);
        Ok(())
    }

    /// Finds what is imported; what is not at hand stays without.
    fn resolve(&mut self, import: Import, files: usize) -> Result<(), Fault> {
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let index = match &import.from {
            From::File(name) => {
                let known = |beginning: &Beginning| last(&beginning.at(1, 1).file) == last(name);
                match self.beginnings[..files.min(self.beginnings.len())].iter().position(known) {
                    // A file that imports itself is no module.
                    Some(index) if index != import.place.file => index,
                    _ => return Ok(()),
                }
            }
            From::Text { .. } if self.bodies.len() >= files + MODULES_MAX => return Ok(()),
            From::Text { text, at, is_raw } => {
                let place = self.beginnings[at.file].at(at.line, at.column);
                let is_split = matches!(self.beginnings[at.file], Beginning::Of(_));
                let beginning = if *is_raw && is_split {
                    Beginning::Of(Place { column: 1, ..place })
                } else {
                    Beginning::Whole(place)
                };
                self.add(text, beginning)?;
                self.bodies.len() - 1
            }
        };
        self.imports.push((import.place, index));
        Ok(())
    }
}

/// Where a text stands.
pub enum Beginning {
    /// Its first character; its lines are those of the file.
    Of(Place),
    /// All of it, since escapes stand for its lines.
    Whole(Place),
}

impl Beginning {
    /// The place of a line and column of the text.
    #[must_use]
    pub fn at(&self, line: usize, column: usize) -> Place {
        match self {
            Self::Of(place) => place.at(line, column),
            Self::Whole(place) => place.clone(),
        }
    }
}

struct Import {
    place: tree::Place,
    from: From,
}

enum From {
    /// The name of a file.
    File(String),
    /// A text, where it stands, and whether it has no escapes.
    Text { text: String, at: tree::Place, is_raw: bool },
}

/// All import blocks, those inside of custom components too.
fn imports_in<'a>(body: &'a Body, found: &mut Vec<&'a Block>) {
    for block in &body.blocks {
        match block.name.as_str() {
            "import.file" | "import.string" => found.push(block),
            "declare" => imports_in(&block.body, found),
            _ => {}
        }
    }
}

fn import(block: &Block) -> Option<Import> {
    let argument = if block.name == "import.file" { "filename" } else { "content" };
    let attribute = block.body.attribute(argument)?;
    let (text, is_raw) = match &attribute.value.kind {
        Kind::Text(text) => (text.clone(), false),
        Kind::Raw(text) => (text.clone(), true),
        _ => return None,
    };
    let at = attribute.value.place;
    let from = if argument == "filename" { From::File(text) } else { From::Text { text, at, is_raw } };
    Some(Import { place: block.place, from })
}
