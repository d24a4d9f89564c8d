//! A receiver that answers as its script says, and keeps what it was sent.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use collector::batch::PushRequest;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::HeaderMap,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;

/// What to answer.
#[derive(Clone)]
pub enum Reply {
    /// A status and a text.
    Text(u16, String),
    /// The same with one more header.
    Header(u16, &'static str, &'static str),
    /// Nothing, ever.
    Never,
    /// The connection is closed without an answer.
    Close,
    /// 204, when the semaphore gives a permit.
    Held(Arc<Semaphore>),
}

impl Reply {
    pub fn ok() -> Self {
        Self::Text(204, String::new())
    }

    pub fn text(status: u16, text: &str) -> Self {
        Self::Text(status, text.to_owned())
    }
}

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Seen {
    /// As in the request line.
    pub target: String,
    pub headers: HeaderMap,
    /// Compressed.
    pub body: Vec<u8>,
}

impl Seen {
    pub fn request(&self) -> PushRequest {
        let bytes = snap::raw::Decoder::new().decompress_vec(&self.body).unwrap();
        PushRequest::decode(&bytes[..]).unwrap()
    }

    /// Labels and text of each line.
    pub fn lines(&self) -> Vec<(String, String)> {
        let streams = self.request().streams;
        let of_stream = |stream: collector::batch::StreamAdapter| {
            stream.entries.into_iter().map(move |entry| (stream.labels.clone(), entry.line))
        };
        streams.into_iter().flat_map(of_stream).collect()
    }

    pub fn texts(&self) -> Vec<String> {
        self.lines().into_iter().map(|(_, text)| text).collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Script = dyn Fn(usize, &Seen) -> Reply + Send + Sync;

struct State {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    /// Lines of requests that were answered with 2xx, in that order.
    stored: Mutex<Vec<(String, String)>>,
    connections: AtomicUsize,
    in_flight: AtomicUsize,
    in_flight_max: AtomicUsize,
}

/// Listens on a port of its own until the runtime ends.
#[derive(Clone)]
pub struct Receiver {
    state: Arc<State>,
    pub port: u16,
    scheme: &'static str,
}

impl Receiver {
    /// `script` gets the request's number from 0 on, and the request.
    pub async fn start(script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(None, Box::new(script)).await
    }

    pub async fn start_tls(
        tls: Arc<rustls::ServerConfig>,
        script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Some(TlsAcceptor::from(tls)), Box::new(script)).await
    }

    async fn start_with(tls: Option<TlsAcceptor>, script: Box<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = Arc::new(State {
            script,
            seen: Mutex::default(),
            stored: Mutex::default(),
            connections: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            in_flight_max: AtomicUsize::new(0),
        });
        let receiver = Self { state: Arc::clone(&state), port, scheme };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                state.connections.fetch_add(1, SeqCst);
                let (state, tls) = (Arc::clone(&state), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, state).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, state).await;
                            }
                        }
                    }
                });
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        self.url_of("127.0.0.1")
    }

    pub fn url_of(&self, host: &str) -> String {
        format!("{}://{host}:{}", self.scheme, self.port)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub fn stored(&self) -> Vec<(String, String)> {
        self.state.stored.lock().unwrap().clone()
    }

    pub fn stored_texts(&self) -> Vec<String> {
        self.stored().into_iter().map(|(_, text)| text).collect()
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(SeqCst)
    }

    pub fn in_flight(&self) -> usize {
        self.state.in_flight.load(SeqCst)
    }

    pub fn in_flight_max(&self) -> usize {
        self.state.in_flight_max.load(SeqCst)
    }

    /// Lets the others run until `condition` holds.
    pub async fn until(&self, condition: impl Fn(&Self) -> bool) {
        while !condition(self) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, state: Arc<State>) {
    let service = service_fn(|request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move { answer(request, &state).await.ok_or("closes without an answer") }
    });
    // An error is a connection that broke, which is what some tests are about.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, state: &State) -> Option<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.ok()?.to_bytes().to_vec();
    let seen = Seen { target: head.uri.to_string(), headers: head.headers, body };
    let number = {
        let mut all = state.seen.lock().unwrap();
        all.push(seen.clone());
        all.len() - 1
    };
    let in_flight = state.in_flight.fetch_add(1, SeqCst) + 1;
    state.in_flight_max.fetch_max(in_flight, SeqCst);
    let reply = (state.script)(number, &seen);
    // So that others can come in meanwhile.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let response = respond(reply).await;
    state.in_flight.fetch_sub(1, SeqCst);
    let response = response?;
    if response.status().is_success() {
        state.stored.lock().unwrap().extend(seen.lines());
    }
    Some(response)
}

async fn respond(reply: Reply) -> Option<Response<Full<Bytes>>> {
    let built = match reply {
        Reply::Text(status, text) => Response::builder().status(status).body(Full::new(text.into())),
        Reply::Header(status, name, value) => {
            Response::builder().status(status).header(name, value).body(Full::default())
        }
        Reply::Never => match std::future::pending::<Infallible>().await {},
        Reply::Close => return None,
        Reply::Held(permits) => {
            permits.acquire().await.ok()?.forget();
            Response::builder().status(204).body(Full::default())
        }
    };
    Some(built.unwrap())
}
