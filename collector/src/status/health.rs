//! What /healthz and /ready answer: whether both threads make progress, and whether logs reach Loki.
//!
//! In: a stamp from each thread on every round of its loop, the end of the first scan, Loki's refusals. Out: the reasons for
//! not being healthy or ready, as sentences. A stamp costs a clock reading and an atomic store.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::Pushes;

/// A side whose last stamp is older than this counts as stuck. Both stamp at least every few seconds, also when there is
/// nothing to do.
pub const STUCK_AFTER: Duration = Duration::from_secs(60);

/// A thread whose loop can get stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Reads, parses and batches.
    Reader,
    /// Pushes, saves positions and serves the status.
    Sender,
}

impl Side {
    const ALL: [Self; 2] = [Self::Reader, Self::Sender];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Sender => "sender",
        }
    }
}

/// Shared by both sides and the status server.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    /// Milliseconds since `started`, by [`Side`].
    stamps: [AtomicU64; 2],
    scanned: AtomicBool,
    /// The last attempt to list the pods folder failed.
    pods_unlisted: AtomicBool,
    /// The HTTP status of a refusal that only a change of the configuration can end; 0: none.
    refused: AtomicU16,
    /// Lines wait to be acknowledged.
    waiting: AtomicBool,
    /// Since when, or the last acknowledgement since; in milliseconds since `started`.
    waiting_since: AtomicU64,
    /// `ready.after`; zero: never.
    ready_after: Duration,
    /// Another Pilcrow has the state folder, and this one waits for it.
    standing_by: AtomicBool,
    folders: Mutex<Folders>,
    pushes: Arc<Pushes>,
}

