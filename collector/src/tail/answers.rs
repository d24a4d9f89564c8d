//! What the reader thread tells the status server of its units.
//!
//! In: queries ([`Query`]). Out: owned rows. Costs nothing while nobody asks, but for a look whether a query is there at each
//! turn; an answer costs about what a sweep does, without its calls to the file system.

use std::collections::{BTreeMap, HashMap};

use super::{State, Unit, selection::Exclusion};
use crate::{
    model::{ChannelId, Position, Stream},
    pipeline::relabel::{Explained, Target},
    status::view::{Detail, FileRow, Query, RuleRow, Seen, StageRow, States, StreamRow, UnitState},
    tail::chain::{ChainFile, Source},
};

/// Rules for labels whose names begin so make structured metadata.
const METADATA: &str = "__structured_metadata_";

impl State {
    /// Answers what was asked since the last turn.
    pub(super) fn answer_queries(&mut self) {
        // No more than are there: each takes time from reading.
        for _ in 0..self.links.queries.receiver.len() {
            let Ok(query) = self.links.queries.receiver.try_recv() else { break };
            if query.is_abandoned() {
                continue;
            }
            // Whoever asked may have gone: then nobody minds.
            match query {
                Query::States(reply) => {
                    let _ = reply.send(self.states());
                }
                Query::Units(reply) => {
                    let unacknowledged = self.lanes.unacknowledged();
                    let _ = reply.send(self.units.iter().map(|unit| self.seen(unit, &unacknowledged)).collect());
                }
                Query::Unit(id, reply) => {
                    let unacknowledged = self.lanes.unacknowledged();
                    let unit = self.units.get(id);
                    let _ = reply
                        .send(unit.map(|unit| (self.seen(unit, &unacknowledged), self.detail(unit, &unacknowledged))));
                }
                Query::Tap(spec, reply) => {
                    let is_there = spec.unit.is_none_or(|unit| self.units.get(unit).is_some());
                    if is_there {
                        self.taps.add(spec, self.units.iter());
                    }
                    let _ = reply.send(is_there);
                }
            }
        }
    }

    fn states(&self) -> States {
        let unacknowledged = self.lanes.unacknowledged();
        let mut states = States { units: UnitState::ALL.map(|state| (state, 0)).into(), lag_bytes: 0 };
        for unit in self.units.iter() {
            *states.units.entry(state_of(unit)).or_default() += 1;
            states.lag_bytes += unit.chain.lag_bytes(unit.next(&unacknowledged));
        }
        states
    }

    fn seen(&self, unit: &Unit, unacknowledged: &HashMap<ChannelId, Position>) -> Seen {
        Seen {
            id: unit.id,
            namespace: unit.pod.namespace.clone(),
            pod: unit.pod.pod.clone(),
            container: unit.name.clone(),
            state: state_of(unit),
            reason: self.reason(unit),
            levels: unit.levels().iter().map(|(level, lines)| (level.name(), lines)).collect(),
            lines: unit.read.lines,
            bytes: unit.read.bytes,
            lag_bytes: unit.chain.lag_bytes(unit.next(unacknowledged)),
        }
    }

    /// Why a unit does not collect; empty where it does.
    fn reason(&self, unit: &Unit) -> String {
        if let Some(exclusion) = unit.exclusion() {
            return self.why_excluded(unit, exclusion);
        }
        match (unit.gone, progress_of(unit)) {
            (false, (_, why)) => why.into(),
            (true, (UnitState::Collecting, _)) => {
                "its log folder is gone; what is left of its lines is still being sent".into()
            }
            (true, (_, why)) => format!("its log folder is gone, but not all of its lines are sent: {why}"),
        }
    }

    /// The rule that excludes a unit.
    fn why_excluded(&self, unit: &Unit, exclusion: Exclusion) -> String {
        let namespace = &unit.pod.namespace;
        match exclusion {
            Exclusion::Namespace if self.config.kubernetes.namespaces.exclude.contains(namespace) => {
                format!("kubernetes.namespaces.exclude names {namespace}")
            }
            Exclusion::Namespace => format!("kubernetes.namespaces.include does not name {namespace}"),
            Exclusion::Annotation => "its pod has the annotation pilcrow.dev/exclude: \"true\"".into(),
            Exclusion::Selector => "kubernetes.pod_selector does not select its pod".into(),
            Exclusion::Relabel(_) => format!("dropped by {}", self.setting(exclusion)),
        }
    }

