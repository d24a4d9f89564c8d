//! One step of a line's way, a number of times over the same input, for whoever counts instructions from outside:
//! `reader_side STEP ROUNDS`. Without arguments it says which steps there are, each with the lines and bytes of a round.
//!
//! A round more costs what the step costs, without the start, the input's making and the first round, in which memory
//! grows: the difference of two counts is exact ([`benches::instructions`]).

#[path = "../benches/parsing/warm.rs"]
mod warm;

use std::{env, hint::black_box, process::ExitCode, sync::Arc};

use benches::{floor::Block, records::Records};
use collector::{
    batch::{Batch, RequestEncoder, StreamSlot},
    model::{ChannelId, Position, Stream, UnitId},
    tail::read::BUFFER_BYTES,
};
use rig::kubelet::Format;
use warm::Warm;

/// Read buffers of a round.
const CHUNKS: usize = 4;
const LABELS: &str =
    r#"{cluster="bench", container="app", job="default/app", namespace="default", pod="app-0", stream="#;

/// Does a step so many times.
type Repeat = fn(&Records, u32);

/// A step's name, its input's format, and what does it.
const STEPS: [(&str, Format, Repeat); 8] = [
    ("newlines", Format::Cri, newlines),
    ("parse-cri", Format::Cri, parse),
    ("parse-docker", Format::DockerJson, parse),
    ("batch-cri", Format::Cri, batch),
    ("batch-docker", Format::DockerJson, batch),
    ("gather", Format::Cri, gather),
    ("snappy", Format::Cri, snappy),
    ("floor", Format::Cri, floor),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            for (name, format, _) in STEPS {
                let records = Records::new(format, BUFFER_BYTES);
                println!("{name} {} {}", records.lines * CHUNKS as u64, records.bytes.len() * CHUNKS);
            }
            ExitCode::SUCCESS
        }
        [name, rounds] => match (STEPS.iter().find(|step| step.0 == name), rounds.parse()) {
            (Some((_, format, repeat)), Ok(rounds)) => {
                repeat(&Records::new(*format, BUFFER_BYTES), rounds);
                ExitCode::SUCCESS
            }
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: reader_side [STEP ROUNDS]");
    ExitCode::FAILURE
}

/// Where records end. Not the collector's code, but how it calls it.
fn newlines(records: &Records, rounds: u32) {
    for _ in 0..rounds as usize * CHUNKS {
        black_box(memchr::memchr_iter(b'\n', black_box(&records.bytes)).fold(0, |sum, end| sum ^ end));
    }
}

/// Read buffers to lines.
fn parse(records: &Records, rounds: u32) {
    let mut warm = Warm::default();
    for _ in 0..rounds as usize * CHUNKS {
        warm.feed(&records.bytes, &mut |line| {
            black_box(line);
        });
    }
}

/// Read buffers to entries in a batch: what the reader's thread does for a line.
fn batch(records: &Records, rounds: u32) {
    let (mut warm, mut batch) = (Warm::default(), Batch::new(0));
    for round in 0..rounds {
        fill(&mut batch, &mut warm, records, u64::from(round));
        black_box(&batch);
    }
}

/// A batch to a push request's bytes.
fn gather(records: &Records, rounds: u32) {
    let mut batch = Batch::new(0);
    fill(&mut batch, &mut Warm::default(), records, 0);
    let (mut encoder, mut request) = (RequestEncoder::default(), Vec::new());
    for _ in 0..rounds {
        request.clear();
        encoder.encode(black_box(&batch), &batch.whole(), &mut request);
        black_box(&request);
    }
}

/// A push request's bytes to a body.
fn snappy(records: &Records, rounds: u32) {
    let mut batch = Batch::new(0);
    fill(&mut batch, &mut Warm::default(), records, 0);
    let mut request = Vec::new();
    RequestEncoder::default().encode(&batch, &batch.whole(), &mut request);
    let mut compressed = vec![0; snappy::max_compressed_len(request.len())];
    let mut encoder = snappy::Encoder::default();
    for _ in 0..rounds {
        // Cannot fail: the memory is as long as the longest output.
        let _ = black_box(encoder.compress(black_box(&request), &mut compressed));
    }
}

/// All that the floor does between reading and sending.
fn floor(records: &Records, rounds: u32) {
    let mut block = Block::default();
    for _ in 0..rounds {
        for _ in 0..CHUNKS {
            block.append_records(black_box(&records.bytes));
        }
        // As above.
        let _ = black_box(block.seal(LABELS));
    }
}

fn fill(batch: &mut Batch, warm: &mut Warm, records: &Records, generation: u64) {
    batch.clear(generation);
    let streams: [StreamSlot; 2] = Stream::ALL.map(|stream| {
        let labels: Arc<str> = format!("{LABELS}\"{}\"}}", stream.name()).into();
        batch.open_stream(&labels, ChannelId { unit: UnitId(0), stream })
    });
    for _ in 0..CHUNKS {
        warm.feed(&records.bytes, &mut |line| {
            batch.append(streams[line.stream as usize], Position::START, line.timestamp_ns, line.text, &[])
        });
    }
}
