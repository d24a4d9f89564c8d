//! What is known of this node's pods, and the containers that wait for it.
//!
//! In: [`PodUpdate`]s. Out: labels. A container whose pod is known has them at once; another one waits, unread, for
//! `kubernetes.wait` and goes on with those of its path, which what comes later adds to. Where Kubernetes is not asked no
//! container waits.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::State;
use crate::discover::{
    ContainerId,
    kubernetes::{PodMetadata, PodUpdate},
};

/// A pod's metadata is kept for so long after the pod is gone: its folder may be found, or its last lines read, only then.
const KEPT_AFTER_END: Duration = Duration::from_secs(600);

/// See the module.
#[derive(Debug, Default)]
pub struct Metadata {
    /// By the UID in the folder's name.
    pods: HashMap<Box<str>, Pod>,
    /// Number of the newest list.
    list: u64,
    /// Containers without labels, and until when they wait. All wait equally long, so the first is the first to end.
    waiting: VecDeque<(Instant, ContainerId)>,
}

#[derive(Debug)]
struct Pod {
    app: Option<Box<str>>,
    /// A mirror pod's second name, which is not to be counted.
    is_alias: bool,
    /// The list in which, or after which, it was last seen.
    list: u64,
    gone_since: Option<Instant>,
}

impl Metadata {
    /// When a container has waited long enough.
    pub fn wait_ends(&self) -> Option<Instant> {
        self.waiting.front().map(|(ends, _)| *ends)
    }

    /// Forgets pods that have been gone for long.
    pub fn forget_gone(&mut self, now: Instant) {
        self.pods.retain(|_, pod| pod.gone_since.is_none_or(|since| now - since < KEPT_AFTER_END));
    }

    /// How many pods are there.
    fn count(&self) -> usize {
        self.pods.values().filter(|pod| !pod.is_alias && pod.gone_since.is_none()).count()
    }

    /// What is known of a pod: `Some(None)` where it has no `app`.
    fn app(&self, uid: &str) -> Option<Option<&str>> {
        self.pods.get(uid).map(|pod| pod.app.as_deref())
    }

    /// Takes an update; the UIDs whose `app` is new or another one go to `changed`.
    fn take(&mut self, update: PodUpdate, now: Instant, changed: &mut Vec<String>) {
        match update {
            PodUpdate::ListBegins => self.list += 1,
            PodUpdate::ListEnds => {
                for pod in self.pods.values_mut().filter(|pod| pod.list != self.list) {
                    pod.gone_since.get_or_insert(now);
                }
            }
            PodUpdate::Known(PodMetadata { uid, config_hash, app }) => {
                let hash = config_hash.filter(|hash| *hash != uid);
                for (uid, is_alias) in [(Some(uid), false), (hash, true)] {
                    let Some(uid) = uid else { continue };
                    let app = app.as_deref().map(Box::from);
                    let pod = Pod { app, is_alias, list: self.list, gone_since: None };
                    let new = pod.app.clone();
                    let known = self.pods.insert(uid.as_str().into(), pod);
                    if known.is_none_or(|known| known.app != new) {
                        changed.push(uid);
                    }
                }
            }
            PodUpdate::Gone(PodMetadata { uid, config_hash, .. }) => {
                for uid in [Some(uid), config_hash].into_iter().flatten() {
                    if let Some(pod) = self.pods.get_mut(uid.as_str()) {
                        pod.gone_since.get_or_insert(now);
                    }
                }
            }
        }
    }
}

impl State {
    /// Gives a new container its labels, or lets it wait for its pod's metadata.
    pub(super) fn label_or_wait(&mut self, id: ContainerId, now: Instant) {
        let Some(container) = self.containers.get_mut(&id) else { return };
        match self.metadata.app(&container.pod.uid) {
            Some(app) => container.set_labels(&self.config.labels, app),
            None if self.links.pods.is_none() => container.set_labels(&self.config.labels, None),
            None => self.metadata.waiting.push_back((now + self.config.kubernetes.wait.0, id)),
        }
    }

    /// Takes the news of pods, and gives labels to the containers that they are of and to those that waited long enough.
    pub(super) fn take_metadata(&mut self, now: Instant) {
        let mut changed = Vec::new();
        let mut is_news = false;
        for update in self.links.pods.iter().flat_map(|updates| updates.try_iter()) {
            self.metadata.take(update, now, &mut changed);
            is_news = true;
        }
        if is_news {
            self.metrics.kubernetes_pods.set(self.metadata.count() as i64);
        }
        if !changed.is_empty() {
            self.label_pods(&changed);
        }
        while self.metadata.wait_ends().is_some_and(|ends| ends <= now) {
            self.metrics.metadata_timeouts.inc();
            self.label_first_waiting();
        }
    }

    /// Lets no container wait any longer: the program ends.
    pub(super) fn label_all_waiting(&mut self) {
        while !self.metadata.waiting.is_empty() {
            self.label_first_waiting();
        }
    }

