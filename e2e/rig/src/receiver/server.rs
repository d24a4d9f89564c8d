//! The receiver's HTTP side: connections, requests, answers.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, mpsc},
    time::{Duration, SystemTime},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    header,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::UnboundedReceiver,
    task::JoinSet,
};

use super::{
    Shared,
    faults::{Arrival, Verdict},
    limits::{Outcome as Judged, Refusal},
    push,
    store::Flight,
};

/// How long a request that overlaps another one of the same stream waits to see whether that one was given up.
const OVERLAP_CHECK: Duration = Duration::from_millis(20);
/// A port that was just left may be taken for a moment.
const BIND_ATTEMPTS: usize = 200;
const BIND_PAUSE: Duration = Duration::from_millis(10);

const TENANT: &str = "x-scope-orgid";

/// What the test wants of the server.
pub(super) enum Control {
    /// Whether connections are refused; answered when it is so.
    Down(bool, mpsc::Sender<()>),
    /// End.
    Stop,
}

/// Serves until it is told to stop.
pub(super) async fn run(
    listener: std::net::TcpListener,
    address: SocketAddr,
    mut commands: UnboundedReceiver<Control>,
    shared: Arc<Shared>,
) {
    let mut listener = TcpListener::from_std(listener).ok();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(Control::Down(true, done)) => {
                    listener = None;
                    connections.shutdown().await;
                    let _ = done.send(());
                }
                Some(Control::Down(false, done)) => {
                    if listener.is_none() {
                        listener = bind(address).await;
                    }
                    let _ = done.send(());
                }
                Some(Control::Stop) | None => break,
            },
            Some(_) = connections.join_next() => {}
            connection = accept(listener.as_ref()) => {
                connections.spawn(serve(connection, Arc::clone(&shared)));
            }
        }
    }
    connections.shutdown().await;
}

async fn bind(address: SocketAddr) -> Option<TcpListener> {
    for _ in 0..BIND_ATTEMPTS {
        if let Ok(listener) = TcpListener::bind(address).await {
            return Some(listener);
        }
        tokio::time::sleep(BIND_PAUSE).await;
    }
    None
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => loop {
            match listener.accept().await {
                Ok((connection, _)) => return connection,
                Err(_) => tokio::time::sleep(BIND_PAUSE).await,
            }
        },
        None => std::future::pending().await,
    }
}

