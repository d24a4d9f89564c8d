//! Which streams Loki has: `GET /loki/api/v1/series`, for `pilcrow migrate --prove --loki`.
//!
//! In: Loki's address and credentials, as for pushes, and selectors. Out: the label sets of the streams that they select. Asks
//! for as many at once as fit into an address that every proxy takes. Source: Loki's HTTP API reference, series.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{
    Proxies,
    answer::{Answer, first_line},
    client::Client,
    failure,
};
use crate::{config, model::TenantName};

/// A stream's labels.
pub type StreamLabels = BTreeMap<String, String>;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesQuery {
    /// `None`: that of `loki.tenant`.
    pub tenant: TenantName,
    /// In LogQL, each with its braces; a stream that one of them selects is meant.
    pub selectors: Vec<String>,
    /// Nanoseconds since 1970.
    pub start_ns: i64,
    pub end_ns: i64,
}

/// Of the selectors in one address; proxies refuse addresses of more than 8 KiB.
const SELECTORS_MAX_BYTES: usize = 4 << 10;
/// Of an answer.
const ANSWER_MAX_BYTES: usize = 32 << 20;

/// Asks Loki; a stream may be named more than once.
///
/// # Errors
/// The configuration cannot be used, Loki cannot be reached, or it does not answer with streams.
pub async fn series(config: &config::Loki, query: &SeriesQuery) -> Result<Vec<StreamLabels>> {
    let client = Client::new(config, &Proxies::from_env())?;
    let mut streams = Vec::new();
    for parameters in parameters(query) {
        let Some(url) = client.beside_push(&format!("series?{parameters}")) else {
            bail!("{} is not Loki's own push address: its address for queries is not known", client.url());
        };
        let answer = match client.ask(url, &query.tenant, ANSWER_MAX_BYTES).await {
            Ok(answer) => answer,
            Err(obstacle) => bail!("{}: {}", client.url(), failure::sentence(&obstacle)),
        };
        streams.extend(read(&answer).with_context(|| format!("{}, asked for its streams", client.url()))?);
    }
    Ok(streams)
}

/// The query strings that ask for all selectors.
fn parameters(query: &SeriesQuery) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut open = String::new();
    for selector in &query.selectors {
        let parameter = format!("match%5B%5D={}", escaped(selector));
        if !open.is_empty() && open.len() + parameter.len() > SELECTORS_MAX_BYTES {
            all.push(std::mem::take(&mut open));
        }
        open.push_str(&parameter);
        open.push('&');
    }
    all.extend(Some(open).filter(|open| !open.is_empty()));
    all.iter().map(|selectors| format!("{selectors}start={}&end={}", query.start_ns, query.end_ns)).collect()
}

/// As a part of an address (RFC 3986, 2.3).
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[derive(Deserialize)]
struct Series {
    status: String,
    #[serde(default)]
    data: Option<Vec<StreamLabels>>,
}

fn read(answer: &Answer) -> Result<Vec<StreamLabels>> {
    if !answer.status.is_success() {
        bail!("answers {}: {}", answer.status, first_line(&answer.text));
    }
    if answer.text.len() >= ANSWER_MAX_BYTES {
        bail!("answers with more than {} MiB", ANSWER_MAX_BYTES >> 20);
    }
    let series: Series = serde_json::from_str(&answer.text).context("does not answer as Loki does")?;
    if series.status != "success" {
        bail!("answers with the status {:?}", series.status);
    }
    Ok(series.data.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, text: &str) -> Answer {
        Answer {
            date: None,
            status: hyper::StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            location: None,
            content_type: String::new(),
            text: text.into(),
        }
    }

    #[test]
    fn all_selectors_are_asked_for_in_addresses_of_bounded_length() {
        let selectors: Vec<String> = (0..200).map(|n| format!("{{namespace=\"a b\", pod=\"web-{n}\"}}")).collect();
        let query = SeriesQuery { selectors, start_ns: 1, end_ns: 2, ..SeriesQuery::default() };
        let all = parameters(&query);
        assert!(all.len() > 1 && all.iter().all(|one| one.len() < SELECTORS_MAX_BYTES + 100), "{}", all.len());
        assert_eq!(all.iter().map(|one| one.matches("match%5B%5D=").count()).sum::<usize>(), 200);
        assert!(all[0].starts_with("match%5B%5D=%7Bnamespace%3D%22a%20b%22%2C%20pod%3D%22web-0%22%7D&"), "{}", all[0]);
        assert!(all.iter().all(|one| one.ends_with("&start=1&end=2")));
    }

    #[test]
    fn an_answer_that_is_not_lokis_is_an_error_and_one_without_streams_is_none() {
        let text = r#"{"status":"success","data":[{"pod":"web-0","app":"web"}]}"#;
        assert_eq!(read(&answer(200, text)).unwrap()[0]["app"], "web");
        for none in [r#"{"status":"success"}"#, r#"{"status":"success","data":null}"#] {
            assert_eq!(read(&answer(200, none)).unwrap().len(), 0);
        }
        for (status, text, named) in [
            (401, "no org id", "401 Unauthorized: no org id"),
            (200, "<html>", "does not answer as Loki does"),
            (200, r#"{"status":"error"}"#, "status \"error\""),
        ] {
            let error = format!("{:#}", read(&answer(status, text)).unwrap_err());
            assert!(error.contains(named), "{error}");
        }
    }
}
