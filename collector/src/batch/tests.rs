//! The encoder against prost's, splitting, progress and the steady state's allocations.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::model::{Position, Stream, UnitId};

/// One line: which stream, when, what.
type Line = (usize, i64, String);

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let timestamp = prop_oneof![any::<i64>(), 1_600_000_000_000_000_000..1_900_000_000_000_000_000i64, Just(0)];
    let text = prop_oneof![".*", "[a-z ]{0,40}", "x{120,140}", Just(String::new())];
    prop::collection::vec((0..6usize, timestamp, text), 0..60)
}

fn label_set(stream: usize) -> Arc<str> {
    format!("{{app=\"{}\"}}", "a".repeat(stream * 40)).into()
}

/// Structured metadata of every second stream.
fn metadata(stream: usize) -> std::collections::BTreeMap<String, String> {
    let names = ["pod_uid", "node", "empty"].into_iter().filter(|_| stream % 2 == 1);
    names.map(|name| (name.to_owned(), if name == "empty" { String::new() } else { name.repeat(stream * 9) })).collect()
}

fn channel(stream: usize) -> ChannelId {
    ChannelId { unit: UnitId(stream as u32), stream: Stream::Stdout }
}

fn at(offset: u64) -> Position {
    Position { turn: 1, offset }
}

fn batch_of(lines: &[Line]) -> Batch {
    let mut batch = Batch::new(0);
    let mut slots = [None; 6];
    for (stream, timestamp_ns, text) in lines {
        let slot = *slots[*stream].get_or_insert_with(|| batch.open_stream(&label_set(*stream), channel(*stream)));
        batch.append(slot, at(0), *timestamp_ns, text.as_bytes(), &structured_metadata(&metadata(*stream)));
    }
    batch
}

/// The request that prost would make: streams in the order of their first line.
fn request_of(lines: &[Line]) -> PushRequest {
    let mut order = Vec::new();
    for (stream, ..) in lines {
        if !order.contains(stream) {
            order.push(*stream);
        }
    }
    let entries_of = |stream: usize| {
        let of_stream = lines.iter().filter(move |line| line.0 == stream);
        of_stream
            .map(|(_, timestamp_ns, text)| EntryAdapter {
                timestamp: Some(Timestamp {
                    seconds: timestamp_ns.div_euclid(1_000_000_000),
                    nanos: timestamp_ns.rem_euclid(1_000_000_000) as i32,
                }),
                line: text.clone(),
                structured_metadata: metadata(stream)
                    .into_iter()
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(name, value)| LabelPairAdapter { name, value })
                    .collect(),
            })
            .collect()
    };
    let streams = order
        .iter()
        .map(|&stream| StreamAdapter { labels: label_set(stream).to_string(), entries: entries_of(stream) });
    PushRequest { streams: streams.collect() }
}

fn encoded(batch: &Batch, range: &Part) -> Vec<u8> {
    let mut out = Vec::new();
    batch.encode_push_request(range, &mut out);
    out
}

