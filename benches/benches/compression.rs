//! What compression does to push requests of logs of several kinds: `cargo bench --package benches --bench compression`.
//!
//! Out: a table of the collector's encoder beside the snap crate's: ratios and speeds, and, for comparison, how fast the request is
//! copied, which is what a body without compression takes. Of many runs in turn the fastest counts for a speed, as other programs
//! can only make it slower, and the median of the pairs for how many times as fast one is as the other.

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
    println!("| logs | ratio, snap | ratio | of snap's | MB/s, snap | MB/s | times as fast | copied, MB/s |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for corpus in corpora::generated(CORPUS_BYTES).into_iter().chain(corpora::recorded()?) {
        let request = request(&corpus);
        let mut out = vec![0; snappy::max_compressed_len(request.len())];
        let (mut snap, mut ours) = (snap::raw::Encoder::new(), snappy::Encoder::default());
        let (mut len_of_snap, mut len) = (0, 0);
        let (mut of_snap, mut of_ours, mut of_copies) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..RUNS {
            of_snap.push(seconds(|| len_of_snap = snap.compress(black_box(&request), &mut out).unwrap_or(0)));
            of_ours.push(seconds(|| len = ours.compress(black_box(&request), &mut out).unwrap_or(0)));
            anyhow::ensure!(snap::raw::Decoder::new().decompress_vec(&out[..len])? == request, "{}", corpus.name);
            of_copies.push(seconds(|| black_box(&mut out[..request.len()]).copy_from_slice(black_box(&request))));
        }
        let mut times: Vec<_> = of_snap.iter().zip(&of_ours).map(|(snap, ours)| snap / ours).collect();
        times.sort_by(f64::total_cmp);
        let megabytes_a_second =
            |seconds: &[f64]| request.len() as f64 / 1e6 / seconds.iter().copied().fold(f64::MAX, f64::min);
        println!(
            "| {} | {:.2} | {:.2} | {:.3} | {:.0} | {:.0} | {:.2} | {:.0} |",
            corpus.name,
            request.len() as f64 / len_of_snap as f64,
            request.len() as f64 / len as f64,
            len_of_snap as f64 / len as f64,
            megabytes_a_second(&of_snap),
            megabytes_a_second(&of_ours),
            times[times.len() / 2],
            megabytes_a_second(&of_copies),
        );
    }
    Ok(())
}

fn seconds(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
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
