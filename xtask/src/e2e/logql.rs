//! Loki's query API, as much of it as a comparison needs.
//!
//! In: a base URL, a tenant and LogQL. Out: counts, label sets and entries. Source: Loki's HTTP API reference
//! (query, query_range, series). It must not know what the answers ought to be.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Deserialize, de::IgnoredAny};

const TIMEOUT: Duration = Duration::from_secs(120);

/// Loki's own labels, left out of all answers here: it splits a stream that comes too fast, unless `shard_streams` is off, and
/// names a service, unless `discover_service_name` is empty.
const ADDED_LABELS: [&str; 2] = ["__stream_shard__", "service_name"];

/// A stream's labels.
pub type Labels = BTreeMap<String, String>;

/// Nanoseconds since 1970, both ends included.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// First.
    pub start_ns: i64,
    /// Last.
    pub end_ns: i64,
}

/// One line as Loki has it.
pub struct Entry<'a> {
    /// Nanoseconds since 1970.
    pub timestamp_ns: i64,
    /// The text.
    pub text: &'a str,
    /// Its structured metadata.
    pub metadata: &'a Labels,
}

/// A client for one tenant of one Loki; its calls block.
pub struct Client {
    base: String,
    tenant: String,
    page: usize,
    http: HttpClient<HttpConnector, Full<Bytes>>,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// `tenant` goes into X-Scope-OrgID; empty: not sent. `page` is the most entries asked for at once.
    pub fn new(base: &str, tenant: &str, page: usize) -> anyhow::Result<Self> {
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            tenant: tenant.to_owned(),
            page,
            http: HttpClient::builder(TokioExecutor::new()).build_http(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        })
    }

    /// How many lines a selector's streams have, by LogQL's count_over_time.
    pub fn count(&self, selector: &str, range: Range) -> anyhow::Result<u64> {
        // The range of count_over_time is open at its old end, so it starts a second earlier.
        let seconds = (range.end_ns - range.start_ns) / 1_000_000_000 + 2;
        let end_ns = range.end_ns + 1_000_000_000;
        let query = format!("sum(count_over_time({selector}[{seconds}s]))");
        #[derive(Deserialize)]
        struct Sample {
            value: (f64, String),
        }
        let samples: Vec<Sample> =
            self.query("/loki/api/v1/query", &[("query", &query), ("time", &end_ns.to_string())])?.result;
        samples.first().map_or(Ok(0), |sample| sample.value.1.parse().context("count_over_time gave no number"))
    }

    /// The label sets of a selector's streams, once for each shard.
    pub fn series(&self, selector: &str, range: Range) -> anyhow::Result<Vec<Labels>> {
        let (start, end) = (range.start_ns.to_string(), (range.end_ns + 1).to_string());
        let body =
            self.get(&path("/loki/api/v1/series", &[("match[]", selector), ("start", &start), ("end", &end)]))?;
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            data: Vec<Labels>,
        }
        let mut series = serde_json::from_slice::<Answer>(&body)?.data;
        series.iter_mut().for_each(remove_added);
        Ok(series)
    }

    /// Hands over all entries of the one stream that the selector chooses, the oldest first.
    pub fn each_entry(&self, selector: &str, range: Range, mut take: impl FnMut(Entry<'_>)) -> anyhow::Result<()> {
        let (end, limit) = ((range.end_ns + 1).to_string(), self.page.to_string());
        let mut start_ns = range.start_ns;
        loop {
            let start = start_ns.to_string();
            let parameters =
                [("query", selector), ("start", &*start), ("end", &*end), ("limit", &*limit), ("direction", "forward")];
            let mut streams: Vec<Stream> = self.query("/loki/api/v1/query_range", &parameters)?.result;
            streams.iter_mut().for_each(|stream| remove_added(&mut stream.stream));
            // The shards of one stream.
            if streams.windows(2).any(|pair| pair[0].stream != pair[1].stream) {
                bail!("{selector} chooses several streams: {:?} and others", streams[0].stream);
            }
            let mut entries = Vec::with_capacity(self.page);
            for value in streams.iter().flat_map(|stream| &stream.values) {
                entries.push(Entry {
                    timestamp_ns: value.0.parse().context("a timestamp is no number")?,
                    text: &value.1,
                    metadata: &value.2.structured_metadata,
                });
            }
            entries.sort_by_key(|entry| entry.timestamp_ns); // stable: lines of one nanosecond stay as they came
            // A full page may end between two entries of one timestamp: those come again with the next page.
            let last_ns = entries.last().map_or(start_ns, |entry| entry.timestamp_ns);
            let is_last_page = entries.len() < self.page;
            if !is_last_page && last_ns == start_ns {
                bail!("{selector} has a page full of entries at {last_ns}");
            }
            entries.into_iter().filter(|entry| is_last_page || entry.timestamp_ns < last_ns).for_each(&mut take);
            if is_last_page {
                return Ok(());
            }
            start_ns = last_ns;
        }
    }

    /// How many series or streams a query gives.
    pub fn results(&self, query: &str, range: Range) -> anyhow::Result<usize> {
        let (start, end) = (range.start_ns.to_string(), (range.end_ns + 1).to_string());
        let parameters = [("query", query), ("start", &*start), ("end", &*end), ("step", "300")];
        let answer: Vec<IgnoredAny> = self.query("/loki/api/v1/query_range", &parameters)?.result;
        Ok(answer.len())
    }

    fn query<T: for<'de> Deserialize<'de>>(
        &self,
        endpoint: &str,
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<Data<T>> {
        let body = self.get(&path(endpoint, parameters))?;
        #[derive(Deserialize)]
        struct Answer<T> {
            data: Data<T>,
        }
        let answer: Answer<T> = serde_json::from_slice(&body).with_context(|| format!("{endpoint}: unknown answer"))?;
        Ok(answer.data)
    }

    /// The body of the answer to a GET; any status but 200 is an error.
    pub fn get(&self, path: &str) -> anyhow::Result<Bytes> {
        let mut request = Request::get(format!("{}{path}", self.base))
            // Without it Loki mixes the structured metadata into the labels.
            .header("X-Loki-Response-Encoding-Flags", "categorize-labels");
        if !self.tenant.is_empty() {
            request = request.header("X-Scope-OrgID", &self.tenant);
        }
        let request = request.body(Full::default())?;
        let answer = async {
            let response = self.http.request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            if status != 200 {
                bail!("Loki answered {status} to {path}: {}", String::from_utf8_lossy(&body).trim());
            }
            Ok(body)
        };
        self.runtime.block_on(async { tokio::time::timeout(TIMEOUT, answer).await })?
    }
}

fn remove_added(labels: &mut Labels) {
    ADDED_LABELS.iter().for_each(|name| drop(labels.remove(*name)));
}

#[derive(Deserialize)]
struct Data<T> {
    result: T,
}

#[derive(Deserialize)]
struct Stream {
    stream: Labels,
    values: Vec<Value>,
}

/// Timestamp as decimal digits, text, and the structured metadata, which the categorizing header puts apart.
type Value = (String, String, Categories);

#[derive(Deserialize)]
struct Categories {
    #[serde(default, rename = "structuredMetadata")]
    structured_metadata: Labels,
}

fn path(endpoint: &str, parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    format!("{endpoint}?{}", pairs.join("&"))
}

/// Percent-encoding of everything but RFC 3986's unreserved characters.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_survives_the_url() {
        assert_eq!(path("/q", &[("match[]", "{a=\"b c\"}")]), "/q?match%5B%5D=%7Ba%3D%22b%20c%22%7D");
    }
}
