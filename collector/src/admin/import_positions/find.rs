//! Which positions files are meant: the one that was named, or those below a folder.
//!
//! Alloy has one for each `loki.source.file`, below its storage path; a component of a module is some folders further down. In: a path.
//! Out: the files with their entries and when they were saved. Follows no links, and goes only so deep.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::positions::{Entry, parse};
use crate::model::unix_ns;

/// What Alloy and Promtail's chart call them.
const NAMES: [&str; 2] = ["positions.yml", "positions.yaml"];

/// Folders below each other that are looked into: `STORAGE/data/MODULE/MODULE/loki.source.file.NAME` and two more.
const DEPTH_MAX: usize = 6;

/// The files, and what they were looked for in.
pub struct Found {
    path: PathBuf,
    is_folder: bool,
    pub files: Vec<PathBuf>,
}

/// What stands in them.
#[derive(Debug, Default)]
pub struct Read {
    /// With the time at which the file was saved, nanoseconds since 1970.
    pub entries: Vec<(Entry, i64)>,
    /// A sentence for each file in a folder that is none of positions.
    pub skipped: Vec<String>,
}

/// The positions files that a path means.
///
/// # Errors
/// A folder cannot be read.
pub fn files(path: &Path) -> anyhow::Result<Found> {
    let mut found = Found { path: path.to_owned(), is_folder: path.is_dir(), files: Vec::new() };
    if found.is_folder {
        look_into(path, DEPTH_MAX, &mut found.files).with_context(|| format!("cannot look into {}", path.display()))?;
        found.files.sort();
    } else if path.exists() {
        found.files.push(path.to_owned());
    }
    Ok(found)
}

fn look_into(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && depth > 1 {
            match look_into(&entry.path(), depth - 1, files) {
                // The other collector may run: folders of its own come and go.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                looked => looked?,
            }
        } else if kind.is_file() && NAMES.iter().any(|name| entry.file_name() == *name) {
            files.push(entry.path());
        }
    }
    Ok(())
}

impl Found {
    pub fn why_none(&self) -> String {
        let path = self.path.display();
        if self.is_folder {
            format!("There is no {} below {path}", NAMES.join(" or "))
        } else {
            format!("There is no {path}")
        }
    }

    /// Reads them all.
    ///
    /// # Errors
    /// One cannot be read, or the one that was named holds no positions.
    pub fn read(&self) -> anyhow::Result<Read> {
        let mut read = Read::default();
        for file in &self.files {
            let (text, saved_at_ns) = match text_of(file) {
                Err(error) if self.is_folder => {
                    read.skipped.push(format!("skipped: {error:#}"));
                    continue;
                }
                text => text?,
            };
            match parse(&text) {
                Ok(entries) => read.entries.extend(entries.into_iter().map(|entry| (entry, saved_at_ns))),
                Err(error) if self.is_folder => {
                    read.skipped.push(format!("skipped {}: it is not a positions file: {error}", file.display()));
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("{} is not a positions file", file.display()));
                }
            }
        }
        Ok(read)
    }
}

/// The file's text, and when it was saved, nanoseconds since 1970.
fn text_of(file: &Path) -> anyhow::Result<(String, i64)> {
    let cannot_read = || format!("cannot read the positions file {}", file.display());
    let opened = File::open(file).with_context(cannot_read)?;
    let modified = opened.metadata().and_then(|metadata| metadata.modified()).with_context(cannot_read)?;
    let text = io::read_to_string(opened).with_context(cannot_read)?;
    Ok((text, unix_ns(modified)))
}
