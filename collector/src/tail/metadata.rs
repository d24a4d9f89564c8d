//! What is known of this node's pods, and the containers that wait for it.
//!
//! In: [`PodUpdate`]s. Out: what [`super::selection`] decides by. A container whose pod is known is decided on at once;
//! another one waits, unread, for `kubernetes.wait` and goes on with what its path says, which what comes later adds to. Where
//! Kubernetes is not asked no container waits.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::State;
use crate::{
    model::UnitId,
    source::kubernetes::{PodExclusion, PodMetadata, PodUpdate},
};

/// A pod's metadata is kept for this long after the pod is gone: its folder may be found, or its last lines read, only then.
const KEPT_AFTER_END: Duration = Duration::from_secs(600);

/// See the module.
#[derive(Debug, Default)]
pub struct Metadata {
    /// By the name of the pod's log folder.
    pods: HashMap<Box<str>, Pod>,
    /// Number of the newest list.
    list: u64,
    /// Containers without labels, and until when they wait. All wait equally long, so the first is the first to end.
    waiting: VecDeque<(Instant, UnitId)>,
}

/// What is known of a pod.
#[derive(Debug)]
pub struct Pod {
    /// What the rules read of its metadata.
    pub meta: Box<[(Box<str>, Box<str>)]>,
    /// Why its logs are left out, if they are.
    pub exclusion: Option<PodExclusion>,
    /// What it asks for by annotations.
    pub asked: Box<[(Box<str>, Box<str>)]>,
    /// The list in which, or after which, it was last seen.
    list: u64,
    gone_since: Option<Instant>,
}

impl Metadata {
    /// When a container has waited long enough.
    pub fn wait_ends(&self) -> Option<Instant> {
        self.waiting.front().map(|(ends, _)| *ends)
    }

    /// Lets a container wait.
    pub fn wait(&mut self, id: UnitId, ends: Instant) {
        self.waiting.push_back((ends, id));
    }

    /// Forgets pods that have been gone for long.
    pub fn forget_gone(&mut self, now: Instant) {
        self.pods.retain(|_, pod| pod.gone_since.is_none_or(|since| now - since < KEPT_AFTER_END));
    }

    /// What is known of the pod with this log folder.
    pub fn pod(&self, folder: &str) -> Option<&Pod> {
        self.pods.get(folder)
    }

    /// How many pods are there.
    fn count(&self) -> usize {
        self.pods.values().filter(|pod| pod.gone_since.is_none()).count()
    }

    /// Takes an update; the folders of pods that are new, or of which something else is known now, go to `changed`.
    fn take(&mut self, update: PodUpdate, now: Instant, changed: &mut Vec<Box<str>>) {
        match update {
            PodUpdate::ListBegins => self.list += 1,
            PodUpdate::ListEnds => {
                for pod in self.pods.values_mut().filter(|pod| pod.list != self.list) {
                    pod.gone_since.get_or_insert(now);
                }
            }
            PodUpdate::Known(PodMetadata { folder, meta, exclusion, asked }) => {
                let is_same = |known: &Pod| known.meta == meta && known.exclusion == exclusion && known.asked == asked;
                if !self.pods.get(&folder).is_some_and(is_same) {
                    changed.push(folder.clone());
                }
                self.pods.insert(folder, Pod { meta, exclusion, asked, list: self.list, gone_since: None });
            }
            PodUpdate::Gone(folder) => {
                if let Some(pod) = self.pods.get_mut(&folder) {
                    pod.gone_since.get_or_insert(now);
                }
            }
        }
    }
}

impl State {
    /// Takes changes of pods, and decides on the containers that they are of and on those that waited long enough.
    pub(super) fn take_metadata(&mut self, now: Instant) {
        let mut changed = Vec::new();
        let mut is_news = false;
        for update in self.links.pods.iter().flat_map(|updates| updates.try_iter()) {
            self.selecting.metadata.take(update, now, &mut changed);
            is_news = true;
        }
        if is_news {
            self.metrics.kubernetes_pods.set(self.selecting.metadata.count() as i64);
        }
        if !changed.is_empty() {
            self.decide_on_pods(&changed);
        }
        while self.selecting.metadata.wait_ends().is_some_and(|ends| ends <= now) {
            self.metrics.metadata_timeouts.inc();
            self.decide_on_first_waiting();
        }
    }

    /// Lets no container wait any longer: the program ends.
    pub(super) fn end_waiting(&mut self) {
        while !self.selecting.metadata.waiting.is_empty() {
            self.decide_on_first_waiting();
        }
    }

    fn decide_on_pods(&mut self, folders: &[Box<str>]) {
        let of_pods = |unit: &&super::Unit| folders.contains(&unit.pod.folder_name().into());
        let ids: Vec<_> = self.units.iter().filter(of_pods).map(|unit| unit.id).collect();
        self.selecting.metadata.waiting.retain(|(_, id)| !ids.contains(id));
        for id in ids {
            self.decide(id, true);
            self.queue(id);
        }
    }

