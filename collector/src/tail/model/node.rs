//! The container and the kubelet: a log that is written, rotated, compressed and removed.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use flate2::{Compression, write::GzEncoder};

/// 2026-01-02T03:00:00Z, in seconds since 1970.
const EPOCH: u64 = 1_767_322_800;

/// The container's side: its folder, and what was written.
pub struct Node {
    /// The folder of all pods.
    pub pods: tempfile::TempDir,
    folder: PathBuf,
    restart: u32,
    file: File,
    /// When the log was renamed and the container still writes to it.
    renamed: bool,
    records: usize,
    /// The node's clock, since [`EPOCH`].
    seconds: u64,
    rotations: usize,
    /// For each stream the pieces of the line that has begun.
    pub begun: [String; 2],
    /// For each stream its lines, but for those that stages drop.
    pub written: [Vec<String>; 2],
    pub is_dropped: fn(&str) -> bool,
    /// The files that are closed, oldest first.
    pub files: Vec<ClosedFile>,
    /// What the open one is called.
    name: String,
}

#[derive(Clone)]
pub struct ClosedFile {
    pub name: String,
    /// How many lines of each stream were begun when it was closed.
    pub begun: [usize; 2],
}

impl Node {
    pub fn new() -> Self {
        let pods = tempfile::tempdir().unwrap();
        let folder = pods.path().join("ns_pod_uid/name");
        fs::create_dir_all(&folder).unwrap();
        let file = open(&folder.join("0.log"));
        let mut node = Self {
            pods,
            folder,
            restart: 0,
            file,
            renamed: false,
            records: 0,
            seconds: 0,
            rotations: 0,
            begun: Default::default(),
            written: Default::default(),
            is_dropped: |_| false,
            files: Vec::new(),
            name: "0.log".into(),
        };
        node.touch();
        node
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn write(&mut self, stderr: bool, whole: bool) {
        let (stream, tag) = (if stderr { "stderr" } else { "stdout" }, if whole { 'F' } else { 'P' });
        let (number, begun) = (self.records, &mut self.begun[usize::from(stderr)]);
        self.records += 1;
        let piece = format!("[{stream} {number}]");
        begun.push_str(&piece);
        let (minute, second) = (self.seconds / 60, self.seconds % 60);
        writeln!(self.file, "2026-01-02T03:{minute:02}:{second:02}.5Z {stream} {tag} {piece}").unwrap();
        if whole {
            let line = std::mem::take(begun);
            if !(self.is_dropped)(&line) {
                self.written[usize::from(stderr)].push(line);
            }
        }
        self.touch();
    }

    pub fn finish_lines(&mut self) {
        for stderr in [false, true] {
            if !self.begun[usize::from(stderr)].is_empty() {
                self.write(stderr, true);
            }
        }
    }

    /// The kubelet leaves an empty log alone.
    pub fn rename(&mut self) {
        if self.renamed || self.file.metadata().unwrap().len() == 0 {
            return;
        }
        let log = format!("{}.log", self.restart);
        self.rotations += 1;
        let name = format!("{log}.20260102-{:06}", self.rotations);
        fs::rename(self.path(&log), self.path(&name)).unwrap();
        self.name = name;
        self.renamed = true;
    }

    pub fn reopen(&mut self) {
        if self.renamed {
            self.begin_file(format!("{}.log", self.restart));
        }
    }

    /// The container restarts, with the next restart count or with one that begins again at 0, as after the container runtime lost
    /// its state. `may_append`: a log that is there under the new name is written to again.
    pub fn restart(&mut self, counts_anew: bool, may_append: bool) {
        let count = if counts_anew { 0 } else { self.restart + 1 };
        let log = format!("{count}.log");
        // The kubelet removes all files of a count together.
        let is_there = self.files.iter().any(|file| file.name.starts_with(&log));
        let is_open = counts_anew && self.restart == 0;
        let same = self.files.iter().position(|file| file.name == log);
        if is_open || (is_there && !(may_append && same.is_some())) {
            return;
        }
        self.finish_lines();
        self.reopen();
        self.restart = count;
        self.begin_file(log);
        if let Some(index) = same {
            self.files.remove(index);
        }
    }

    /// The log that the container writes to.
    pub fn newest(&self) -> PathBuf {
        self.path(&self.name)
    }

    /// How many lines of each stream were begun.
    fn begun_lines(&self) -> [usize; 2] {
        [0, 1].map(|stream| self.written[stream].len() + usize::from(!self.begun[stream].is_empty()))
    }

    fn begin_file(&mut self, name: String) {
        let begun = self.begun_lines();
        self.file = open(&self.path(&name));
        self.touch();
        let name = std::mem::replace(&mut self.name, name);
        self.files.push(ClosedFile { name, begun });
        self.renamed = false;
    }

    /// The node's clock goes on by a second, and the log was written to then: long ago by this machine's clock, so that the tailer
    /// need not wait for more.
    fn touch(&mut self) {
        self.seconds += 1;
        // No whole second: such a time is less exact.
        let since = Duration::from_millis(1000 * (EPOCH + self.seconds) + 250);
        self.file.set_modified(SystemTime::UNIX_EPOCH + since).unwrap();
    }

    pub fn compress(&mut self, which: usize) {
        let is_plain = |name: &str| !name.ends_with(".gz") && !name.ends_with(".log");
        let plain: Vec<_> = (0..self.files.len()).filter(|&index| is_plain(&self.files[index].name)).collect();
        if plain.is_empty() {
            return;
        }
        let index = plain[which % plain.len()];
        let name = self.files[index].name.clone();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&fs::read(self.path(&name)).unwrap()).unwrap();
        let unfinished = self.path(&format!("{name}.tmp"));
        fs::write(&unfinished, gzip.finish().unwrap()).unwrap();
        let last_write = fs::metadata(self.path(&name)).unwrap().modified().unwrap();
        File::options().write(true).open(&unfinished).unwrap().set_modified(last_write).unwrap();
        fs::rename(unfinished, self.path(&format!("{name}.gz"))).unwrap();
        fs::remove_file(self.path(&name)).unwrap();
        self.files[index].name = format!("{name}.gz");
    }
}

fn open(path: &Path) -> File {
    File::options().create(true).append(true).open(path).unwrap()
}
