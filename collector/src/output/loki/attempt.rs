//! One exchange with Loki: a request's body is made and sent, and the answer read.
//!
//! In: what the schedule wants to send. Out: the verdict. What follows from it is decided elsewhere ([`super::outcome`]).

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    Proxies,
    answer::{Answer, Obstacle, Verdict, first_line},
    body::{Body, BodyMakers},
    client::Client,
    metrics::{LokiMetrics, PushStatus},
    parking::{Trial, told},
    probe,
    schedule::{REQUESTS_MAX, Start},
    streams::StreamId,
    workers::Workers,
};
use crate::{config, memory, model::TenantName, status::Health};

/// How often credentials and certificates are checked for changes while an outage needs a fix.
const LOOK_AT_FILES_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Attempts {
    client: RefCell<Client>,
    bodies: BodyMakers,
    metrics: Arc<LokiMetrics>,
    pub(super) health: Arc<Health>,
    /// Loki has acknowledged lines since the start.
    has_acknowledged: Cell<bool>,
}

/// What has ended.
pub(super) enum Event {
    /// A request, and how long it took.
    Request(u64, Verdict, Duration),
    /// An entry of a refused stream that was tried alone.
    Trial(StreamId, Verdict),
    /// A probe: whether Loki answered it.
    Probe(bool),
    /// Loki's answer to the question for its limits.
    Limits(Option<Answer>),
    /// Whether a file that the configuration names has changed.
    Files(bool),
}

impl Attempts {
    pub(super) fn new(
        config: &config::Loki,
        proxies: &Proxies,
        metrics: Arc<LokiMetrics>,
        health: Arc<Health>,
    ) -> Result<Self> {
        let client = RefCell::new(Client::new(config, proxies)?);
        let bodies = BodyMakers::new(Workers::where_cores_allow(REQUESTS_MAX), config.compression);
        Ok(Self { client, bodies, metrics, health, has_acknowledged: Cell::new(false) })
    }

    /// Logs where lines are sent.
    pub(super) fn announce(&self) {
        self.client.borrow().announce();
    }

    /// Where the lines go, without credentials.
    pub(super) fn url(&self) -> String {
        self.client.borrow().url().to_string()
    }

    /// Frees the memory that no request needs now.
    pub(super) fn release_memory(&self) {
        self.bodies.release();
        memory::give_back();
    }

    pub(super) async fn request(&self, start: Start) -> Event {
        let started = Instant::now();
        let Start { request, tenant, batch, part } = start;
        let entries = part.entries();
        // No reference to the batch is kept: it may end with this request.
        let verdict = match self.bodies.make(batch, part).await {
            Some(body) => self.push(&tenant, body, entries).await,
            None => Verdict::TooLarge,
        };
        Event::Request(request, verdict, started.elapsed())
    }

    pub(super) async fn trial(&self, trial: Trial) -> Event {
        let verdict = match self.bodies.make_single(&trial.key.labels, &trial.entry) {
            Some(body) => self.push(&trial.key.tenant, body, 1).await,
            None => Verdict::TooLarge,
        };
        Event::Trial(trial.stream, verdict)
    }

    /// For a tenant whose lines wait: others may have no access.
    pub(super) async fn probe(&self, tenant: TenantName) -> Event {
        let Some(body) = self.bodies.make_empty() else { return Event::Probe(false) };
        let exchange = self.client.borrow().push(&tenant, body.bytes());
        let answer = exchange.await;
        self.bodies.recycle(body);
        Event::Probe(answer.is_ok_and(|answer| probe::takes_lines(&answer)))
    }

    pub(super) async fn published_limits(&self) -> Event {
        let exchange = self.client.borrow().published_limits();
        Event::Limits(exchange.await)
    }

    pub(super) async fn files_changed(&self) -> Event {
        tokio::time::sleep(LOOK_AT_FILES_EVERY).await;
        Event::Files(self.client.borrow_mut().refresh())
    }

    async fn push(&self, tenant: &TenantName, body: Body, entries: u64) -> Verdict {
        let (started, bytes) = (Instant::now(), body.len());
        let result = self.exchange(tenant, &body).await;
        self.bodies.recycle(body);
        let answer = match result {
            Ok(answer) => answer,
            Err(obstacle) => {
                self.health.pushes().failed(&told(&obstacle), obstacle.advice.as_deref());
                return Verdict::Again(obstacle);
            }
        };
        let verdict = answer.verdict(entries);
        // Not of a single line: it may be this message in the log of Pilcrow's own pod, which would bring the next one.
        if entries > 1 {
            tracing::debug!(entries, bytes, status = answer.status.as_u16(), "a push took {:.1?}", started.elapsed());
        }
        if verdict == Verdict::Accepted && !self.has_acknowledged.replace(true) {
            tracing::info!("Loki has acknowledged the first push: {entries} lines in {:.0?}", started.elapsed());
        }
        match verdict {
            Verdict::Accepted => self.health.pushes().succeeded(answer.status.as_u16()),
            _ => {
                let advice = if let Verdict::Again(obstacle) = &verdict { obstacle.advice.as_deref() } else { None };
                self.health.pushes().failed(&format!("{}: {}", answer.status, first_line(&answer.text)), advice);
            }
        }
        // What one tenant of several may not do says little of the others.
        if tenant.is_none() || !matches!(verdict, Verdict::Again(_)) {
            self.tell_health(answer.status.as_u16(), &verdict);
        }
        verdict
    }

    async fn exchange(&self, tenant: &TenantName, body: &Body) -> Result<Answer, Obstacle> {
        let exchange = {
            let mut client = self.client.borrow_mut();
            client.refresh();
            client.push(tenant, body.bytes())
        };
        self.metrics.sent_bytes.inc_by(body.len() as u64);
        let started = Instant::now();
        let result = exchange.await;
        self.metrics.push_duration_seconds.observe(started.elapsed().as_secs_f64());
        let status = match &result {
            Ok(answer) => answer.status.as_str().to_owned(),
            Err(_) => "error".to_owned(),
        };
        self.metrics.push_requests.get_or_create(&PushStatus { status }).inc();
        result
    }

    fn tell_health(&self, status: u16, verdict: &Verdict) {
        if matches!(verdict, Verdict::Accepted | Verdict::Refused(_)) {
            self.health.acknowledged();
            self.health.pushes().acknowledged();
        }
        match (status, verdict) {
            (401 | 403 | 404, _) => self.health.push_refused(status),
            (200..300, Verdict::Again(_)) => self.health.push_refused(status),
            _ => self.health.push_not_refused(),
        }
    }
}
