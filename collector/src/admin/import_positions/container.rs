//! What positions mean for one container's chain of files.
//!
//! A positions file knows paths, and under `0.log` lies another file after each rotation. Which one was meant is told by
//! when the positions were saved: the newest one that had begun by then. Older files of the same restart were read to
//! their ends; younger ones were not read at all.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use crate::{
    config::Oversize,
    decode::{ContainerParser, Counts, Limits, Scratch},
    model::SavedFile,
    model::{Line, Position, Stream},
    tail::chain::{Age, Chain, ChainFile},
};

/// An offset may be as old as Promtail's and Alloy's default sync period when it is saved, and the save itself late: a
/// file that began so shortly before may not be the one that was meant.
const SAVED_LATE_NS: i64 = 20_000_000_000;

/// How far before an offset a line's beginning is looked for.
const LOOK_BACK_BYTES: u64 = 1 << 20;

/// A file of a chain, by its index, and the offset that a positions file has for its path.
pub(super) type Wanted = Vec<(usize, Offset)>;

/// How far another collector had read a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offset {
    pub bytes: u64,
    /// When it was saved, nanoseconds since 1970.
    pub saved_at_ns: i64,
}

/// What became of a container's positions.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub files: Vec<SavedFile>,
    pub imported: Vec<String>,
    pub skipped: Vec<String>,
}

/// Takes the offsets of this chain's files out of `offsets`, whose paths are free of links.
pub(super) fn take_wanted(chain: &Chain, offsets: &mut HashMap<PathBuf, Offset>) -> Wanted {
    let files = chain.files().iter().enumerate();
    files
        .filter_map(|(index, file)| {
            let path = fs::canonicalize(file.path()).ok()?;
            Some((index, offsets.remove(&path)?))
        })
        .collect()
}

/// Decides where each file is gone on with.
pub(super) fn decide(chain: &Chain, wanted: &Wanted) -> Outcome {
    let mut outcome = Outcome::default();
    let saved: Vec<_> = chain.saved([None; 2]).collect();
    let files = chain.files();
    for &(named, Offset { bytes: offset, saved_at_ns }) in wanted {
        let path = files[named].path().display();
        let Some((meant, note)) = meant(files, named, offset, saved_at_ns) else {
            outcome.skipped.push(format!(
                "skipped {path}: the file began after the positions were saved, and the one before is gone; it is read \
                 from its beginning"
            ));
            continue;
        };
        match line_start(files[meant].path(), files[meant].name().gzip, offset) {
            Ok(start) => {
                let is_older =
                    |index: usize| index < meant && files[index].name().restart == files[meant].name().restart;
                let unnamed = |index: &usize| wanted.iter().all(|(named, _)| named != index);
                if outcome.files.iter().any(|file| file.key == saved[meant].key) {
                    outcome.skipped.push(format!("skipped {path}: another position is of the same file"));
                    continue;
                }
                for index in (0..meant).filter(|&index| is_older(index)).filter(unnamed) {
                    // A compressed one has no offset: that it is finished says it all.
                    let len = fs::metadata(files[index].path()).map_or(0, |metadata| metadata.len());
                    let offset = if files[index].name().gzip { 0 } else { len };
                    outcome.files.push(SavedFile { offset, finished: true, ..saved[index] });
                }
                outcome.files.push(SavedFile { offset: start, finished: false, ..saved[meant] });
                let moved = match offset - start {
                    0 => String::new(),
                    back => format!(", {back} bytes before the position, where a line begins"),
                };
                let path = files[meant].path().display();
                outcome.imported.push(format!("imported {path} at {start}{moved}{note}"));
            }
            Err(reason) => {
                outcome.skipped.push(format!("skipped {path}: {reason}; the container is read from its beginning"));
            }
        }
    }
    outcome
}

/// Index of the file that a position of the file at `named` was meant for, and what is to be said of it. `None`: it is
/// gone.
fn meant(files: &[ChainFile], named: usize, offset: u64, saved_at_ns: i64) -> Option<(usize, &'static str)> {
    let had_begun = |file: &ChainFile| file.first_timestamp_ns().is_some_and(|at| at < saved_at_ns - SAVED_LATE_NS);
    let file = &files[named];
    let is_empty = fs::metadata(file.path()).is_ok_and(|metadata| metadata.len() == 0);
    // A log that begins with no timestamp is no kubelet's; it is taken as it is.
    let is_younger = file.first_timestamp_ns().is_some() && !had_begun(file);
    if file.name().age != Age::Live || !(is_younger || (is_empty && offset > 0)) {
        return Some((named, ""));
    }
    let before =
        (0..named).rev().find(|&index| files[index].name().restart == file.name().restart && had_begun(&files[index]));
    before.map(|index| (index, ", as it was rotated since; what came after is read from its beginning"))
}

/// The first byte of the line that `offset` lies in, or of the one that begins there. A line of several records begins
/// with the first of them.
fn line_start(path: &Path, gzip: bool, offset: u64) -> Result<u64, String> {
    let (window, at) = window_before(path, gzip, offset).map_err(|error| format!("cannot read it: {error}"))?;
    if at + (window.len() as u64) < offset {
        return Err(format!("it ends before the position, {offset}"));
    }
    let Some(last_newline) = memchr::memrchr(b'\n', &window) else {
        return if at == 0 {
            Ok(0)
        } else {
            Err(format!("no line begins in the megabyte before the position, {offset}"))
        };
    };
    // The window may begin within a record.
    let from = if at == 0 { 0 } else { memchr::memchr(b'\n', &window).map_or(0, |newline| newline + 1) };
    let limits = Limits { max_line_bytes: window.len(), oversize: Oversize::Cut };
    let mut parser = ContainerParser::new(limits);
    let begin = Position { turn: 0, offset: at + from as u64 };
    parser.feed(&window[from..], begin, &mut Scratch::default(), &mut Counts::default(), &mut |_: Line<'_>| {});
    let held = Stream::ALL.into_iter().filter_map(|stream| parser.held_from(stream)).min();
    Ok(held.map_or(at + last_newline as u64 + 1, |held| held.offset))
}

/// Up to [`LOOK_BACK_BYTES`] of a file's content before `offset`, and where they begin. They end earlier where the file
/// does.
fn window_before(path: &Path, gzip: bool, offset: u64) -> io::Result<(Vec<u8>, u64)> {
    let begin = offset.saturating_sub(LOOK_BACK_BYTES);
    let mut file = fs::File::open(path)?;
    let mut window = Vec::new();
    if gzip {
        let mut content = MultiGzDecoder::new(file);
        let skipped = io::copy(&mut content.by_ref().take(begin), &mut io::sink())?;
        if skipped == begin {
            content.take(offset - begin).read_to_end(&mut window)?;
        }
    } else {
        file.seek(SeekFrom::Start(begin))?;
        file.take(offset - begin).read_to_end(&mut window)?;
    }
    Ok((window, begin))
}
