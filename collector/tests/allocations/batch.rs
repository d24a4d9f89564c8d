//! The steady state of a batch needs no memory.

use std::sync::Arc;

use collector::{
    batch::{Batch, RequestEncoder, structured_metadata},
    model::{ChannelId, Position, Stream, UnitId},
};

use crate::allocated;

#[test]
fn filling_and_encoding_a_recycled_batch_allocates_nothing() {
    let labels: Vec<Arc<str>> = (0..20).map(|n| format!("{{app=\"{n}\"}}").into()).collect();
    let metadata = structured_metadata(&[("node".to_owned(), "pi-3".to_owned())].into());
    let (mut batch, mut encoder, mut request) = (Batch::new(0), RequestEncoder::default(), Vec::new());
    let channel = |n| ChannelId { unit: UnitId(n as u32), stream: Stream::Stdout };
    let mut round = |generation| {
        batch.clear(generation);
        request.clear();
        let before = allocated();
        let slots: [_; 20] = std::array::from_fn(|n| batch.open_stream(&labels[n], channel(n)));
        for line in 0..5_000u64 {
            let slot = slots[line as usize % 20];
            batch.append(slot, Position::START, line as i64, b"a line of some length, as lines are", &[]);
            batch.append(slot, Position::START, line as i64, b"and one with structured metadata", &metadata);
        }
        encoder.encode(&batch, &batch.whole(), &mut request);
        allocated() - before
    };
    assert!(round(0) > 0, "the counter counts");
    assert_eq!(round(1), 0);
}
