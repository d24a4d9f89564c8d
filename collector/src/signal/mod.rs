//! Which of the tracked files have new bytes.
//!
//! In: open files to track, each with a [`Slot`] that the caller chose. Out: the slots whose files may have grown. A
//! file's dirty mark is cleared by [`Signal::drain`], before the caller reads the file to its end, so a write during the
//! reading marks it again and is never lost. Knows no path's meaning, no container, no Kubernetes.

use std::{io, os::fd::BorrowedFd, path::Path};

/// Index of a tracked file: chosen by the caller, dense from 0, free to be used again after [`Signal::untrack`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// A way to learn that tracked files have grown.
pub trait Signal {
    /// Begins to watch an open file. The slot counts as dirty from the start: the caller reads the file once anyway.
    fn track(&mut self, slot: Slot, file: BorrowedFd<'_>, path: &Path) -> io::Result<()>;

    /// Ends it. Marks of this slot that are still under way must not come out of a later [`Self::drain`] for another
    /// file in the same slot other than as a needless one.
    fn untrack(&mut self, slot: Slot);

    /// Resolves when a drain may find something. Cancel safe. A spurious return is allowed.
    fn wait(&mut self) -> impl Future<Output = io::Result<()>>;

    /// Clears the marks and appends the slots that had one to `dirty`. Never blocks.
    fn drain(&mut self, dirty: &mut Vec<Slot>) -> io::Result<()>;
}
