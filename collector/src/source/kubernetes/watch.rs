//! Following this node's pods: list, watch, and both again after any error.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use tokio::sync::Notify;

use super::metrics::WatchMetrics;
use super::{
    Access, Interest, PodUpdate, Problem,
    cut::OBJECT_BYTES_MAX,
    decode::{self, Event, Object},
    pod::BYTES_MAX,
};
use crate::status::{Reason, Throttle};

/// A list from which nothing came for this long is asked for again.
const LIST_SILENCE: Duration = Duration::from_secs(30);

/// The waits between two attempts double between these.
const WAIT_MIN: Duration = Duration::from_millis(800);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A watch that ends sooner, and without news, is no watch.
const WATCH_MIN: Duration = Duration::from_secs(1);

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
        outlet: Outlet { interest, listener, left_out: Throttle::new(WARNING_INTERVAL) },
        metrics,
        wait: WAIT_MIN,
        throttles: HashMap::new(),
        failing: false,
        has_listed: false,
    };
    loop {
        let problem = follower.list_and_watch().await;
        follower.note(&problem);
        let wait = follower.wait;
        follower.wait = (wait * 2).min(WAIT_MAX);
        // Not all nodes at once: between half of it and all. Each RandomState has new keys.
        let share = RandomState::new().hash_one(0u8) as f64 / u64::MAX as f64;
        tokio::time::sleep(wait.mul_f64(0.5 + share / 2.0)).await;
    }
}

struct Follower<'m> {
    access: Access,
    outlet: Outlet,
    metrics: &'m WatchMetrics,
    /// Before the next attempt.
    wait: Duration,
    /// By [`Problem::reason`].
    throttles: HashMap<&'static str, Throttle>,
    /// A warning was logged, so the recovery is logged too.
    failing: bool,
    has_listed: bool,
}

/// The way of what is of interest to the reader.
struct Outlet {
    interest: Interest,
    listener: Listener,
    /// For warnings of pods of which something is not kept.
    left_out: Throttle,
}

impl Follower<'_> {
    /// Lists and watches until the first error. Listing again costs little for one node's pods, and shows whether the API works
    /// again.
    async fn list_and_watch(&mut self) -> Problem {
        let mut version = match self.list().await {
            Ok(version) => version,
            Err(problem) => return problem,
        };
        loop {
            let (began, before) = (Instant::now(), version.clone());
            match self.watch(&mut version).await {
                // The API server ends each watch after some minutes.
                Ok(()) if version != before || began.elapsed() >= WATCH_MIN => {}
                Ok(()) => return Problem::watch_ended(),
                Err(problem) => return problem,
            }
        }
    }

    /// Returns the version from which a watch goes on.
    async fn list(&mut self) -> Result<String, Problem> {
        let outlet = &mut self.outlet;
        outlet.send(PodUpdate::ListBegins);
        let (mut pods, mut unread) = (0, 0);
        let each = |json: &[u8]| match decode::object(json, &outlet.interest) {
            Ok(object) => {
                pods += 1;
                outlet.send_known(object);
            }
            Err(_) => unread += 1,
        };
        let listed = self.access.list(LIST_SILENCE, each).await?;
        if listed.version.is_empty() {
            return Err(Problem::unreadable(&"it has no resourceVersion"));
        }
        outlet.note_passed_over(listed.too_large, unread);
        outlet.send(PodUpdate::ListEnds);
        outlet.listener.notify.notify_one();
        self.note_listed(pods);
        Ok(listed.version)
    }

    /// Watches from `version` on, which goes with what comes, until the watch ends or breaks off: both are normal.
    async fn watch(&mut self, version: &mut String) -> Result<(), Problem> {
        let outlet = &mut self.outlet;
        let mut answer = self.access.watch(version).await?;
        loop {
            let (mut unread, mut failed) = (0, None);
            let mut each = |json: &[u8]| match decode::event(json, &outlet.interest) {
                Ok(Event::Known(object)) => {
                    version.clone_from(&object.version);
                    outlet.send_known(object);
                }
                Ok(Event::Gone(Object { version: new, pod, .. })) => {
                    *version = new;
                    pod.into_iter().for_each(|pod| outlet.send(PodUpdate::Gone(pod.folder)));
                }
                Ok(Event::Bookmark(new)) => *version = new,
                Ok(Event::Failed(status)) => failed = Some(Problem::of_status(&status)),
                Err(_) => unread += 1,
            };
            let goes_on = answer.next(&mut each).await;
            outlet.note_passed_over(answer.take_too_large(), unread);
            outlet.listener.notify.notify_one();
            match (failed, goes_on) {
                (Some(problem), _) => return Err(problem),
                (None, Ok(true)) => {}
                (None, Ok(false)) => return Ok(()),
                (None, Err(problem)) => {
                    tracing::debug!("the watch of this node's pods broke off: the Kubernetes API {problem}");
                    return Ok(());
                }
            }
        }
    }

    fn note_listed(&mut self, pods: usize) {
        self.wait = WAIT_MIN;
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

impl Outlet {
    fn send(&self, update: PodUpdate) {
        // It fails only when the reader side has ended, and the program ends with it.
        let _ = self.listener.updates.send(update);
    }

    fn send_known(&mut self, Object { pod, left_out, .. }: Object) {
        let Some(pod) = pod else { return };
        if left_out > 0
            && let Some(more) = self.left_out.permit()
        {
            tracing::warn!(
                pod = pod.folder,
                left_out,
                more,
                "labels and annotations of this pod that rules read take more than {} KiB; the others are not used",
                BYTES_MAX >> 10
            );
        }
        self.send(PodUpdate::Known(pod));
    }

    /// Reports objects of which nothing is known now.
    fn note_passed_over(&mut self, too_large: usize, unread: usize) {
        if too_large + unread > 0
            && let Some(more) = self.left_out.permit()
        {
            tracing::warn!(
                too_large,
                unread,
                more,
                "the Kubernetes API gave pods that are larger than {} MiB or cannot be read; their lines lack what only the API knows",
                OBJECT_BYTES_MAX >> 20
            );
        }
    }
}
