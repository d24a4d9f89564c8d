//! Reading by `io_uring` into registered buffers, through tokio-uring.
//!
//! tokio-uring has had no release since 2024, so nothing of it is named outside this file.

use std::{
    array,
    fs::File,
    future::poll_fn,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use rustix::io::Errno;
use tokio_uring::buf::{BoundedBuf, fixed::FixedBufRegistry};

use super::{BUFFER_BYTES, BUFFERS, RangeReader, SlotTable, Wanted, no_such_slot};
use crate::tail::notify::Slot;

/// All ranges of a round go to the kernel in one system call.
pub struct UringReader {
    files: SlotTable<UringFile>,
    buffers: FixedBufRegistry<Vec<u8>>,
}

struct UringFile(tokio_uring::fs::File);

impl AsFd for UringFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open for as long as the file lives, and the borrow does not outlive `self`.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}

impl UringReader {
    /// A reader with its pool of buffers registered, and the runtime inside of which it works.
    ///
    /// # Errors
    /// Where the kernel has no `io_uring` (`ENOSYS`) or forbids it (`EPERM`: sysctl kernel.io_uring_disabled, seccomp), or
    /// RLIMIT_MEMLOCK does not allow the pool (`ENOMEM`). [`uring_refusal`] has the mends.
    pub fn open() -> io::Result<(tokio_uring::Runtime, Self)> {
        let runtime = tokio_uring::Runtime::new(tokio_uring::builder().entries(2 * BUFFERS as u32))?;
        let buffers = FixedBufRegistry::new((0..BUFFERS).map(|_| Vec::with_capacity(BUFFER_BYTES)));
        runtime.block_on(async { buffers.register() })?;
        Ok((runtime, Self { files: SlotTable(Vec::new()), buffers }))
    }
}

/// Why `io_uring` cannot be used, with the mend. `error` is that of [`UringReader::open`].
pub fn uring_refusal(error: &io::Error) -> String {
    let mend = match Errno::from_io_error(error) {
        Some(Errno::NOSYS) => {
            "the kernel has none, or seccomp hides it: allow io_uring_setup, io_uring_enter and io_uring_register in the \
             pod's seccomp profile"
        }
        Some(Errno::PERM | Errno::ACCESS) => {
            "forbidden: set the sysctl kernel.io_uring_disabled to 0, or allow it in the pod's seccomp profile"
        }
        Some(Errno::NOMEM) => "too little lockable memory: raise RLIMIT_MEMLOCK to 2 MiB",
        _ => return error.to_string(),
    };
    format!("{error}: {mend}")
}

impl RangeReader for UringReader {
    fn adopt(&mut self, slot: Slot, file: File) {
        self.files.insert(slot, UringFile(tokio_uring::fs::File::from_std(file)));
    }

    fn release(&mut self, slot: Slot) {
        self.files.remove(slot);
    }

    fn file(&self, slot: Slot) -> Option<BorrowedFd<'_>> {
        self.files.get(slot).map(AsFd::as_fd)
    }

    async fn read_round(&mut self, wanted: &[Wanted], mut sink: impl FnMut(usize, io::Result<&[u8]>)) {
        // Not a collection of futures, which would allocate for each of them.
        let mut reads = pin!(array::from_fn::<_, BUFFERS, _>(|index| {
            let range = wanted.get(index)?;
            match (self.files.get(range.slot), self.buffers.check_out(index)) {
                (Some(file), Some(buffer)) => Some(async move {
                    let (result, buffer) = file.0.read_fixed_at(buffer.slice(..BUFFER_BYTES), range.offset).await;
                    (index, result, buffer.into_inner())
                }),
                _ => {
                    sink(index, Err(no_such_slot()));
                    None
                }
            }
        }));
        // One by one as they end: while one is parsed, the kernel reads the others.
        while let Some((index, result, buffer)) = poll_fn(|context| poll_any(reads.as_mut(), context)).await {
            sink(index, result.map(|len| &buffer[..len]));
        }
    }
}

/// The output of the first future that is done, which is gone then; `None` where none is left. Where none is done, all were
/// polled.
fn poll_any<F: Future, const N: usize>(
    mut futures: Pin<&mut [Option<F>; N]>,
    context: &mut Context<'_>,
) -> Poll<Option<F::Output>> {
    let mut pending = false;
    for index in 0..N {
        // SAFETY: the array is pinned and its elements with it: none is moved out of it, here or elsewhere.
        let mut future = unsafe { futures.as_mut().map_unchecked_mut(|futures| &mut futures[index]) };
        match future.as_mut().as_pin_mut().map(|future| future.poll(context)) {
            Some(Poll::Ready(output)) => {
                future.set(None);
                return Poll::Ready(Some(output));
            }
            Some(Poll::Pending) => pending = true,
            None => {}
        }
    }
    if pending { Poll::Pending } else { Poll::Ready(None) }
}
