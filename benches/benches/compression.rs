//! What compression does to push requests of logs of several kinds: `cargo bench --package benches --bench compression`.
//!
//! Out: a table with the ratio, and with how much a second is compressed and, for comparison, copied, which is what a body without
//! compression takes. Of many runs in turn the fastest counts, as other programs can only make it slower.

use std::{hint::black_box, time::Instant};

use benches::corpora::{self, Corpus};
use collector::{
    batch::Batch,
    model::{ChannelId, Position, Stream, UnitId},
};
use rig::random::Random;

/// Of each generated corpus; about what a request holds.
const CORPUS_BYTES: usize = 1 << 20;
const RUNS: usize = 50;
const LABELS: &str =
    r#"{cluster="bench", container="app", job="default/app", namespace="default", pod="app-0", stream="stdout"}"#;
const FIRST_NS: i64 = 1_795_345_754_341_435_724;
const GAP_NS_MAX: usize = 2_000_000;

fn main() -> anyhow::Result<()> {
    println!("| logs | ratio | snappy, MB/s | copied, MB/s |\n| --- | ---: | ---: | ---: |");
    for corpus in corpora::generated(CORPUS_BYTES).into_iter().chain(corpora::recorded()?) {
        let request = request(&corpus);
        let mut out = vec![0; snap::raw::max_compress_len(request.len())];
        let mut encoder = snap::raw::Encoder::new();
        let (mut compressed_in, mut copied_in, mut len) = (f64::MAX, f64::MAX, 0);
        for _ in 0..RUNS {
            let started = Instant::now();
            len = encoder.compress(black_box(&request), &mut out)?;
            compressed_in = started.elapsed().as_secs_f64().min(compressed_in);
            let started = Instant::now();
            black_box(&mut out[..request.len()]).copy_from_slice(black_box(&request));
            copied_in = started.elapsed().as_secs_f64().min(copied_in);
        }
        let (ratio, megabytes) = (request.len() as f64 / len as f64, request.len() as f64 / 1e6);
        let speed = |seconds: f64| megabytes / seconds;
        println!("| {} | {ratio:.2} | {:.0} | {:.0} |", corpus.name, speed(compressed_in), speed(copied_in));
    }
    Ok(())
}

/// A push request with the lines as one stream's.
fn request(corpus: &Corpus) -> Vec<u8> {
    let mut batch = Batch::new(0);
    let stream = batch.open_stream(&LABELS.into(), ChannelId { unit: UnitId(0), stream: Stream::Stdout });
    let (mut random, mut timestamp_ns) = (Random::new(1), FIRST_NS);
    for line in &corpus.lines {
        timestamp_ns += 1 + random.below(GAP_NS_MAX) as i64;
        batch.append(stream, Position::START, timestamp_ns, line, &[]);
    }
    let mut request = Vec::new();
    batch.encode_push_request(&batch.whole(), &mut request);
    request
}