/// What is wrong with the folders of logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Folders {
    /// No problem is known.
    #[default]
    Good,
    /// Some logs cannot be collected, or there may be a reason for none: worth a line in /ready.
    Doubtful(String),
    /// No log can be collected.
    Useless(String),
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Healthy and not yet ready; the time for a first stamp runs from now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            stamps: [AtomicU64::new(0), AtomicU64::new(0)],
            scanned: AtomicBool::new(false),
            pods_unlisted: AtomicBool::new(false),
            refused: AtomicU16::new(0),
            waiting: AtomicBool::new(false),
            waiting_since: AtomicU64::new(0),
            ready_after: Duration::ZERO,
            standing_by: AtomicBool::new(false),
            folders: Mutex::default(),
            pushes: Arc::default(),
        }
    }

    /// What Loki said last.
    #[must_use]
    pub fn pushes(&self) -> &Arc<Pushes> {
        &self.pushes
    }

    /// Not ready when nothing was acknowledged for this long though lines wait; zero: that does not matter.
    #[must_use]
    pub fn with_ready_after(self, ready_after: Duration) -> Self {
        Self { ready_after, ..self }
    }

    /// Whether lines wait to be acknowledged.
    pub fn waiting(&self, waits: bool) {
        if waits && !self.waiting.swap(true, Ordering::Relaxed) {
            self.acknowledged();
        } else if !waits {
            self.waiting.store(false, Ordering::Relaxed);
        }
    }

    /// Loki has acknowledged a request with lines.
    pub fn acknowledged(&self) {
        self.waiting_since.store(self.millis(Instant::now()), Ordering::Relaxed);
    }

    /// Whether this Pilcrow waits for another one's state folder. It is then healthy, and must be ready, as a DaemonSet with
    /// maxSurge ends the old pod only when the new one is.
    pub fn stand_by(&self, stands_by: bool) {
        for side in Side::ALL {
            self.beat(side);
        }
        self.standing_by.store(stands_by, Ordering::Relaxed);
    }

    /// What was found of the folders of logs.
    pub fn folders(&self, folders: Folders) {
        *self.folders.lock().unwrap_or_else(PoisonError::into_inner) = folders;
    }

    /// What is worth knowing though Pilcrow is ready, a sentence each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.standing_by.load(Ordering::Relaxed) {
            notes.push("standing by: another Pilcrow has the state folder; this one takes over when it ends".into());
        }
        if let Folders::Doubtful(why) = &*self.folders.lock().unwrap_or_else(PoisonError::into_inner) {
            notes.push(why.clone());
        }
        notes
    }

    /// This side makes progress. To be called on every round of its loop, and at least every 20 s.
    pub fn beat(&self, side: Side) {
        self.stamp(side).store(self.millis(Instant::now()), Ordering::Relaxed);
    }

    fn stamp(&self, side: Side) -> &AtomicU64 {
        &self.stamps[side as usize]
    }

    /// The pods folder has been listed once, and every file in it is tracked.
    pub fn first_scan_done(&self) {
        self.scanned.store(true, Ordering::Relaxed);
    }

    /// Whether the pods folder could be listed at the last attempt.
    pub fn pods_listed(&self, listed: bool) {
        self.pods_unlisted.store(!listed, Ordering::Relaxed);
    }

    /// Loki refuses everything with 401, 403 or 404.
    pub fn push_refused(&self, status: u16) {
        self.refused.store(status, Ordering::Relaxed);
    }

    /// Loki has answered a push in any other way.
    pub fn push_not_refused(&self) {
        self.refused.store(0, Ordering::Relaxed);
    }

    /// Why Pilcrow is not ready, a sentence each; none: it is.
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
        self.not_ready_at(Instant::now())
    }

    fn not_ready_at(&self, now: Instant) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.standing_by.load(Ordering::Relaxed) {
            return reasons;
        }
        if let Folders::Useless(why) = &*self.folders.lock().unwrap_or_else(PoisonError::into_inner) {
            reasons.push(why.clone());
        } else if self.pods_unlisted.load(Ordering::Relaxed) {
            reasons.push(
                "paths.pods cannot be listed: it does not exist, is no folder, is not mounted, or cannot be read"
                    .into(),
            );
        } else if !self.scanned.load(Ordering::Relaxed) {
            reasons.push("the first scan of paths.pods is not done".into());
        }
        reasons.extend(self.unacknowledged_at(now));
        match self.refused.load(Ordering::Relaxed) {
            0 => {}
            200..300 => {
                reasons.push("what answers at loki.url reports success, but not as Loki does: check loki.url".into());
            }
            status => {
                let advice = self.pushes.advice().map_or(String::new(), |advice| format!(": {advice}"));
                reasons.push(format!("Loki refuses every push with {status}{advice}"));
            }
        }
        reasons
    }

    fn unacknowledged_at(&self, now: Instant) -> Option<String> {
        if self.ready_after.is_zero() || !self.waiting.load(Ordering::Relaxed) {
            return None;
        }
        let since = Duration::from_millis(self.waiting_since.load(Ordering::Relaxed));
        let age = Duration::from_millis(self.millis(now)).saturating_sub(since);
        (age >= self.ready_after).then(|| {
            format!(
                "Loki has acknowledged nothing for {} s, though lines wait (ready.after); the log says why",
                age.as_secs()
            )
        })
    }

    /// Why Pilcrow is not healthy, a sentence each; none: it is.
    #[must_use]
    pub fn not_healthy(&self) -> Vec<String> {
        if self.standing_by.load(Ordering::Relaxed) { Vec::new() } else { self.stuck_at(Instant::now()) }
    }

    fn stuck_at(&self, now: Instant) -> Vec<String> {
        let now = self.millis(now);
        let stuck = Side::ALL.into_iter().filter_map(|side| {
            let age = Duration::from_millis(now.saturating_sub(self.stamp(side).load(Ordering::Relaxed)));
            let name = side.name();
            (age > STUCK_AFTER).then(|| format!("the {name} side is stuck: no progress for {} s", age.as_secs()))
        });
        stuck.collect()
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_stuck_when_its_stamp_is_older_than_the_limit_and_is_named() {
        let health = Health::default();
        let later = health.started + STUCK_AFTER + Duration::from_secs(5);
        assert_eq!(health.stuck_at(health.started + STUCK_AFTER), [""; 0]);
        assert_eq!(
            health.stuck_at(later),
            ["the reader side is stuck: no progress for 65 s", "the sender side is stuck: no progress for 65 s"]
        );
        health.stamp(Side::Reader).store(10_000, Ordering::Relaxed);
        assert_eq!(health.stuck_at(later), ["the sender side is stuck: no progress for 65 s"]);
    }

    #[test]
    fn a_stamp_is_the_time_since_the_start() {
        let health = Health { started: Instant::now() - Duration::from_secs(1000), ..Health::default() };
        assert_eq!(health.not_healthy().len(), 2);
        health.beat(Side::Reader);
        health.beat(Side::Sender);
        assert_eq!(health.not_healthy(), [""; 0]);
    }

    #[test]
    fn ready_needs_a_pods_folder_that_was_scanned_and_a_loki_that_does_not_refuse_everything() {
        let health = Health::default();
        assert_eq!(health.not_ready(), ["the first scan of paths.pods is not done"]);
        health.first_scan_done();
        assert_eq!(health.not_ready(), [""; 0]);
        health.pods_listed(false);
        let reason = "paths.pods cannot be listed: it does not exist, is no folder, is not mounted, or cannot be read";
        assert_eq!(health.not_ready(), [reason]);
        health.pods_listed(true);
        assert_eq!(health.not_ready(), [""; 0]);
        health.push_refused(401);
        assert_eq!(health.not_ready(), ["Loki refuses every push with 401"]);
        health.pushes().failed("401 Unauthorized: no org id", Some("set loki.tenant"));
        assert_eq!(health.not_ready(), ["Loki refuses every push with 401: set loki.tenant"]);
        health.push_not_refused();
        assert_eq!(health.not_ready(), [""; 0]);
    }

    #[test]
    fn ready_ends_when_lines_wait_and_nothing_is_acknowledged_for_ready_after() {
        let health = Health::new().with_ready_after(Duration::from_secs(120));
        health.first_scan_done();
        let at = |seconds| health.started + Duration::from_secs(seconds);
        assert_eq!(health.not_ready_at(at(1000)), [""; 0], "nothing waits");
        health.waiting(true);
        health.waiting(true);
        health.waiting_since.store(1_000_000, Ordering::Relaxed);
        assert_eq!(health.not_ready_at(at(1119)), [""; 0]);
        let reason = "Loki has acknowledged nothing for 125 s, though lines wait (ready.after); the log says why";
        assert_eq!(health.not_ready_at(at(1125)), [reason]);
        health.acknowledged();
        assert_eq!(health.not_ready_at(at(100)), [""; 0]);
        health.waiting_since.store(0, Ordering::Relaxed);
        assert_eq!(health.not_ready_at(at(1125)).len(), 1);
        health.waiting(false);
        health.waiting(false);
        assert_eq!(health.not_ready_at(at(1125)), [""; 0], "nothing waits any more");
        let never = Health::new();
        never.first_scan_done();
        never.waiting(true);
        assert_eq!(never.not_ready_at(never.started + Duration::from_secs(10_000)), [""; 0]);
    }

    #[test]
    fn standing_by_is_ready_and_healthy_and_says_so() {
        let health = Health { started: Instant::now() - Duration::from_secs(1000), ..Health::default() };
        health.stand_by(true);
        assert_eq!((health.not_ready(), health.not_healthy(), health.notes().len()), (Vec::new(), Vec::new(), 1));
        health.stand_by(false);
        assert_eq!((health.not_ready().len(), health.not_healthy(), health.notes().len()), (1, Vec::new(), 0));
    }

    #[test]
    fn useless_folders_are_a_reason_and_doubtful_ones_a_note() {
        let health = Health::default();
        health.first_scan_done();
        health.folders(Folders::Useless("no".into()));
        assert_eq!((health.not_ready(), health.notes()), (vec!["no".to_owned()], Vec::new()));
        health.pods_listed(false);
        assert_eq!(health.not_ready(), ["no"], "what is known better is said alone");
        health.pods_listed(true);
        health.folders(Folders::Doubtful("hm".into()));
        assert_eq!((health.not_ready(), health.notes()), (Vec::new(), vec!["hm".to_owned()]));
    }
}
