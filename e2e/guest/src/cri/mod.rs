//! The Container Runtime Interface as the kubelet speaks it: gRPC over a Unix socket.
//!
//! In: a message of [`api`] and the name of a call. Out: the answer, or the runtime's own words of what is wrong. gRPC is
//! HTTP/2 with a five-byte header before each message and the outcome in the trailers; calls with one message each way are
//! all that is needed here.

pub mod api;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use h2::{RecvStream, client};
use http::{HeaderMap, Request, Version};
use prost::Message;
use tokio::{net::UnixStream, runtime::Builder, time::timeout};

/// Longer than any call takes where every instruction is emulated; waiting longer is a failure.
const PATIENCE: Duration = Duration::from_secs(180);

/// A byte that says that the message is not compressed, and its length.
const HEADER_BYTES: usize = 5;

/// A container runtime.
#[derive(Clone, Debug)]
pub struct Cri {
    socket: PathBuf,
}

impl Cri {
    /// The one that listens on `socket`. Nothing is asked yet.
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// A call of runtime.v1.RuntimeService.
    pub fn runtime<A: Message + Default>(&self, call: &str, request: &impl Message) -> anyhow::Result<A> {
        self.call("RuntimeService", call, request)
    }

    /// A call of runtime.v1.ImageService.
    pub fn images<A: Message + Default>(&self, call: &str, request: &impl Message) -> anyhow::Result<A> {
        self.call("ImageService", call, request)
    }

    fn call<A: Message + Default>(&self, service: &str, call: &str, request: &impl Message) -> anyhow::Result<A> {
        let path = format!("http://localhost/runtime.v1.{service}/{call}");
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(async { timeout(PATIENCE, self.exchange(&path, framed(request))).await });
        let answer = answer.with_context(|| format!("{call}: no answer in {PATIENCE:?}"))?;
        answer.and_then(|bytes| message_in(&bytes)).with_context(|| format!("{service} {call}"))
    }

    async fn exchange(&self, url: &str, message: Bytes) -> anyhow::Result<Bytes> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (sender, connection) = client::handshake(stream).await?;
        let driver = tokio::spawn(connection);
        let mut sender = sender.ready().await?;
        let request = Request::post(url)
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (answer, mut body) = sender.send_request(request, false)?;
        body.send_data(message, true)?;
        let answer = answer.await?;
        let headers = answer.headers().clone();
        let (bytes, trailers) = collect(answer.into_body()).await?;
        driver.abort();
        // A call that failed at once has all in its headers.
        outcome(trailers.as_ref().unwrap_or(&headers))?;
        Ok(bytes)
    }
}

async fn collect(mut body: RecvStream) -> anyhow::Result<(Bytes, Option<HeaderMap>)> {
    let mut bytes = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        bytes.extend_from_slice(&part);
    }
    Ok((bytes.freeze(), body.trailers().await?))
}

fn outcome(headers: &HeaderMap) -> anyhow::Result<()> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match text("grpc-status").as_deref() {
        Some("0") => Ok(()),
        Some(status) => bail!("status {status}: {}", text("grpc-message").unwrap_or_default()),
        None => bail!("the answer has no status: {headers:?}"),
    }
}

fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + message.encoded_len());
    bytes.put_u8(0);
    bytes.put_u32(message.encoded_len() as u32);
    bytes.put_slice(&message.encode_to_vec());
    bytes.freeze()
}

fn message_in<A: Message + Default>(bytes: &[u8]) -> anyhow::Result<A> {
    let (header, message) = bytes.split_at_checked(HEADER_BYTES).context("the answer is empty")?;
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
    ensure!(header[0] == 0 && length == message.len(), "the answer is not one message: {header:?}");
    Ok(A::decode(message)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_length_before_it_and_comes_back_the_same() {
        let id = api::Id { id: "0123".into() };
        let bytes = framed(&id);
        assert_eq!(&bytes[..HEADER_BYTES + 2], b"\0\0\0\0\x06\x0a\x04");
        assert_eq!(message_in::<api::Id>(&bytes).unwrap(), id);
        assert!(message_in::<api::Id>(&bytes[..8]).is_err());
        assert!(message_in::<api::Id>(&[]).is_err());
    }

    #[test]
    fn a_call_without_status_or_with_another_one_than_0_has_failed() {
        let mut headers = HeaderMap::new();
        assert!(outcome(&headers).is_err());
        headers.insert("grpc-status", "0".parse().unwrap());
        assert!(outcome(&headers).is_ok());
        headers.insert("grpc-status", "5".parse().unwrap());
        headers.insert("grpc-message", "no such container".parse().unwrap());
        assert_eq!(outcome(&headers).unwrap_err().to_string(), "status 5: no such container");
    }
}
