//! Alloy's language: from the text of a configuration to the form that all readers give.
//!
//! In: texts that are one configuration together (a file, or the files of a folder), and files that they import. Out: an
//! [`Origin`], or every text that cannot be read with the place in it. `lex` and `parse` make a tree of a text, `scope` finds
//! components and instances of custom ones, `evaluate` tells what expressions give, the rest turns components into pipelines.
//! Never panics and takes bounded time and memory, whatever it is given. Reads no files and no environment.

mod arguments;
mod behind;
mod converter;
mod destination;
mod docker;
mod evaluate;
mod functions;
mod lex;
mod modules;
mod parse;
mod pipelines;
mod rest;
mod rules;
mod scope;
mod stage_tables;
mod stages;
pub mod tables;
mod targets;
mod tree;
mod value;

#[cfg(test)]
mod tests;

use super::origin::{Fault, Finding, Origin, Text, Tree};

use self::{
    arguments::InScope,
    converter::Converter,
    modules::Modules,
    scope::{Imports, World},
};

/// Reads a configuration: `texts` are its files; one that another of them imports (`import.file`) is found by its name.
///
/// # Errors
/// The texts that are not Alloy's language, each with the first place where they are not; or all names that are used twice.
pub fn read(texts: &[Text<'_>]) -> Result<Origin, Vec<Fault>> {
    let modules = Modules::read(texts)?;
    let duplicates = modules.duplicates();
    if !duplicates.is_empty() {
        return Err(duplicates);
    }
    let imports: Imports<'_> = modules.imports.iter().map(|(place, index)| (*place, &modules.bodies[*index])).collect();
    let world = World::new(&modules.main(), &imports);
    let mut converter = Converter::new(&world, &modules.beginnings);
    converter.pipelines();
    converter.rest();
    Ok(converter.origin)
}

/// Blocks `stage.…` as they stand in a chart's values.
///
/// # Errors
/// It is not Alloy's language.
pub fn read_stages(text: &Text<'_>, findings: &mut Vec<Finding>) -> Result<Vec<Tree>, Vec<Fault>> {
    read_blocks(text, findings, Wanted::Stages)
}

/// Blocks `rule` as they stand in a chart's values.
///
/// # Errors
/// It is not Alloy's language.
pub fn read_rules(text: &Text<'_>, findings: &mut Vec<Finding>) -> Result<Vec<Tree>, Vec<Fault>> {
    read_blocks(text, findings, Wanted::Rules)
}

#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    Stages,
    Rules,
}

fn read_blocks(text: &Text<'_>, findings: &mut Vec<Finding>, wanted: Wanted) -> Result<Vec<Tree>, Vec<Fault>> {
    let modules = Modules::read(std::slice::from_ref(text))?;
    let Some(body) = modules.bodies.first() else { return Ok(Vec::new()) };
    let world = World::new(&[body], &Imports::new());
    let mut converter = Converter::new(&world, &modules.beginnings);
    let is_wanted = |name: &str| match wanted {
        Wanted::Stages => name.starts_with("stage."),
        Wanted::Rules => name == "rule",
    };
    let blocks = body.blocks.iter().map(|block| (block.place, &block.name));
    let attributes = body.attributes.iter().map(|attribute| (attribute.place, &attribute.name));
    for (place, name) in blocks.chain(attributes).filter(|(_, name)| !is_wanted(name)) {
        let place = converter.place(place);
        converter.not_possible(&place, name, "is left out: it is not of the kind that this value takes");
    }
    let trees = match wanted {
        Wanted::Stages => converter.stages(&body.blocks, 0, ""),
        Wanted::Rules => {
            let rules = body.blocks_named("rule");
            rules.filter_map(|block| converter.rule(InScope { block, scope: 0 }, "rule")).collect()
        }
    };
    findings.append(&mut converter.origin.findings);
    Ok(trees)
}
