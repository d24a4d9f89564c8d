//! A container and what its runtime does with its output.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, IoSlice, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Pod, Stream,
    clock::Clock,
    record::{self, Format, Pending, Piece},
    rotation,
};
use crate::{
    ledger::Ledger,
    mark::{self, Mark, Shape},
    random::Random,
};

/// The system call that appends a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteCall {
    /// One write(2), as containerd and dockerd.
    Write,
    /// One writev(2) of head, content and newline, as conmon. Docker entries are written with write(2) all the same.
    Writev,
}

/// How a container's log is kept.
#[derive(Clone, Debug)]
pub struct ContainerOptions {
    /// The runtime's format.
    pub format: Format,
    /// The runtime's system call.
    pub call: WriteCall,
    /// What gives the timestamps.
    pub clock: Clock,
    /// The zone of CRI timestamps and of the names of rotated files, in seconds from UTC.
    pub offset_s: i32,
    /// Files that rotation keeps, the current one included; `containerLogMaxFiles` is 5.
    pub keep: usize,
    /// Whether rotated docker files are compressed (the kubelet always does).
    pub compress_docker: bool,
}

impl Default for ContainerOptions {
    fn default() -> Self {
        Self {
            format: Format::Cri,
            call: WriteCall::Write,
            clock: Clock::system(),
            offset_s: 0,
            keep: 5,
            compress_docker: true,
        }
    }
}

/// A running container.
#[derive(Debug)]
pub struct Container {
    folder: PathBuf,
    docker: PathBuf,
    pod: Pod,
    name: String,
    attempt: u32,
    /// The file that is written to: in `folder`, or docker's.
    log: PathBuf,
    file: File,
    options: ContainerOptions,
    ledger: Arc<Ledger>,
    random: Random,
    outputs: [Output; 2],
    scratch: Vec<u8>,
}

/// One of its streams.
#[derive(Debug)]
struct Output {
    source: u32,
    sequence: u64,
    pending: Pending,
    /// The timestamp for the first piece of the line that has begun.
    line_timestamp_ns: Option<i64>,
    /// The part of a begun line that the program has not written yet, and the length of the whole line.
    unfinished: Option<(Vec<u8>, u64)>,
}

impl Container {
    pub(super) fn start(
        pods: &Path,
        docker: PathBuf,
        pod: &Pod,
        name: &str,
        options: ContainerOptions,
        ledger: &Arc<Ledger>,
        seed: u64,
    ) -> io::Result<Self> {
        let folder = pods.join(pod.folder()).join(name);
        fs::create_dir_all(&folder)?;
        let mut random = Random::new(seed);
        let (log, file) = open_attempt(&folder, &docker, 0, options.format, &mut random)?;
        let outputs = Stream::ALL.map(|stream| Output {
            source: ledger.add_source(format!("{}/{}/{name} {}", pod.namespace, pod.name, stream.name())),
            sequence: 0,
            pending: Pending::default(),
            line_timestamp_ns: None,
            unfinished: None,
        });
        Ok(Self {
            folder,
            docker,
            pod: pod.clone(),
            name: name.to_owned(),
            attempt: 0,
            log,
            file,
            options,
            ledger: Arc::clone(ledger),
            random,
            outputs,
            scratch: Vec::new(),
        })
    }

    /// Its pod.
    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    /// Its name within the pod.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder, pods/NAMESPACE_POD_UID/CONTAINER.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file that is written to: N.log, or with docker what N.log is a link to.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How often it was restarted.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How its log is kept.
    pub fn options(&self) -> &ContainerOptions {
        &self.options
    }

    /// Its sources, each with the number of its next line: all before it have been begun.
    pub fn next_lines(&self) -> [(u32, u64); 2] {
        Stream::ALL.map(|stream| {
            let output = &self.outputs[stream as usize];
            (output.source, output.sequence)
        })
    }

    /// Changes the zone, as when daylight saving begins or ends.
    pub fn set_offset(&mut self, offset_s: i32) {
        self.options.offset_s = offset_s;
    }

