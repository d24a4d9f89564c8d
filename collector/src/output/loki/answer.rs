//! What an answer of Loki means for the lines that were sent.
//!
//! The texts are those of Loki's pkg/validation/validate.go, pkg/ingester/stream.go, pkg/distributor/{distributor,http}.go
//! and pkg/loghttp/push/push.go; Loki says most things in text only.

use std::{borrow::Cow, time::Duration};

use hyper::StatusCode;

use super::refusal::{self, Refusal};

/// What is to be done with the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Loki has them all.
    Accepted,
    /// Loki has the good ones and never takes the others.
    Refused(Refusal),
    /// The request is too large for Loki or for something on the way.
    TooLarge,
    /// Loki cannot read the request: our mistake, which a repetition does not mend. With Loki's words.
    Undecodable(String),
    /// They must be sent again.
    Again(Obstacle),
}

/// Why lines must be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// What it is, the same for every request that meets it.
    pub(super) summary: Cow<'static, str>,
    /// The other side's own words, which may differ from request to request.
    pub(super) detail: String,
    /// What the user can do, where there is something.
    pub(super) mend: Option<String>,
    /// How to go on.
    pub(super) pace: Pace,
    /// The answer's `Retry-After`.
    pub(super) retry_after: Option<Duration>,
}

/// How to repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// It passes by itself: exponential backoff, cut short when another request gets through.
    Soon,
    /// Loki asks to go slower: exponential backoff.
    Slower,
    /// Until somebody mends it, nothing changes.
    Mend,
}

/// An answer, read.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// `Retry-After`, if there is one.
    pub(super) retry_after: Option<Duration>,
    /// `Location`, if there is one.
    pub(super) location: Option<String>,
    /// The body is HTML, which Loki's push API never writes.
    pub(super) is_html: bool,
    /// The body's first kilobytes.
    pub(super) text: String,
}

/// Loki, and the gRPC between its parts, on requests that are too large; the status may be 4xx or 5xx.
const TOO_LARGE: [&str; 3] = ["larger than max", "request body too large", "entity too large"];

/// A server that expects TLS and was spoken to in plain text (Go's net/http, nginx).
const PLAIN_TEXT_TO_TLS: [&str; 2] = ["http request to an https server", "http request was sent to https port"];

/// Problems with the tenant that some versions answer with 400.
const TENANT: [&str; 2] = ["no org id", "tenant id"];

/// Loki could not take the request apart. These begin Loki's words or those of the snappy, protobuf and MIME readers.
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

impl Answer {
    /// What to do with the `entries` lines that were sent.
    pub(super) fn verdict(&self, entries: u64) -> Verdict {
        let text = self.text.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match self.status.as_u16() {
            // Loki's answer while ingestion is blocked for the tenant (limits_config.block_ingestion_status_code).
            _ if text.contains("ingestion blocked") => {
                Verdict::Refused(Refusal::of_all(refusal::BLOCKED, entries, &self.text))
            }
            200..300 => Verdict::Accepted,
            413 => Verdict::TooLarge,
            400.. if says(&TOO_LARGE) => Verdict::TooLarge,
            400 if says(&PLAIN_TEXT_TO_TLS) => {
                self.again(Pace::Mend, Some("this port speaks TLS: write https:// in loki.url".into()))
            }
            400 if says(&TENANT) => self.again(Pace::Mend, Some("check loki.tenant".into())),
            400 if self.is_html => self.again(
                Pace::Mend,
                Some("this is not Loki but something in front of it: check loki.url and what it leads to".into()),
            ),
            400 if says(&UNDECODABLE) => Verdict::Undecodable(self.text.clone()),
            400 => Verdict::Refused(Refusal::read(&self.text, entries)),
            429 => self.again(Pace::Slower, None),
            408 | 425 | 500.. => self.again(Pace::Soon, None),
            300..400 => {
                let to = self.location.as_deref().unwrap_or("another address");
                self.again(Pace::Mend, Some(format!("set loki.url to where it redirects to ({to})")))
            }
            401 if says(&TENANT) => self.again(Pace::Mend, Some("this Loki has tenants: set loki.tenant".into())),
            401 => self.again(
                Pace::Mend,
                Some("check loki.basic_auth, loki.bearer_token_file or the credentials that the proxy wants".into()),
            ),
            403 => self.again(
                Pace::Mend,
                Some("check that the credentials may write logs, and loki.tenant; see also the proxy's rules".into()),
            ),
            404 | 405 => self.again(
                Pace::Mend,
                Some(
                    "nothing takes logs at this path: check loki.url (the base, or the full /loki/api/v1/push)".into(),
                ),
            ),
            407 => self.again(Pace::Mend, Some("the proxy wants credentials: put them into HTTPS_PROXY".into())),
            _ => self.again(Pace::Mend, Some("check loki.url and what stands between here and Loki".into())),
        }
    }

    fn again(&self, pace: Pace, mend: Option<String>) -> Verdict {
        Verdict::Again(Obstacle {
            summary: format!("Loki answers {}", self.status).into(),
            detail: first_line(&self.text),
            mend,
            pace,
            retry_after: self.retry_after,
        })
    }
}

/// As much of a text from elsewhere as belongs into one log line.
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
        Answer { status, retry_after: None, location: None, is_html: false, text: text.into() }.verdict(10)
    }

    fn obstacle(status: u16, text: &str) -> Obstacle {
        match verdict(status, text) {
            Verdict::Again(obstacle) => obstacle,
            other => panic!("{status} {text}: {other:?}"),
        }
    }

    #[test]
    fn success_is_any_2xx() {
        assert_eq!(verdict(204, ""), Verdict::Accepted);
        assert_eq!(verdict(200, "ok"), Verdict::Accepted);
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
    fn what_somebody_must_mend_names_the_key_to_look_at() {
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
            assert_eq!(obstacle.pace, Pace::Mend);
            assert!(obstacle.mend.as_ref().unwrap().contains(key), "{status} {text}: {obstacle:?}");
        }
    }

    #[test]
    fn an_html_400_is_no_word_of_lokis_and_drops_nothing() {
        let text = "<html><head><title>400 Bad Request</title>";
        let answer = Answer {
            status: StatusCode::BAD_REQUEST,
            retry_after: None,
            location: None,
            is_html: true,
            text: text.into(),
        };
        assert!(matches!(answer.verdict(1), Verdict::Again(Obstacle { pace: Pace::Mend, .. })));
    }

    #[test]
    fn a_request_that_loki_cannot_read_is_our_mistake() {
        for text in ["snappy: corrupt input", "proto: wrong wireType = 2 for field Seconds", "unexpected EOF\n"] {
            assert_eq!(verdict(400, text), Verdict::Undecodable(text.into()));
        }
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(first_line("  one\ntwo"), "one");
        let cut = first_line(&"ü".repeat(1000));
        assert_eq!(cut.chars().count(), 301);
    }
}
