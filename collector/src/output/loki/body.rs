//! Request bodies: a batch's part gathered and, unless the configuration says otherwise, compressed, in reused memory.
//!
//! Compressing is most of what the sender side does for a line. Where there are cores for it each body is made on a thread of its
//! own; else, and where no thread can be started, one after the other on the sender side's.

use std::{cell::RefCell, mem, ops::Range, sync::Arc};

use hyper::body::Bytes;

use super::{literals, workers::Workers};
use crate::{
    batch::{Batch, Part, RequestEncoder, encode_single_stream},
    config::Compression,
};

/// Batches differ a little in size: rounded up, memory fits the next body too.
const STORAGE_STEP_BYTES: usize = 256 << 10;

/// Makes bodies, several at a time where they are made on threads of their own.
#[derive(Debug)]
pub(super) struct BodyMakers {
    /// As many as have been in use at once.
    idle: RefCell<Vec<BodyMaker>>,
    workers: Workers,
    compression: Compression,
}

impl BodyMakers {
    pub(super) fn new(workers: Workers, compression: Compression) -> Self {
        Self { idle: RefCell::default(), workers, compression }
    }

    /// The push request of `part`. `None` where it is larger than a snappy block can be, 4 GiB. No reference to the batch is
    /// left when it returns.
    pub(super) async fn make(&self, batch: Arc<Batch>, part: Part) -> Option<Body> {
        let mut maker = self.take();
        let making = self.workers.run(move || {
            let body = maker.make(&batch, &part);
            drop(batch);
            (maker, body)
        });
        let (maker, body) = making.await?;
        self.idle.borrow_mut().push(maker);
        body
    }

    /// A push request with one stream of encoded entries.
    pub(super) fn make_single(&self, labels: &str, entries: &[u8]) -> Option<Body> {
        let mut maker = self.take();
        maker.begin(entries.len() + labels.len());
        encode_single_stream(labels, entries, &mut maker.request);
        let body = maker.finish();
        self.idle.borrow_mut().push(maker);
        body
    }

    /// A push request without streams.
    pub(super) fn make_empty(&self) -> Option<Body> {
        let mut idle = self.idle.borrow_mut();
        if idle.is_empty() {
            idle.push(BodyMaker::new(self.compression));
        }
        idle.last_mut()?.make_empty()
    }

    fn take(&self) -> BodyMaker {
        self.idle.borrow_mut().pop().unwrap_or_else(|| BodyMaker::new(self.compression))
    }

    /// Takes a body's memory back.
    pub(super) fn recycle(&self, body: Body) {
        if let Some(maker) = self.idle.borrow_mut().last_mut() {
            maker.recycle(body);
        }
    }

    /// Frees the memory that is not in use.
    pub(super) fn release(&self) {
        let mut idle = self.idle.borrow_mut();
        idle.truncate(1);
        idle.iter_mut().for_each(BodyMaker::release);
    }
}

/// Makes bodies, one at a time.
#[derive(Debug)]
pub(super) struct BodyMaker {
    encoder: RequestEncoder,
    compression: Compression,
    /// The push request before compression. Shared by all requests: it is needed only while one body is made. Without compression it
    /// becomes the body, and begins with room for the block's head.
    request: Vec<u8>,
    snappy: snappy::Encoder,
    /// Memory of bodies that are sent. At most as many as requests were in flight at once.
    spare: Vec<Vec<u8>>,
}

/// A snappy block that may be sent any number of times.
#[derive(Debug)]
pub(super) struct Body {
    storage: Arc<Vec<u8>>,
    block: Range<usize>,
}

