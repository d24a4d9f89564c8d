//! Is Loki there, and would it take lines? For `pilcrow doctor`, and to find the end of an outage.

use anyhow::{Result, bail};

use super::{
    Proxies,
    answer::{Answer, Verdict, first_line},
    body::BodyMaker,
    client::Client,
    failure,
};
use crate::config;

/// Loki answered as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The push URL, without credentials.
    pub url: String,
    /// The HTTP status of its answer.
    pub status: u16,
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
        Ok(answer) if takes_lines(&answer) => return Ok(Reached { url, status: answer.status.as_u16() }),
        Ok(answer) => match answer.verdict(0) {
            Verdict::Again(obstacle) => obstacle,
            _ => bail!("{url}: Loki answers {} to an empty push: {}", answer.status, first_line(&answer.text)),
        },
        Err(obstacle) => obstacle,
    };
    bail!("{url}: {}", failure::sentence(&obstacle))
}

/// Whether this is what Loki answers to a push request without lines.
pub(super) fn takes_lines(answer: &Answer) -> bool {
    // "error at least one valid stream is required for ingestion" (pkg/validation/validate.go)
    answer.verdict(0) == Verdict::Accepted
        || answer.status.is_client_error() && answer.text.contains("at least one valid stream")
}