    /// The program writes a marked line of `len` bytes with one write. A line of the same stream that had begun is
    /// finished first.
    ///
    /// # Errors
    /// Those of the file system, here and below.
    pub fn write_line(&mut self, stream: Stream, shape: Shape, len: usize) -> io::Result<()> {
        self.finish_line(stream)?;
        let line = self.next_line(stream, shape, len);
        self.write_raw(stream, &line)?;
        self.count_line(stream, line.len() as u64 - 1);
        Ok(())
    }

    /// The program writes the first `first` bytes of a marked line and keeps the rest for [`Self::finish_line`].
    ///
    /// # Errors
    /// Those of the file system.
    pub fn begin_line(&mut self, stream: Stream, shape: Shape, len: usize, first: usize) -> io::Result<()> {
        self.finish_line(stream)?;
        let mut line = self.next_line(stream, shape, len);
        let text_bytes = line.len() as u64 - 1;
        let rest = line.split_off(first.min(line.len() - 1));
        self.outputs[stream as usize].unfinished = Some((rest, text_bytes));
        self.write_raw(stream, &line)
    }

    /// The program writes the rest of a line that it has begun, if there is one.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish_line(&mut self, stream: Stream) -> io::Result<()> {
        if let Some((rest, text_bytes)) = self.outputs[stream as usize].unfinished.take() {
            self.write_raw(stream, &rest)?;
            self.count_line(stream, text_bytes);
        }
        Ok(())
    }

    /// As [`Self::finish_line`] for both streams.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish_lines(&mut self) -> io::Result<()> {
        Stream::ALL.into_iter().try_for_each(|stream| self.finish_line(stream))
    }

    /// The program writes any bytes, which are not counted.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write_raw(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let pieces = self.outputs[stream as usize].pending.write(self.options.format, bytes);
        pieces.iter().try_for_each(|piece| self.append(stream, piece))
    }

    /// The runtime's ReopenContainerLog: what is pending goes into the old file as a partial record, then N.log is opened
    /// anew. (dockerd keeps what is pending.)
    ///
    /// # Errors
    /// Those of the file system.
    pub fn reopen(&mut self) -> io::Result<()> {
        if self.options.format == Format::Cri {
            self.flush()?;
        }
        self.file = open_log(&self.log)?;
        Ok(())
    }

    /// A whole rotation: what the kubelet (or dockerd) does and the reopening.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn rotate(&mut self) -> io::Result<()> {
        match self.options.format {
            Format::Cri => {
                let local_s = self.options.clock.now_ns() / 1_000_000_000 + i64::from(self.options.offset_s);
                rotation::rotate_kubelet(&self.log, self.options.keep, local_s)?;
                self.reopen()
            }
            Format::DockerJson => {
                let compressed = self.options.compress_docker;
                let rotated = rotation::rotate_docker(&self.log, self.options.keep, compressed)?;
                self.reopen()?;
                match rotated {
                    Some(rotated) if compressed => rotation::compress_docker(&rotated),
                    _ => Ok(()),
                }
            }
        }
    }

    /// What logrotate's `copytruncate` does after copying: the log is empty from now on. Call [`Self::finish_lines`] first
    /// if no line is to be torn.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn truncate(&mut self) -> io::Result<()> {
        self.file.set_len(0)
    }

    /// The program exits (what is pending becomes a last partial record) and is started anew with N+1.log. Call
    /// [`Self::finish_lines`] first if no line is to be torn.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn restart(&mut self) -> io::Result<()> {
        self.exit()?;
        self.attempt += 1;
        (self.log, self.file) =
            open_attempt(&self.folder, &self.docker, self.attempt, self.options.format, &mut self.random)?;
        Ok(())
    }

    /// The program exits: what is pending becomes a last partial record.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn exit(&mut self) -> io::Result<()> {
        for output in &mut self.outputs {
            output.unfinished = None;
        }
        self.flush()
    }

    /// Removes the logs of an attempt, as the kubelet does with dead containers (it keeps the last one).
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove_attempt(&self, attempt: u32) -> io::Result<()> {
        logs_of(&self.folder, Some(attempt))?.iter().try_for_each(|path| remove_log(path))
    }

    /// The files of an attempt, with docker those that its links lead to.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn files_of_attempt(&self, attempt: u32) -> io::Result<Vec<PathBuf>> {
        files_behind(logs_of(&self.folder, Some(attempt))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        for stream in Stream::ALL {
            if let Some(piece) = self.outputs[stream as usize].pending.flush() {
                self.append(stream, &piece)?;
            }
        }
        Ok(())
    }

    /// The next marked line with its newline; the record that begins it will carry its timestamp.
    fn next_line(&mut self, stream: Stream, shape: Shape, len: usize) -> Vec<u8> {
        // dockerd destroys a character that lies across the end of a piece: such a line would arrive damaged.
        let cut_by_docker = self.options.format == Format::DockerJson && len >= record::CONTENT_BYTES_MAX;
        let shape = if cut_by_docker { Shape::Text } else { shape };
        let timestamp_ns = self.options.clock.now_ns();
        let output = &mut self.outputs[stream as usize];
        let mark = Mark { source: output.source, sequence: output.sequence, timestamp_ns };
        output.sequence += 1;
        output.line_timestamp_ns = Some(timestamp_ns);
        let mut line = Vec::with_capacity(len + 1);
        mark::write(&mut line, mark, shape, len, &mut self.random);
        line.push(b'\n');
        line
    }

    fn count_line(&self, stream: Stream, text_bytes: u64) {
        self.ledger.add_lines(self.outputs[stream as usize].source, 1, text_bytes);
    }

    fn append(&mut self, stream: Stream, piece: &Piece) -> io::Result<()> {
        let timestamp_ns = match self.outputs[stream as usize].line_timestamp_ns.take() {
            Some(timestamp_ns) => timestamp_ns,
            None => self.options.clock.now_ns(),
        };
        let offset_s = self.options.offset_s;
        self.scratch.clear();
        if self.options.call == WriteCall::Writev && self.options.format == Format::Cri {
            record::write_cri_head(&mut self.scratch, stream, timestamp_ns, offset_s, piece.partial);
            return write_vectored_all(&mut self.file, &self.scratch, &piece.content);
        }
        record::write(&mut self.scratch, self.options.format, stream, timestamp_ns, offset_s, piece);
        self.file.write_all(&self.scratch)
    }
}

