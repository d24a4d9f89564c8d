//! The status server: GET /metrics, /ready and /healthz.
//!
//! In: connections to `http.listen`. Out: [`Metrics`] and [`Health`] as text. It can not be used to do a node's collector
//! harm: connections are few, short, and read no more than a request's head. Knows nothing of what is measured.

use std::{
    convert::Infallible,
    fmt, io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{task::JoinSet, time::timeout};
use tracing::{debug, warn};

use super::{
    Health, Metrics,
    exposition::{Format, encode},
};

/// Connections at one time; further ones wait in the kernel until one of these is over.
const CONNECTIONS_MAX: usize = 32;
/// How long a connection may take in all, from its beginning to the last byte of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The least that hyper allows; a request's head must fit in.
const BUFFER_BYTES: usize = 8192;
/// How long accepting rests after it failed, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

const PATHS: &str =
    "/metrics  Prometheus metrics\n/ready    200 when logs are being collected\n/healthz  200 when not stuck\n";

/// The address of the status server can not be had.
#[derive(Debug)]
pub struct BindError {
    listen: SocketAddr,
    error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mend = match self.error.kind() {
            io::ErrorKind::AddrInUse => "another process listens there; set http.listen to a free port",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address; set http.listen to one that it has",
            io::ErrorKind::PermissionDenied => "set http.listen to a port from 1024 on",
            _ => "see http.listen",
        };
        write!(f, "cannot serve metrics and health on {}: {}: {mend}", self.listen, self.error)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Takes the address, so that a start with a wrong one fails at once. Needs no runtime.
///
/// # Errors
/// The address is in use, or not this machine's, or may not be used; the words name `http.listen`.
pub fn bind(listen: SocketAddr) -> Result<TcpListener, BindError> {
    let bind = || {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|error| BindError { listen, error })
}

/// Answers until it is dropped, and then ends its connections. Runs on the sender side's runtime, whose time driver and
/// network driver must be on.
///
/// # Errors
/// The listener can not be registered with the runtime.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, health: Arc<Health>) -> io::Result<Infallible> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&metrics), Arc::clone(&health)));
                }
                Err(error) => {
                    warn!("the status server can not accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One request and its answer: without keep-alive, idle scrapers hold no memory.
async fn connection(stream: tokio::net::TcpStream, metrics: Arc<Metrics>, health: Arc<Health>) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = answer(&request, &metrics, &health);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!("a connection to the status server ended early: {error}"),
        Err(_) => debug!("a connection to the status server took too long and was ended"),
    }
}

/// hyper leaves the body of an answer to HEAD out by itself.
fn answer<B: Body>(request: &Request<B>, metrics: &Metrics, health: &Health) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => scrape(request.headers().get(ACCEPT), metrics),
        "/ready" => verdict("ready", &health.not_ready()),
        "/healthz" => verdict("healthy", &health.not_healthy()),
        _ => text(StatusCode::NOT_FOUND, format!("not found; there is\n{PATHS}")),
    }
}

fn scrape(accept: Option<&HeaderValue>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let format = Format::accepted(accept.and_then(|accept| accept.to_str().ok()));
    metrics.refresh();
    match encode(metrics.registry(), format) {
        Ok(encoded) => {
            let mut response = text(StatusCode::OK, encoded);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
            response
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("the metrics can not be written: {error}\n")),
    }
}

fn verdict(good: &str, reasons: &[String]) -> Response<Full<Bytes>> {
    match reasons {
        [] => text(StatusCode::OK, format!("{good}\n")),
        reasons => text(StatusCode::SERVICE_UNAVAILABLE, format!("not {good}\n{}\n", reasons.join("\n"))),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
