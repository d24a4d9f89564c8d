//! Reading by pread(2), where `io_uring` is not permitted.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileExt,
    },
};

use super::{BUFFER_BYTES, RangeReader, SlotTable, Wanted, no_such_slot};
use crate::tail::notify::Slot;

/// One system call and one buffer: ranges are read one after the other.
#[derive(Debug)]
pub struct PreadReader {
    files: SlotTable<File>,
    buffer: Box<[u8]>,
}

impl PreadReader {
    /// No files yet.
    #[must_use]
    pub fn new() -> Self {
        Self { files: SlotTable(Vec::new()), buffer: vec![0; BUFFER_BYTES].into_boxed_slice() }
    }
}

impl Default for PreadReader {
    fn default() -> Self {
        Self::new()
    }
}

impl RangeReader for PreadReader {
    fn adopt(&mut self, slot: Slot, file: File) {
        self.files.insert(slot, file);
    }

    fn release(&mut self, slot: Slot) {
        self.files.remove(slot);
    }

    fn file(&self, slot: Slot) -> Option<BorrowedFd<'_>> {
        self.files.get(slot).map(AsFd::as_fd)
    }

    async fn read_round(&mut self, wanted: &[Wanted], mut sink: impl FnMut(usize, io::Result<&[u8]>)) {
        for (index, range) in wanted.iter().enumerate() {
            let read = match self.files.get(range.slot) {
                Some(file) => read_once(file, &mut self.buffer, range.offset),
                None => Err(no_such_slot()),
            };
            sink(index, read.map(|len| &self.buffer[..len]));
        }
    }
}

fn read_once(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
