//! Is Loki there, and would it take lines? For `pilcrow doctor`, and to find the end of an outage.

use std::time::SystemTime;

use anyhow::{Result, bail};

use super::{
    Proxies,
    answer::{Answer, Verdict, first_line},
    body::BodyMaker,
    client::Client,
    failure,
    published::PublishedLimits,
};
use crate::config;

/// Loki answered as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The push URL, without credentials.
    pub url: String,
    /// The HTTP status of its answer.
    pub status: u16,
    /// How many seconds this machine's clock is ahead of Loki's, to a second; `None`: it does not tell the time.
    pub clock_ahead_s: Option<i64>,
    /// What it tells of its limits.
    pub limits: PublishedLimits,
}

/// Sends a push request without lines: it takes the same path as lines (name, TLS, proxy, credentials, tenant, path) and leaves
/// nothing in Loki, which answers 422 (Loki 3) or 2xx.
///
/// # Errors
/// What is wrong, and what to do about it.
pub async fn probe(config: &config::Loki) -> Result<Reached> {
    probe_through(config, &Proxies::from_env()).await
}

/// As [`probe`], with other proxies than the environment's.
///
/// # Errors
/// As [`probe`].
pub async fn probe_through(config: &config::Loki, proxies: &Proxies) -> Result<Reached> {
    let client = Client::new(config, proxies)?;
    let url = client.url().to_string();
    let Some(body) = BodyMaker::new(config.compression).make_empty() else {
        bail!("an empty request cannot be compressed")
    };
    let obstacle = match client.push(&None, body.bytes()).await {
        Ok(answer) if takes_lines(&answer) => {
            let (status, clock_ahead_s) =
                (answer.status.as_u16(), answer.date.map(|date| seconds_between(date, SystemTime::now())));
            return Ok(Reached { url, status, clock_ahead_s, limits: limits(&client).await });
        }
        Ok(answer) => match answer.verdict(0) {
            Verdict::Again(obstacle) => obstacle,
            _ => bail!("{url}: Loki answers {} to an empty push: {}", answer.status, first_line(&answer.text)),
        },
        Err(obstacle) => obstacle,
    };
    bail!("{url}: {}", failure::sentence(&obstacle))
}

async fn limits(client: &Client) -> PublishedLimits {
    let mut limits = PublishedLimits::default();
    let good = |answer: Option<Answer>| answer.filter(|answer| answer.status.is_success());
    let (config, drilldown) = tokio::join!(client.loki_config(), client.published_limits());
    good(config).inspect(|answer| limits.add_config(&answer.text));
    good(drilldown).inspect(|answer| limits.add_drilldown(&answer.text));
    limits
}

/// From `then` to `now`; negative where `then` is later.
fn seconds_between(then: SystemTime, now: SystemTime) -> i64 {
    let seconds = |span: std::time::Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    now.duration_since(then).map_or_else(|earlier| -seconds(earlier.duration()), seconds)
}

/// Whether this is what Loki answers to a push request without lines.
pub(super) fn takes_lines(answer: &Answer) -> bool {
    // "error at least one valid stream is required for ingestion" (pkg/validation/validate.go)
    answer.verdict(0) == Verdict::Accepted
        || answer.status.is_client_error() && answer.text.contains("at least one valid stream")
}
