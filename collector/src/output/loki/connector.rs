//! Connections to Loki's host: direct, or through a proxy.

use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::{
    Uri,
    header::HeaderValue,
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::proxy::{Proxies, Proxy};

type BoxError = Box<dyn Error + Send + Sync>;

#[derive(Clone, Debug)]
pub(super) enum Route {
    Direct,
    /// Through a tunnel that the proxy opens (CONNECT): for https, which the proxy cannot look into.
    Tunnel {
        proxy: Uri,
        auth: Option<HeaderValue>,
    },
    /// The proxy gets the request with the whole URL and passes it on: for http.
    Forward {
        proxy: Uri,
        /// Credentials for it; they go into each request.
        auth: Option<HeaderValue>,
    },
}

impl Route {
    /// The route to `uri` with the environment's proxies.
    ///
    /// # Errors
    /// For a proxy with another scheme than http.
    pub(super) fn to(uri: &Uri, proxies: &Proxies) -> anyhow::Result<Self> {
        let Some(Proxy { uri: proxy, auth }) = proxies.to(uri) else { return Ok(Self::Direct) };
        anyhow::ensure!(
            proxy.scheme_str() == Some("http"),
            "the proxy that the environment names for {uri} is {}://…; only http:// proxies can be used (set NO_PROXY to \
             go without)",
            proxy.scheme_str().unwrap_or_default(),
        );
        Ok(match uri.scheme_str() {
            Some("https") => Self::Tunnel { proxy, auth },
            _ => Self::Forward { proxy, auth },
        })
    }

    /// The proxy, if there is one.
    pub(super) fn proxy(&self) -> Option<&Uri> {
        match self {
            Self::Direct => None,
            Self::Tunnel { proxy, .. } | Self::Forward { proxy, .. } => Some(proxy),
        }
    }
}

/// No connection to the proxy itself: Loki is not the cause.
#[derive(Debug)]
pub(super) struct ProxyUnreachable {
    /// The proxy, without credentials.
    pub(super) proxy: Uri,
    error: BoxError,
}

impl fmt::Display for ProxyUnreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection to the proxy {}", self.proxy)
    }
}

impl Error for ProxyUnreachable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.error)
    }
}

/// Opens TCP connections to a proxy, with errors that name it.
#[derive(Clone, Debug)]
struct ToProxy(HttpConnector);

impl Service<Uri> for ToProxy {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        let connecting = self.0.call(proxy.clone());
        Box::pin(
            async move { connecting.await.map_err(|error| ProxyUnreachable { proxy, error: error.into() }.into()) },
        )
    }
}

/// Opens TCP connections along a [`Route`].
#[derive(Clone, Debug)]
pub(super) struct RouteConnector {
    route: Route,
    tcp: HttpConnector,
}

impl RouteConnector {
    pub(super) fn new(route: Route) -> Self {
        let mut tcp = HttpConnector::new();
        // The scheme may be https: TLS comes on top.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self { route, tcp }
    }
}

impl Service<Uri> for RouteConnector {
    type Response = RouteStream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<RouteStream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let mut tcp = self.tcp.clone();
        match self.route.clone() {
            Route::Direct => Box::pin(async move {
                let stream = tcp.call(destination).await?;
                Ok(RouteStream { stream, forwarded: false })
            }),
            Route::Tunnel { proxy, auth } => Box::pin(async move {
                let mut tunnel = Tunnel::new(proxy, ToProxy(tcp));
                if let Some(auth) = auth {
                    tunnel = tunnel.with_auth(auth);
                }
                let stream = tunnel.call(destination).await?;
                Ok(RouteStream { stream, forwarded: false })
            }),
            Route::Forward { proxy, .. } => Box::pin(async move {
                let stream = ToProxy(tcp).call(proxy).await?;
                Ok(RouteStream { stream, forwarded: true })
            }),
        }
    }
}

/// A TCP connection that knows whether its other end is a proxy, which wants whole URLs in requests.
#[derive(Debug)]
pub(super) struct RouteStream {
    stream: TokioIo<TcpStream>,
    forwarded: bool,
}

impl Connection for RouteStream {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.forwarded)
    }
}

impl Read for RouteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for RouteStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
