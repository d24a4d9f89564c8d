//! `discovery.docker` and `loki.source.docker`.

use crate::admin::migrate::{
    docker,
    origin::{Finding, Place, Source, Tree},
    promtail,
    words::DOCKER,
};

use super::{
    arguments::{InScope, Part, Read},
    converter::Converter,
    tables,
    targets::Targets,
    tree::Block,
    value::{Located, Value},
};

impl<'a> Converter<'_, 'a> {
    /// Docker's containers.
    pub fn containers(&mut self, index: usize) -> Targets {
        let component = self.reach(index);
        let (id, place) = (component.block.id(), self.place(component.block.place));
        let mut targets = Targets { source: Source::DockerLines, ..Targets::of_pods() };
        for Read { place, what, part, .. } in
            self.walk(component, &format!("{id} "), tables::DISCOVERY_DOCKER, &mut Vec::new())
        {
            match part {
                Part::Value(host) => self.docker_host(&host, &what),
                Part::Block(filter) => targets.rules.extend(self.docker_filter(filter, &place, &what)),
            }
        }
        self.find(docker::finding(&place, &id));
        targets.settings.push(docker::setting(&place, &id));
        targets
    }

    fn docker_host(&mut self, host: &Located, what: &str) {
        let place = self.place(host.place);
        let (kind, text) = docker::host(match &host.value {
            Value::Text(text) => text.plain().unwrap_or_else(|| text.beginning()),
            _ => "",
        });
        self.find(Finding::new(kind, &place, what, text));
    }

    fn docker_filter(&mut self, filter: InScope<'a>, place: &Place, what: &str) -> Option<Tree> {
        let (mut name, mut values) = (String::new(), Vec::new());
        for Read { key, part, .. } in self.walk(filter, &format!("{what}."), tables::DOCKER_FILTER, &mut Vec::new()) {
            let Part::Value(value) = part else { continue };
            let texts = value.leaves().into_iter().map(|leaf| leaf.value.plain().unwrap_or("*").to_owned());
            match key {
                "name" => name = texts.collect(),
                _ => values = texts.collect(),
            }
        }
        let mut findings = Vec::new();
        let rule = docker::filter(&name, &values, (place, what), &mut findings);
        findings.into_iter().for_each(|finding| self.find(finding));
        rule
    }

    /// Takes away the containers that are given to a source of files, and the pods that are given to Docker's.
    pub fn docker_only_by_its_source(&mut self, block: &Block, place: &Place, targets: &mut Vec<Targets>) {
        let is_docker = |targets: &Targets| targets.source == Source::DockerLines;
        let wants_docker = block.name == "loki.source.docker";
        if targets.iter().all(|targets| is_docker(targets) == wants_docker) {
            return;
        }
        targets.retain(|targets| is_docker(targets) == wants_docker);
        let text = if wants_docker { "reads no logs of pods: the targets that are pods are left out" } else { DOCKER };
        self.not_possible(place, &block.id(), text);
    }

    /// What `loki.source.docker` does to labels itself, as rules: its own `labels`, then its `relabel_rules`.
    pub fn of_docker(&mut self, arguments: &[(&str, Located, String)]) -> Vec<Tree> {
        let (mut labels, mut rules) = (Vec::new(), Vec::new());
        for (key, value, what) in arguments {
            match (*key, &value.value) {
                ("host", _) => self.docker_host(value, what),
                ("labels", _) => {
                    let Some(tree) = self.tree(value, what) else { continue };
                    for label in tree.pairs() {
                        self.taken(&label.place, &format!("{what}.{}", label.key), "relabel_configs");
                        labels.push(promtail::fixed(label));
                    }
                }
                (_, Value::Reference(reference)) => rules.extend(self.docker_rules(reference.component)),
                _ => {
                    let place = self.place(value.place);
                    self.not_possible(
                        &place,
                        what,
                        "expected the rules of a component, such as discovery.relabel.NAME.rules",
                    );
                }
            }
        }
        labels.extend(rules);
        labels
    }

    fn docker_rules(&mut self, index: usize) -> Vec<Tree> {
        let component = self.reach(index);
        let id = component.block.id();
        let table = if component.block.name == "loki.relabel" { tables::RELABEL } else { tables::DISCOVERY_RELABEL };
        let mut rules = Vec::new();
        for read in self.walk(component, &format!("{id} "), table, &mut Vec::new()) {
            if let Part::Block(rule) = read.part {
                rules.extend(self.rule(rule, &read.what));
            }
        }
        rules
    }
}
