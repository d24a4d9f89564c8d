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
    time::Duration,
};

use rustix::io::Errno;
use tokio_uring::buf::{BoundedBuf, fixed::FixedBufRegistry};

use super::{BUFFER_BYTES, BUFFERS, RangeReader, SlotTable, Wanted, no_such_slot};
use crate::tail::{
    apart::{self, Running},
    notify::Slot,
};

/// What is done by the time that a round ends may not be known yet where the whole process was stopped for a while.
const SECOND_LOOK: Duration = Duration::from_millis(50);

/// All ranges of a round go to the kernel in one system call. One that does not end in time keeps its buffer until it does; what
/// has no buffer is read by [`apart`].
pub struct UringReader {
    files: SlotTable<UringFile>,
    buffers: FixedBufRegistry<Vec<u8>>,
    /// Reads that were left behind, by the index of their buffer.
    left: [Option<Running>; BUFFERS],
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
    /// RLIMIT_MEMLOCK does not allow the pool (`ENOMEM`). [`uring_refusal`] has the fixes.
    pub fn open() -> io::Result<(tokio_uring::Runtime, Self)> {
        let runtime = tokio_uring::Runtime::new(tokio_uring::builder().entries(2 * BUFFERS as u32))?;
        let buffers = FixedBufRegistry::new((0..BUFFERS).map(|_| Vec::with_capacity(BUFFER_BYTES)));
        runtime.block_on(async { buffers.register() })?;
        Ok((runtime, Self { files: SlotTable(Vec::new()), buffers, left: array::from_fn(|_| None) }))
    }
}

/// Why `io_uring` cannot be used, with the fix. `error` is that of [`UringReader::open`].
pub fn uring_refusal(error: &io::Error) -> String {
    let fix = match Errno::from_io_error(error) {
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
    format!("{error}: {fix}")
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
        let mut without_buffer = [false; BUFFERS];
        // Not a collection of futures, which would allocate for each of them.
        let mut reads = pin!(array::from_fn::<_, BUFFERS, _>(|index| {
            let range = wanted.get(index)?;
            match (self.files.get(range.slot), self.buffers.check_out(index)) {
                (Some(file), Some(buffer)) => Some(async move {
                    let (result, buffer) = file.0.read_fixed_at(buffer.slice(..BUFFER_BYTES), range.offset).await;
                    (index, result, buffer.into_inner())
                }),
                (Some(_), None) => {
                    without_buffer[index] = true;
                    None
                }
                (None, _) => {
                    sink(index, Err(no_such_slot()));
                    None
                }
            }
        }));
        // One by one as they end: while one is parsed, the kernel reads the others.
        let mut deadline = tokio::time::Instant::now() + apart::patience();
        let mut is_late = false;
        loop {
            let next = poll_fn(|context| poll_any(reads.as_mut(), context));
            match tokio::time::timeout_at(deadline, next).await {
                Ok(Some((index, result, buffer))) => sink(index, result.map(|len| &buffer[..len])),
                Ok(None) => break,
                Err(_) if !is_late => {
                    is_late = true;
                    deadline = tokio::time::Instant::now() + SECOND_LOOK;
                }
                Err(_) => {
                    leave_all(reads.as_mut(), |index| {
                        let (left, running) = apart::leave();
                        self.left[index] = Some(running);
                        sink(index, Err(left.error()));
                    });
                    break;
                }
            }
        }
        for index in (0..wanted.len()).filter(|&index| without_buffer[index]) {
            let Some(file) = self.files.get(wanted[index].slot) else { continue };
            match apart::read_range(file.as_fd(), wanted[index].offset, BUFFER_BYTES) {
                Ok(bytes) => sink(index, Ok(&bytes)),
                Err(error) => sink(index, Err(error)),
            }
            // The error tells; the next range is another container's.
            apart::take_left();
        }
    }

    fn look_for_returned(&mut self) {
        for (index, left) in self.left.iter_mut().enumerate() {
            // A read has its buffer until it ends.
            if left.is_some() && self.buffers.check_out(index).is_some() {
                *left = None;
            }
        }
    }
}

/// Drops what is not done; tokio-uring keeps the file and the buffer of a dropped read until it ends.
fn leave_all<F: Future, const N: usize>(mut futures: Pin<&mut [Option<F>; N]>, mut each: impl FnMut(usize)) {
    for index in 0..N {
        // SAFETY: the array is pinned and its elements with it: none is moved out of it, here or elsewhere.
        let mut future = unsafe { futures.as_mut().map_unchecked_mut(|futures| &mut futures[index]) };
        if future.is_some() {
            future.set(None);
            each(index);
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
