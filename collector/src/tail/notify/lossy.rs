//! A signal that drops some of what it detects, on purpose: `debug.drop_signals`.
//!
//! In: any [`Signal`] and the share of marks to be lost. Out: the same signal without them. It is there to prove, on any
//! machine, that a lost mark delays a line until the sweep and never loses it. With a share of 0 nothing changes.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    os::fd::BorrowedFd,
    path::Path,
};

use super::{Signal, Slot};

/// A signal and the share of its marks that are dropped.
pub struct Lossy<S> {
    signal: S,
    share: f64,
    seed: RandomState,
    marks: u64,
}

impl<S: Signal> Lossy<S> {
    /// Throws away `share` of the marks, 0 to 1, at random.
    pub fn new(signal: S, share: f64) -> Self {
        Self { signal, share, seed: RandomState::new(), marks: 0 }
    }

    fn is_lost(&mut self) -> bool {
        self.marks += 1;
        (self.seed.hash_one(self.marks) as f64) < self.share * u64::MAX as f64
    }
}

impl<S: Signal> Signal for Lossy<S> {
    fn track(&mut self, slot: Slot, file: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
        self.signal.track(slot, file, path)
    }

    fn untrack(&mut self, slot: Slot) {
        self.signal.untrack(slot);
    }

    fn descriptors_per_file(&self) -> usize {
        self.signal.descriptors_per_file()
    }

    async fn wait(&mut self) -> io::Result<()> {
        self.signal.wait().await
    }

    fn drain(&mut self, dirty: &mut Vec<Slot>) -> io::Result<()> {
        let before = dirty.len();
        self.signal.drain(dirty)?;
        if self.share > 0.0 {
            let drained = dirty.split_off(before);
            dirty.extend(drained.into_iter().filter(|_| !self.is_lost()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports one slot with each drain.
    struct Always;

    impl Signal for Always {
        fn track(&mut self, _: Slot, _: BorrowedFd<'_>, _: &Path) -> io::Result<()> {
            Ok(())
        }

        fn untrack(&mut self, _: Slot) {}

        fn descriptors_per_file(&self) -> usize {
            0
        }

        async fn wait(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn drain(&mut self, dirty: &mut Vec<Slot>) -> io::Result<()> {
            dirty.push(Slot(7));
            Ok(())
        }
    }

    fn marks_of(share: f64, drains: usize) -> usize {
        let mut signal = Lossy::new(Always, share);
        let mut dirty = vec![Slot(1)];
        for _ in 0..drains {
            signal.drain(&mut dirty).unwrap();
        }
        assert_eq!(dirty[0], Slot(1), "what the caller had stays");
        dirty.len() - 1
    }

    #[test]
    fn the_asked_for_share_of_marks_is_lost() {
        assert_eq!(marks_of(0.0, 1000), 1000);
        assert_eq!(marks_of(1.0, 1000), 0);
        let some = marks_of(0.3, 10_000);
        assert!((6500..7500).contains(&some), "{some}");
    }
}
