//! Following this node's pods: list, watch, and both again after any error.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use crossbeam_channel::Sender;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    core::PartialObjectMeta,
    runtime::{
        utils::Backoff,
        watcher::{DefaultBackoff, Event, watcher},
    },
};
use tokio::sync::Notify;

use super::metrics::WatchMetrics;
use super::{Access, Interest, PodMetadata, PodUpdate, Problem, access::LIST_TIMEOUT};
use crate::status::{Reason, Throttle};

/// The least time between two warnings with the same reason.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

pub struct Listener {
    /// Never full: an update is smaller than a log line, and its reader takes them all at every turn.
    pub updates: Sender<PodUpdate>,
    /// Woken after updates were sent.
    pub notify: Arc<Notify>,
}

/// Follows this node's pods; never ends.
pub async fn follow(access: Access, interest: Interest, listener: Listener, metrics: &WatchMetrics) {
    let mut follower = Follower {
        access,
        interest,
        listener,
        metrics,
        backoff: DefaultBackoff::default(),
        throttles: HashMap::new(),
        failing: false,
        has_listed: false,
    };
    loop {
        let problem = follower.list_and_watch().await;
        follower.note(&problem);
        // 0.8 s to 30 s, with jitter; the iterator has no end.
        tokio::time::sleep(follower.backoff.next().unwrap_or(WARNING_INTERVAL)).await;
    }
}

struct Follower<'m> {
    access: Access,
    interest: Interest,
    listener: Listener,
    metrics: &'m WatchMetrics,
    backoff: DefaultBackoff,
    /// By [`Problem::reason`].
    throttles: HashMap<&'static str, Throttle>,
    /// A warning was logged, so the recovery is logged too.
    failing: bool,
    has_listed: bool,
}

impl Follower<'_> {
    /// Lists and watches until the first error. Listing again costs little for one node's pods, and shows whether the API works
    /// again; if the watcher resumed by itself, nothing would.
    async fn list_and_watch(&mut self) -> Problem {
        let mut events = pin!(watcher(self.access.pods(), self.access.watch_config()));
        let mut listing = true;
        let mut listed = 0;
        loop {
            let next = events.next();
            // The watcher itself detects when a watch falls silent, but not when a list does.
            let event = if listing { tokio::time::timeout(LIST_TIMEOUT, next).await } else { Ok(next.await) };
            match event {
                Ok(Some(Ok(event))) => {
                    listing = matches!(event, Event::Init | Event::InitApply(_));
                    listed += usize::from(matches!(event, Event::InitApply(_)));
                    if matches!(event, Event::InitDone) {
                        self.note_listed(listed);
                    }
                    self.pass_on(event);
                }
                Ok(Some(Err(error))) => return Problem::of_watch(&error),
                Ok(None) => return Problem::timeout(Duration::ZERO),
                Err(_) => return Problem::timeout(LIST_TIMEOUT),
            }
        }
    }

    fn pass_on(&self, event: Event<PartialObjectMeta<Pod>>) {
        let metadata = |pod| PodMetadata::of(&pod, &self.interest);
        let (update, is_news) = match event {
            Event::Init => (Some(PodUpdate::ListBegins), false),
            Event::InitApply(pod) => (metadata(pod).map(PodUpdate::Known), false),
            Event::InitDone => (Some(PodUpdate::ListEnds), true),
            Event::Apply(pod) => (metadata(pod).map(PodUpdate::Known), true),
            Event::Delete(pod) => (metadata(pod).map(|pod| PodUpdate::Gone(pod.folder)), true),
        };
        if let Some(update) = update {
            // It fails only when the reader side has ended, and the program ends with it.
            let _ = self.listener.updates.send(update);
        }
        if is_news {
            self.listener.notify.notify_one();
        }
    }

    fn note_listed(&mut self, pods: usize) {
        self.backoff.reset();
        self.metrics.kubernetes_watching.set(1);
        if std::mem::take(&mut self.failing) {
            tracing::info!(pods, "the Kubernetes API answers again");
        }
        if !std::mem::replace(&mut self.has_listed, true) && pods == 0 {
            tracing::warn!(
                node = self.access.node,
                "the Kubernetes API lists no pods on this node; is that its name (kubernetes.node_name, NODE_NAME)?"
            );
        }
    }

    fn note(&mut self, problem: &Problem) {
        self.metrics.kubernetes_watching.set(0);
        self.metrics.kubernetes_errors.get_or_create(&Reason { reason: problem.reason }).inc();
        if problem.is_ordinary() {
            tracing::debug!("the Kubernetes API {problem}");
            return;
        }
        let throttle = self.throttles.entry(problem.reason).or_insert_with(|| Throttle::new(WARNING_INTERVAL));
        if let Some(more) = throttle.permit() {
            self.failing = true;
            tracing::warn!(
                more,
                server = self.access.server,
                "the Kubernetes API {problem}. Until then lines of new pods lack what only the API knows, such as the label app"
            );
        }
    }
}
