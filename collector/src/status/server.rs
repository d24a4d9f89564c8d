//! The status server: GET /metrics, /ready and /healthz, the status page and its JSON, and lines as they pass.
//!
//! In: connections to `http.listen`. Out: [`Metrics`] and [`Health`] as text, a [`View`] as JSON. Guarantees that the kubelet's
//! probes are answered whatever other connections do: connections are few, short, read no more than a request's head, and a
//! new one is always accepted, if necessary in place of the oldest one of the peer that has most. Viewers of lines stay longer:
//! they have a number of places of their own. Knows nothing of what is measured.

mod api;
mod bind;
mod page;
mod places;
mod tail;

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use http_body_util::{Either, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Bytes,
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    http::request::Parts as Head,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;
use tracing::{debug, warn};

pub use self::bind::{BindError, bind};
use self::{
    places::Places,
    tail::{Activity, Lines, Tails},
};
use super::{
    Health, Metrics,
    exposition::{Format, encode},
    view::View,
};

/// Connections at one time, but for viewers of lines; a further one ends an older one.
const CONNECTIONS_MAX: usize = 32;
/// How long a connection may take in all, from its beginning to the last byte of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The least that hyper allows; a request's head must fit in.
const BUFFER_BYTES: usize = 8192;
/// How long accepting pauses after it failed, mostly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

const PATHS: &str = "/         the status page\n/metrics  Prometheus metrics\n/ready    200 when logs are being collected\n\
                     /healthz  200 when not stuck\n/api/v1/status, /api/v1/units, /api/v1/units/ID, /api/v1/tail\n";

/// An answer: a text, or lines for as long as somebody looks.
type Answer = Response<Either<Full<Bytes>, Lines>>;

/// What is served.
#[derive(Clone)]
pub struct Served {
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    /// `None`: nothing is collected yet.
    pub view: Option<Arc<View>>,
}

/// Answers until it is dropped, and then ends its connections. Runs on the sender side's runtime, whose time driver and
/// network driver must be on.
///
/// # Errors
/// The listener cannot be registered with the runtime.
pub async fn serve(listener: TcpListener, served: Served) -> io::Result<Infallible> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (mut places, tails) = (Places::new(CONNECTIONS_MAX), Tails::default());
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let activity = Activity::default();
                let serving = connection(stream, peer, served.clone(), tails.clone(), activity.clone());
                places.give(peer.ip(), activity, serving);
                // What waits to be accepted may be more than there are places: a request that has come is answered before its
                // connection can be ended for a younger one.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                warn!("the status server cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One request and its answer: without keep-alive, idle scrapers hold no memory.
async fn connection(stream: tokio::net::TcpStream, peer: SocketAddr, served: Served, tails: Tails, activity: Activity) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let (served, tails, activity) = (&served, &tails, &activity);
        let (head, _) = request.into_parts();
        activity.note_request();
        async move { Ok::<_, Infallible>(answer(&head, peer, served, tails, activity).await) }
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(BUFFER_BYTES)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut patience = CONNECTION_TIMEOUT;
    loop {
        match timeout(patience, serving.as_mut()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => return debug!("a connection to the status server ended early: {error}"),
            Err(_) if activity.has_advanced() => patience = tail::STALLED_AFTER,
            Err(_) => return debug!("a connection to the status server took too long and was closed"),
        }
    }
}

/// hyper leaves the body of an answer to HEAD out by itself.
async fn answer(request: &Head, peer: SocketAddr, served: &Served, tails: &Tails, activity: &Activity) -> Answer {
    if request.method != Method::GET && request.method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let path = request.uri.path();
    match path {
        "/metrics" => scrape(request.headers.get(ACCEPT), &served.metrics),
        "/ready" => verdict("ready", &served.health.not_ready(), &served.health.notes()),
        "/healthz" => verdict("healthy", &served.health.not_healthy(), &[]),
        _ => match (page::file(path), path.strip_prefix("/api/v1/"), &served.view) {
            (Some(file), ..) => file,
            (_, Some(_), None) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "standing by: another Pilcrow has the state folder; this one takes over when it ends\n".into(),
            ),
            (_, Some("tail"), Some(view)) => tails.begin(request, peer, view, activity).await,
            (_, Some(what), Some(view)) => {
                match api::answer(what, tail::may(request, peer, view).is_ok(), view).await {
                    Some(answer) => answer,
                    None => not_found(),
                }
            }
            _ => not_found(),
        },
    }
}

fn not_found() -> Answer {
    text(StatusCode::NOT_FOUND, format!("not found; there is\n{PATHS}"))
}

fn scrape(accept: Option<&HeaderValue>, metrics: &Metrics) -> Answer {
    let format = Format::accepted(accept.and_then(|accept| accept.to_str().ok()));
    match encode(metrics.registry(), format) {
        Ok(encoded) => {
            let mut response = text(StatusCode::OK, encoded);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
            response
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("the metrics cannot be written: {error}\n")),
    }
}

fn verdict(good: &str, reasons: &[String], notes: &[String]) -> Answer {
    match reasons {
        [] => text(StatusCode::OK, notes.iter().fold(format!("{good}\n"), |body, note| body + note + "\n")),
        reasons => text(StatusCode::SERVICE_UNAVAILABLE, format!("not {good}\n{}\n", reasons.join("\n"))),
    }
}

fn text(status: StatusCode, body: String) -> Answer {
    whole(status, "text/plain; charset=utf-8", body)
}

/// An answer that is there as a whole. A browser shall take it for nothing but what it is.
fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Either::Left(Full::from(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod views;
