//! `/api/v1/tail`: lines as they pass, as server-sent events.
//!
//! In: a request from a peer that may see logs. Out: events until the peer goes. Guarantees a bounded number of viewers with a
//! bounded buffer each, at most [`LINES_A_SECOND`] lines for all of them, and that one who takes nothing for a minute is ended. Logs are
//! secrets: without `http.tail` only peers of this machine see them, which is where `kubectl port-forward` and `exec` come from,
//! and only by an address that no foreign web page can have under its own name (DNS rebinding).

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, stream};
use http_body_util::{Either, StreamBody};
use hyper::{
    Response, StatusCode, Uri,
    body::{Bytes, Frame},
    header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    http::request::Parts as Head,
};
use regex::bytes::{Regex, RegexBuilder};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout},
};

use super::{Answer, api, text};
use crate::status::view::{Allowance, TapBuffer, TapSpec, View, unit_of};

/// Viewers at one time.
const VIEWERS_MAX: usize = 20;
/// The pace of lines: to few viewers four times a second, to many of them less often.
const PACE: Duration = Duration::from_millis(250);
const VIEWERS_AT_PACE: u32 = 4;
/// Lines that all viewers together get in a second: more than anybody can read, and a bound of what they cost.
const LINES_A_SECOND: u32 = 1000;
/// One part in this many of the reader's time is for the expressions of all viewers.
const MATCHING_PART: u32 = 500;
/// What a viewer was allowed and did not have is kept for so long: a burst is shown whole.
const ALLOWANCE_KEPT: Duration = Duration::from_secs(2);
/// A silent connection has a comment so often, which shows whether the peer is still there.
const KEEP_EVERY: Duration = Duration::from_secs(15);
/// A viewer that takes nothing for this long is ended.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(60);
/// Bytes of a regular expression, and of what it is compiled to.
const GREP_BYTES_MAX: usize = 1024;
const GREP_COMPILED_BYTES_MAX: usize = 256 << 10;

const FORBIDDEN: &str = "lines are shown only to peers on this machine, by the name localhost or an IP address: use kubectl \
                         port-forward, or `pilcrow tail` by kubectl exec. `http.tail: true` in the configuration shows them to \
                         everyone who can connect.\n";

/// The body of an answer that goes on.
pub(super) type Lines = StreamBody<Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>>;

/// Whether a connection is a viewer's, and takes what it is sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(Arc<Frames>);

#[derive(Debug, Default)]
struct Frames {
    /// Its request has come.
    asked: AtomicBool,
    /// Frames that were taken; 0: it is no viewer's.
    taken: AtomicU32,
    seen: AtomicU32,
}

impl Activity {
    /// Its request has come.
    pub(super) fn note_request(&self) {
        self.0.asked.store(true, Ordering::Relaxed);
    }

    /// Whether its request has come.
    pub(super) fn has_asked(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed)
    }

    /// Whether it is a viewer's.
    pub(super) fn is_viewers(&self) -> bool {
        self.0.taken.load(Ordering::Relaxed) > 0
    }

    /// Whether it is a viewer's that took something since the last call.
    pub(super) fn has_advanced(&self) -> bool {
        let taken = self.0.taken.load(Ordering::Relaxed);
        self.0.seen.swap(taken, Ordering::Relaxed) != taken
    }

    fn note_frame(&self) {
        self.0.taken.fetch_add(1, Ordering::Relaxed);
    }
}

/// The places for viewers.
#[derive(Clone, Debug)]
pub(super) struct Tails {
    places: Arc<Semaphore>,
    /// All viewers have lines at the same times, counted from this one: so those that look at the same have the same lines, which are
    /// encoded once, and the thread wakes once for all.
    epoch: Instant,
}

impl Default for Tails {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(VIEWERS_MAX)), epoch: Instant::now() }
    }
}

impl Tails {
    fn viewers(&self) -> u32 {
        u32::try_from(VIEWERS_MAX.saturating_sub(self.places.available_permits())).unwrap_or(u32::MAX).max(1)
    }

    /// When viewers have lines next.
    fn next_at(&self, now: Instant) -> Instant {
        let pace = pace(self.viewers());
        let rounds = now.saturating_duration_since(self.epoch).as_millis() / pace.as_millis();
        self.epoch + pace * u32::try_from(rounds + 1).unwrap_or(u32::MAX)
    }

