//! What an answer of Loki means for the lines that were sent.
//!
//! The texts are those of Loki's pkg/validation/validate.go, pkg/ingester/stream.go, pkg/distributor/{distributor,http}.go
//! and pkg/loghttp/push/push.go; Loki gives most reasons in text only. What label values contain is ignored
//! ([`super::sentence`]).

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use hyper::StatusCode;

use super::{
    refusal::{self, Refusal},
    sentence::sentences,
};

/// What is to be done with the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Loki has them all.
    Accepted,
    /// Loki has stored the valid lines and will never accept the others.
    Refused(Refusal),
    /// The request is too large for Loki or for something on the way.
    TooLarge,
    /// Loki does not take one of the request's streams now; it may have stored the others.
    StreamRefused(StreamRefusal),
    /// A 400 whose text is none of Loki's reasons: the request may have been damaged on the way, or is one that Loki cannot read.
    Unknown(Unknown),
    /// They must be sent again.
    Again(Obstacle),
}

/// Why Loki does not take a stream now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamRefusal {
    pub(super) limit: StreamLimit,
    /// The first line of Loki's text.
    pub(super) text: String,
}

/// Loki's limits for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamLimit {
    /// `max_streams_per_user`, `max_global_streams_per_user`: no new stream is created.
    Streams,
    /// `per_stream_rate_limit`, in bytes a second where the text names it.
    Rate(Option<u64>),
}

impl StreamLimit {
    /// Loki's name for it.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Streams => "stream_limit",
            Self::Rate(_) => "rate_limited",
        }
    }
}

/// A 400 that Loki's texts do not explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    /// What lines are counted as that are given up for it.
    pub(super) reason: &'static str,
    /// The first line of the text.
    pub(super) text: String,
}

/// Why lines must be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// What it is, with the same text for every request that meets it.
    pub(super) summary: Cow<'static, str>,
    /// The other side's own words, which may differ from request to request.
    pub(super) detail: String,
    /// What the user can do, where there is something.
    pub(super) advice: Option<String>,
    pub(super) pace: Pace,
    pub(super) place: Place,
    /// The answer's `Retry-After`.
    pub(super) retry_after: Option<Duration>,
}

/// How to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// It passes by itself: exponential backoff, cut short when another request gets through.
    Soon,
    /// Loki asks to go slower: exponential backoff.
    Slower,
    /// Somebody has to fix something: backoff with long waits.
    Fix,
}

/// How far the request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// There was no connection, or it broke.
    Connection,
    /// No answer within `loki.timeout`.
    Timeout {
        /// The whole body had been handed to the connection.
        all_sent: bool,
    },
    /// There was an answer.
    Answer,
}

/// The parts of an answer that decide on the verdict.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// `Retry-After`, if there is one.
    pub(super) retry_after: Option<Duration>,
    /// `Location`, if there is one.
    pub(super) location: Option<String>,
    /// `Content-Type`, empty if there is none.
    pub(super) content_type: String,
    /// `Date`, if there is one: by the clock of whoever answers.
    pub(super) date: Option<SystemTime>,
    /// The body's first kilobytes.
    pub(super) text: String,
}

/// Loki, and the gRPC between its parts, on requests that are too large; the status may be 4xx or 5xx.
const TOO_LARGE: [&str; 3] = ["larger than max", "request body too large", "entity too large"];

/// A server that expects TLS and got plain text (Go's net/http, nginx).
const PLAIN_TEXT_TO_TLS: [&str; 2] = ["http request to an https server", "http request was sent to https port"];

/// Problems with the tenant that some versions answer with 400 (dskit's tenant/tenant.go).
const TENANT: [&str; 3] = ["no org id", "tenant id ", "multiple org ids"];

/// How texts begin where the request could not be decoded: Loki's, and those of the snappy, protobuf and MIME readers.
const UNDECODABLE: [&str; 8] = [
    "snappy:",
    "proto:",
    "unexpected eof",
    "wiretype",
    "couldn't parse labels",
    "couldn't parse push request",
    "mime:",
    "content-encoding",
];

/// Advice where something other than Loki answers.
const NOT_LOKI: &str = "this is not Loki but something in front of it: check loki.url and what it leads to";

