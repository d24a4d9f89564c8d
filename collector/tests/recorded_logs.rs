//! The logs that a real containerd and a real dockerd wrote (tests/data) give the lines that the containers wrote.

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use collector::{
    config::Oversize,
    decode::{ContainerParser, Counts, Limits, Scratch},
    model::{Line, Position, Stream},
};
use flate2::read::GzDecoder;
use serde::Deserialize;

/// Longer than any recorded line.
const LIMITS: Limits = Limits { max_line_bytes: 1 << 20, oversize: Oversize::Split };

/// The text of each line of one stream, in order.
type Lines = Vec<String>;

/// Lines by container, attempt and stream.
type LinesOf = BTreeMap<(String, u32, &'static str), Lines>;

/// An archive's files by their path.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A rotated file's place in its container's chain, its name and its bytes.
type ChainFile<'a, Place> = (Place, String, &'a [u8]);

/// An archive's files by their path below its one folder.
fn unpacked(archive: &str) -> Files {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(archive);
    let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(GzDecoder::new(file)).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let path = entry.path().unwrap().components().skip(1).collect();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(path, bytes);
        }
    }
    files
}

fn decompressed(name: &str, bytes: &[u8]) -> Vec<u8> {
    if !name.ends_with(".gz") {
        return bytes.to_vec();
    }
    let mut out = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

fn lossy(base64: &str) -> String {
    String::from_utf8_lossy(&BASE64_STANDARD.decode(base64).unwrap()).into_owned()
}

/// Lengths of the chunks in which a file is fed: all at once, or by a small generator (an LCG's high bits).
#[derive(Clone, Copy)]
enum Chunks {
    Whole,
    Random { seed: u64, max_len: u64 },
}

impl Chunks {
    fn next_len(&mut self) -> usize {
        match self {
            Self::Whole => usize::MAX >> 1,
            Self::Random { seed, max_len } => {
                *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                1 + ((*seed >> 33) % *max_len) as usize
            }
        }
    }
}

const WAYS: [Chunks; 3] =
    [Chunks::Whole, Chunks::Random { seed: 1, max_len: 90 }, Chunks::Random { seed: 2, max_len: 9_000 }];

/// One container's parser and what came out of it.
struct Replay {
    parser: ContainerParser,
    scratch: Scratch,
    counts: Counts,
    next_file: u64,
    stdout: Lines,
    stderr: Lines,
}

impl Replay {
    fn new() -> Self {
        Self {
            parser: ContainerParser::new(LIMITS),
            scratch: Scratch::default(),
            counts: Counts::default(),
            next_file: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    fn file(&mut self, bytes: &[u8], mut chunks: Chunks) {
        let file = self.next_file;
        self.next_file += 1;
        let (stdout, stderr) = (&mut self.stdout, &mut self.stderr);
        let mut last_timestamp_ns = i64::MIN;
        let mut sink = |line: Line<'_>| {
            let text = String::from_utf8(line.text.to_vec()).expect("a line is valid UTF-8");
            if line.stream == Stream::Stdout {
                // A joined line bears its first piece's time, and within one stream the time never goes back.
                assert!(line.timestamp_ns >= last_timestamp_ns);
                last_timestamp_ns = line.timestamp_ns;
                stdout.push(text);
            } else {
                stderr.push(text);
            }
        };
        let (mut begin, mut end) = (0, 0);
        while end < bytes.len() {
            end = end.saturating_add(chunks.next_len()).min(bytes.len());
            let at = Position { turn: file, offset: begin as u64 };
            begin += self.parser.feed(&bytes[begin..end], at, &mut self.scratch, &mut self.counts, &mut sink);
        }
        assert_eq!(begin, bytes.len(), "the runtimes end each record with a newline");
    }

    /// The attempt has ended: its lines of stdout and stderr.
    fn end_attempt(&mut self) -> [(&'static str, Lines); 2] {
        let (stdout, stderr) = (&mut self.stdout, &mut self.stderr);
        self.parser.flush(&mut self.scratch, &mut self.counts, &mut |line: Line<'_>| {
            let text = String::from_utf8(line.text.to_vec()).expect("a line is valid UTF-8");
            if line.stream == Stream::Stdout { stdout.push(text) } else { stderr.push(text) }
        });
        assert!(Stream::ALL.iter().all(|stream| self.parser.held_from(*stream).is_none()));
        [("stdout", std::mem::take(&mut self.stdout)), ("stderr", std::mem::take(&mut self.stderr))]
    }
}

fn insert_lines(all: &mut LinesOf, container: &str, attempt: u32, streams: [(&'static str, Lines); 2]) {
    for (stream, lines) in streams {
        if !lines.is_empty() {
            all.insert((container.to_owned(), attempt, stream), lines);
        }
    }
}

fn stream_name(name: &str) -> &'static str {
    if name == "stdout" { Stream::Stdout.name() } else { Stream::Stderr.name() }
}

/// Says where two replays differ without printing megabytes.
fn assert_same_lines(found: &LinesOf, expected: &LinesOf) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (key, lines) in expected {
        let found = &found[key];
        for (nth, (found, line)) in found.iter().zip(lines).enumerate() {
            assert!(found == line, "{key:?}, line {nth}: {found:.200?} is not {line:.200?}");
        }
        assert_eq!(found.len(), lines.len(), "{key:?}");
    }
}

/// A row of containerd's expected.jsonl, see the README there.
#[derive(Deserialize)]
struct ContainerdRow {
    path_container: String,
    restart: u32,
    stream: String,
    line_b64: String,
    on_disk: String,
    #[serde(default)]
    records: Vec<(String, usize)>,
}

/// Replays the log files below `folders`, each container's files in order, attempts one after the other.
fn replay_containerd(files: &Files, folders: &[&str], chunks: Chunks) -> (LinesOf, Counts) {
    let mut attempts: BTreeMap<(String, u32), Vec<ChainFile<'_, bool>>> = BTreeMap::new();
    for (path, bytes) in files {
        let Some(path) = folders.iter().find_map(|folder| path.strip_prefix(folder).ok()) else { continue };
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let attempt = name.split('.').next().unwrap().parse().unwrap();
        let container = path.parent().unwrap().to_str().unwrap().to_owned();
        attempts.entry((container, attempt)).or_default().push((name.ends_with(".log"), name, bytes));
    }
    let (mut all, mut counts) = (LinesOf::new(), Counts::default());
    let mut replays: BTreeMap<String, Replay> = BTreeMap::new();
    for ((container, attempt), mut chain) in attempts {
        // N.log is the newest; the names of the others end in the time of their rotation.
        chain.sort();
        let replay = replays.entry(container.clone()).or_insert_with(Replay::new);
        for (_, name, bytes) in chain {
            replay.file(&decompressed(&name, bytes), chunks);
        }
        insert_lines(&mut all, &container, attempt, replay.end_attempt());
    }
    for replay in replays.values() {
        counts.cri_records += replay.counts.cri_records;
        counts.raw_records += replay.counts.raw_records;
        counts.lines += replay.counts.lines;
    }
    (all, counts)
}

fn containerd_rows(files: &Files) -> Vec<ContainerdRow> {
    let rows = std::str::from_utf8(&files[Path::new("expected.jsonl")]).unwrap();
    rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
}

#[test]
fn every_container_of_containerd_gives_the_lines_that_it_wrote() {
    let files = unpacked("containerd-1.7.24.tar.gz");
    let mut expected = LinesOf::new();
    for row in containerd_rows(&files) {
        let key = (row.path_container, row.restart, stream_name(&row.stream));
        expected.entry(key).or_default().push(lossy(&row.line_b64));
    }
    for chunks in WAYS {
        let (found, counts) = replay_containerd(&files, &["pods", "removed-by-rotation"], chunks);
        assert_same_lines(&found, &expected);
        assert_eq!((counts.lines, counts.cri_records, counts.raw_records), (3685, 3765, 0));
    }
}

#[test]
fn what_rotation_left_of_containerds_logs_gives_its_whole_lines_and_one_end() {
    let files = unpacked("containerd-1.7.24.tar.gz");
    let mut expected = LinesOf::new();
    for row in containerd_rows(&files) {
        let line = BASE64_STANDARD.decode(&row.line_b64).unwrap();
        let kept = match &*row.on_disk {
            "yes" => &line[..],
            "part" => &line[line.len() - row.records.last().unwrap().1..],
            _ => continue,
        };
        let key = (row.path_container, row.restart, stream_name(&row.stream));
        expected.entry(key).or_default().push(String::from_utf8_lossy(kept).into_owned());
    }
    let (found, counts) = replay_containerd(&files, &["pods"], Chunks::Whole);
    assert_same_lines(&found, &expected);
    assert_eq!((counts.lines, counts.raw_records), (2651, 0));
}

/// A row of docker's expected.jsonl, see the README there.
#[derive(Deserialize)]
struct DockerRow {
    id: String,
    stream: String,
    line_b64: String,
    /// Where Docker itself replaced invalid UTF-8.
    in_log_b64: Option<String>,
    on_disk: String,
}

#[test]
fn every_container_of_docker_gives_the_lines_that_are_on_disk() {
    let files = unpacked("docker.tar.gz");
    let mut expected = LinesOf::new();
    for row in std::str::from_utf8(&files[Path::new("expected.jsonl")]).unwrap().lines() {
        let row: DockerRow = serde_json::from_str(row).unwrap();
        if row.on_disk == "yes" {
            let line = row.in_log_b64.as_ref().unwrap_or(&row.line_b64);
            expected.entry((row.id, 0, stream_name(&row.stream))).or_default().push(lossy(line));
        }
    }
    for chunks in WAYS {
        let mut chains: BTreeMap<String, Vec<ChainFile<'_, u32>>> = BTreeMap::new();
        for (path, bytes) in &files {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let Some((id, age)) = name.split_once("-json.log") else { continue };
            // `.3.gz` is older than `.1`, which is older than the file without a number.
            let age = age.trim_start_matches('.').trim_end_matches(".gz").parse().unwrap_or(0);
            chains.entry(id.to_owned()).or_default().push((age, name, bytes));
        }
        let mut found = LinesOf::new();
        for (id, mut chain) in chains {
            chain.sort_by_key(|(age, ..)| std::cmp::Reverse(*age));
            let mut replay = Replay::new();
            for (_, name, bytes) in chain {
                replay.file(&decompressed(&name, bytes), chunks);
            }
            assert_eq!((replay.counts.cri_records, replay.counts.raw_records), (0, 0));
            insert_lines(&mut found, &id, 0, replay.end_attempt());
        }
        assert_same_lines(&found, &expected);
        assert_eq!(found.values().map(Vec::len).sum::<usize>(), 2137);
    }
}
