//! A round of reads needs no memory.

use std::fs::File;

use collector::{
    tail::notify::Slot,
    tail::read::{BUFFERS, PreadReader, RangeReader, UringReader, Wanted},
};

use crate::allocated;

/// Reads as many files as a round takes, again and again; returns the allocations of a round after the first ones.
async fn allocations_of_a_round(reader: &mut impl RangeReader) -> u64 {
    const WARM_UP: usize = 3;
    let folder = tempfile::tempdir().unwrap();
    let wanted: Vec<_> = (0..BUFFERS as u32).map(|slot| Wanted { slot: Slot(slot), offset: 2 }).collect();
    for range in &wanted {
        let path = folder.path().join(range.slot.0.to_string());
        std::fs::write(&path, "a line\n").unwrap();
        reader.adopt(range.slot, File::open(&path).unwrap());
    }
    let mut before = 0;
    for round in 0..=WARM_UP {
        before = allocated();
        let mut read = 0;
        reader.read_round(&wanted, |_, bytes| read += usize::from(bytes.unwrap() == b"line\n")).await;
        assert_eq!(read, BUFFERS, "round {round}");
    }
    allocated() - before
}

#[test]
fn a_round_of_reads_by_pread_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(allocations_of_a_round(&mut PreadReader::new())), 0);
}

#[test]
fn a_round_of_reads_by_io_uring_allocates_nothing() {
    let (runtime, mut reader) = match UringReader::open() {
        Ok(opened) => opened,
        Err(error) => return println!("SKIPPED: io_uring is not available: {error}"),
    };
    assert_eq!(runtime.block_on(async { allocations_of_a_round(&mut reader).await }), 0);
}
