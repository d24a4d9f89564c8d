//! Reading by preadv2(2), where `io_uring` is not permitted: what is cached at once, the rest by a thread that may hang
//! ([`apart`]).

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use super::{BUFFER_BYTES, RangeReader, SlotTable, Wanted, no_such_slot};
use crate::tail::{apart, notify::Slot};

/// One buffer: ranges are read one after the other.
#[derive(Debug)]
pub struct PreadReader {
    files: SlotTable<Arc<File>>,
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
        self.files.insert(slot, Arc::new(file));
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
                Some(file) => apart::read_at(file, &mut self.buffer, range.offset),
                None => Err(no_such_slot()),
            };
            // The error tells; the next range is another container's.
            apart::take_left();
            sink(index, read.map(|len| &self.buffer[..len]));
        }
    }
}
