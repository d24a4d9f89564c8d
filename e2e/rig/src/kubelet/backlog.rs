//! Many bytes of logs at once, as after an outage: for benchmarks.

use std::{
    fs,
    io::{self, Write},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use super::{Format, Node, Pod, Stream, container::open_attempt, record};
use crate::{
    ledger::Ledger,
    mark::{self, Mark, Shape},
    random::Random,
};

const WRITE_BYTES: usize = 1 << 20;
/// Time from one line of a file to its next.
const STEP_NS: i64 = 20_011;

/// What is to be written.
#[derive(Clone, Copy, Debug)]
pub struct BacklogOptions {
    /// Bytes of all files together; exceeded by less than a line a file.
    pub bytes: u64,
    /// Log files, each of one container in a pod of its own.
    pub files: usize,
    /// How they are written.
    pub format: Format,
    /// Bytes of a CRI record, its newline included; docker's records have the same texts.
    pub record_bytes: usize,
    /// One record in this many is a partial one, which the next record ends.
    pub partial_one_in: usize,
    /// The last timestamps, in nanoseconds since 1970.
    pub end_ns: i64,
}

impl BacklogOptions {
    /// 200-byte CRI records, one in 100 partial, as the benchmarks have it, ending now.
    pub fn new(bytes: u64, files: usize) -> Self {
        let end_ns = super::Clock::system().now_ns();
        Self { bytes, files, format: Format::Cri, record_bytes: 200, partial_one_in: 100, end_ns }
    }
}

/// Writes `files` logs of about the same size: half the lines JSON, half text, one in ten on stderr. Uses all
/// processors. Gives the number of bytes.
///
/// # Errors
/// Those of the file system.
pub fn generate_backlog(node: &mut Node, options: &BacklogOptions) -> io::Result<u64> {
    let logs: Vec<Log> = (0..options.files)
        .map(|i| {
            let pod = node.pod("backlog", &format!("writer-{i}"));
            Log { pod, seed: node.random.bits(), sources: sources(node, i) }
        })
        .collect();
    let next = AtomicUsize::new(0);
    let (node, options) = (&*node, &options);
    let threads = thread::available_parallelism().map_or(1, |n| n.get());
    thread::scope(|scope| {
        let work = || -> io::Result<u64> {
            let mut bytes = 0;
            while let Some(log) = logs.get(next.fetch_add(1, Relaxed)) {
                bytes += write_log(node, log, options)?;
            }
            Ok(bytes)
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let panicked = || io::Error::other("a writer panicked");
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err(panicked()))).sum()
    })
}

struct Log {
    pod: Pod,
    seed: u64,
    sources: [u32; 2],
}

fn sources(node: &Node, i: usize) -> [u32; 2] {
    Stream::ALL.map(|stream| node.ledger.add_source(format!("backlog/writer-{i}/app {}", stream.name())))
}

fn write_log(node: &Node, log: &Log, options: &BacklogOptions) -> io::Result<u64> {
    let folder = node.pods().join(log.pod.folder()).join("app");
    fs::create_dir_all(&folder)?;
    let mut random = Random::new(log.seed);
    let (_, mut file) = open_attempt(&folder, &node.docker(), 0, options.format, &mut random)?;
    let bytes_max = options.bytes / options.files.max(1) as u64;
    let records = bytes_max / options.record_bytes.max(1) as u64;
    let mut writer = LogWriter {
        timestamp_ns: options.end_ns - STEP_NS * records as i64,
        sequences: [0; 2],
        text_bytes: [0; 2],
        out: Vec::with_capacity(2 * WRITE_BYTES),
        line: Vec::new(),
    };
    let mut bytes = 0;
    while bytes + (writer.out.len() as u64) < bytes_max {
        writer.write_line(log, options, &mut random);
        if writer.out.len() >= WRITE_BYTES {
            file.write_all(&writer.out)?;
            bytes += writer.out.len() as u64;
            writer.out.clear();
        }
    }
    file.write_all(&writer.out)?;
    bytes += writer.out.len() as u64;
    writer.count(&node.ledger, log);
    Ok(bytes)
}

struct LogWriter {
    timestamp_ns: i64,
    sequences: [u64; 2],
    text_bytes: [u64; 2],
    out: Vec<u8>,
    line: Vec<u8>,
}

impl LogWriter {
    fn write_line(&mut self, log: &Log, options: &BacklogOptions, random: &mut Random) {
        let stream = if random.one_in(10) { Stream::Stderr } else { Stream::Stdout };
        let shape = if random.one_in(2) { Shape::Json } else { Shape::Text };
        let partial = random.one_in(options.partial_one_in.max(1));
        let sequence = &mut self.sequences[stream as usize];
        self.timestamp_ns += STEP_NS;
        let mark = Mark { source: log.sources[stream as usize], sequence: *sequence, timestamp_ns: self.timestamp_ns };
        *sequence += 1;
        let head_bytes = cri_head_bytes(&mut self.line, stream, self.timestamp_ns);
        let content_bytes = options.record_bytes.saturating_sub(head_bytes + 1);
        self.line.clear();
        let len = if partial { 2 * content_bytes } else { content_bytes };
        mark::write(&mut self.line, mark, shape, len, random);
        self.text_bytes[stream as usize] += self.line.len() as u64;
        if options.format == Format::DockerJson {
            self.line.push(b'\n');
        }
        let first_bytes = if partial { content_bytes.min(self.line.len()) } else { self.line.len() };
        let (first, rest) = self.line.split_at(first_bytes);
        record::append(&mut self.out, options.format, stream, self.timestamp_ns, 0, (first, partial));
        if partial {
            self.timestamp_ns += STEP_NS;
            record::append(&mut self.out, options.format, stream, self.timestamp_ns, 0, (rest, false));
        }
    }

    fn count(&self, ledger: &Ledger, log: &Log) {
        for (stream, source) in log.sources.iter().enumerate() {
            ledger.add_lines(*source, self.sequences[stream], self.text_bytes[stream]);
        }
    }
}

/// Bytes of a CRI record before its content; `scratch` is overwritten.
fn cri_head_bytes(scratch: &mut Vec<u8>, stream: Stream, timestamp_ns: i64) -> usize {
    scratch.clear();
    record::write_cri_head(scratch, stream, timestamp_ns, 0, false);
    scratch.len()
}
