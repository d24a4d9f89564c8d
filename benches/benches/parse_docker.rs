//! Docker json-file records, 64 KiB at a time, to lines: the hand-written way for dockerd's own shape, simd-json for any
//! other (the same fields in another order), and serde_json into borrowed fields.
//!
//! `cargo bench -p benches --bench parse_docker`; the time per line is that of the iteration by the number in its name.

mod parsing;

use std::{borrow::Cow, hint::black_box};

use collector::decode::parse_rfc3339;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use parsing::bench_parser;
use serde::Deserialize;

const BUFFER_BYTES: usize = 64 << 10;

fn records(log: &str, record: impl Fn(&str, &str) -> String) -> (usize, Vec<u8>) {
    let log = serde_json::to_string(log).unwrap();
    let mut all = Vec::new();
    let mut lines = 0;
    while all.len() < BUFFER_BYTES {
        let time = format!("2026-11-22T11:09:06.{:09}Z", 100_000_007 + 2_000_003 * lines);
        all.extend_from_slice(record(&log, &time).as_bytes());
        lines += 1;
    }
    (lines, all)
}

fn as_dockerd_writes_it(log: &str, time: &str) -> String {
    format!("{{\"log\":{log},\"stream\":\"stdout\",\"time\":\"{time}\"}}\n")
}

fn in_another_order(log: &str, time: &str) -> String {
    format!("{{\"stream\":\"stdout\",\"log\":{log},\"time\":\"{time}\"}}\n")
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// The lines' number and bytes, so that nothing is optimised away.
fn with_serde_json(chunk: &[u8]) -> (usize, usize) {
    let (mut lines, mut bytes) = (0, 0);
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', chunk) {
        if let Ok(entry) = serde_json::from_slice::<Entry<'_>>(&chunk[start..end]) {
            let known_stream = matches!(&*entry.stream, "stdout" | "stderr");
            if known_stream && black_box(parse_rfc3339(entry.time.as_bytes())).is_some() {
                lines += 1;
                bytes += entry.log.trim_end_matches('\n').len();
            }
        }
        start = end + 1;
    }
    (lines, bytes)
}

fn docker(c: &mut Criterion) {
    let mut group = c.benchmark_group("docker");
    let plain =
        "GET /api/v1/orders/4711 HTTP/1.1 200 1234 0.012 upstream=10.42.0.17:8080 ua=curl/8.5.0 id=bb0ce8d879759fcd\n";
    let json = "{\"ts\":\"2026-03-01T19:12:13.183Z\",\"level\":\"info\",\"msg\":\"bonus stock\",\"http\":{\"method\":\"GET\",\"status\":201}}\n";
    let long = "0123456789abcdef".repeat(1000) + "\n";
    for (name, log) in [("plain", plain), ("json in json", json), ("16 KB", &long)] {
        for (way, (lines, chunk)) in
            [("hand-written", records(log, as_dockerd_writes_it)), ("simd-json", records(log, in_another_order))]
        {
            bench_parser(&mut group, BenchmarkId::new(format!("{way}, {lines} lines"), name), &chunk);
        }
        let (lines, chunk) = records(log, as_dockerd_writes_it);
        group.throughput(Throughput::Bytes(chunk.len() as u64));
        group.bench_function(BenchmarkId::new(format!("serde_json, {lines} lines"), name), |b| {
            b.iter(|| with_serde_json(black_box(&chunk)));
        });
    }
    group.finish();
}

criterion_group!(benches, docker);
criterion_main!(benches);