/// Every entry of `request` as (labels, timestamp, text), sorted by stream and then in its order.
fn entries(requests: &[PushRequest]) -> Vec<(String, Timestamp, String)> {
    let mut all: Vec<_> = requests
        .iter()
        .flat_map(|request| &request.streams)
        .flat_map(|stream| {
            let labels = &stream.labels;
            stream.entries.iter().map(move |e| (labels.clone(), e.timestamp.unwrap(), e.line.clone()))
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

proptest! {
    #[test]
    fn a_batch_encodes_to_the_very_bytes_that_prost_writes(lines in lines()) {
        // prost writes fields in order and streams in ours, so the bytes are equal but for an empty line, whose
        // field prost leaves out: decoding makes them equal.
        let batch = batch_of(&lines);
        let bytes = encoded(&batch, &batch.whole());
        prop_assert_eq!(PushRequest::decode(&bytes[..]).unwrap(), request_of(&lines));
        if lines.iter().all(|line| !line.2.is_empty()) {
            prop_assert_eq!(bytes, request_of(&lines).encode_to_vec());
        }
        prop_assert_eq!(batch.entries(), lines.len() as u64);
        prop_assert_eq!(batch.text_bytes(), lines.iter().map(|line| line.2.len() as u64).sum::<u64>());
    }

    #[test]
    fn parts_of_a_split_batch_hold_every_entry_once_and_in_order(lines in lines(), depth in 1..8usize) {
        let batch = batch_of(&lines);
        let mut parts = vec![batch.whole()];
        for _ in 0..depth {
            parts = parts
                .into_iter()
                .flat_map(|part| match batch.halve(&part) {
                    Some((first, second)) => {
                        assert!(first.entries() > 0 && second.entries() > 0);
                        vec![first, second]
                    }
                    None => {
                        assert!(part.entries() < 2);
                        vec![part]
                    }
                })
                .collect();
        }
        prop_assert_eq!(parts.iter().map(Part::entries).sum::<u64>(), batch.entries());
        prop_assert_eq!(parts.iter().map(Part::encoded_bytes).sum::<usize>(), batch.encoded_bytes());
        let requests: Vec<_> =
            parts.iter().map(|part| PushRequest::decode(&encoded(&batch, part)[..]).unwrap()).collect();
        for (request, part) in requests.iter().zip(&parts) {
            prop_assert_eq!(request.streams.iter().map(|s| s.entries.len() as u64).sum::<u64>(), part.entries());
        }
        prop_assert_eq!(entries(&requests), entries(&[request_of(&lines)]));
    }
}

#[test]
fn lengths_and_times_at_the_borders_of_a_varint_encode_as_prost_does() {
    let lengths = [0usize, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152];
    let times = [i64::MIN, -1, 0, 1, 999_999_999, 1_000_000_000, 127_000_000_001, 128_000_000_127, i64::MAX];
    let powers = (0..63).flat_map(|bit| [(1 << bit) - 1, 1 << bit, -(1 << bit)]);
    let of_times = times.into_iter().chain(powers).map(|timestamp_ns| (0, timestamp_ns, "text".to_owned()));
    // The entry's own length crosses its borders a little before the text's.
    let of_lengths = lengths.iter().flat_map(|&len| len.saturating_sub(40)..len + 2);
    let lines: Vec<Line> = of_times.chain(of_lengths.map(|len| (0, 1, "x".repeat(len)))).collect();
    for line in lines {
        let lines = [line];
        let batch = batch_of(&lines);
        assert_eq!(PushRequest::decode(&encoded(&batch, &batch.whole())[..]).unwrap(), request_of(&lines));
    }
}

#[test]
fn a_split_of_uneven_entries_halves_the_bytes() {
    let mut lines: Vec<Line> = (0..100).map(|n| (0, n, "short".to_owned())).collect();
    lines.insert(0, (0, 0, "x".repeat(100_000)));
    let batch = batch_of(&lines);
    let (first, second) = batch.halve(&batch.whole()).unwrap();
    assert_eq!((first.entries(), second.entries()), (1, 100));
}

#[test]
fn slots_with_equal_labels_are_one_stream_of_the_request() {
    let mut batch = Batch::new(0);
    let slots = [batch.open_stream(&label_set(0), channel(0)), batch.open_stream(&label_set(1), channel(1))];
    let twin = batch.open_stream(&label_set(0), channel(2));
    for (n, slot) in [slots[0], twin, slots[1], slots[0], twin].into_iter().enumerate() {
        batch.append(slot, at(n as u64), 1 + n as i64, format!("{n}").as_bytes(), &[]);
    }
    let request = PushRequest::decode(&encoded(&batch, &batch.whole())[..]).unwrap();
    let lines = |stream: &StreamAdapter| stream.entries.iter().map(|entry| entry.line.clone()).collect::<Vec<_>>();
    assert_eq!(request.streams.iter().map(lines).collect::<Vec<_>>(), [vec!["0", "1", "3", "4"], vec!["2"]]);
    let (first, second) = batch.halve(&batch.whole()).unwrap();
    assert_eq!((first.entries(), second.entries()), (4, 1), "and they stay together");
    let rest = batch.without(&first, |slot| slot == twin).unwrap();
    assert_eq!(rest, batch.part_of([slots[0]]));
    assert!(batch.without(&rest, |slot| slot == slots[0]).is_none());
    let (_, late) = batch.halve(&first).unwrap();
    assert_eq!(batch.without(&late, |slot| slot == twin).unwrap().entries(), 1, "of a half only what stands in it");
}

#[test]
fn a_stream_is_tried_with_its_first_entry() {
    let batch = batch_of(&[(0, 1, "x".repeat(900)), (1, 1, "y".into()), (0, 2, "x".into())]);
    let mut request = Vec::new();
    encode_single_stream("{}", &batch.first_entry(&batch.part_of([StreamSlot(0)])).unwrap(), &mut request);
    let request = PushRequest::decode(&request[..]).unwrap();
    assert_eq!(request.streams[0].entries[0].line, "x".repeat(900));
}
