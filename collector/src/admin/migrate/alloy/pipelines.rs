//! From each source of pod logs along `forward_to` to `loki.write`: each way is a pipeline.
//!
//! Bounded: [`WAYS_MAX`] ways from one source, [`STEPS_MAX`] components on one, [`PIPELINES_MAX`] pipelines.

use crate::admin::migrate::{
    origin::{Pipeline, Place, Setting, Source, Tree},
    promtail::keys::Way,
};

use super::{
    arguments::{Part, Read, Table},
    behind::Behind,
    converter::Converter,
    stages::parts,
    tables,
    targets::{Targets, always_sets, default_labels},
    value::{Located, Value},
};

const WAYS_MAX: usize = 64;
const STEPS_MAX: usize = 64;
const PIPELINES_MAX: usize = 500;

/// A way from a source: the components on it, and the `loki.write` at its end.
struct Path {
    steps: Vec<usize>,
    end: usize,
}

impl<'a> Converter<'_, 'a> {
    /// All pipelines, in the order of the files.
    pub fn pipelines(&mut self) {
        for index in 0..self.evaluator.world.components.len() {
            let name = &self.component(index).block.name;
            match name.as_str() {
                "loki.source.kubernetes" => self.source(index, tables::SOURCE_KUBERNETES),
                "loki.source.podlogs" => self.source(index, tables::SOURCE_PODLOGS),
                "loki.source.file" => self.source(index, tables::SOURCE_FILE),
                "loki.source.docker" => self.source(index, tables::SOURCE_DOCKER),
                _ => {}
            }
        }
    }

    /// The pipelines of a source, with what is told of them: it matters where one of them is converted.
    fn source(&mut self, index: usize, table: Table) {
        let (findings, pipelines) = (self.origin.findings.len(), self.origin.pipelines.len());
        self.read_source(index, table);
        if self.origin.pipelines.len() > pipelines {
            let own = self.take_findings(findings);
            for pipeline in &mut self.origin.pipelines[pipelines..] {
                pipeline.findings.splice(0..0, own.iter().cloned());
            }
        }
    }

    fn read_source(&mut self, index: usize, table: Table) {
        let component = self.reach(index);
        let id = component.block.id();
        let place = self.place(component.block.place);
        let (mut settings, mut targets, mut forward, mut last) = (Vec::new(), Vec::new(), None, Vec::new());
        for Read { key, place, what, part } in self.walk(component, &format!("{id} "), table, &mut settings) {
            let Part::Value(value) = part else { continue };
            match key {
                "targets" => targets = self.targets(&value, &what, &mut Vec::new()),
                "forward_to" => forward = Some((value, what)),
                "host" | "labels" | "relabel_rules" => last.push((key, value, what)),
                _ => self.of_files(key, &value, &place, &what, &mut settings),
            }
        }
        match component.block.name.as_str() {
            "loki.source.podlogs" => {
                let text = "PodLogs objects are not read: all pods of the node are taken, with the labels that its rules give them; \
                            write the rules of the objects (relabelings) into relabel_configs, and see kubernetes.namespaces and \
                            kubernetes.pod_selector";
                self.not_possible(&place, &id, text);
                targets = vec![Targets::of_pods()];
            }
            "loki.source.kubernetes" => {
                let text =
                    "logs are read from the node's files instead of the Kubernetes API: Pilcrow runs on every node";
                self.changed(&place, &id, text);
            }
            _ => {}
        }
        self.docker_only_by_its_source(component.block, &place, &mut targets);
        for targets in &mut targets {
            targets.rules.extend(self.of_docker(&last));
        }
        if targets.is_empty() {
            let text = "collects no logs of pods, so that its rules and stages are left out";
            return self.changed(&place, &id, text);
        }
        let Some((forward, what)) = forward else {
            return self.not_possible(&place, &id, "has no forward_to: its lines go nowhere");
        };
        let mut paths = Vec::new();
        self.follow(&forward, &what, &mut Vec::new(), &mut paths);
        for targets in targets {
            self.source_pipelines(index, &targets, &settings, &paths);
        }
    }

    fn of_files(&mut self, key: &str, value: &Located, place: &Place, what: &str, settings: &mut Vec<Setting>) {
        match (key, &value.value) {
            ("tail_from_end", Value::Bool(true)) => {
                self.taken(place, what, "start_at: end");
                settings.push(Setting::new("start_at", Tree::text(place, "end"), what));
            }
            ("tail_from_end", Value::Bool(false)) => {
                self.taken(place, what, "start_at: beginning, which is the default")
            }
            ("encoding", Value::Text(text))
                if text.plain().is_some_and(|name| name.is_empty() || name.eq_ignore_ascii_case("utf-8")) =>
            {
                self.taken(place, what, "container logs are UTF-8");
            }
            ("encoding", _) => self.not_possible(place, what, "container logs are UTF-8; Pilcrow replaces what is not"),
            _ => self.not_possible(place, what, "is known only while Alloy runs; left out"),
        }
    }

    /// Where Alloy keeps the positions of `loki.source.file`, below its storage path.
    fn positions(&self, index: usize, place: &Place) -> Option<Setting> {
        let component = self.component(index);
        let (id, is_of_files) = (component.block.id(), component.block.name == "loki.source.file");
        let file = Tree::text(place, format!("{id}/positions.yml"));
        (is_of_files && component.scope == 0).then(|| Setting::new("positions", file, id))
    }

    fn follow(&mut self, receivers: &Located, what: &str, steps: &mut Vec<usize>, paths: &mut Vec<Path>) {
        for receiver in receivers.leaves() {
            self.follow_one(receiver, what, steps, paths);
        }
    }

    fn follow_one(&mut self, receiver: &Located, what: &str, steps: &mut Vec<usize>, paths: &mut Vec<Path>) {
        let place = self.place(receiver.place);
        match &receiver.value {
            Value::Reference(reference) => {
                if steps.len() >= STEPS_MAX || steps.contains(&reference.component) {
                    return self.not_possible(
                        &place,
                        what,
                        "lines go round in a circle, or through too many components",
                    );
                }
                if paths.len() >= WAYS_MAX {
                    return self.not_possible(&place, what, "lines go too many ways; the rest is left out");
                }
                self.receiver(reference.component, &place, what, steps, paths);
            }
            Value::Unknown(why) => self.not_possible(&place, what, why),
            other => {
                let text =
                    format!("expected a receiver such as loki.write.default.receiver, found {}", other.description());
                self.not_possible(&place, what, &text);
            }
        }
    }

    fn receiver(&mut self, index: usize, place: &Place, what: &str, steps: &mut Vec<usize>, paths: &mut Vec<Path>) {
        let block = self.component(index).block;
        let at = self.place(block.place);
        match block.name.as_str() {
            "loki.write" => paths.push(Path { steps: steps.clone(), end: index }),
            "loki.echo" => {
                self.reached.insert(index);
                self.taken(
                    &at,
                    &block.id(),
                    "`pilcrow try` shows what becomes of lines; nothing is written to its own output",
                );
            }
            "loki.process" | "loki.relabel" | "loki.secretfilter" | "loki.enrich" => {
                let component = self.reach(index);
                if let Some(Way::NotPossible(text)) = tables::of_component(&block.name) {
                    self.not_possible(&at, &block.id(), text);
                }
                let Some(forward) = block.body.attribute("forward_to") else {
                    return self.not_possible(&at, &block.id(), "has no forward_to: its lines go nowhere");
                };
                let receivers = self.evaluator.evaluate(&forward.value, component.scope);
                steps.push(index);
                self.follow(&receivers, &format!("{} forward_to", block.id()), steps, paths);
                steps.pop();
            }
            name => {
                self.reached.insert(index);
                match tables::of_component(name) {
                    Some(Way::NotPossible(text)) => self.not_possible(&at, &block.id(), text),
                    _ => self.not_possible(place, what, "is no component that takes lines"),
                }
            }
        }
    }

    /// The pipelines of one kind of targets of a source: one for each way that differs before its end.
    fn source_pipelines(&mut self, index: usize, targets: &Targets, settings: &[Setting], paths: &[Path]) {
        let source = self.component(index).block;
        let (id, place) = (source.id(), self.place(source.place));
        let mut different: Vec<(&[usize], Vec<usize>)> = Vec::new();
        for path in paths {
            match different.iter_mut().find(|(steps, _)| *steps == path.steps) {
                Some((_, ends)) if ends.contains(&path.end) => {}
                Some((_, ends)) => ends.push(path.end),
                None => different.push((&path.steps, vec![path.end])),
            }
        }
        if different.is_empty() {
            return self.changed(&place, &id, "its lines reach no loki.write, so that it is left out");
        }
        if different.len() > 1 {
            let text = format!(
                "its lines go {} ways with different stages, each to Loki: Pilcrow sends a line once; convert each way for \
                 a release of its own (--job), or put what differs into stages match",
                different.len()
            );
            self.not_possible(&place, &id, &text);
        }
        let from_api = matches!(source.name.as_str(), "loki.source.kubernetes" | "loki.source.podlogs");
        let is_forked = different.len() > 1;
        for (steps, ends) in different {
            let enough = self.evaluator.spend(targets.rules.len());
            if self.origin.pipelines.len() >= PIPELINES_MAX || !enough {
                return self.not_possible(&place, &id, "there are too many ways to Loki; the rest is left out");
            }
            let mut rules = targets.rules.clone();
            if from_api {
                let defaults = default_labels(&place, &id);
                for (label, rule) in ["job", "instance"].into_iter().zip(defaults) {
                    if !always_sets(&rules, label) {
                        let text = format!("Alloy gives lines without a label {label} one; a rule does so here");
                        self.changed(&place, &id, &text);
                        rules.push(rule);
                    }
                }
            }
            let last =
                steps.last().or(ends.first()).map_or_else(String::new, |index| self.component(*index).block.id());
            let name = if is_forked { format!("{id}/{last}") } else { id.clone() };
            let name = self.origin.free_name(&name);
            let findings = self.origin.findings.len();
            let (relabel, stages) = self.steps(steps, rules, from_api);
            let mut clients = Vec::new();
            for end in ends {
                clients.extend(self.destination_once(end));
            }
            let source = if from_api { Source::ApiLines } else { targets.source };
            let settings = targets.settings.iter().chain(settings).cloned().collect();
            let (place, positions) = (place.clone(), self.positions(index, &place));
            let (attached, findings) = (targets.attached.clone(), self.take_findings(findings));
            let pipeline =
                Pipeline { name, place, source, relabel, stages, clients, settings, positions, attached, findings };
            self.origin.pipelines.push(pipeline);
        }
    }

    /// What is done on a way: rules once for each stream, then stages for each line.
    fn steps(&mut self, steps: &[usize], mut relabel: Vec<Tree>, from_api: bool) -> (Vec<Tree>, Vec<Tree>) {
        let mut stages: Vec<Tree> = Vec::new();
        for index in steps {
            let component = self.reach(*index);
            let id = component.block.id();
            match component.block.name.as_str() {
                "loki.process" => {
                    self.walk(component, &format!("{id} "), tables::PROCESS, &mut Vec::new());
                    let mut new = self.stages(&component.block.body.blocks, component.scope, &format!("{id} "));
                    if from_api {
                        new.retain(|stage| self.is_of_use(stage, &id));
                    }
                    stages.extend(new);
                }
                "loki.relabel" => {
                    for read in self.walk(component, &format!("{id} "), tables::RELABEL, &mut Vec::new()) {
                        let Part::Block(rule) = read.part else { continue };
                        let Some(rule) = self.rule(rule, &read.what) else { continue };
                        match super::behind::behind(&rule, &stages) {
                            Behind::First => {
                                let rule = self.by_path(rule, &read.what, &relabel, from_api);
                                relabel.push(rule);
                            }
                            Behind::Stages(new) => {
                                self.changed(&read.place, &read.what, "as a stage, since it stands behind stages");
                                stages.extend(new);
                            }
                            Behind::Moved => {
                                let text = "before the stages instead of behind them, which do not touch labels";
                                self.changed(&read.place, &read.what, text);
                                let rule = self.by_path(rule, &read.what, &relabel, from_api);
                                relabel.push(rule);
                            }
                            Behind::No => {
                                let text = "stands behind stages that make labels: write it as a stage (labels, template, match)";
                                self.not_possible(&read.place, &read.what, text);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        relabel.retain(|rule| !self.tells_runtimes_apart(rule));
        (relabel, stages)
    }

    /// Whether a rule makes a label that only stages read which Pilcrow does not need.
    fn tells_runtimes_apart(&mut self, rule: &Tree) -> bool {
        let label = rule.get("target_label").and_then(|pair| pair.value.as_text()).unwrap_or_default();
        let sources = rule.get("source_labels").map(|pair| pair.value.items()).unwrap_or_default();
        let is_of_runtimes = self.runtime_labels.contains(label)
            && sources.iter().all(|name| name.as_text() == Some("__meta_kubernetes_pod_container_id"));
        if is_of_runtimes {
            let text = "Pilcrow detects by itself which runtime wrote a log";
            self.taken(&rule.place.clone(), &format!("rule for {label}"), text);
        }
        is_of_runtimes
    }

    /// Lines of the Kubernetes API have no runtime's format, so that these stages leave them as they are.
    fn is_of_use(&mut self, stage: &Tree, id: &str) -> bool {
        let Some((name @ ("cri" | "docker"), _)) = parts(stage) else { return true };
        let text = "does nothing in Alloy either: lines of the Kubernetes API are without the runtime's format, and no label stream \
                    is made; for one add a rule from __meta_pilcrow_stream";
        self.changed(&stage.place, &format!("{id} stage.{name}"), text);
        false
    }

    fn destination_once(&mut self, index: usize) -> Vec<usize> {
        match self.destinations.get(&index) {
            Some(clients) => clients.clone(),
            None => {
                let clients = self.destination(index);
                self.destinations.insert(index, clients.clone());
                clients
            }
        }
    }
}
