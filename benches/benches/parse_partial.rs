//! Joining a line's pieces: 100 KB lines in CRI records of 16 KiB, against the same bytes in whole records of 16 KiB, which
//! are not copied.
//!
//! `cargo bench -p benches --bench parse_partial`

mod parsing;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use parsing::bench_parser;

const PIECE_BYTES: usize = 16 << 10;
const PIECES: usize = 6;
const TIME: &str = "2026-11-22T11:09:06.123456789Z";

fn partials(c: &mut Criterion) {
    let piece = "0123456789abcdef".repeat(PIECE_BYTES / 16);
    let split = format!("{TIME} stdout P {piece}\n").repeat(PIECES) + &format!("{TIME} stdout F \n");
    let whole = format!("{TIME} stdout F {piece}\n").repeat(PIECES);
    let mut group = c.benchmark_group("partial");
    for (name, chunk) in [("six pieces joined", split), ("six whole lines", whole)] {
        bench_parser(&mut group, BenchmarkId::from_parameter(name), chunk.as_bytes());
    }
    group.finish();
}

criterion_group!(benches, partials);
criterion_main!(benches);