impl Answer {
    /// What to do with the `entries` lines that were sent.
    pub(super) fn verdict(&self, entries: u64) -> Verdict {
        let words = sentences(&self.text).into_iter().next().map(|first| first.words).unwrap_or_default();
        let says = |all: &[&str]| all.iter().any(|some| words.contains(some));
        let begins = |all: &[&str]| all.iter().any(|some| words.starts_with(some));
        match self.status.as_u16() {
            // Loki's answer while ingestion is blocked for the tenant (limits_config.block_ingestion_status_code).
            _ if begins(&["ingestion blocked for "]) => {
                Verdict::Refused(Refusal::of_all(refusal::BLOCKED, entries, &self.text))
            }
            200..300 if self.is_lokis_success() => Verdict::Accepted,
            200..300 => self.again(Pace::Fix, Some(NOT_LOKI.into())),
            413 => Verdict::TooLarge,
            400 => self.bad_request(entries, &words),
            401.. if says(&TOO_LARGE) => Verdict::TooLarge,
            429 if begins(&["per stream rate limit exceeded"]) => {
                self.stream_refused(StreamLimit::Rate(rate_limit_in(&words)))
            }
            429 if begins(&["maximum active stream limit exceeded"]) => self.stream_refused(StreamLimit::Streams),
            429 => self.again(Pace::Slower, None),
            408 | 425 | 500.. => self.again(Pace::Soon, None),
            status => self.again(Pace::Fix, Some(self.advice(status, begins(&TENANT)))),
        }
    }

    /// Loki's push API answers with an empty body, compatible servers may answer with JSON. Any other 2xx is from a proxy, a login
    /// page or a wrong address.
    fn is_lokis_success(&self) -> bool {
        let is_good = || !self.is_html() && (self.text.trim_ascii().is_empty() || self.is_good_json());
        self.status == StatusCode::NO_CONTENT || self.status == StatusCode::OK && is_good()
    }

    /// Whether the body is an object in JSON that reports no error, as gateways do with 200 in front of it.
    fn is_good_json(&self) -> bool {
        let Ok(body) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&self.text) else {
            return false;
        };
        let has_error = |name: &str| match body.get(name) {
            Some(serde_json::Value::String(text)) => !text.is_empty(),
            Some(serde_json::Value::Array(errors)) => !errors.is_empty(),
            error => error.is_some_and(serde_json::Value::is_object),
        };
        body.get("status").is_none_or(|status| status != "error") && !has_error("error") && !has_error("errors")
    }

    fn is_html(&self) -> bool {
        self.content_type.trim_start().starts_with("text/html") || self.text.trim_start().starts_with("<")
    }

    fn bad_request(&self, entries: u64, words: &str) -> Verdict {
        if self.is_html() {
            return self.again(Pace::Fix, Some(NOT_LOKI.into()));
        }
        if let Some(refusal) = Refusal::read(&self.text, entries) {
            return Verdict::Refused(refusal);
        }
        let says = |all: &[&str]| all.iter().any(|some| words.contains(some));
        let begins = |all: &[&str]| all.iter().any(|some| words.starts_with(some));
        if says(&TOO_LARGE) {
            Verdict::TooLarge
        } else if says(&PLAIN_TEXT_TO_TLS) {
            self.again(Pace::Fix, Some("this port speaks TLS: write https:// in loki.url".into()))
        } else if begins(&TENANT) {
            self.again(Pace::Fix, Some("check loki.tenant".into()))
        } else {
            let reason = if begins(&UNDECODABLE) { "undecodable" } else { "refused" };
            Verdict::Unknown(Unknown { reason, text: first_line(&self.text) })
        }
    }

    fn advice(&self, status: u16, tenant: bool) -> String {
        match status {
            300..=399 => {
                let to = self.location.as_deref().unwrap_or("another address");
                return format!("set loki.url to where it redirects to ({to})");
            }
            401 if tenant => "this Loki has tenants: set loki.tenant",
            401 => "check loki.basic_auth, loki.bearer_token_file or the credentials that the proxy wants",
            403 => "check that the credentials may write logs, and loki.tenant; see also the proxy's rules",
            404 | 405 => "nothing takes logs at this path: check loki.url (the base, or the full /loki/api/v1/push)",
            407 => "the proxy wants credentials: put them into HTTPS_PROXY",
            _ => "check loki.url and what stands between here and Loki",
        }
        .into()
    }

    fn stream_refused(&self, limit: StreamLimit) -> Verdict {
        Verdict::StreamRefused(StreamRefusal { limit, text: first_line(&self.text) })
    }

    fn again(&self, pace: Pace, advice: Option<String>) -> Verdict {
        Verdict::Again(Obstacle {
            summary: format!("Loki answers {}", self.status).into(),
            detail: first_line(&self.text),
            advice,
            pace,
            place: Place::Answer,
            retry_after: self.retry_after,
        })
    }
}