/// The names of logs in a container's folder, of one attempt or of all.
pub(super) fn logs_of(folder: &Path, attempt: Option<u32>) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let of = name.split_once('.').and_then(|(number, _)| number.parse::<u32>().ok());
        if attempt.is_none() || of == attempt {
            logs.push(path);
        }
    }
    Ok(logs)
}

/// The files that hold the lines of these logs: with docker all that lie where a link leads to.
pub(super) fn files_behind(logs: Vec<PathBuf>) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for log in logs {
        match fs::read_link(&log) {
            Ok(target) => {
                for entry in fs::read_dir(target.parent().unwrap_or(&target))? {
                    files.push(entry?.path());
                }
            }
            Err(_) => files.push(log),
        }
    }
    Ok(files)
}

/// Removes a log file; with docker the folder of the container that it is a link to.
pub(super) fn remove_log(path: &Path) -> io::Result<()> {
    if let Ok(target) = fs::read_link(path)
        && let Some(place) = target.parent()
    {
        fs::remove_dir_all(place)?;
    }
    fs::remove_file(path)
}

fn write_vectored_all(file: &mut File, head: &[u8], content: &[u8]) -> io::Result<()> {
    let mut slices = [IoSlice::new(head), IoSlice::new(content), IoSlice::new(b"\n")];
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let written = file.write_vectored(left)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut left, written);
    }
    Ok(())
}

fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Makes the log of an attempt; with docker also the link to it.
pub(super) fn open_attempt(
    folder: &Path,
    docker: &Path,
    attempt: u32,
    format: Format,
    random: &mut Random,
) -> io::Result<(PathBuf, File)> {
    let log = folder.join(format!("{attempt}.log"));
    if format == Format::Cri {
        let file = open_log(&log)?;
        return Ok((log, file));
    }
    let id: String = (0..4).map(|_| format!("{:016x}", random.bits())).collect();
    let place = docker.join(&id);
    fs::create_dir_all(&place)?;
    fs::set_permissions(&place, Permissions::from_mode(0o710))?;
    let target = place.join(format!("{id}-json.log"));
    let file = open_log(&target)?;
    symlink(&target, &log)?;
    Ok((target, file))
}
