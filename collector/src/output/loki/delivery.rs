//! One batch, until Loki has it.

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::sync::Notify;
use tracing::{error, warn};

use super::{
    Proxies,
    answer::{Answer, Obstacle, Pace, Verdict, first_line},
    backoff::Backoff,
    body::{Body, BodyMakers},
    client::Client,
    outage::Outage,
    refusal::Refusal,
    size::{self, RequestSize},
};
use crate::{
    batch::{Batch, EntryRange},
    config, memory,
    status::{Health, Metrics, PushStatus, Reason, Throttle},
};

/// One of the lines that Loki refuses is said this often.
const SAY_REFUSED_EVERY: Duration = Duration::from_secs(30);
/// After so many answers "too much" to the same request it is sent in parts: one that holds more than Loki takes at once
/// (`ingestion_burst_size_mb`, `per_stream_rate_limit_burst`) would be refused for ever.
const SPLIT_AFTER_SLOWDOWNS: u32 = 5;
/// A smaller request, in encoded bytes, is not split for that: many small ones are no help against a limit.
const SPLIT_BYTES_MIN: usize = 32 << 10;
/// How often files are looked at while only they, or somebody's work elsewhere, can help.
const LOOK_AT_FILES_EVERY: Duration = Duration::from_secs(1);

/// What all deliveries share.
pub(super) struct Delivery {
    client: RefCell<Client>,
    backoff: config::Backoff,
    bodies: BodyMakers,
    outage: RefCell<Outage>,
    /// Wakes those who wait to try again, when one got through after an outage.
    recovered: Notify,
    size: RefCell<RequestSize>,
    refused_throttle: RefCell<Throttle>,
    too_large_throttle: RefCell<Throttle>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

/// How a part of a batch ended.
enum Outcome {
    Accepted,
    Refused(Refusal),
    TooLarge,
    /// Refused as too much again and again.
    TooMuchAtOnce,
    Undecodable(String),
}

impl Delivery {
    pub(super) fn new(
        config: &config::Loki,
        proxies: &Proxies,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
    ) -> Result<Self> {
        Ok(Self {
            client: RefCell::new(Client::new(config, proxies)?),
            backoff: config.backoff.clone(),
            bodies: BodyMakers::new(false),
            outage: RefCell::default(),
            recovered: Notify::new(),
            size: RefCell::default(),
            refused_throttle: RefCell::new(Throttle::new(SAY_REFUSED_EVERY)),
            too_large_throttle: RefCell::new(Throttle::new(size::REMEMBER_FOR)),
            metrics,
            health,
        })
    }

    /// Says what is worth knowing at start.
    pub(super) fn announce(&self) {
        self.client.borrow().announce();
    }

    /// Bodies are made on threads of their own from now on.
    pub(super) fn compress_on_threads(&mut self) {
        self.bodies = BodyMakers::new(true);
    }

    /// Gives back the memory that no request needs now.
    pub(super) fn release_memory(&self) {
        self.bodies.release();
        memory::give_back();
    }

    /// Sends the batch's lines, in parts where it is too large as a whole, until each is acknowledged or refused.
    pub(super) async fn deliver(&self, mut batch: Batch) -> Batch {
        self.metrics.sent_lines.inc_by(batch.entries());
        self.health.waiting(true);
        let mut lost_lines = 0;
        // The next part is the last: a part that is split leaves its second half below its first.
        let mut parts = vec![batch.whole()];
        while let Some(part) = parts.pop() {
            if part.entries() == 0 {
                continue;
            }
            if self.size.borrow().is_too_large(part.encoded_bytes(), Instant::now())
                && let Some((first, second)) = batch.split(&part)
            {
                parts.extend([second, first]);
                continue;
            }
            let (same, body) = self.bodies.make(batch, &part).await;
            batch = same;
            let outcome = match body {
                Some(body) => self.send(body, &part).await,
                None => Outcome::TooLarge,
            };
            match outcome {
                Outcome::Accepted => {
                    self.health.acknowledged();
                    self.size.borrow_mut().accepted(part.encoded_bytes());
                }
                Outcome::Refused(refusal) => {
                    lost_lines += refusal.entries();
                    self.count_refused(&refusal);
                }
                Outcome::TooLarge => match batch.split(&part) {
                    Some((first, second)) => {
                        self.note_too_large(&part);
                        parts.extend([second, first]);
                    }
                    None => {
                        lost_lines += part.entries();
                        self.drop_too_large(&part);
                    }
                },
                Outcome::TooMuchAtOnce => match batch.split(&part) {
                    Some((first, second)) => parts.extend([second, first]),
                    None => parts.push(part),
                },
                Outcome::Undecodable(text) => {
                    lost_lines += part.entries();
                    self.drop_undecodable(&part, &text);
                }
            }
        }
        self.count_acknowledged(&batch, lost_lines);
        self.health.waiting(false);
        batch
    }

