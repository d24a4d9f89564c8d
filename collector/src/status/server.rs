//! The status server: GET /metrics, /ready and /healthz.
//!
//! In: connections to `http.listen`. Out: [`Metrics`] and [`Health`] as text. Guarantees that the kubelet's probes are
//! answered whatever other connections do: connections are few, short, read no more than a request's head, and a new one
//! is always accepted, if necessary in place of the oldest one of the peer that has most. Knows nothing of what is measured.

mod bind;
mod places;

use std::{convert::Infallible, io, net::TcpListener, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;
use tracing::{debug, warn};

pub use self::bind::{BindError, bind};
use self::places::Places;
use super::{
    Health, Metrics,
    exposition::{Format, encode},
};

/// Connections at one time; a further one ends an older one.
const CONNECTIONS_MAX: usize = 32;
/// How long a connection may take in all, from its beginning to the last byte of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The least that hyper allows; a request's head must fit in.
const BUFFER_BYTES: usize = 8192;
/// How long accepting pauses after it failed, mostly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

const PATHS: &str =
    "/metrics  Prometheus metrics\n/ready    200 when logs are being collected\n/healthz  200 when not stuck\n";

/// Answers until it is dropped, and then ends its connections. Runs on the sender side's runtime, whose time driver and
/// network driver must be on.
///
/// # Errors
/// The listener cannot be registered with the runtime.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, health: Arc<Health>) -> io::Result<Infallible> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut places = Places::new(CONNECTIONS_MAX);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                places.give(peer.ip(), connection(stream, Arc::clone(&metrics), Arc::clone(&health)));
            }
            Err(error) => {
                warn!("the status server cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
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
        Err(_) => debug!("a connection to the status server took too long and was closed"),
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
        "/ready" => verdict("ready", &health.not_ready(), &health.notes()),
        "/healthz" => verdict("healthy", &health.not_healthy(), &[]),
        _ => text(StatusCode::NOT_FOUND, format!("not found; there is\n{PATHS}")),
    }
}

fn scrape(accept: Option<&HeaderValue>, metrics: &Metrics) -> Response<Full<Bytes>> {
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

fn verdict(good: &str, reasons: &[String], notes: &[String]) -> Response<Full<Bytes>> {
    match reasons {
        [] => text(StatusCode::OK, notes.iter().fold(format!("{good}\n"), |body, note| body + note + "\n")),
        reasons => text(StatusCode::SERVICE_UNAVAILABLE, format!("not {good}\n{}\n", reasons.join("\n"))),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::status::Side;

    /// Runs `client` against a server on a free port, as the sender side does: on a current-thread runtime.
    fn with_server<F: Future<Output = ()>>(client: impl FnOnce(SocketAddr, Arc<Metrics>, Arc<Health>) -> F) {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (metrics, health) = (Arc::new(Metrics::new()), Arc::new(Health::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::select! {
                Err(error) = serve(listener, Arc::clone(&metrics), Arc::clone(&health)) => panic!("{error}"),
                () = client(address, metrics, health) => {}
            }
        });
    }

    /// Status line and headers, and body.
    async fn request(address: SocketAddr, head: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{head}\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    #[test]
    fn metrics_come_in_the_format_that_is_asked_for() {
        with_server(|address, metrics, _| async move {
            metrics.dropped_lines.get_or_create(&crate::status::Reason { reason: "rule" }).inc_by(5);
            let (head, body) = request(address, "GET /metrics HTTP/1.1").await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
            assert!(body.contains("\npilcrow_dropped_lines_total{reason=\"rule\"} 5\n"), "{body}");
            assert!(
                body.contains(concat!("\npilcrow_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n")),
                "{body}"
            );
            let (head, body) =
                request(address, "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0").await;
            assert!(
                head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
                "{head}"
            );
            assert!(body.ends_with("# EOF\n"), "{body}");
        });
    }

    #[test]
    fn ready_says_why_it_is_not_and_then_is() {
        with_server(|address, _, health| async move {
            let (head, body) = request(address, "GET /ready HTTP/1.1").await;
            assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
            assert_eq!(body, "not ready\nthe first scan of paths.pods is not done\n");
            health.first_scan_done();
            let (head, body) = request(address, "GET /ready HTTP/1.1").await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert_eq!(body, "ready\n");
        });
    }

    #[test]
    fn healthz_is_good_from_the_start_and_after_a_beat() {
        with_server(|address, _, health| async move {
            assert_eq!(request(address, "GET /healthz HTTP/1.1").await.1, "healthy\n");
            health.beat(Side::Reader);
            assert_eq!(request(address, "GET /healthz?x=1 HTTP/1.1").await.1, "healthy\n");
        });
    }

    #[test]
    fn other_paths_and_methods_are_refused_with_what_there_is() {
        with_server(|address, _, _| async move {
            let (head, body) = request(address, "GET / HTTP/1.1").await;
            assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
            for path in ["/metrics", "/ready", "/healthz"] {
                assert!(body.contains(path), "{body}");
            }
            let (head, _) = request(address, "POST /metrics HTTP/1.1").await;
            assert!(head.starts_with("HTTP/1.1 405 ") && head.contains("allow: GET, HEAD"), "{head}");
            let (head, body) = request(address, "HEAD /metrics HTTP/1.1").await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert_eq!(body, "");
        });
    }

    #[test]
    fn a_request_that_is_too_long_or_no_http_ends_its_connection_only() {
        with_server(|address, _, _| async move {
            for head in [format!("GET /{} HTTP/1.1", "x".repeat(100_000)), "\x16\x03\x01".into()] {
                let mut stream = TcpStream::connect(address).await.unwrap();
                // The server may end the connection before it took all.
                let _ = stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            assert_eq!(request(address, "GET /healthz HTTP/1.1").await.1, "healthy\n");
        });
    }

    /// The kubelet's probes timed out behind 64 of them, and it restarted the pod.
    #[test]
    fn silent_connections_do_not_keep_a_probe_from_its_answer() {
        with_server(|address, _, _| async move {
            let mut silent = Vec::new();
            for _ in 0..3 * CONNECTIONS_MAX {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
            assert_eq!(request(address, "GET /healthz HTTP/1.1").await.1, "healthy\n");
            // Not because all of them were ended: the youngest is still open.
            let youngest = silent.last().unwrap().try_read(&mut [0]);
            assert_eq!(youngest.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        });
    }
}
