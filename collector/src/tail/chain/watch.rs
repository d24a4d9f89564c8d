//! Notice when folders change: one inotify instance, one watch a folder.
//!
//! In: folders with a value that the caller chose for each. Out: the values of folders in which a name appeared, went or
//! changed. An overflow of the queue gives [`FolderWatch::Everything`]. What is missed here is found by the caller's
//! periodic scan.

use std::{
    collections::HashMap,
    future::pending,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

/// What a change concerns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FolderWatch<T> {
    /// The folder with this value.
    Folder(T),
    /// Events were lost: any folder may have changed.
    Everything,
}

/// Adds folders to a watcher.
#[derive(Clone, Debug)]
pub struct Adder(Option<Arc<OwnedFd>>);

/// The watch of a folder.
#[derive(Clone, Copy, Debug)]
pub struct Watch(Option<i32>);

impl Adder {
    /// Watches a folder.
    ///
    /// # Errors
    /// `ENOSPC` where the user's watches (sysctl fs.inotify.max_user_watches) are used up; `NotFound` where it is gone.
    pub fn add(&self, folder: &Path) -> io::Result<Watch> {
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::ONLYDIR;
        let Some(inotify) = &self.0 else { return Ok(Watch(None)) };
        Ok(Watch(Some(inotify::add_watch(inotify, folder, flags)?)))
    }
}

/// Watches folders.
#[derive(Debug)]
pub struct FolderWatcher<T> {
    /// None: it notices nothing.
    inotify: Option<Arc<OwnedFd>>,
    ready: Option<AsyncFd<OwnedFd>>,
    values: HashMap<i32, T>,
}

impl<T: Clone + Eq + std::hash::Hash> FolderWatcher<T> {
    /// No folder yet.
    ///
    /// # Errors
    /// `EMFILE` where the user's inotify instances (sysctl fs.inotify.max_user_instances) are used up.
    pub fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { inotify: Some(Arc::new(inotify)), ready: None, values: HashMap::new() })
    }

    /// One that notices nothing, for where there is no instance to be had: all is left to the periodic scan.
    #[must_use]
    pub fn blind() -> Self {
        Self { inotify: None, ready: None, values: HashMap::new() }
    }

    /// What adds folders, on another thread too.
    #[must_use]
    pub fn adder(&self) -> Adder {
        Adder(self.inotify.clone())
    }

    /// A watch that [`Adder::add`] made has this value from now on.
    pub fn note(&mut self, watch: Watch, value: T) {
        if let Watch(Some(watch)) = watch {
            self.values.insert(watch, value);
        }
    }

    /// How many folders are watched.
    #[cfg(test)]
    pub fn watched(&self) -> usize {
        self.values.len()
    }

    /// Resolves when a folder may have changed. Cancel safe. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Where the runtime cannot watch the descriptor.
    pub async fn wait(&mut self) -> io::Result<()> {
        let Some(inotify) = &self.inotify else { return pending().await };
        let ready = match self.ready.take() {
            Some(ready) => ready,
            None => {
                let inotify = inotify.as_ref().try_clone()?;
                // SAFETY: an `OwnedFd` names the same open descriptor until the `AsyncFd` that owns it is dropped.
                unsafe { AsyncFd::register_with_interest(inotify, tokio::io::Interest::READABLE)? }
            }
        };
        self.ready.insert(ready).readable().await?.retain_ready();
        Ok(())
    }

    /// Appends what changed since the last call, each at most once. Never blocks.
    ///
    /// # Errors
    /// Where the events cannot be read.
    pub fn drain(&mut self, changed: &mut Vec<FolderWatch<T>>) -> io::Result<()> {
        let Some(inotify) = &self.inotify else { return Ok(()) };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify.as_fd(), &mut buffer);
        let mut note = |change| {
            if !changed.contains(&change) {
                changed.push(change);
            }
        };
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                note(FolderWatch::Everything);
            } else if event.events().contains(ReadFlags::IGNORED) {
                // The folder is gone, and its number may come again for another one.
                self.values.remove(&event.wd());
            } else if let Some(value) = self.values.get(&event.wd()) {
                note(FolderWatch::Folder(value.clone()));
            }
        }
        if let Some(ready) = &self.ready
            && let std::task::Poll::Ready(Ok(mut guard)) =
                ready.poll_read_ready(&mut std::task::Context::from_waker(std::task::Waker::noop()))
        {
            guard.clear_ready();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(watcher: &mut FolderWatcher<u32>, folder: &Path, value: u32) {
        let watch = watcher.adder().add(folder).unwrap();
        watcher.note(watch, value);
    }

    fn drained(watcher: &mut FolderWatcher<u32>) -> Vec<FolderWatch<u32>> {
        let mut changed = Vec::new();
        watcher.drain(&mut changed).unwrap();
        changed
    }

    #[test]
    fn names_that_appear_or_go_are_noticed_and_writes_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::create_dir_all(&one).unwrap();
        std::fs::create_dir_all(&two).unwrap();
        let mut watcher = FolderWatcher::new().unwrap();
        watch(&mut watcher, &one, 1);
        watch(&mut watcher, &two, 2);
        assert!(drained(&mut watcher).is_empty());
        std::fs::write(two.join("0.log"), "x").unwrap();
        std::fs::write(two.join("1.log"), "x").unwrap();
        assert_eq!(drained(&mut watcher), [FolderWatch::Folder(2)]);
        std::fs::write(two.join("0.log"), "y").unwrap();
        assert!(drained(&mut watcher).is_empty());
        std::fs::rename(two.join("0.log"), one.join("0.log")).unwrap();
        assert_eq!(drained(&mut watcher).len(), 2);
        std::fs::remove_dir_all(&one).unwrap();
        assert_eq!(drained(&mut watcher), [FolderWatch::Folder(1)]);
    }

    #[test]
    fn without_an_instance_nothing_is_noticed_and_nothing_fails() {
        let dir = tempfile::tempdir().unwrap();
        let mut watcher = FolderWatcher::blind();
        watch(&mut watcher, dir.path(), 1);
        std::fs::write(dir.path().join("0.log"), "x").unwrap();
        assert!(drained(&mut watcher).is_empty());
    }

    #[tokio::test]
    async fn waiting_ends_at_a_change_and_goes_on_after_a_drain() {
        let dir = tempfile::tempdir().unwrap();
        let mut watcher = FolderWatcher::new().unwrap();
        watch(&mut watcher, dir.path(), 1);
        for name in ["a", "b"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
            watcher.wait().await.unwrap();
            assert_eq!(drained(&mut watcher), [FolderWatch::Folder(1)]);
            let idle = tokio::time::timeout(std::time::Duration::from_millis(50), watcher.wait()).await;
            assert!(idle.is_err(), "nothing changed since the drain");
        }
    }
}
