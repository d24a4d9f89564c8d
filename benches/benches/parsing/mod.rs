//! What the benchmarks of parsing have in common: a parser that is fed with one chunk again and again.

pub mod warm;

use std::hint::black_box;

use criterion::{BenchmarkGroup, BenchmarkId, Throughput, measurement::WallTime};

use self::warm::Warm;

/// Measures the collector's parser on `chunk`, all of whose records it knows.
pub fn bench_parser(group: &mut BenchmarkGroup<'_, WallTime>, id: BenchmarkId, chunk: &[u8]) {
    group.throughput(Throughput::Bytes(chunk.len() as u64));
    group.bench_function(id, |b| {
        let mut warm = Warm::default();
        b.iter(|| {
            warm.feed(chunk, &mut |line| {
                black_box(line);
            });
        });
        assert_eq!(warm.counts.raw_records, 0);
    });
}
