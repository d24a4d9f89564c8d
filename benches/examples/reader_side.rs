//! One step of a line's way, a number of times over the same input, for whoever counts instructions from outside:
//! `reader_side STEP ROUNDS`. Without arguments it says which steps there are, each with the lines and bytes of a round.
//!
//! A round more costs what the step costs, without the start, the input's making and the first round, in which memory
//! grows: the difference of two counts is exact ([`benches::instructions`]).

#[path = "../benches/parsing/warm.rs"]
mod warm;

use std::{env, hint::black_box, process::ExitCode, sync::Arc};

use benches::{
    floor::Block,
    records::Records,
    staged::{DEBUG_ONE_IN, KINDS, Kind, TRACE_LINES},
};
use collector::{
    batch::{Batch, RequestEncoder, StreamSlot},
    config::StageConfig,
    model::{ChannelId, Position, Stream, UnitId},
    pipeline::{Entry, Origin, Pairs, Pipeline},
    tail::read::BUFFER_BYTES,
};
use rig::kubelet::Format;
use warm::Warm;

/// Read buffers of a round.
const CHUNKS: usize = 4;
/// Lines of a round through stages: whole traces, and as many lines of each level.
const STAGED_LINES: u64 = 20 * TRACE_LINES * DEBUG_ONE_IN;
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
            for kind in &KINDS {
                let lines = Staged::lines_of(kind);
                println!("{} {} {}", step_name(kind), lines.len(), lines.iter().map(String::len).sum::<usize>());
            }
            ExitCode::SUCCESS
        }
        [name, rounds] => {
            let Ok(rounds) = rounds.parse() else { return usage() };
            if let Some((_, format, repeat)) = STEPS.iter().find(|step| step.0 == name) {
                repeat(&Records::new(*format, BUFFER_BYTES), rounds);
            } else if let Some(kind) = KINDS.iter().find(|kind| step_name(kind) == name) {
                Staged::new(kind).run(rounds);
            } else {
                return usage();
            }
            ExitCode::SUCCESS
        }
        _ => usage(),
    }
}

/// `stages: json` as a word.
fn step_name(kind: &Kind) -> String {
    kind.name.replace(": ", "-")
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

/// Lines to entries: what the stages do for a line, without reading it and without the batch.
struct Staged {
    pipeline: Pipeline,
    lines: Vec<String>,
    labels: Pairs,
}

impl Staged {
    fn new(kind: &Kind) -> Self {
        // Both are constants, which a test of the whole pipeline runs.
        let stages = StageConfig::list(kind.stages).expect("a list of stages");
        let pipeline = Pipeline::compile(&stages).expect("stages");
        let labels = [
            ("cluster", "bench"),
            ("container", "app"),
            ("job", "default/app"),
            ("namespace", "default"),
            ("pod", "app-0"),
            ("stream", "stdout"),
        ];
        let mut labels: Pairs = labels.into_iter().collect();
        labels.mark();
        Self { pipeline, lines: Self::lines_of(kind), labels }
    }

    fn lines_of(kind: &Kind) -> Vec<String> {
        let line = |n| {
            let mut line = String::new();
            (kind.line)(n, &mut line);
            line
        };
        (0..STAGED_LINES).map(line).collect()
    }

    fn run(&mut self, rounds: u32) {
        let mut state = self.pipeline.new_state(Origin { labels: &self.labels, ..Origin::default() });
        let mut entry = Entry::default();
        for _ in 0..rounds {
            for line in &self.lines {
                entry.labels.copy_from(&self.labels);
                entry.metadata.clear();
                entry.line.clear();
                entry.line.extend_from_slice(black_box(line).as_bytes());
                self.pipeline.process(&mut state, &mut entry, 0, &mut |entry| {
                    black_box(entry);
                });
            }
        }
    }
}