    fn detail(&self, unit: &Unit, unacknowledged: &HashMap<ChannelId, Position>) -> Detail {
        let next = unit.next(unacknowledged);
        let current = unit.chain.current();
        let files = unit.chain.files().iter().enumerate();
        let stages = self.decoding.stages.as_ref();
        Detail {
            streams: Stream::ALL.iter().map(|stream| self.stream_row(unit, *stream)).collect(),
            files: files.map(|(index, file)| file_row(file, next, current == Some(index))).collect(),
            stages: stages.zip(unit.pipeline()).map(|(stages, pipeline)| {
                let rows = stages.ran(pipeline).map(|(place, came, dropped)| stage_row(&place, came, dropped));
                rows.collect()
            }),
        }
    }

    fn stream_row(&self, unit: &Unit, stream: Stream) -> StreamRow {
        let pod = self.selecting.metadata.pod(&unit.pod.folder_name());
        let folder = unit.folder(&self.config.paths.pods).display().to_string();
        let explained = self.selecting.relabel.explain(&Target {
            pod: &unit.pod,
            container: &unit.name,
            folder: &folder,
            stream: stream.name(),
            from_api: pod.map_or(&[], |pod| &*pod.meta),
        });
        let all = explained.last().and_then(|last| last.labels.clone()).unwrap_or_default();
        let metadata =
            all.iter().filter_map(|(name, value)| Some((name.strip_prefix(METADATA)?.to_owned(), value.clone())));
        StreamRow {
            stream: stream.name().to_owned(),
            metadata: metadata.filter(|(name, _)| !name.is_empty()).collect(),
            labels: visible(&all),
            rules: explained.into_iter().map(rule_row).collect(),
        }
    }
}

fn rule_row(explained: Explained) -> RuleRow {
    let Explained { rule, labels, text } = explained;
    RuleRow { rule, labels: labels.as_ref().map(visible), text }
}

fn visible(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels
        .iter()
        .filter(|(name, _)| !name.starts_with("__"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// `pipeline_stages[0].match.stages[1].json`: the stage is its last word.
fn stage_row(place: &str, came: u64, dropped: u64) -> StageRow {
    let (rest, stage) = place.rsplit_once('.').unwrap_or(("", place));
    StageRow { stage: stage.to_owned(), place: rest.to_owned(), came, dropped }
}

fn file_row(file: &ChainFile, next: [Option<Position>; 2], is_current: bool) -> FileRow {
    let progress = file.progress();
    let position = progress.saved_offsets(next).into_iter().min().unwrap_or(0);
    let is_plain = !file.name().gzip && !matches!(file.source(), Source::Gzip(_));
    let state = match is_current {
        true => "reading",
        false if progress.is_saved_to_its_end(next) => "done",
        false => "waiting",
    };
    let name =
        file.path().file_name().map_or_else(|| "(not found yet)".into(), |name| name.to_string_lossy().into_owned());
    FileRow {
        name,
        bytes: is_plain.then_some(file.bytes_on_disk().max(progress.seen())),
        position,
        state: state.into(),
    }
}

/// What a unit does.
fn state_of(unit: &Unit) -> UnitState {
    if unit.exclusion().is_some() {
        return UnitState::Excluded;
    }
    if unit.gone { UnitState::Gone } else { progress_of(unit).0 }
}

/// What a collected unit does, and why nothing else, whether or not its folder is there.
fn progress_of(unit: &Unit) -> (UnitState, &'static str) {
    if !unit.is_labelled() {
        return (UnitState::Waiting, "it waits for the pod's metadata from the Kubernetes API (kubernetes.wait)");
    }
    if Stream::ALL.iter().any(|stream| unit.channels.is_passed_over(*stream)) {
        return (UnitState::Parked, "its lines stay on the disk and are tried again");
    }
    if unit.stalled {
        return (UnitState::Waiting, "its file system does not answer");
    }
    if unit.waits_until.is_some_and(|until| until > std::time::Instant::now()) {
        return (UnitState::Waiting, "a limit stage or a budget lets no further line pass for now");
    }
    (UnitState::Collecting, "")
}

#[cfg(test)]
mod tests;