    /// Sends one part, again and again, until its fate is decided.
    async fn send(&self, body: Body, part: &EntryRange) -> Outcome {
        let mut backoff = Backoff::new(&self.backoff);
        let mut slowdowns = 0;
        let outcome = loop {
            let obstacle = match self.attempt(&body).await.map(|answer| answer.verdict(part.entries())) {
                Ok(Verdict::Accepted) => break Outcome::Accepted,
                Ok(Verdict::Refused(refusal)) => break Outcome::Refused(refusal),
                Ok(Verdict::TooLarge) => break Outcome::TooLarge,
                Ok(Verdict::Undecodable(text)) => break Outcome::Undecodable(text),
                Ok(Verdict::Again(obstacle)) | Err(obstacle) => obstacle,
            };
            self.outage.borrow_mut().note(self.client.borrow().url(), &obstacle);
            slowdowns += u32::from(obstacle.pace == Pace::Slower);
            self.wait(&obstacle, &mut backoff).await;
            if slowdowns >= SPLIT_AFTER_SLOWDOWNS && part.entries() > 1 && part.encoded_bytes() >= SPLIT_BYTES_MIN {
                self.bodies.recycle(body);
                return Outcome::TooMuchAtOnce;
            }
        };
        if let Some(ended) = self.outage.borrow_mut().end() {
            ended.say(self.client.borrow().url());
            // After a hiccup, those who wait for one broken part of Loki would be woken by every success of the others.
            if ended.duration > self.backoff.min.0 * 4 {
                self.recovered.notify_waiters();
            }
        }
        self.bodies.recycle(body);
        outcome
    }

    async fn attempt(&self, body: &Body) -> Result<Answer, Obstacle> {
        let exchange = {
            let mut client = self.client.borrow_mut();
            client.refresh();
            client.push(body.bytes())
        };
        self.metrics.sent_bytes.inc_by(body.len() as u64);
        let started = Instant::now();
        let result = exchange.await;
        self.metrics.push_duration_seconds.observe(started.elapsed().as_secs_f64());
        let status = match &result {
            Ok(answer) => {
                match answer.status.as_u16() {
                    refused @ (401 | 403 | 404) => self.health.push_refused(refused),
                    _ => self.health.push_not_refused(),
                }
                answer.status.as_str().to_owned()
            }
            Err(_) => "error".to_owned(),
        };
        self.metrics.push_requests.get_or_create(&PushStatus { status }).inc();
        result
    }

    async fn wait(&self, obstacle: &Obstacle, backoff: &mut Backoff) {
        match obstacle.pace {
            // Another's success does not mean that Loki wants more.
            Pace::Slower => tokio::time::sleep(backoff.next(obstacle.retry_after)).await,
            Pace::Soon => {
                let wait = tokio::time::sleep(backoff.next(obstacle.retry_after));
                tokio::select! {
                    () = wait => {}
                    () = self.recovered.notified() => {}
                }
            }
            Pace::Mend => {
                let wait = tokio::time::sleep(backoff.next_slow(obstacle.retry_after));
                tokio::select! {
                    () = wait => {}
                    () = self.recovered.notified() => {}
                    () = self.files_changed() => {}
                }
            }
        }
    }

    async fn files_changed(&self) {
        loop {
            tokio::time::sleep(LOOK_AT_FILES_EVERY).await;
            if self.client.borrow_mut().refresh() {
                // Whoever else waits wants to know too.
                self.recovered.notify_waiters();
                return;
            }
        }
    }

    fn note_too_large(&self, part: &EntryRange) {
        let bytes = part.encoded_bytes();
        self.size.borrow_mut().refused(bytes, Instant::now());
        if self.too_large_throttle.borrow_mut().permit().is_some() {
            warn!(
                "a push request of {bytes} bytes (before compression) is too large for Loki or for a proxy before it; it \
                 is sent in parts. To avoid the detour, set loki.batch.bytes lower or the receiver's limit higher"
            );
        }
    }

    fn drop_too_large(&self, part: &EntryRange) {
        self.count_dropped("too_large", part.entries());
        self.say_refused(&format!("a single line of {} bytes is too large for Loki", part.encoded_bytes()));
    }

    fn drop_undecodable(&self, part: &EntryRange, text: &str) {
        self.count_dropped("undecodable", part.entries());
        error!(
            "Loki cannot decode a push request ({}); {} lines are dropped. This is a bug of Pilcrow or of something on \
             the way to Loki: please report it",
            first_line(text),
            part.entries()
        );
    }

    fn count_refused(&self, refusal: &Refusal) {
        for (reason, lines) in &refusal.counts {
            self.count_dropped(reason, *lines);
        }
        let reasons: Vec<_> = refusal.counts.iter().map(|(reason, lines)| format!("{reason}: {lines}")).collect();
        self.say_refused(&format!(
            "Loki refuses lines for good ({}): {}",
            reasons.join(", "),
            first_line(&refusal.example)
        ));
    }

    fn say_refused(&self, what: &str) {
        let Some(unsaid) = self.refused_throttle.borrow_mut().permit() else { return };
        let since = if unsaid == 0 { String::new() } else { format!("; {unsaid} more such answers went unsaid") };
        warn!("{what}. pilcrow_dropped_lines_total counts them{since}");
    }

    fn count_dropped(&self, reason: &'static str, lines: u64) {
        self.metrics.dropped_lines.get_or_create(&Reason { reason }).inc_by(lines);
    }

    fn count_acknowledged(&self, batch: &Batch, lost_lines: u64) {
        let lines = batch.entries().saturating_sub(lost_lines);
        self.metrics.acknowledged_lines.inc_by(lines);
        // Loki does not say how long the lines were that it refused: they count as average ones.
        let bytes = match lost_lines {
            0 => batch.text_bytes(),
            _ => (u128::from(batch.text_bytes()) * u128::from(lines) / u128::from(batch.entries().max(1))) as u64,
        };
        self.metrics.acknowledged_bytes.inc_by(bytes);
    }
}