/// `limit: 3MB/sec` in Loki's words, in bytes a second.
fn rate_limit_in(words: &str) -> Option<u64> {
    let (_, rest) = words.split_once("(limit: ")?;
    bytes_in(rest.split_once("/sec")?.0)
}

/// A size as Loki writes it: `3MB`, `1.5KB`, `100B` (pkg/util/flagext/bytesize.go counts by 1,024).
pub(super) fn bytes_in(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim().trim_end_matches('b').trim_end_matches('i') {
        "" => 1u64,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return None,
    };
    Some((number * unit as f64) as u64)
}

/// The first line of a text from elsewhere, cut to a length that fits a log line.
pub(super) fn first_line(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    let line = text.trim().lines().next().unwrap_or_default().trim_end();
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, text: &str) -> Verdict {
        let status = StatusCode::from_u16(status).unwrap();
        let (content_type, text) = (String::new(), text.into());
        Answer { status, retry_after: None, location: None, content_type, date: None, text }.verdict(10)
    }

    fn obstacle(status: u16, text: &str) -> Obstacle {
        match verdict(status, text) {
            Verdict::Again(obstacle) => obstacle,
            other => panic!("{status} {text}: {other:?}"),
        }
    }

    #[test]
    fn success_is_204_or_200_with_nothing_or_json() {
        for (status, text) in [(204, ""), (200, ""), (200, " {\"status\": \"ok\"}")] {
            assert_eq!(verdict(status, text), Verdict::Accepted);
        }
        for (status, text) in [
            (200, "<!doctype html><title>Log in</title>"),
            (200, "ok"),
            (202, ""),
            (206, "{}"),
            (200, r#"{"error": "no upstream"}"#),
            (200, r#"{"status": "error"}"#),
            (200, r#"{"status": "error", "#),
            (200, r#"{"errors": ["no upstream"]}"#),
            (200, "{{ .Login }} please log in"),
        ] {
            let obstacle = obstacle(status, text);
            assert!(obstacle.pace == Pace::Fix && obstacle.advice.unwrap().contains("not Loki"), "{status} {text}");
        }
    }

    #[test]
    fn a_streams_limits_are_told_from_the_tenants() {
        let rate = "entry with timestamp 2026-03-01 14:42:46.1 +0000 UTC ignored, reason: 'Per stream rate limit exceeded \
                    (limit: 3MB/sec) while attempting to ingest for stream '{app=\"x\"}' totaling 8238B, consider',\n\
                    user 'fake', total ignored: 3 out of 4 for stream: {app=\"x\"}";
        let Verdict::StreamRefused(refusal) = verdict(429, rate) else { panic!() };
        assert_eq!(refusal.limit, StreamLimit::Rate(Some(3 << 20)));
        let streams = "Maximum active stream limit exceeded when trying to create stream {a=\"b\"}, reduce the number";
        let Verdict::StreamRefused(refusal) = verdict(429, streams) else { panic!() };
        assert_eq!(refusal.limit, StreamLimit::Streams);
        let tenant = "ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec)";
        assert_eq!(obstacle(429, tenant).pace, Pace::Slower);
    }

    #[test]
    fn a_label_value_with_lokis_words_in_it_decides_nothing() {
        for words in ["tenant id", "request body too large", "ingestion blocked for user", "no org id", "snappy:"] {
            let text = format!("entry for stream '{{a=\"{words}\"}}' has timestamp too old: 2020-01-01T00:00:00Z");
            let Verdict::Refused(refusal) = verdict(400, &text) else { panic!("{text}") };
            assert_eq!(refusal.counts, [("greater_than_max_sample_age", 1)]);
            let text = format!("stream '{{}}' has label value too long: '{words}'");
            assert!(matches!(verdict(400, &text), Verdict::Refused(_)), "{text}");
            assert_eq!(obstacle(429, &format!("slow down {{a=\"{words}\"}}")).pace, Pace::Slower);
        }
    }

    #[test]
    fn sizes_are_read_as_loki_writes_them() {
        for (text, bytes) in
            [("3MB", 3 << 20), ("1.5kb", 1536), ("100B", 100), ("15728640", 15 << 20), ("3MiB", 3 << 20)]
        {
            assert_eq!(bytes_in(text), Some(bytes), "{text}");
        }
        assert_eq!(bytes_in("much"), None);
    }

    #[test]
    fn blocked_ingestion_counts_as_refused_even_where_the_status_says_success() {
        // Loki's default status for it is 260.
        let text = "ingestion blocked for user fake until '2026-01-01' with status code '260'";
        for status in [260, 403] {
            assert_eq!(verdict(status, text), Verdict::Refused(Refusal::of_all("blocked_ingestion", 10, text)));
        }
    }

    #[test]
    fn too_large_is_recognised_by_status_or_by_grpcs_words() {
        for (status, text) in [
            (413, "<html>Request Entity Too Large"),
            (413, "request body too large: 9 bytes, limit: 8 bytes"),
            (500, "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (5 vs. 4)"),
            (500, "rpc error: code = ResourceExhausted desc = trying to send message larger than max (5 vs. 4)"),
            (400, "received message larger than max (104857601 vs 104857600)"),
            (400, "http: request body too large"),
        ] {
            assert_eq!(verdict(status, text), Verdict::TooLarge, "{text}");
        }
    }

    #[test]
    fn what_passes_by_itself_is_sent_again_soon() {
        for status in [500, 502, 503, 504, 408] {
            assert_eq!(obstacle(status, "").pace, Pace::Soon);
        }
        let text = "Ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec)";
        assert_eq!(obstacle(429, text).pace, Pace::Slower);
    }

    #[test]
    fn what_somebody_must_fix_names_the_key_to_look_at() {
        for (status, text, key) in [
            (401, "no org id", "loki.tenant"),
            (400, "no org id", "loki.tenant"),
            (401, "Unauthorized", "loki.basic_auth"),
            (403, "", "may write"),
            (404, "404 page not found", "loki.url"),
            (405, "", "loki.url"),
            (407, "", "HTTPS_PROXY"),
            (301, "", "loki.url"),
            (418, "", "loki.url"),
            (400, "Client sent an HTTP request to an HTTPS server.", "https://"),
        ] {
            let obstacle = obstacle(status, text);
            assert_eq!(obstacle.pace, Pace::Fix);
            assert!(obstacle.advice.as_ref().unwrap().contains(key), "{status} {text}: {obstacle:?}");
        }
    }

    #[test]
    fn an_html_400_is_no_word_of_lokis_and_drops_nothing() {
        let text = "<html><head><title>400 Bad Request</title>";
        let answer = Answer {
            status: StatusCode::BAD_REQUEST,
            retry_after: None,
            location: None,
            content_type: "text/html".into(),
            date: None,
            text: text.into(),
        };
        assert!(matches!(answer.verdict(1), Verdict::Again(Obstacle { pace: Pace::Fix, .. })));
    }

    #[test]
    fn a_400_that_names_no_reason_refuses_nothing_yet() {
        for (text, reason) in [
            ("snappy: corrupt input", "undecodable"),
            ("proto: wrong wireType = 2 for field Seconds", "undecodable"),
            ("unexpected EOF\n", "undecodable"),
            ("couldn't parse push request: x", "undecodable"),
            ("the moon is full", "refused"),
            ("", "refused"),
        ] {
            assert_eq!(verdict(400, text), Verdict::Unknown(Unknown { reason, text: text.trim().into() }));
        }
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(first_line("  one\ntwo"), "one");
        let cut = first_line(&"ü".repeat(1000));
        assert_eq!(cut.chars().count(), 301);
    }
}
