//! Which file one is: what is listed under a name may be known under another one, or be a copy of it.
//!
//! In: what a listing names, and what was found in it. Out: whether it is the same file, and the names, keys and lengths noted.

use std::{io, path::PathBuf};

use super::{ChainFile, Source, source};
use crate::{
    model::{FileKey, Fingerprint},
    tail::chain::{head::Inspected, listing::ListedFile},
};

/// A second file with the same content.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) key: FileKey,
    pub(super) path: PathBuf,
    modified_ns: i64,
}

impl Copy {
    /// What was found under a listed name.
    fn of(listed: &ListedFile, inspected: &Inspected) -> Box<Self> {
        Box::new(Self { key: inspected.key, path: listed.path.clone(), modified_ns: inspected.modified_ns })
    }
}

impl ChainFile {
    /// The file is one that is known: renamed, compressed, or seen by an earlier run. Returns its number where it had ended and has
    /// grown since.
    pub(in super::super) fn recognise(&mut self, listed: &ListedFile, inspected: Inspected) -> Option<u64> {
        self.path.clone_from(&listed.path);
        self.name = listed.name;
        self.first_timestamp_ns = crate::decode::first_timestamp_ns(&inspected.head);
        self.modified_ns = inspected.modified_ns;
        if self.is_open() {
            // It is being read under its old inode, which the open file keeps alive.
            self.note_copy(listed, &inspected);
            return None;
        }
        // Also that of a compressed copy: the old inode is free, and a new log file may have it already.
        self.key = inspected.key;
        self.copy = None;
        let has_grown = !listed.name.gzip && inspected.len > self.progress.parsed();
        let had_ended = self.progress.has_ended();
        if has_grown || !had_ended {
            self.go_on(inspected.len, source(listed.name, inspected.file, self.progress.parsed()));
        }
        (has_grown && had_ended).then_some(self.id)
    }

    /// The file is certainly this one.
    pub(in super::super) fn take_name(&mut self, listed: &ListedFile) {
        self.path.clone_from(&listed.path);
        self.name = listed.name;
        if !listed.name.gzip {
            self.modified_ns = listed.modified_ns;
        }
        if !self.is_open() {
            self.key = listed.key;
            self.copy = None;
            if matches!(self.source, Source::Listed) {
                self.len = listed.len;
            }
        }
    }

    /// Whether a listed file is certainly this one, without looking into it: one that is held open has a key that no other
    /// file can take; one that is not must lie where it lay and be as long as it may be.
    pub(in super::super) fn is_certainly(&self, listed: &ListedFile) -> bool {
        if self.key != listed.key {
            return false;
        }
        self.is_open() || (self.path == listed.path && self.is_listed() && self.may_be_unchanged(listed))
    }

    /// A listed file has the same content.
    pub(in super::super) fn note_copy(&mut self, listed: &ListedFile, inspected: &Inspected) {
        self.copy = Some(Copy::of(listed, inspected));
    }

    /// The key of the file that has the same content.
    pub(in super::super) fn copy_key(&self) -> Option<FileKey> {
        self.copy.as_ref().map(|copy| copy.key)
    }

    /// Whether a listed file was found to have the same content before.
    pub(in super::super) fn has_copy(&self, listed: &ListedFile) -> bool {
        self.copy.as_ref().is_some_and(|copy| {
            copy.key == listed.key && copy.path == listed.path && copy.modified_ns == listed.modified_ns
        })
    }

    /// Whether a file that is not open can be the one that was left: by its length, or where that is of the compressed form,
    /// or it is empty, by the time of its writing. Docker's next compressed file may have both the name and the freed inode of this
    /// one, and so may the next log of a restart count.
    fn may_be_unchanged(&self, listed: &ListedFile) -> bool {
        match self.source {
            _ if self.name.gzip || self.fingerprint.len == 0 => listed.modified_ns == self.modified_ns,
            Source::Listed => listed.len >= self.progress.parsed(),
            _ => listed.len == self.progress.parsed() && listed.modified_ns == self.modified_ns,
        }
    }

    /// Takes the fingerprint again where the file was shorter than one when it was taken, read or not: while Loki is away a
    /// file may be rotated and compressed before its first byte is parsed. `head`: its first bytes now.
    pub fn extend_fingerprint(&mut self, head: impl FnOnce() -> io::Result<Vec<u8>>) {
        let covers_all = u64::from(self.fingerprint.len) >= self.len.max(self.progress.seen());
        if self.fingerprint.is_full() || self.fingerprint.len > 0 && covers_all {
            return;
        }
        if let Ok(head) = head()
            && self.begins_with(&head)
        {
            self.fingerprint = Fingerprint::of(&head);
            self.first_timestamp_ns = self.first_timestamp_ns.or_else(|| crate::decode::first_timestamp_ns(&head));
        }
    }

    /// Whether a file that begins with `head` may be this one; false where it was truncated and written anew.
    pub fn begins_with(&self, head: &[u8]) -> bool {
        self.fingerprint.len == 0 || self.fingerprint.matches(head)
    }
}
