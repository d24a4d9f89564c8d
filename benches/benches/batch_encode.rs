//! What one line costs on its way into a batch, against prost's own encoder, and what a sealed batch costs on its way
//! out: `cargo bench --package benches --bench batch_encode`.

use std::{hint::black_box, sync::Arc};

use collector::{
    batch::{Batch, EntryAdapter, RequestEncoder, Timestamp, structured_metadata},
    model::{ChannelId, Position, Stream, UnitId},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const CHANNEL: ChannelId = ChannelId { unit: UnitId(0), stream: Stream::Stdout };
const LINES: usize = 4096;
const FIRST_NS: i64 = 1_767_322_445_123_456_789;

/// Texts of about `bytes` bytes that compress as logs do: a fixed part, and numbers that differ.
fn texts(bytes: usize) -> Vec<String> {
    let line = |n: usize| {
        let mut text = format!("level=info request={n} duration={}us path=/api/v1/items/{}", n * 7919 % 10_007, n * 31);
        while text.len() < bytes {
            text.push_str(" and then some words of the message");
        }
        text.truncate(bytes);
        text
    };
    (0..LINES).map(line).collect()
}

fn entry(criterion: &mut Criterion) {
    for bytes in [50, 200] {
        let texts = texts(bytes);
        let mut group = criterion.benchmark_group(format!("encode {LINES} lines of {bytes} bytes"));
        group.throughput(Throughput::Bytes(texts.iter().map(|text| text.len() as u64).sum()));

        let labels: Arc<str> = r#"{app="nginx"}"#.into();
        let mut batch = Batch::new(0);
        group.bench_function("batch append", |b| {
            b.iter(|| {
                batch.clear(0);
                let stream = batch.open_stream(&labels, CHANNEL);
                for (n, text) in texts.iter().enumerate() {
                    batch.append(
                        stream,
                        Position::START,
                        FIRST_NS + n as i64 * 1_000_003,
                        black_box(text.as_bytes()),
                        &[],
                    );
                }
                batch.encoded_bytes()
            });
        });

        let node = ("node".to_owned(), "pi-3".to_owned());
        let uid = ("pod_uid".to_owned(), "467433c9-ed7f-4e83-9600-6441503c1539".to_owned());
        let metadata = structured_metadata(&[node, uid].into());
        group.bench_function("batch append with structured metadata", |b| {
            b.iter(|| {
                batch.clear(0);
                let stream = batch.open_stream(&labels, CHANNEL);
                for (n, text) in texts.iter().enumerate() {
                    let timestamp_ns = FIRST_NS + n as i64 * 1_000_003;
                    batch.append(stream, Position::START, timestamp_ns, black_box(text.as_bytes()), &metadata);
                }
                batch.encoded_bytes()
            });
        });

        // The messages are made beforehand: only prost's encoding is measured, not the copies that it needs first.
        let messages: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(n, text)| {
                let timestamp_ns = FIRST_NS + n as i64 * 1_000_003;
                let (seconds, nanos) = (timestamp_ns / 1_000_000_000, (timestamp_ns % 1_000_000_000) as i32);
                let timestamp = Some(Timestamp { seconds, nanos });
                EntryAdapter { timestamp, line: text.clone(), structured_metadata: Vec::new() }
            })
            .collect();
        let mut out = Vec::new();
        group.bench_function("prost encode", |b| {
            b.iter(|| {
                out.clear();
                for message in &messages {
                    prost::encoding::message::encode(2, black_box(message), &mut out);
                }
                out.len()
            });
        });
        group.finish();
    }
}

fn seal(criterion: &mut Criterion) {
    for streams in [1, 30] {
        let mut batch = Batch::new(0);
        let slots: Vec<_> = (0..streams)
            .map(|n| {
                batch.open_stream(&format!(r#"{{app="nginx", namespace="default", pod="nginx-{n}"}}"#).into(), CHANNEL)
            })
            .collect();
        for (n, text) in texts(200).iter().enumerate() {
            batch.append(slots[n % streams], Position::START, FIRST_NS + n as i64 * 1_000_003, text.as_bytes(), &[]);
        }
        let mut group = criterion.benchmark_group(format!("seal {streams} interleaved streams"));
        group.throughput(Throughput::Bytes(batch.encoded_bytes() as u64));

        let (mut encoder, mut request) = (RequestEncoder::default(), Vec::new());
        group.bench_function("gather", |b| {
            b.iter(|| {
                request.clear();
                encoder.encode(&batch, &batch.whole(), &mut request);
                request.len()
            });
        });
        let mut snappy = snappy::Encoder::default();
        let mut compressed = vec![0; snappy::max_compressed_len(request.len())];
        group.bench_function("snappy", |b| b.iter(|| snappy.compress(black_box(&request), &mut compressed)));
        group.finish();
    }
}

criterion_group!(benches, entry, seal);
criterion_main!(benches);