async fn serve(connection: TcpStream, shared: Arc<Shared>) {
    let _ = connection.set_nodelay(true);
    let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
    // An error here is a connection that the client or the fault script has cut, which is expected.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> io::Result<Response<Full<Bytes>>> {
    let path = request.uri().path();
    if request.method() == Method::GET {
        return Ok(match path {
            "/ready" => respond(200, "ready\n"),
            _ => respond(404, "404 page not found\n"),
        });
    }
    if path != "/loki/api/v1/push" {
        let violation = format!("{} {}", request.method(), request.uri());
        shared.store().violate(violation);
        return Ok(respond(404, "404 page not found\n"));
    }
    let flight = FlightGuard(Arc::default());
    let outcome = take_push(request, &shared, &flight.0).await;
    let response = match outcome {
        Outcome::Answer(response) => Ok(response),
        Outcome::Violation(status, reason) => {
            shared.store().violate(reason.clone());
            Ok(respond(status, &reason))
        }
        Outcome::Hangup => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    flight.0.answer();
    let status = response.as_ref().map_or(0, |response| response.status().as_u16());
    *shared.store().answers.entry(status).or_default() += 1;
    shared.changed.notify_all();
    response
}

/// Makes a request whose connection is cut count as abandoned.
struct FlightGuard(Arc<Flight>);

impl Drop for FlightGuard {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The outcome of a push.
enum Outcome {
    Answer(Response<Full<Bytes>>),
    /// The client's mistake: status and reason.
    Violation(u16, String),
    /// The connection is closed without an answer.
    Hangup,
}

async fn take_push(request: Request<Incoming>, shared: &Shared, flight: &Arc<Flight>) -> Outcome {
    let mut verdict = admit(&request, shared);
    let tenant = header_text(&request, TENANT).unwrap_or_default();
    if let Err((status, reason)) = check_head(&request) {
        return Outcome::Violation(status, reason);
    }
    let mut body = request.into_body();
    if verdict == Verdict::CloseMidBody {
        let _ = body.frame().await;
        return Outcome::Hangup;
    }
    let Some(body) = read_whole(body).await else { return Outcome::Hangup };
    match verdict {
        Verdict::NoAnswer => std::future::pending().await,
        // Nothing is stored where the client gives up meanwhile: this is dropped with the connection.
        Verdict::Slow { bytes_per_s } => {
            tokio::time::sleep(Duration::from_secs_f64(body.len() as f64 / bytes_per_s as f64)).await;
        }
        _ => {}
    }
    let arrived_ns = now_ns();
    let decoded = match decompress(&body, shared.decoded_bytes_max) {
        Ok(Some(decoded)) => decoded,
        Ok(None) => return Outcome::Answer(respond(413, "request body too large\n")),
        Err(reason) => return Outcome::Violation(400, reason),
    };
    let (overlapping, refusal) = match push::decode(&decoded, shared.line_bytes_max) {
        Ok(streams) => {
            if let Verdict::RefuseSome { entries } = &mut verdict {
                *entries = streams.iter().map(|stream| stream.entries.len()).sum::<usize>().min(*entries);
            }
            let push = Push {
                streams: &streams,
                tenant: &tenant,
                arrived_ns,
                decoded_bytes: decoded.len(),
                wire_bytes: body.len(),
            };
            judge(&push, &verdict, shared, flight)
        }
        Err(reason) => return Outcome::Violation(400, reason),
    };
    if !overlapping.is_empty() {
        tokio::time::sleep(OVERLAP_CHECK).await;
        for (before, labels) in overlapping {
            if !before.is_abandoned() {
                shared.store().violate(format!("two pushes at the same time for {labels}"));
            }
        }
    }
    let pause = match verdict {
        Verdict::AcceptAfter(pause) => shared.answer_after + pause,
        _ => shared.answer_after,
    };
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    match refusal {
        Some(Refusal { status, body }) => Outcome::Answer(respond(status, &body)),
        None => finish(verdict),
    }
}

/// Counts the push and asks the fault script.
fn admit(request: &Request<Incoming>, shared: &Shared) -> Verdict {
    let mut store = shared.store();
    let arrival = Arrival {
        index: store.pushes,
        content_length: request.body().size_hint().exact(),
        tenant: header_text(request, TENANT).unwrap_or_default(),
    };
    store.pushes += 1;
    store.last_headers.clear();
    for (name, value) in request.headers() {
        store.last_headers.push((name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    }
    store.faults.decide(&arrival)
}

/// A push that could be read.
struct Push<'a> {
    streams: &'a [push::Stream<'a>],
    tenant: &'a str,
    arrived_ns: i64,
    decoded_bytes: usize,
    wire_bytes: usize,
}

/// Stores the streams if the verdict is so; gives the requests that name one of them and are in flight, and what a limit answers.
fn judge(
    push: &Push<'_>,
    verdict: &Verdict,
    shared: &Shared,
    flight: &Arc<Flight>,
) -> (Vec<(Arc<Flight>, String)>, Option<Refusal>) {
    let mut store = shared.store();
    let overlapping = store.take_off(push.streams, flight);
    store.largest_push = store.largest_push.max(push.decoded_bytes as u64);
    let refused = match verdict {
        Verdict::Refuse { .. } | Verdict::CloseMidBody | Verdict::NoAnswer | Verdict::HtmlPage => {
            store.note_push(push.arrived_ns, verdict, push.streams, &Judged::default());
            return (overlapping, None);
        }
        Verdict::RefuseSome { entries } => *entries,
        Verdict::Accept | Verdict::AcceptAfter(_) | Verdict::AcceptWithoutAnswer | Verdict::Slow { .. } => 0,
    };
    let limited = store.limits.judge(push.tenant, push.streams);
    store.note_push(push.arrived_ns, verdict, push.streams, &limited);
    store.accept(push.streams, refused, &limited, push.arrived_ns);
    store.decoded_bytes += push.decoded_bytes as u64;
    store.wire_bytes += push.wire_bytes as u64;
    drop(store);
    shared.changed.notify_all();
    (overlapping, limited.answer)
}

fn finish(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Accept | Verdict::AcceptAfter(_) | Verdict::Slow { .. } => Outcome::Answer(respond(204, "")),
        Verdict::AcceptWithoutAnswer | Verdict::CloseMidBody | Verdict::NoAnswer => Outcome::Hangup,
        Verdict::HtmlPage => {
            let mut response = respond(200, "<!DOCTYPE html>\n<html><body>Please log in</body></html>\n");
            let html = header::HeaderValue::from_static("text/html; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, html);
            Outcome::Answer(response)
        }
        Verdict::Refuse { status, body, retry_after_s } => {
            let mut response = respond(status, &body);
            if let Some(seconds) = retry_after_s {
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            Outcome::Answer(response)
        }
        Verdict::RefuseSome { entries } => Outcome::Answer(respond(
            400,
            &format!(
                "entry with timestamp 2026-01-02 03:04:05 +0000 UTC ignored, reason: 'entry too far behind, entry \
                 timestamp is: 2026-01-02T03:04:05Z, oldest acceptable timestamp is: 2026-01-02T04:04:05Z',\nuser \
                 'fake', total ignored: {entries} out of {entries} for stream: {{}}"
            ),
        )),
    }
}

fn check_head(request: &Request<Incoming>) -> Result<(), (u16, String)> {
    if request.method() != Method::POST {
        return Err((405, format!("method {}", request.method())));
    }
    if let Some(query) = request.uri().query() {
        return Err((400, format!("query {query:?}")));
    }
    let header = |name: header::HeaderName| header_text(request, name.as_str());
    match header(header::CONTENT_TYPE).as_deref() {
        Some("application/x-protobuf") => {}
        other => return Err((400, format!("Content-Type {other:?}"))),
    }
    match header(header::CONTENT_ENCODING).as_deref() {
        None | Some("snappy") => Ok(()),
        Some(other) => Err((400, format!("Content-Encoding {other}"))),
    }
}

fn header_text(request: &Request<Incoming>, name: &str) -> Option<String> {
    request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The body, or nothing when the connection ends before it.
async fn read_whole(body: Incoming) -> Option<Vec<u8>> {
    let mut whole = Vec::with_capacity(body.size_hint().exact().unwrap_or(0).min(1 << 26) as usize);
    let mut body = body;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data() {
            whole.extend_from_slice(&data);
        }
    }
    Some(whole)
}

/// The snappy block's contents; `None` when they are more than `bytes_max`.
fn decompress(body: &[u8], bytes_max: usize) -> Result<Option<Vec<u8>>, String> {
    let bytes = snap::raw::decompress_len(body).map_err(|error| format!("snappy: {error}"))?;
    if bytes > bytes_max {
        return Ok(None);
    }
    snap::raw::Decoder::new().decompress_vec(body).map(Some).map_err(|error| format!("snappy: {error}"))
}

fn respond(status: u16, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as i64
}
