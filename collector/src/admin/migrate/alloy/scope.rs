//! All components of a configuration, with those inside of custom components (`declare`), and what their names mean.
//!
//! In: the trees of the files. Out: a [`World`]: a flat list of components, each with the scope in which its expressions are
//! read. Instances of custom components become scopes with arguments and exports. Bounded: [`COMPONENTS_MAX`], [`NESTING_MAX`].

use std::collections::{BTreeMap, BTreeSet};

use super::{
    tables,
    tree::{Block, Body, Expression, Place},
};
use crate::admin::migrate::promtail::keys::Way;

/// More components than any real configuration has.
const COMPONENTS_MAX: usize = 10_000;

/// How deep custom components may be nested.
const NESTING_MAX: usize = 16;

/// Where names are looked up: a file, or an instance of a custom component.
#[derive(Default)]
pub struct Scope<'a> {
    /// Arguments with the scope in which their expressions are read: the caller's, or this one for defaults.
    pub arguments: BTreeMap<&'a str, Option<(usize, &'a Expression)>>,
    pub exports: BTreeMap<&'a str, &'a Expression>,
    /// By `name.label`.
    pub components: BTreeMap<String, usize>,
    /// Instances of custom components by `name.label`.
    pub instances: BTreeMap<String, usize>,
    /// Whether names of `argument` mean something here.
    pub is_custom: bool,
}

pub struct Component<'a> {
    pub block: &'a Block,
    pub scope: usize,
}

/// What can be instantiated under a name, and where the names inside of it are looked up.
#[derive(Default)]
struct Definitions<'a> {
    declared: BTreeMap<&'a str, &'a Block>,
    /// The definitions of an imported file; none where it is not at hand.
    imported: BTreeMap<&'a str, Option<usize>>,
    parent: Option<usize>,
}

#[derive(Default)]
pub struct World<'a> {
    pub scopes: Vec<Scope<'a>>,
    pub components: Vec<Component<'a>>,
    /// What could not be resolved.
    pub problems: Vec<(Place, String, String)>,
    /// Imports whose text is not at hand, of which a component is used.
    pub missed: BTreeSet<String>,
    definitions: Vec<Definitions<'a>>,
}

/// The bodies that import blocks stand for, by the place of the block.
pub type Imports<'a> = BTreeMap<Place, &'a Body>;

impl<'a> World<'a> {
    /// `main` are the files that are one configuration together.
    pub fn new(main: &[&'a Body], imports: &Imports<'a>) -> Self {
        let mut world = Self::default();
        let definitions = world.define(main, None, imports, 0);
        world.scopes.push(Scope::default());
        for body in main {
            world.fill(body, 0, definitions, 0);
        }
        world
    }

    /// Notes what `bodies` define.
    fn define(&mut self, bodies: &[&'a Body], parent: Option<usize>, imports: &Imports<'a>, depth: usize) -> usize {
        let id = self.definitions.len();
        self.definitions.push(Definitions { parent, ..Definitions::default() });
        for block in bodies.iter().flat_map(|body| &body.blocks) {
            if block.name == "declare" {
                self.definitions[id].declared.insert(&block.label, block);
            } else if block.name.starts_with("import.") {
                let imported = match imports.get(&block.place) {
                    Some(body) if depth < NESTING_MAX && self.definitions.len() < COMPONENTS_MAX => {
                        Some(self.define(&[*body], None, imports, depth + 1))
                    }
                    _ => None,
                };
                if imported.is_none() {
                    let text = match tables::of_component(&block.name) {
                        Some(Way::NotPossible(text)) => text,
                        _ => "its text is not at hand; name its file beside this one: pilcrow migrate FILE FILE",
                    };
                    self.problems.push((block.place, block.id(), text.into()));
                }
                self.definitions[id].imported.insert(&block.label, imported);
            }
        }
        id
    }

    /// The block that a name stands for, with the definitions that hold where it is declared; `Err` where the name's file
    /// is not at hand.
    fn declaration(&self, name: &str, mut id: usize) -> Option<Result<(&'a Block, usize), ()>> {
        let (namespace, inner) = match name.split_once('.') {
            Some((namespace, inner)) => (Some(namespace), inner),
            None => (None, name),
        };
        loop {
            let definitions = &self.definitions[id];
            match namespace {
                None => {
                    if let Some(block) = definitions.declared.get(inner) {
                        return Some(Ok((block, id)));
                    }
                }
                Some(namespace) => match definitions.imported.get(namespace) {
                    Some(Some(imported)) => {
                        let block = self.definitions[*imported].declared.get(inner)?;
                        return Some(Ok((block, *imported)));
                    }
                    Some(None) => return Some(Err(())),
                    None => {}
                },
            }
            id = definitions.parent?;
        }
    }

    fn fill(&mut self, body: &'a Body, scope: usize, definitions: usize, depth: usize) {
        for block in &body.blocks {
            if matches!(block.name.as_str(), "declare" | "argument" | "export") || block.name.starts_with("import.") {
                continue;
            }
            if self.components.len() + self.scopes.len() >= COMPONENTS_MAX {
                return;
            }
            match self.declaration(&block.name, definitions) {
                Some(Ok((declared, home))) => self.instantiate(block, declared, scope, home, depth),
                Some(Err(())) => {
                    self.missed.extend(block.name.split_once('.').map(|(namespace, _)| namespace.to_owned()));
                    let text = "comes from an import whose text is not at hand; name its file beside this one: pilcrow migrate FILE FILE";
                    self.problems.push((block.place, block.id(), text.into()));
                }
                None => {
                    self.scopes[scope].components.insert(block.id(), self.components.len());
                    self.components.push(Component { block, scope });
                }
            }
        }
    }

    fn instantiate(&mut self, instance: &'a Block, declared: &'a Block, caller: usize, home: usize, depth: usize) {
        if depth >= NESTING_MAX {
            let text = format!("custom components are nested more than {NESTING_MAX} deep, or one contains itself");
            self.problems.push((instance.place, instance.id(), text));
            return;
        }
        let id = self.scopes.len();
        let mut scope = Scope { is_custom: true, ..Scope::default() };
        for argument in declared.body.blocks_named("argument") {
            let default = argument.body.attribute("default").map(|attribute| (id, &attribute.value));
            scope.arguments.insert(&argument.label, default);
        }
        for attribute in &instance.body.attributes {
            scope.arguments.insert(&attribute.name, Some((caller, &attribute.value)));
        }
        for export in declared.body.blocks_named("export") {
            if let Some(attribute) = export.body.attribute("value") {
                scope.exports.insert(&export.label, &attribute.value);
            }
        }
        self.scopes.push(scope);
        self.scopes[caller].instances.insert(instance.id(), id);
        // What is declared within a custom component is visible there only.
        let inner = self.define(&[&declared.body], Some(home), &Imports::new(), 0);
        self.fill(&declared.body, id, inner, depth + 1);
    }
}
