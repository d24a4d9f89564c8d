//! What is converted, with what is needed for it: the components, their values, the places of the texts.
//!
//! In: a [`World`]. Out: an [`Origin`]. Every component gets there, as a part of a pipeline or as a finding.

use std::collections::{BTreeMap, BTreeSet};

use crate::admin::migrate::origin::{Finding, Origin, Place};

use super::{
    arguments::InScope,
    evaluate::Evaluator,
    modules::Beginning,
    scope::{Component, World},
    tree,
};

pub struct Converter<'w, 'a> {
    pub evaluator: Evaluator<'w, 'a>,
    pub origin: Origin,
    /// Where the texts begin.
    beginnings: &'w [Beginning],
    /// The clients of each `loki.write` that was converted.
    pub destinations: BTreeMap<usize, Vec<usize>>,
    /// Labels that only tell runtimes apart.
    pub runtime_labels: BTreeSet<String>,
    /// Environment variables that a finding tells of.
    pub variables: BTreeSet<String>,
    /// Components that became part of something, or have a finding.
    pub reached: BTreeSet<usize>,
    /// Findings that one component may cause several times.
    told: BTreeSet<Finding>,
}

impl<'w, 'a> Converter<'w, 'a> {
    pub fn new(world: &'w World<'a>, beginnings: &'w [Beginning]) -> Self {
        Self {
            evaluator: Evaluator::new(world),
            origin: Origin::default(),
            beginnings,
            destinations: BTreeMap::new(),
            runtime_labels: BTreeSet::new(),
            variables: BTreeSet::new(),
            reached: BTreeSet::new(),
            told: BTreeSet::new(),
        }
    }

    /// A place in one of the texts, as others know it.
    pub fn place(&self, place: tree::Place) -> Place {
        match self.beginnings.get(place.file) {
            Some(beginning) => beginning.at(place.line, place.column),
            None => Place { file: "".into(), line: place.line, column: place.column },
        }
    }

    pub fn component(&self, index: usize) -> &'w Component<'a> {
        &self.evaluator.world.components[index]
    }

    /// The block of a component, which is thereby reached.
    pub fn reach(&mut self, index: usize) -> InScope<'a> {
        self.reached.insert(index);
        let Component { block, scope } = self.component(index);
        InScope { block, scope: *scope }
    }

    /// Takes out what was told since then, so that it can be told again of another pipeline; variables are told once, of all.
    pub fn take_findings(&mut self, since: usize) -> Vec<Finding> {
        let is_of_all = |finding: &Finding| {
            finding.what.starts_with("sys.env(") || ["constants.hostname", "HOSTNAME"].contains(&finding.what.as_str())
        };
        let (of_all, own): (Vec<_>, Vec<_>) = self.origin.findings.split_off(since).into_iter().partition(is_of_all);
        self.origin.findings.extend(of_all);
        for finding in &own {
            self.told.remove(finding);
        }
        own
    }

    pub fn find(&mut self, finding: Finding) {
        if self.told.insert(finding.clone()) {
            self.origin.findings.push(finding);
        }
    }
}
