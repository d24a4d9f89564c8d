//! Which containers are collected, and with which labels.
//!
//! In: a container's path, what is known of its pod, the rules. Out: its streams' labels, or that it is left out or has to
//! wait. A container that is left out is not read, and its files are not held open; what was read of it before is sent. When
//! it is collected again that begins with what is written from then on.

use std::time::Instant;

use super::{State, Tailer, Unit};
use crate::{
    model::{Stream, UnitId},
    pipeline::relabel::{Outcome, Relabelled, Target},
    source::kubernetes::PodExclusion,
    tail::chain::Source,
    tail::read::RangeReader,
};

/// Why a container is excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// By `kubernetes.namespaces`.
    Namespace,
    /// By the annotation `pilcrow.dev/exclude`.
    Annotation,
    /// By `kubernetes.pod_selector`.
    Selector,
    /// By rules for labels: the one that drops standard output, and that of standard error.
    Relabel([usize; 2]),
}

impl Exclusion {
    /// All that [`Self::name`] gives.
    pub const NAMES: [&str; 4] = ["namespace", "annotation", "selector", "relabel"];

    /// As the metric has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Annotation => "annotation",
            Self::Selector => "selector",
            Self::Relabel(_) => "relabel",
        }
    }
}

/// What is decided on a container.
enum Decision {
    /// It is collected; a stream without labels is dropped.
    Collect([Option<Relabelled>; 2]),
    /// It is left out.
    Exclude(Exclusion),
    /// More has to be known of its pod.
    Wait,
}

/// Containers on which something else was decided than before, until their files are seen to.
#[derive(Debug, Default)]
pub struct Changes {
    excluded: Vec<(UnitId, Exclusion)>,
    resumed: Vec<UnitId>,
    /// They get another pipeline as soon as there is a batch to take what the present one holds back.
    switching: Vec<UnitId>,
}

impl<R: RangeReader> Tailer<R> {
    /// Takes the news of pods, closes the files of containers that are left out from now on and looks for those of containers
    /// that are collected again.
    pub(super) fn follow_pods(&mut self, now: Instant) {
        self.state.take_metadata(now);
        for (id, reason) in std::mem::take(&mut self.state.selecting.changes.excluded) {
            if !self.state.flush(id) {
                // Its first piece was read, so it is sent: as soon as there is a batch to take it.
                self.state.selecting.changes.excluded.push((id, reason));
                continue;
            }
            self.close_files(id);
            if let Some(container) = self.state.units.get_mut(id) {
                container.exclude(reason);
            }
        }
        for id in std::mem::take(&mut self.state.selecting.changes.resumed) {
            self.scan_container(id);
        }
        for id in std::mem::take(&mut self.state.selecting.changes.switching) {
            self.state.decide(id, true);
        }
    }

    fn close_files(&mut self, id: UnitId) {
        let files = self.state.units.get(id).map_or(0, |container| container.chain.files().len());
        for index in 0..files {
            self.shut(id, index, Source::Closed);
        }
        if let Some(container) = self.state.units.get_mut(id) {
            container.chain.close_unread();
        }
    }
}

impl State {
    /// Decides on a container that was just found.
    pub(super) fn decide_or_wait(&mut self, id: UnitId, now: Instant) {
        if !self.decide(id, false) {
            self.selecting.metadata.wait(id, now + self.config.kubernetes.wait.0);
        }
    }

    /// Decides on a container with what is known now; returns whether that is enough. `has_waited`: what the rules do not
    /// ask for, such as the label `app`, may be missing.
    pub(super) fn decide(&mut self, id: UnitId, has_waited: bool) -> bool {
        let limits = self.limits();
        let decision = match self.units.get(id) {
            Some(container) => self.decision(container, has_waited),
            None => return true,
        };
        let is_collected = matches!(decision, Decision::Collect(_));
        let pipeline = if is_collected { self.pipeline_of(id) } else { None };
        let is_held = self.units.get(id).is_some_and(|container| container.is_held_by_another(pipeline.as_ref()));
        if is_held && is_collected && !self.release_all(id) {
            self.selecting.changes.switching.push(id);
            return true;
        }
        self.selecting.changes.excluded.retain(|(other, _)| *other != id);
        let Some(container) = self.units.get_mut(id) else { return true };
        match decision {
            Decision::Wait => return false,
            Decision::Exclude(reason) => {
                tracing::debug!(container = container.saved_name(), reason = reason.name(), "left out");
                if container.chain.is_at_hand() {
                    self.selecting.changes.excluded.push((id, reason));
                } else {
                    container.exclude(reason);
                }
            }
            Decision::Collect(streams) => {
                if container.exclusion().is_some() {
                    container.resume(limits);
                    self.selecting.changes.resumed.push(id);
                }
                container.set_labels(streams, pipeline.as_ref());
            }
        }
        true
    }

    fn decision(&self, container: &Unit, has_waited: bool) -> Decision {
        if !self.config.kubernetes.namespaces.contain(&container.pod.namespace) {
            return Decision::Exclude(Exclusion::Namespace);
        }
        let pod = self.selecting.metadata.pod(&container.pod.folder_name());
        match pod.and_then(|pod| pod.exclusion) {
            Some(PodExclusion::Annotation) => return Decision::Exclude(Exclusion::Annotation),
            Some(PodExclusion::Selector) => return Decision::Exclude(Exclusion::Selector),
            None => {}
        }
        let may_come = pod.is_none() && self.links.pods.is_some();
        let folder = container.folder(&self.config.paths.pods).display().to_string();
        let (mut is_final, mut rules) = (true, [0; 2]);
        let streams = [Stream::Stdout, Stream::Stderr].map(|stream| {
            let outcome = self.selecting.relabel.apply(&Target {
                pod: &container.pod,
                container: &container.name,
                folder: &folder,
                stream: stream.name(),
                from_api: pod.map_or(&[], |pod| &*pod.meta),
            });
            match outcome {
                Outcome::Keep(relabelled) => {
                    self.warn_of_labels(container, relabelled.problem());
                    Some(relabelled)
                }
                Outcome::Drop { is_final: this_one, rule } => {
                    is_final &= this_one;
                    rules[stream as usize] = rule;
                    None
                }
            }
        });
        let none = streams.iter().all(Option::is_none);
        if may_come && !(none && is_final) && !(has_waited && is_final && self.selecting.selects_unknown_pods) {
            // After its time a pod counts as one without labels. What that leaves out waits on, as the API may say more, and
            // its lines are safe on the disk.
            Decision::Wait
        } else if none {
            Decision::Exclude(Exclusion::Relabel(rules))
        } else {
            Decision::Collect(streams)
        }
    }

    /// What in the configuration, or at the pod, excludes a container.
    pub(super) fn setting(&self, exclusion: Exclusion) -> String {
        match exclusion {
            Exclusion::Namespace => "kubernetes.namespaces".into(),
            Exclusion::Annotation => "the annotation pilcrow.dev/exclude".into(),
            Exclusion::Selector => "kubernetes.pod_selector".into(),
            Exclusion::Relabel([stdout, stderr]) => {
                let name = |rule| self.selecting.relabel.rule_name(rule);
                match stdout == stderr {
                    true => name(stdout),
                    false => format!("{}; its stderr by {}", name(stdout), name(stderr)),
                }
            }
        }
    }

    fn warn_of_labels(&self, container: &Unit, problem: Option<String>) {
        if let Some(problem) = problem
            && let Some(more) = self.throttles.labels.borrow_mut().permit()
        {
            let container = container.saved_name();
            tracing::warn!(container, more, "{problem} (relabel_configs makes the labels)");
        }
    }
}
