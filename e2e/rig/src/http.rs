//! One HTTP GET over plain TCP, for metrics and queries.

use std::{
    io::{Error, ErrorKind, Result},
    time::Duration,
};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, Uri, body::Bytes, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, runtime::Builder};

/// The status and the body of `GET url`, which must begin with `http://`. Blocks; must not be called from async code.
///
/// # Errors
/// When the URL is not usable, there is no connection, or the answer takes longer than `timeout`.
pub fn get(url: &str, timeout: Duration) -> Result<(u16, Vec<u8>)> {
    let uri: Uri = url.parse().map_err(invalid)?;
    if uri.scheme_str() != Some("http") {
        return Err(invalid(format!("{url}: only http:// is possible here")));
    }
    let host = uri.host().ok_or_else(|| invalid(format!("{url}: no host")))?.to_owned();
    let address = (host.trim_matches(['[', ']']).to_owned(), uri.port_u16().unwrap_or(80));
    Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async { tokio::time::timeout(timeout, request(uri, &host, address)).await })
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::TimedOut, format!("{url}: no answer in {timeout:?}"))))
}

async fn request(uri: Uri, host: &str, address: (String, u16)) -> Result<(u16, Vec<u8>)> {
    let stream = TcpStream::connect((address.0.as_str(), address.1)).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(Error::other)?;
    let driver = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(header::HOST, format!("{host}:{}", address.1))
        .body(Empty::<Bytes>::new())
        .map_err(invalid)?;
    let answer = sender.send_request(request).await.map_err(Error::other)?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.map_err(Error::other)?.to_bytes().to_vec();
    driver.abort();
    Ok((status, body))
}

fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::InvalidInput, reason)
}
