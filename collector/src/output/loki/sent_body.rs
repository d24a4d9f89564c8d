//! A request's body that tells whether all of it was handed to the connection.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};

/// hyper buffers a few hundred kilobytes, so only a larger body shows how far a slow connection has got.
const PIECE_BYTES: usize = 64 << 10;

/// Bytes, handed over in pieces.
#[derive(Debug)]
pub(super) struct SentBody {
    rest: Bytes,
    all_sent: Arc<AtomicBool>,
}

impl SentBody {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { rest: bytes, all_sent: Arc::default() }
    }

    /// Set once the last piece was handed over, which takes a connection.
    pub(super) fn all_sent(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.all_sent)
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let len = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(len);
        if self.rest.is_empty() {
            self.all_sent.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn it_hands_over_every_byte_and_tells_when_it_has() {
        let bytes: Vec<u8> = (0..PIECE_BYTES + 10).map(|n| n as u8).collect();
        let mut body = SentBody::new(bytes.clone().into());
        let all_sent = body.all_sent();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(!all_sent.load(Ordering::Relaxed) && !body.is_end_stream());
        let rest = body.collect().await.unwrap().to_bytes();
        assert!(all_sent.load(Ordering::Relaxed));
        assert_eq!([first, rest].concat(), bytes);
    }
}
