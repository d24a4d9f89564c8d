//! Reads a pods folder back into lines, with no code of the writer: split at newlines, at spaces, join P and F.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

/// One logical line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub attempt: u32,
    pub stderr: bool,
    pub timestamp: String,
    pub text: Vec<u8>,
}

/// The record as it stands in the file.
pub struct Record {
    pub timestamp: String,
    pub stderr: bool,
    pub partial: bool,
    pub content: Vec<u8>,
}

/// Lines by container folder, "POD_FOLDER/CONTAINER".
pub fn pods(pods: &Path) -> BTreeMap<String, Vec<Line>> {
    let mut containers = BTreeMap::new();
    for pod in list(pods) {
        for container in list(&pod) {
            let name = container.strip_prefix(pods).unwrap().to_str().unwrap().to_owned();
            containers.insert(name, container_lines(&container));
        }
    }
    containers
}

fn container_lines(folder: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut attempts: BTreeMap<u32, Vec<PathBuf>> = BTreeMap::new();
    for path in list(folder) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".tmp") {
            attempts.entry(name.split('.').next().unwrap().parse().unwrap()).or_default().push(path);
        }
    }
    for (attempt, mut files) in attempts {
        // "0.log" is the newest, though it sorts first.
        files.sort();
        files.rotate_left(1);
        if let Ok(target) = fs::read_link(&files[0]) {
            files = docker_files(&target);
        }
        let mut open = [None, None];
        for file in files {
            for record in records(&file) {
                let joined: &mut Option<(String, Vec<u8>)> = &mut open[usize::from(record.stderr)];
                let (_, text) = joined.get_or_insert_with(|| (record.timestamp.clone(), Vec::new()));
                text.extend_from_slice(&record.content);
                if !record.partial {
                    let (timestamp, text) = joined.take().unwrap();
                    lines.push(Line { attempt, stderr: record.stderr, timestamp, text });
                }
            }
        }
        for (stderr, rest) in [false, true].into_iter().zip(open) {
            lines.extend(rest.map(|(timestamp, text)| Line { attempt, stderr, timestamp, text }));
        }
    }
    lines
}

/// The oldest first: .N … .1, then the log itself.
fn docker_files(log: &Path) -> Vec<PathBuf> {
    let mut files = list(log.parent().unwrap());
    let number = |path: &PathBuf| {
        let name = path.to_str().unwrap();
        let digits = name.trim_end_matches(".gz").rsplit('.').next().unwrap();
        digits.parse::<u32>().unwrap_or(0)
    };
    files.sort_by_key(|path| std::cmp::Reverse(number(path)));
    files
}

pub fn records(path: &Path) -> Vec<Record> {
    let bytes = contents(path);
    assert!(bytes.is_empty() || bytes.ends_with(b"\n"), "{}", path.display());
    let records = bytes.split_inclusive(|b| *b == b'\n').map(|record| &record[..record.len() - 1]);
    records.map(|record| if record.starts_with(b"{") { docker_record(record) } else { cri_record(record) }).collect()
}

fn cri_record(record: &[u8]) -> Record {
    let mut parts = record.splitn(4, |b| *b == b' ');
    let mut part = || parts.next().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(record)));
    let timestamp = String::from_utf8(part().to_vec()).unwrap();
    let stderr = match part() {
        b"stdout" => false,
        b"stderr" => true,
        other => panic!("{other:?}"),
    };
    let partial = match part() {
        b"P" => true,
        b"F" => false,
        other => panic!("{other:?}"),
    };
    Record { timestamp, stderr, partial, content: part().to_vec() }
}

fn docker_record(record: &[u8]) -> Record {
    let value: serde_json::Value = serde_json::from_slice(record).unwrap();
    let mut content = value["log"].as_str().unwrap().as_bytes().to_vec();
    let partial = content.pop_if(|last| *last == b'\n').is_none();
    Record {
        timestamp: value["time"].as_str().unwrap().to_owned(),
        stderr: value["stream"] == "stderr",
        partial,
        content,
    }
}

pub fn contents(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut file = File::open(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    } else {
        file.read_to_end(&mut bytes).unwrap();
    }
    bytes
}

pub fn list(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
