//! CRI records of 200 bytes, 64 KiB at a time, to lines: the collector's parser against the plain way with the standard
//! library. Both find the newlines, check UTF-8 and read the timestamp.
//!
//! `cargo bench -p benches --bench parse_cri`; the time per line is that of the iteration by the number in its name.

mod parsing;

use std::hint::black_box;

use collector::decode::parse_rfc3339;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use parsing::bench_parser;

const BUFFER_BYTES: usize = 64 << 10;
const RECORD_BYTES: usize = 200;

/// Records of `RECORD_BYTES` with newline, whose text repeats `text`.
fn records(text: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for nth in 0..BUFFER_BYTES / RECORD_BYTES {
        let begin = all.len();
        let stream = if nth % 4 == 0 { "stderr" } else { "stdout" };
        let nanos = 100_000_007 + 2_000_003 * nth;
        all.extend_from_slice(format!("2026-11-22T11:09:06.{nanos:09}Z {stream} F ").as_bytes());
        while all.len() - begin + text.len() < RECORD_BYTES {
            all.extend_from_slice(text.as_bytes());
        }
        all.resize(begin + RECORD_BYTES - 1, b'.');
        all.push(b'\n');
    }
    all
}

/// The lines' number and bytes, so that nothing is optimised away.
fn with_the_standard_library(chunk: &[u8]) -> (usize, usize) {
    let (mut lines, mut bytes) = (0, 0);
    for record in chunk.split(|b| *b == b'\n').filter(|record| !record.is_empty()) {
        let Ok(record) = std::str::from_utf8(record) else { continue };
        let mut fields = record.splitn(4, ' ');
        let (Some(time), Some(_stream), Some(_tag), Some(text)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if black_box(parse_rfc3339(time.as_bytes())).is_some() {
            lines += 1;
            bytes += text.len();
        }
    }
    (lines, bytes)
}

fn cri(c: &mut Criterion) {
    let mut group = c.benchmark_group("cri");
    let mut damaged = records("GET /api/v1/orders 200 ");
    for at in (150..damaged.len()).step_by(RECORD_BYTES) {
        damaged[at] = 0xff;
    }
    for (name, chunk) in [
        ("ascii", records("GET /api/v1/orders 200 ")),
        ("umlauts", records("Größe äöü ")),
        ("cjk", records("日志收集器")),
        ("every line invalid", damaged),
    ] {
        let lines = chunk.len() / RECORD_BYTES;
        bench_parser(&mut group, BenchmarkId::new(format!("parser, {lines} lines"), name), &chunk);
        group.bench_function(BenchmarkId::new(format!("standard library, {lines} lines"), name), |b| {
            b.iter(|| with_the_standard_library(black_box(&chunk)));
        });
    }
    group.finish();
}

criterion_group!(benches, cri);
criterion_main!(benches);