    pub(super) async fn begin(&self, request: &Head, peer: SocketAddr, view: &View, activity: &Activity) -> Answer {
        if let Err(why) = may(request, peer, view) {
            return text(StatusCode::FORBIDDEN, why.into());
        }
        let buffer = Arc::<TapBuffer>::default();
        let mut spec = match wanted(&request.uri) {
            Ok(spec) => spec,
            Err(problem) => return text(StatusCode::BAD_REQUEST, format!("{problem}\n")),
        };
        spec.out = Arc::downgrade(&buffer);
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let problem = format!("{VIEWERS_MAX} viewers look at lines already; try again when one has gone\n");
            return text(StatusCode::SERVICE_UNAVAILABLE, problem);
        };
        let (most, now) = (allowance(self.viewers(), ALLOWANCE_KEPT), Instant::now());
        buffer.allow(most, most);
        match view.tap(spec).await {
            Ok(true) => {}
            Ok(false) => return api::no_unit(),
            Err(error) => return api::busy(error),
        }
        activity.note_frame();
        let (tails, activity) = (self.clone(), activity.clone());
        let viewer = Viewer { buffer, tails, activity, next_at: now, allowed_at: now, begun: false, _place: place };
        let mut response = Response::new(Either::Right(viewer.body()));
        for (name, value) in
            [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")]
        {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// How often each of so many viewers has lines.
fn pace(viewers: u32) -> Duration {
    PACE * viewers.div_ceil(VIEWERS_AT_PACE)
}

/// What each of so many viewers may have for this time.
fn allowance(viewers: u32, time: Duration) -> Allowance {
    let lines = u128::from(LINES_A_SECOND) * time.as_millis() / 1000 / u128::from(viewers);
    Allowance { lines: u32::try_from(lines).unwrap_or(u32::MAX), matching: time / MATCHING_PART / viewers }
}

/// Whether this peer may see lines; else why not.
pub(super) fn may(request: &Head, peer: SocketAddr, view: &View) -> Result<(), &'static str> {
    if view.tails_for_all() {
        return Ok(());
    }
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_near = peer.ip().to_canonical().is_loopback() && is_plain(host);
    if is_near { Ok(()) } else { Err(FORBIDDEN) }
}

/// Whether a Host header is localhost or an address: a page of elsewhere whose name leads here has its own name in it.
fn is_plain(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

/// What the query asks for.
fn wanted(uri: &Uri) -> Result<TapSpec, String> {
    let mut spec = TapSpec { processed: true, ..TapSpec::default() };
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value).ok_or_else(|| format!("{name}: not percent-encoded UTF-8"))?;
        if value.is_empty() {
            continue;
        }
        match name {
            "namespace" => spec.namespace = Some(value),
            "pod" => spec.pod = Some(value),
            "container" => spec.container = Some(value),
            "unit" => {
                spec.unit =
                    Some(unit_of(&value).ok_or_else(|| format!("unit: expected u and a number, found {value:?}"))?)
            }
            "mode" => {
                spec.processed = match value.as_str() {
                    "raw" => false,
                    "processed" => true,
                    _ => return Err(format!("mode: expected raw or processed, found {value:?}")),
                }
            }
            "grep" => spec.grep = Some(pattern(&value)?),
            _ => {
                return Err(format!(
                    "unknown parameter {name:?}; there are namespace, pod, container, unit, mode and grep"
                ));
            }
        }
    }
    Ok(spec)
}

fn pattern(text: &str) -> Result<Regex, String> {
    if text.len() > GREP_BYTES_MAX {
        return Err(format!("grep: longer than {GREP_BYTES_MAX} bytes"));
    }
    let built =
        RegexBuilder::new(text).size_limit(GREP_COMPILED_BYTES_MAX).dfa_size_limit(GREP_COMPILED_BYTES_MAX).build();
    built.map_err(|error| format!("grep: {error}"))
}

/// `application/x-www-form-urlencoded`; `None`: it is not valid.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?].map(|digit| char::from(digit).to_digit(16));
                let [Some(high), Some(low)] = digits else { return None };
                (high * 16 + low) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// One connection that is shown lines.
struct Viewer {
    buffer: Arc<TapBuffer>,
    tails: Tails,
    activity: Activity,
    /// No lines before this time.
    next_at: Instant,
    /// It was given its allowance up to then.
    allowed_at: Instant,
    begun: bool,
    _place: OwnedSemaphorePermit,
}

impl Viewer {
    fn body(self) -> Lines {
        let events = stream::unfold(self, |mut viewer| async move {
            let events = viewer.next().await;
            viewer.activity.note_frame();
            Some((Ok(Frame::data(events)), viewer))
        });
        StreamBody::new(Box::pin(events))
    }