/// Lets hyper hold the storage, so that it can be taken back afterwards.
struct Lent(Arc<Vec<u8>>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl BodyMaker {
    pub(super) fn new(compression: Compression) -> Self {
        Self {
            encoder: RequestEncoder::default(),
            compression,
            request: Vec::new(),
            snappy: snappy::Encoder::default(),
            spare: Vec::new(),
        }
    }

    fn make(&mut self, batch: &Batch, part: &Part) -> Option<Body> {
        // The labels come on top of it, and seldom take more than a sixteenth.
        self.begin(part.encoded_bytes() + part.encoded_bytes() / 16);
        self.encoder.encode(batch, part, &mut self.request);
        self.finish()
    }

    /// A push request without streams.
    pub(super) fn make_empty(&mut self) -> Option<Body> {
        self.begin(0);
        self.finish()
    }

    /// Prepares the memory of a request of about this many bytes.
    fn begin(&mut self, bytes: usize) {
        if self.compression == Compression::None {
            self.request = self.spare.pop().unwrap_or_default();
        }
        self.request.clear();
        self.request.reserve(literals::HEAD_BYTES_MAX + bytes);
        if self.compression == Compression::None {
            self.request.resize(literals::HEAD_BYTES_MAX, 0);
        }
    }

    /// The body of the request that was written since `begin`.
    fn finish(&mut self) -> Option<Body> {
        match self.compression {
            Compression::Snappy => self.compress(),
            Compression::None => {
                let block = literals::block(&mut self.request)?;
                Some(Body { storage: Arc::new(mem::take(&mut self.request)), block })
            }
        }
    }

    fn compress(&mut self) -> Option<Body> {
        let mut storage = self.spare.pop().unwrap_or_default();
        let len_max = snappy::max_compressed_len(self.request.len());
        if storage.len() < len_max {
            // Fresh zeros cost nothing until they are written over, growing a vector would write them.
            storage = vec![0; len_max.next_multiple_of(STORAGE_STEP_BYTES)];
        }
        let len = self.snappy.compress(&self.request, &mut storage)?;
        Some(Body { storage: Arc::new(storage), block: 0..len })
    }

    /// Takes a body's memory back.
    fn recycle(&mut self, body: Body) {
        // A connection that is still being closed may hold on to it: then the memory is freed with the connection.
        if let Ok(storage) = Arc::try_unwrap(body.storage) {
            self.spare.push(storage);
        }
    }

    fn release(&mut self) {
        self.spare.clear();
        self.request = Vec::new();
    }
}

impl Body {
    /// The bytes, without a copy.
    pub(super) fn bytes(&self) -> Bytes {
        Bytes::from_owner(Lent(Arc::clone(&self.storage))).slice(self.block.clone())
    }

    pub(super) fn len(&self) -> usize {
        self.block.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelId, Position, Stream, UnitId};

    fn batch(lines: usize) -> Batch {
        let mut batch = Batch::new(0);
        let channel = ChannelId { unit: UnitId(1), stream: Stream::Stdout };
        let stream = batch.open_stream(&"{a=\"b\"}".into(), channel);
        for line in 0..lines {
            let at = Position { turn: 1, offset: line as u64 };
            batch.append(stream, at, line as i64, format!("line {line}").as_bytes(), &[]);
        }
        batch
    }

    #[test]
    fn memory_of_a_body_serves_the_next_one() {
        for compression in [Compression::Snappy, Compression::None] {
            let mut maker = BodyMaker::new(compression);
            let (large, small) = (batch(1000), batch(10));
            let body = maker.make(&large, &large.whole()).unwrap();
            let address = body.storage.as_ptr();
            maker.recycle(body);
            let body = maker.make(&small, &small.whole()).unwrap();
            assert_eq!(body.storage.as_ptr(), address, "{compression:?}");
            let mut expected = Vec::new();
            small.encode_push_request(&small.whole(), &mut expected);
            assert_eq!(body.bytes().len(), body.len());
            assert_eq!(snap::raw::Decoder::new().decompress_vec(&body.bytes()).unwrap(), expected, "{compression:?}");
        }
    }

    #[test]
    fn a_body_without_compression_holds_the_request_as_it_is() {
        let makers = BodyMakers::new(Workers::with_threads(0), Compression::None);
        let entries = &[b'e'; 500];
        let mut expected = Vec::new();
        encode_single_stream("{a=\"b\"}", entries, &mut expected);
        let body = makers.make_single("{a=\"b\"}", entries).unwrap();
        assert!(body.bytes().ends_with(&expected));
        assert!(body.len() <= expected.len() + literals::HEAD_BYTES_MAX);
        makers.recycle(body);
        assert_eq!(&makers.make_empty().unwrap().bytes()[..], [0], "the snappy block of nothing");
    }

    #[tokio::test]
    async fn bodies_that_are_made_at_once_on_threads_are_each_that_of_its_batch() {
        let makers = BodyMakers::new(Workers::with_threads(3), Compression::Snappy);
        let make = async |lines| {
            let batch = Arc::new(batch(lines));
            let body = makers.make(Arc::clone(&batch), batch.whole()).await.unwrap();
            let batch = Arc::try_unwrap(batch).expect("no reference is left");
            let mut expected = Vec::new();
            batch.encode_push_request(&batch.whole(), &mut expected);
            assert_eq!(snap::raw::Decoder::new().decompress_vec(&body.bytes()).unwrap(), expected);
            makers.recycle(body);
        };
        tokio::join!(make(10), make(1000), make(10_000));
        // A body that is done before the next begins leaves it its memory.
        let makers_made = makers.idle.borrow().len();
        assert!((1..=3).contains(&makers_made), "{makers_made}");
        make(100).await;
        assert_eq!(makers.idle.borrow().len(), makers_made, "they are used again");
        makers.release();
        assert_eq!(makers.idle.borrow().len(), 1);
    }

    #[tokio::test]
    async fn without_threads_bodies_are_made_all_the_same() {
        let makers = BodyMakers::new(Workers::with_threads(0), Compression::Snappy);
        let batch = Arc::new(batch(10));
        assert!(makers.make(Arc::clone(&batch), batch.whole()).await.is_some());
        assert_eq!(Arc::strong_count(&batch), 1);
    }

    #[test]
    fn a_body_that_a_connection_still_holds_is_left_to_it() {
        let mut maker = BodyMaker::new(Compression::Snappy);
        let batch = batch(10);
        let body = maker.make(&batch, &batch.whole()).unwrap();
        let held = body.bytes();
        let before = held.to_vec();
        maker.recycle(body);
        let other = maker.make_empty().unwrap();
        assert_ne!(other.bytes().as_ptr(), held.as_ptr());
        assert_eq!(&held[..], &before[..]);
        assert_eq!(&other.bytes()[..], [0], "the snappy block of nothing");
    }
}
