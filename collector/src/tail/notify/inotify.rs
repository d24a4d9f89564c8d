//! The inotify backend: one inotify instance, each file's watch armed again after it fired.
//!
//! In: tracked files. Out: a [`Signal`] that costs one event per file and drain, however much is written, as the watches
//! are `IN_ONESHOT`. Watches are of inodes, so that a renamed file stays tracked. A file may be in one slot only.

use std::{
    collections::HashMap,
    fs, io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::{Errno, ioctl_fionread},
};

use super::{Refusal, Signal, Slot, readiness::Readiness};
use crate::status::Throttle;

/// Room for 256 events without names.
const BUFFER_BYTES: usize = 4096;

/// The least time between two words of watches that cannot be armed again.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// The inotify backend.
pub struct InotifySignal {
    inotify: OwnedFd,
    files: Vec<Option<Watched>>,
    /// The slots of armed watches, by watch descriptor. The kernel does not soon use a descriptor again.
    slots: HashMap<i32, Slot>,
    /// Slots whose watch could not be armed again.
    unarmed: Vec<Slot>,
    readiness: Readiness,
    complaints: Throttle,
}

/// A tracked file.
struct Watched {
    /// To arm the watch again, whatever the file's name is by then.
    file: OwnedFd,
    /// The armed watch.
    watch: Option<i32>,
}

/// Makes the instance.
///
/// # Errors
/// If the user has too many, or the kernel has no inotify.
pub fn open() -> Result<InotifySignal, Refusal> {
    let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(|error| match error {
        Errno::MFILE => Refusal::new(
            "the user has as many inotify instances as allowed, or this process as many open files",
            "raise the sysctl fs.inotify.max_user_instances, or the limit of open files (LimitNOFILE=, ulimit -n)",
        ),
        error => {
            Refusal::new(format!("inotify_init1: {error}"), "use a kernel that was built with CONFIG_INOTIFY_USER=y")
        }
    })?;
    Ok(InotifySignal {
        inotify,
        files: Vec::new(),
        slots: HashMap::new(),
        unarmed: Vec::new(),
        readiness: Readiness::default(),
        complaints: Throttle::new(COMPLAINT_INTERVAL),
    })
}

impl InotifySignal {
    fn arm(&mut self, slot: Slot) -> io::Result<()> {
        let Some(Some(watched)) = self.files.get_mut(slot.0 as usize) else { return Ok(()) };
        if let Some(stale) = watched.watch.take() {
            self.slots.remove(&stale);
        }
        let path = format!("/proc/self/fd/{}", watched.file.as_raw_fd());
        let watch =
            inotify::add_watch(&self.inotify, path, WatchFlags::MODIFY | WatchFlags::ONESHOT).map_err(explain)?;
        watched.watch = Some(watch);
        self.slots.insert(watch, slot);
        Ok(())
    }

    /// Reads all events. Each slot whose watch fired is appended to `dirty`, and its watch is no more. Returns whether
    /// events were lost.
    fn read_events(&mut self, dirty: &mut Vec<Slot>) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut lost = false;
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(lost),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            lost |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            // Behind each IN_MODIFY comes an IN_IGNORED for the watch's end; that alone means that the file system is gone.
            if let Some(slot) = self.slots.remove(&event.wd()) {
                if let Some(Some(watched)) = self.files.get_mut(slot.0 as usize) {
                    watched.watch = None;
                }
                dirty.push(slot);
            }
        }
    }
}

/// Adds the fix to the errors that have one.
fn explain(error: Errno) -> io::Error {
    if error != Errno::NOSPC {
        return error.into();
    }
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").unwrap_or_default();
    let message = format!(
        "the user has as many inotify watches as allowed ({}); raise the sysctl fs.inotify.max_user_watches",
        limit.trim_end()
    );
    io::Error::new(io::ErrorKind::QuotaExceeded, message)
}

impl Signal for InotifySignal {
    fn track(&mut self, slot: Slot, file: BorrowedFd<'_>, _path: &Path) -> io::Result<()> {
        self.untrack(slot);
        let index = slot.0 as usize;
        if self.files.len() <= index {
            self.files.resize_with(index + 1, || None);
        }
        self.files[index] = Some(Watched { file: file.try_clone_to_owned()?, watch: None });
        let armed = self.arm(slot);
        if armed.is_err() {
            self.files[index] = None;
        }
        armed
    }

    fn untrack(&mut self, slot: Slot) {
        let watched = self.files.get_mut(slot.0 as usize).and_then(Option::take);
        if let Some(watch) = watched.and_then(|watched| watched.watch) {
            self.slots.remove(&watch);
            // It fails if the watch has fired since the last drain.
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
        self.unarmed.retain(|unarmed| *unarmed != slot);
    }

    fn descriptors_per_file(&self) -> usize {
        1
    }

    async fn wait(&mut self) -> io::Result<()> {
        // A wait without a drain since the last one has no new edge to wait for.
        while ioctl_fionread(&self.inotify)? == 0 {
            self.readiness.next(self.inotify.as_fd()).await?;
        }
        Ok(())
    }

    fn drain(&mut self, dirty: &mut Vec<Slot>) -> io::Result<()> {
        let first = dirty.len();
        dirty.append(&mut self.unarmed);
        if self.read_events(dirty)? {
            dirty.truncate(first);
            let tracked = self.files.iter().enumerate().filter(|(_, file)| file.is_some());
            dirty.extend(tracked.map(|(index, _)| Slot(index as u32)));
        }
        // Armed before the caller reads the files: what is written from here on fires again.
        for slot in &dirty[first..] {
            if let Err(error) = self.arm(*slot) {
                if let Some(more) = self.complaints.permit() {
                    tracing::warn!(%error, more, "cannot watch a log file; the sweep finds what is written to it");
                }
                self.unarmed.push(*slot);
            }
        }
        Ok(())
    }
}
