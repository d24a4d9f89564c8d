//! Joining a line's pieces: 100 KB lines in CRI records of 16 KiB, against the same bytes in whole records of 16 KiB, which
//! are not copied.
//!
//! `cargo bench -p benches --bench parse_partial`

use std::hint::black_box;

use collector::{
    config::Oversize,
    parse::{ContainerParser, Counts, Limits, Scratch},
    read::Position,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const PIECE_BYTES: usize = 16 << 10;
const PIECES: usize = 6;
const TIME: &str = "2026-11-22T11:09:06.123456789Z";

fn partials(c: &mut Criterion) {
    let piece = "0123456789abcdef".repeat(PIECE_BYTES / 16);
    let split = format!("{TIME} stdout P {piece}\n").repeat(PIECES) + &format!("{TIME} stdout F \n");
    let whole = format!("{TIME} stdout F {piece}\n").repeat(PIECES);
    let mut group = c.benchmark_group("partial");
    for (name, chunk) in [("six pieces joined", split), ("six whole lines", whole)] {
        group.throughput(Throughput::Bytes(chunk.len() as u64));
        group.bench_function(name, |b| {
            let mut parser = ContainerParser::new(Limits { max_line_bytes: 256 << 10, oversize: Oversize::Split });
            let (mut scratch, mut counts) = (Scratch::default(), Counts::default());
            b.iter(|| {
                let at = Position { file: 0, offset: 0 };
                parser.feed(black_box(chunk.as_bytes()), at, &mut scratch, &mut counts, &mut |line| {
                    black_box(line);
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, partials);
criterion_main!(benches);