    fn decide_on_first_waiting(&mut self) {
        let Some((_, id)) = self.selecting.metadata.waiting.pop_front() else { return };
        let is_decided = self.decide(id, true);
        if let Some(container) = self.units.get(id) {
            let container = container.saved_name();
            tracing::debug!(container, is_decided, "no metadata came for the pod; its lines go without, or wait");
        }
        self.queue(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pod whose log folder is `ns_NAME_uid`.
    fn pod(name: &str, app: &str) -> PodMetadata {
        let meta = [("__meta_kubernetes_pod_label_app_kubernetes_io_name", app)];
        let meta = meta.into_iter().filter(|(_, value)| !value.is_empty());
        PodMetadata {
            folder: folder(name),
            meta: meta.map(|(name, value)| (name.into(), value.into())).collect(),
            exclusion: None,
            asked: Box::default(),
        }
    }

    fn folder(name: &str) -> Box<str> {
        format!("ns_{name}_467433c9-ed7f-4e83-9600-6441503c1539").into()
    }

    fn app(metadata: &Metadata, name: &str) -> Option<String> {
        metadata.pod(&folder(name)).map(|pod| pod.meta.iter().map(|(_, value)| &**value).collect())
    }

    /// Takes updates; returns the folders of the pods that changed.
    fn take(metadata: &mut Metadata, updates: impl IntoIterator<Item = PodUpdate>, now: Instant) -> Vec<Box<str>> {
        let mut changed = Vec::new();
        for update in updates {
            metadata.take(update, now, &mut changed);
        }
        changed
    }

    #[test]
    fn only_a_new_pod_or_something_else_that_rules_read_is_a_change() {
        let (mut metadata, now) = (Metadata::default(), Instant::now());
        let known = |app| [PodUpdate::Known(pod("u", app))];
        assert_eq!(take(&mut metadata, known(""), now), [folder("u")]);
        assert_eq!(take(&mut metadata, known(""), now), []);
        assert_eq!(take(&mut metadata, known("nginx"), now), [folder("u")]);
        assert_eq!(take(&mut metadata, known("nginx"), now), []);
        let excluded = PodMetadata { exclusion: Some(PodExclusion::Annotation), ..pod("u", "nginx") };
        assert_eq!(take(&mut metadata, [PodUpdate::Known(excluded)], now), [folder("u")]);
        assert_eq!(app(&metadata, "u").as_deref(), Some("nginx"));
    }

    #[test]
    fn a_pod_that_is_gone_is_remembered_for_its_last_lines_and_then_forgotten() {
        let (mut metadata, now) = (Metadata::default(), Instant::now());
        take(&mut metadata, [PodUpdate::Known(pod("u", "nginx")), PodUpdate::Gone(folder("u"))], now);
        assert_eq!(metadata.count(), 0);
        metadata.forget_gone(now + KEPT_AFTER_END - Duration::from_secs(1));
        assert_eq!(app(&metadata, "u").as_deref(), Some("nginx"));
        metadata.forget_gone(now + KEPT_AFTER_END);
        assert!(metadata.pods.is_empty());
    }

    #[test]
    fn a_pod_that_vanished_while_the_api_was_away_is_missed_by_the_next_list() {
        let (mut metadata, now) = (Metadata::default(), Instant::now());
        let list = |names: &[&str]| {
            let known = names.iter().map(|name| PodUpdate::Known(pod(name, "x")));
            [PodUpdate::ListBegins].into_iter().chain(known).chain([PodUpdate::ListEnds]).collect::<Vec<_>>()
        };
        take(&mut metadata, list(&["a", "b"]), now);
        take(&mut metadata, [PodUpdate::Known(pod("c", "x"))], now);
        assert_eq!(metadata.count(), 3);
        let changed = take(&mut metadata, list(&["b", "c"]), now);
        assert_eq!((metadata.count(), changed), (2, vec![]));
        metadata.forget_gone(now + KEPT_AFTER_END);
        assert_eq!((app(&metadata, "a"), metadata.pods.len()), (None, 2));
    }

    #[test]
    fn a_list_that_was_begun_and_not_ended_makes_no_pod_gone() {
        let (mut metadata, now) = (Metadata::default(), Instant::now());
        take(&mut metadata, [PodUpdate::ListBegins, PodUpdate::Known(pod("a", "x")), PodUpdate::ListEnds], now);
        take(&mut metadata, [PodUpdate::ListBegins], now);
        assert_eq!(metadata.count(), 1);
    }

    /// Bytes that a store of pods takes, as far as they lie in its own hands.
    fn bytes(metadata: &Metadata) -> usize {
        let of_pod = |folder: &str, pod: &Pod| {
            let texts: usize = pod.meta.iter().map(|(name, value)| name.len() + value.len()).sum();
            folder.len() + texts + size_of_val(&*pod.meta)
        };
        let entry = size_of::<(Box<str>, Pod)>() + 1;
        metadata.pods.capacity() * entry + metadata.pods.iter().map(|(folder, pod)| of_pod(folder, pod)).sum::<usize>()
    }

    #[test]
    fn a_nodes_110_pods_take_less_than_64_kib_and_no_more_after_many_lists() {
        let (mut metadata, now) = (Metadata::default(), Instant::now());
        let list = || {
            let name = |n| format!("some-longer-deployment-name-{n}-6d9c6b5f4-x2x7k");
            let known = (0..110).map(move |n| PodUpdate::Known(pod(&name(n), "some-longer-app-name")));
            [PodUpdate::ListBegins].into_iter().chain(known).chain([PodUpdate::ListEnds])
        };
        take(&mut metadata, list(), now);
        let after_one = bytes(&metadata);
        assert!(after_one < 64 << 10, "{after_one}");
        for _ in 0..10 {
            assert_eq!(take(&mut metadata, list(), now), []);
        }
        assert_eq!(bytes(&metadata), after_one);
    }
}
