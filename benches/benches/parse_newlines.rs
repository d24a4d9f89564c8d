//! Finding the newlines of a 64 KiB read buffer: memchr against a loop over the bytes.
//!
//! `cargo bench -p benches --bench parse_newlines`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const BUFFER_BYTES: usize = 64 << 10;

fn newlines(c: &mut Criterion) {
    let mut group = c.benchmark_group("newlines");
    for line_bytes in [50, 200, 1000] {
        let buffer = ("x".repeat(line_bytes - 1) + "\n").repeat(BUFFER_BYTES / line_bytes);
        let buffer = buffer.as_bytes();
        group.throughput(Throughput::Bytes(buffer.len() as u64));
        group.bench_function(BenchmarkId::new("memchr_iter", line_bytes), |b| {
            b.iter(|| memchr::memchr_iter(b'\n', black_box(buffer)).fold(0, |sum, at| sum ^ at));
        });
        group.bench_function(BenchmarkId::new("memchr per line", line_bytes), |b| {
            b.iter(|| {
                let (mut rest, mut sum) = (black_box(buffer), 0);
                while let Some(at) = memchr::memchr(b'\n', rest) {
                    sum ^= at;
                    rest = &rest[at + 1..];
                }
                sum
            });
        });
        group.bench_function(BenchmarkId::new("byte loop", line_bytes), |b| {
            b.iter(|| {
                let mut sum = 0;
                for (at, byte) in black_box(buffer).iter().enumerate() {
                    if *byte == b'\n' {
                        sum ^= at;
                    }
                }
                sum
            });
        });
    }
    group.finish();
}

criterion_group!(benches, newlines);
criterion_main!(benches);