    fn label_pods(&mut self, uids: &[String]) {
        let mut labelled = Vec::new();
        for (&id, container) in &mut self.containers {
            if uids.contains(&container.pod.uid) {
                let app = self.metadata.app(&container.pod.uid).flatten();
                container.set_labels(&self.config.labels, app);
                labelled.push(id);
            }
        }
        self.metadata.waiting.retain(|(_, id)| !labelled.contains(id));
        for id in labelled {
            self.queue(id);
        }
    }

    fn label_first_waiting(&mut self) {
        let Some((_, id)) = self.metadata.waiting.pop_front() else { return };
        let Some(container) = self.containers.get_mut(&id) else { return };
        container.set_labels(&self.config.labels, None);
        tracing::debug!(container = container.saved_name(), "no metadata came for the pod; its lines go without app");
        self.queue(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, app: &str) -> PodMetadata {
        let app = (!app.is_empty()).then(|| app.to_owned());
        PodMetadata { uid: uid.into(), config_hash: None, app }
    }

    /// Takes updates; returns the UIDs that changed.
    fn take(metadata: &mut Metadata, updates: impl IntoIterator<Item = PodUpdate>, now: Instant) -> Vec<String> {
        let mut changed = Vec::new();
        for update in updates {
            metadata.take(update, now, &mut changed);
        }
        changed
    }

    #[test]
    fn only_a_new_pod_or_another_app_is_a_change() {
        let (mut metadata, now) = (Metadata::default(), Instant::now());
        let known = |app| [PodUpdate::Known(pod("u", app))];
        assert_eq!(take(&mut metadata, known(""), now), ["u"]);
        assert_eq!(take(&mut metadata, known(""), now), [""; 0]);
        assert_eq!(take(&mut metadata, known("nginx"), now), ["u"]);
        assert_eq!(take(&mut metadata, known("nginx"), now), [""; 0]);
        assert_eq!(metadata.app("u"), Some(Some("nginx")));
    }

    #[test]
    fn a_mirror_pod_is_known_by_both_its_uids_and_counted_once() {
        let (mut metadata, now) = (Metadata::default(), Instant::now());
        let mirror = PodMetadata { config_hash: Some("hash".into()), ..pod("u", "etcd") };
        take(&mut metadata, [PodUpdate::Known(mirror.clone())], now);
        assert_eq!((metadata.app("u"), metadata.app("hash")), (Some(Some("etcd")), Some(Some("etcd"))));
        assert_eq!(metadata.count(), 1);
        take(&mut metadata, [PodUpdate::Gone(mirror)], now);
        metadata.forget_gone(now + KEPT_AFTER_END);
        assert_eq!((metadata.app("u"), metadata.app("hash")), (None, None));
    }

    #[test]
    fn a_pod_that_is_gone_is_remembered_for_its_last_lines_and_then_forgotten() {
        let (mut metadata, now) = (Metadata::default(), Instant::now());
        take(&mut metadata, [PodUpdate::Known(pod("u", "nginx")), PodUpdate::Gone(pod("u", "nginx"))], now);
        assert_eq!(metadata.count(), 0);
        metadata.forget_gone(now + KEPT_AFTER_END - Duration::from_secs(1));
        assert_eq!(metadata.app("u"), Some(Some("nginx")));
        metadata.forget_gone(now + KEPT_AFTER_END);
        assert!(metadata.pods.is_empty());
    }

    #[test]
    fn a_pod_that_vanished_while_the_api_was_away_is_missed_by_the_next_list() {
        let (mut metadata, now) = (Metadata::default(), Instant::now());
        let list = |uids: &[&str]| {
            let known = uids.iter().map(|uid| PodUpdate::Known(pod(uid, "x")));
            [PodUpdate::ListBegins].into_iter().chain(known).chain([PodUpdate::ListEnds]).collect::<Vec<_>>()
        };
        take(&mut metadata, list(&["a", "b"]), now);
        take(&mut metadata, [PodUpdate::Known(pod("c", "x"))], now);
        assert_eq!(metadata.count(), 3);
        let changed = take(&mut metadata, list(&["b", "c"]), now);
        assert_eq!((metadata.count(), changed), (2, vec![]));
        metadata.forget_gone(now + KEPT_AFTER_END);
        assert_eq!((metadata.app("a"), metadata.pods.len()), (None, 2));
    }

    #[test]
    fn a_list_that_was_begun_and_not_ended_makes_no_pod_gone() {
        let (mut metadata, now) = (Metadata::default(), Instant::now());
        take(&mut metadata, [PodUpdate::ListBegins, PodUpdate::Known(pod("a", "x")), PodUpdate::ListEnds], now);
        take(&mut metadata, [PodUpdate::ListBegins], now);
        assert_eq!(metadata.count(), 1);
    }
}