    /// Gives it what it may have until the next time.
    fn allow(&mut self, now: Instant) {
        let viewers = self.tails.viewers();
        let more = allowance(viewers, now.saturating_duration_since(self.allowed_at).min(ALLOWANCE_KEPT));
        self.buffer.allow(more, allowance(viewers, ALLOWANCE_KEPT));
        (self.allowed_at, self.next_at) = (now, self.tails.next_at(now));
    }

    /// The next events, or a comment where there are none for a while.
    async fn next(&mut self) -> Bytes {
        if !std::mem::replace(&mut self.begun, true) {
            return Bytes::from_static(b": lines follow\n\n");
        }
        loop {
            sleep_until(self.next_at).await;
            let (lines, dropped) = self.buffer.take();
            if !lines.is_empty() || dropped > 0 {
                self.allow(Instant::now());
                let mut events = String::new();
                for line in lines {
                    event(&mut events, "line", line.json());
                }
                if dropped > 0 {
                    event(&mut events, "dropped", &format!("{{\"lines\":{dropped}}}"));
                }
                return events.into();
            }
            if timeout(KEEP_EVERY, self.buffer.notify.notified()).await.is_err() {
                return Bytes::from_static(b": keep\n\n");
            }
        }
    }
}

/// `json` has no line breaks outside of strings, and escapes those inside.
fn event(events: &mut String, name: &str, json: &str) {
    events.extend(["event: ", name, "\ndata: ", json, "\n\n"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_localhost_and_addresses_count_as_this_machine() {
        for host in ["localhost", "LOCALHOST:9080", "127.0.0.1:9080", "[::1]:9080", "[::1]", "10.0.0.7", ""] {
            assert!(is_plain(host), "{host}");
        }
        for host in ["evil.example", "evil.example:9080", "localhost.evil.example", "127.0.0.1.evil.example:80"] {
            assert!(!is_plain(host), "{host}");
        }
    }

    #[test]
    fn viewers_share_the_lines_and_the_readers_time_of_a_second() {
        let second = Duration::from_secs(1);
        assert_eq!([1, 2, 20].map(|viewers| allowance(viewers, second).lines), [1000, 500, 50]);
        for viewers in 1..=VIEWERS_MAX as u32 {
            let Allowance { lines, matching } = allowance(viewers, second);
            assert!(lines * viewers <= LINES_A_SECOND, "{viewers}");
            assert!(matching * viewers <= second / MATCHING_PART, "{viewers}");
            assert!(second.as_secs_f64() / pace(viewers).as_secs_f64() * f64::from(viewers) <= 16.0, "{viewers}");
            assert!(pace(viewers) <= ALLOWANCE_KEPT, "{viewers}");
        }
    }

    #[test]
    fn all_viewers_have_lines_at_the_same_times() {
        let tails = Tails::default();
        let at = |millis| tails.next_at(tails.epoch + Duration::from_millis(millis)) - tails.epoch;
        assert_eq!([0, 100, 249, 250].map(at), [250, 250, 250, 500].map(Duration::from_millis));
        let _places = Arc::clone(&tails.places).try_acquire_many_owned(VIEWERS_MAX as u32).unwrap();
        assert_eq!([0, 1249, 1250].map(at), [1250, 1250, 2500].map(Duration::from_millis));
    }

    #[test]
    fn a_query_is_decoded_and_a_wrong_one_explained() {
        let query = |query: &str| wanted(&format!("/api/v1/tail?{query}").parse().unwrap());
        let spec = query("namespace=shop&pod=web%2D1&container=&mode=raw&unit=u7&grep=a%7Cb+c").unwrap();
        assert_eq!(
            (spec.namespace.as_deref(), spec.pod.as_deref(), spec.container),
            (Some("shop"), Some("web-1"), None)
        );
        assert!(!spec.processed && spec.unit.is_some_and(|unit| unit.0 == 7));
        assert!(spec.grep.unwrap().is_match(b"xb cx"));
        assert!(query("").unwrap().processed);
        for (wrong, told) in [
            ("mode=cooked", "expected raw or processed"),
            ("grep=(", "grep: "),
            ("grep=%5Cw%7B900%7D", "grep: "),
            ("pod=%zz", "not percent-encoded"),
            ("unit=12", "expected u and a number"),
            ("pods=x", "unknown parameter"),
        ] {
            let problem = query(wrong).err().unwrap();
            assert!(problem.contains(told), "{wrong}: {problem}");
        }
        assert!(query(&format!("grep={}", "a".repeat(2000))).is_err());
    }
}
