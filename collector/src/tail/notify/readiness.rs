//! Waits until a file descriptor becomes readable.
//!
//! In: a descriptor. Out: a future. Bound to the tokio runtime of the first wait, so that a backend can be opened before
//! there is one.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// The registration of one descriptor with a runtime.
#[derive(Default)]
pub struct Readiness {
    registered: Option<AsyncFd<OwnedFd>>,
}

impl Readiness {
    /// Resolves when `source` became readable since this last resolved. Cancel safe. To be called with the same
    /// descriptor always.
    pub async fn next(&mut self, source: BorrowedFd<'_>) -> io::Result<()> {
        let registered = match &mut self.registered {
            Some(registered) => registered,
            none => {
                let fd = source.try_clone_to_owned()?;
                // SAFETY: an OwnedFd is an open descriptor and stays the same; nothing else has this one.
                none.insert(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
            }
        };
        registered.readable().await?.clear_ready();
        Ok(())
    }
}
