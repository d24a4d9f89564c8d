//! The words that the probe and this process both read and write, mapped into this process's memory.
//!
//! In: file descriptors of maps. Out: references to atomics, valid as long as the mapping. The only unsafe code of the
//! eBPF backend.

use std::{
    ffi::c_void,
    io,
    marker::PhantomData,
    os::fd::BorrowedFd,
    ptr::{self, NonNull},
    slice,
    sync::atomic::AtomicU64,
};

use collector_ebpf::Control;
use rustix::{
    mm::{MapFlags, ProtFlags, mmap, munmap},
    param::page_size,
};

/// Types of shared memory: made of atomics only, and every pattern of bits is a value.
///
/// # Safety
/// Both must be true, as other threads and the kernel write to the memory at any time.
pub unsafe trait Shared {}

// SAFETY: an atomic itself.
unsafe impl Shared for AtomicU64 {}
// SAFETY: has atomic integers only.
unsafe impl Shared for Control {}

/// A mapping of `length` values.
pub struct Mapping<T: Shared> {
    start: NonNull<c_void>,
    bytes: usize,
    length: usize,
    values: PhantomData<T>,
}

// SAFETY: owns its memory, as a Vec of atomics would.
unsafe impl<T: Shared + Send> Send for Mapping<T> {}

impl<T: Shared> Mapping<T> {
    /// Maps `length` values of an array with `BPF_F_MMAPABLE`, to read and write.
    pub fn of_array(map: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        Self::new(map, 0, length, ProtFlags::READ | ProtFlags::WRITE)
    }

    fn new(map: BorrowedFd<'_>, offset: usize, length: usize, protection: ProtFlags) -> io::Result<Self> {
        let bytes = (length * size_of::<T>()).next_multiple_of(page_size());
        // SAFETY: a new mapping where the kernel likes; nothing else refers to that memory.
        let start = unsafe { mmap(ptr::null_mut(), bytes, protection, MapFlags::SHARED, map, offset as u64) }?;
        let start = NonNull::new(start).ok_or_else(|| io::Error::other("mmap gave address 0"))?;
        Ok(Self { start, bytes, length, values: PhantomData })
    }

    pub fn values(&self) -> &[T] {
        // SAFETY: mapped for at least `length` values until the drop, page-aligned, and all bits are valid for `T`.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast(), self.length) }
    }
}

impl<T: Shared> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made; references into it have ended with the borrow of `self`. It cannot fail:
        // start and length are those of a mapping.
        let _ = unsafe { munmap(self.start.as_ptr(), self.bytes) };
    }
}

/// The two positions of a ring buffer, in bytes since its beginning.
pub struct RingPositions {
    consumer: Mapping<AtomicU64>,
    producer: Mapping<AtomicU64>,
}

impl RingPositions {
    /// Maps those of a ring buffer: the first words of its first and second page, see kernel/bpf/ringbuf.c.
    pub fn of_ring(map: BorrowedFd<'_>) -> io::Result<Self> {
        let consumer = Mapping::new(map, 0, 1, ProtFlags::READ)?;
        let producer = Mapping::new(map, page_size(), 1, ProtFlags::READ)?;
        Ok(Self { consumer, producer })
    }

    /// Whether an event is in the ring buffer or is being put into it: the probe moves the position when it reserves the
    /// room, before it fills it.
    pub fn differ(&self) -> bool {
        use std::sync::atomic::Ordering::Acquire;
        self.producer.values()[0].load(Acquire) != self.consumer.values()[0].load(Acquire)
    }
}
