//! Bytes of log files, borrowed.
//!
//! In: open files, each in a [`Slot`], and offsets. Out: the bytes that are there, each range in a buffer of the pool that
//! is parsed in place and handed back: no copy in between. Compressed files come as a stream ([`GzipReader`]). Knows no
//! lines.

mod gzip;
mod pread;
mod uring;

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
};

pub use gzip::{GzipReader, is_damage};
pub use pread::PreadReader;
pub use uring::{UringReader, uring_refusal};

use crate::tail::notify::Slot;

/// Bytes of one buffer of the pool, the most that one file gets in a round: a multiple of every page size in use, and a
/// pool of them fits the second-level cache of a Raspberry Pi's core.
pub const BUFFER_BYTES: usize = 64 << 10;

/// Buffers in the pool, the most files in a round.
pub const BUFFERS: usize = 16;

/// A range to read: as much as there is from `offset` on, at most [`BUFFER_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub slot: Slot,
    /// The first byte.
    pub offset: u64,
}

/// Reads ranges of many files in one round.
pub trait RangeReader {
    /// Takes over an open file. The slot must be free.
    fn adopt(&mut self, slot: Slot, file: File);

    /// Closes the file.
    fn release(&mut self, slot: Slot);

    /// The file in a slot.
    fn file(&self, slot: Slot) -> Option<BorrowedFd<'_>>;

    /// Reads every range, at most [`BUFFERS`] of them, and hands each to `sink` with its index in `wanted`, in any order.
    /// The bytes are borrowed until `sink` returns. No bytes: the end of the file. One that does not return in time is left
    /// behind ([`super::apart`]) and given as an error.
    fn read_round(&mut self, wanted: &[Wanted], sink: impl FnMut(usize, io::Result<&[u8]>))
    -> impl Future<Output = ()>;

    /// Looks which reads that were left behind have returned.
    fn look_for_returned(&mut self) {}
}

/// Files by slot.
#[derive(Debug)]
struct SlotTable<F>(Vec<Option<F>>);

impl<F: AsFd> SlotTable<F> {
    fn insert(&mut self, slot: Slot, file: F) {
        let index = slot.0 as usize;
        if index >= self.0.len() {
            self.0.resize_with(index + 1, || None);
        }
        self.0[index] = Some(file);
    }

    fn remove(&mut self, slot: Slot) {
        if let Some(file) = self.0.get_mut(slot.0 as usize) {
            *file = None;
        }
    }

    fn get(&self, slot: Slot) -> Option<&F> {
        self.0.get(slot.0 as usize)?.as_ref()
    }
}

/// The error of a range whose slot holds no file.
fn no_such_slot() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no file in this slot")
}

#[cfg(test)]
mod tests {
    //! What every backend must do: the same tests for each.

    use std::io::Write;

    use super::*;

    async fn collect(reader: &mut impl RangeReader, wanted: &[Wanted]) -> Vec<io::Result<Vec<u8>>> {
        let mut ranges: Vec<_> = wanted.iter().map(|_| Err(no_such_slot())).collect();
        reader.read_round(wanted, |index, bytes| ranges[index] = bytes.map(<[u8]>::to_vec)).await;
        ranges
    }

    async fn many_files_come_in_one_round(reader: &mut impl RangeReader) {
        let dir = tempfile::tempdir().unwrap();
        let mut wanted = Vec::new();
        for index in 0..BUFFERS as u32 {
            let path = dir.path().join(index.to_string());
            std::fs::write(&path, format!("file number {index}")).unwrap();
            reader.adopt(Slot(index), File::open(&path).unwrap());
            wanted.push(Wanted { slot: Slot(index), offset: 5 });
        }
        for (index, range) in collect(reader, &wanted).await.into_iter().enumerate() {
            assert_eq!(range.unwrap(), format!("number {index}").into_bytes());
        }
    }

    async fn a_file_that_grows_is_read_on(reader: &mut impl RangeReader) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        reader.adopt(Slot(3), file.reopen().unwrap());
        let at = |offset| [Wanted { slot: Slot(3), offset }];
        assert!(collect(reader, &at(0)).await.remove(0).unwrap().is_empty());
        file.write_all(&vec![b'a'; BUFFER_BYTES + 7]).unwrap();
        assert_eq!(collect(reader, &at(0)).await.remove(0).unwrap().len(), BUFFER_BYTES);
        assert_eq!(collect(reader, &at(BUFFER_BYTES as u64)).await.remove(0).unwrap(), b"aaaaaaa");
        file.write_all(b"bc").unwrap();
        assert_eq!(collect(reader, &at(BUFFER_BYTES as u64 + 7)).await.remove(0).unwrap(), b"bc");
        assert!(collect(reader, &at(BUFFER_BYTES as u64 + 9)).await.remove(0).unwrap().is_empty());
    }

    async fn an_error_concerns_its_file_alone(reader: &mut impl RangeReader) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("good");
        std::fs::write(&path, "good").unwrap();
        reader.adopt(Slot(0), File::open(dir.path()).unwrap());
        reader.adopt(Slot(1), File::open(&path).unwrap());
        reader.adopt(Slot(2), File::open(&path).unwrap());
        reader.release(Slot(2));
        assert!(reader.file(Slot(2)).is_none() && reader.file(Slot(1)).is_some());
        let wanted = [0, 1, 2].map(|slot| Wanted { slot: Slot(slot), offset: 0 });
        let ranges = collect(reader, &wanted).await;
        assert!(ranges[0].is_err(), "a folder cannot be read");
        assert_eq!(ranges[1].as_ref().unwrap(), b"good");
        assert!(ranges[2].is_err(), "released");
    }

    macro_rules! backend_tests {
        ($($test:ident),*) => {$(
            mod $test {
                use super::super::*;

                #[test]
                fn by_pread() {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    runtime.block_on(super::$test(&mut PreadReader::new()));
                }

                #[test]
                fn by_io_uring() {
                    let (runtime, mut reader) = match UringReader::open() {
                        Ok(opened) => opened,
                        Err(error) => return println!("SKIPPED: io_uring is not available: {error}"),
                    };
                    runtime.block_on(async { super::$test(&mut reader).await });
                }
            }
        )*};
    }

    backend_tests!(many_files_come_in_one_round, a_file_that_grows_is_read_on, an_error_concerns_its_file_alone);
}
