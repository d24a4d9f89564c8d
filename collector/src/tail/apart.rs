//! Calls to the file system that may not return, such as those on a mount whose server is gone, made so that the reader thread
//! never waits for ever.
//!
//! In: a call. Out: what it returned, or after 5 s an error with a [`Left`]: the call was left behind, and [`Left::has_returned`]
//! tells when it came back. What is in the page cache is read at once (`RWF_NOWAIT`), and names on local file systems are looked
//! up at once ([`super::local`]); all else is done on a thread of its own,
//! which is replaced when it hangs. A thread and not `io_uring`, as open(2), stat(2) and listing a folder hang with the same mounts,
//! and as reading must not depend on `io_uring`.
//!
//! After a call was left behind, further ones are refused until [`take_left`] was called: what is done for one container waits
//! once, not for each of its files. Knows no containers.

use std::{
    cell::RefCell,
    collections::HashSet,
    fmt,
    fs::File,
    io::{self, IoSliceMut},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileExt,
    },
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded, unbounded};
use rustix::{
    fs::{AtFlags, Stat, StatxFlags, makedev, statx},
    io::{Errno, ReadWriteFlags},
};

use super::local;
#[cfg(test)]
use crate::model::work;

/// How long a call may take; less while others are left behind, so that a hundred that hang do not take minutes.
const PATIENCE: Duration = Duration::from_secs(5);

/// The least patience, after the time to end has come.
const PATIENCE_MIN: Duration = Duration::from_millis(20);

/// This many calls may be left behind, each with a thread; past it only what is in the page cache can be read.
const LEFT_MAX: usize = 64;

/// Of a thread: the deepest call decompresses the beginning of a file.
const STACK_BYTES: usize = 512 << 10;

type Job = Box<dyn FnOnce() + Send>;

/// A call that was left behind.
#[derive(Clone, Debug)]
pub struct Left(Arc<AtomicBool>);

/// Held by a call until it returns.
#[derive(Debug)]
pub struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Left {
    fn new() -> (Self, Running) {
        let returned = Arc::new(AtomicBool::new(false));
        (Self(Arc::clone(&returned)), Running(returned))
    }

    /// Whether the call has returned by now.
    pub fn has_returned(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// What the caller gets.
    pub fn error(&self) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, self.clone())
    }

    /// The call that an error is about, if it is about one that was left behind.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().cloned()
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file system does not answer")
    }
}

impl std::error::Error for Left {}

thread_local! {
    static CALLS: RefCell<Calls> = RefCell::default();
}

/// What one thread has others do for it.
#[derive(Default)]
struct Calls {
    helper: Option<Sender<Job>>,
    left: Vec<Left>,
    /// Left behind since [`take_left`].
    untaken: Option<Left>,
    deadline: Option<Instant>,
    local_devices: HashSet<u64>,
}

impl Calls {
    fn count_left(&mut self) -> usize {
        self.left.retain(|left| !left.has_returned());
        self.left.len()
    }

    fn patience(&mut self) -> Duration {
        let shared = PATIENCE / (1 + self.count_left() as u32);
        match self.deadline {
            Some(deadline) => shared.min(deadline.saturating_duration_since(Instant::now())).max(PATIENCE_MIN),
            None => shared,
        }
    }

    /// The call on whose account no other is made now.
    fn refused_for(&mut self) -> Option<Left> {
        let over = self.count_left() >= LEFT_MAX;
        if over && self.untaken.is_none() {
            self.untaken = self.left.first().cloned();
        }
        self.untaken.clone()
    }

    /// Gives a call to a thread; it comes back where there is none.
    fn start(&mut self, job: Job) -> Option<Job> {
        if self.helper.is_none() {
            let (sender, jobs) = unbounded::<Job>();
            let thread = thread::Builder::new().name("files".into()).stack_size(STACK_BYTES);
            // Ends when its sender is dropped and its call returns.
            if thread.spawn(move || jobs.into_iter().for_each(|job| job())).is_ok() {
                self.helper = Some(sender);
            }
        }
        match &self.helper {
            Some(helper) => helper.send(job).err().map(|unsent| unsent.0),
            None => Some(job),
        }
    }
}

/// How long a call may take now.
pub fn patience() -> Duration {
    CALLS.with_borrow_mut(Calls::patience)
}

/// From now on no call is waited for after `deadline`.
pub fn wait_until(deadline: Instant) {
    CALLS.with_borrow_mut(|calls| calls.deadline = Some(deadline));
}

/// The call that was left behind since this was last asked.
pub fn take_left() -> Option<Left> {
    CALLS.with_borrow_mut(|calls| calls.untaken.take())
}

/// A call that is left behind by who made it without [`run`].
pub fn leave() -> (Left, Running) {
    let (left, running) = Left::new();
    CALLS.with_borrow_mut(|calls| calls.left.push(left.clone()));
    (left, running)
}

/// Makes a call on another thread and waits for it. Where no thread can be started it is made on this one.
///
/// # Errors
/// Those of the call; [`Left::error`] where it does not return.
pub fn run<T: Send + 'static>(call: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    #[cfg(test)]
    work::count(|work| work.handed_over += 1);
    if let Some(left) = CALLS.with_borrow_mut(Calls::refused_for) {
        return Err(left.error());
    }
    let (left, running) = Left::new();
    let (sender, result) = bounded(1);
    let job: Job = Box::new(move || {
        let result = call();
        // Nobody waits any more for one that was left behind.
        let _ = sender.send(result);
        drop(running);
    });
    let unstarted = CALLS.with_borrow_mut(|calls| calls.start(job));
    unstarted.into_iter().for_each(|job| job());
    match result.recv_timeout(patience()) {
        Ok(result) => result,
        Err(ended) => CALLS.with_borrow_mut(|calls| {
            calls.helper = None;
            if ended == RecvTimeoutError::Disconnected {
                return Err(io::Error::other("a call to the file system ended without a result"));
            }
            calls.left.push(left.clone());
            calls.untaken = Some(left.clone());
            Err(left.error())
        }),
    }
}

/// The file system with this device number is local.
pub fn note_local(device: u64) {
    CALLS.with_borrow_mut(|calls| calls.local_devices.insert(device));
}

/// The device of an open file, 0 where that is not known: what the kernel has in memory, no server is asked.
pub fn device_of(file: impl AsFd) -> u64 {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    statx(file, c"", flags, StatxFlags::empty()).map_or(0, |found| makedev(found.stx_dev_major, found.stx_dev_minor))
}

/// stat(2) of a path.
///
/// # Errors
/// Those of the call; [`Left::error`] where it does not return.
pub fn stat_path(path: &Path) -> io::Result<Stat> {
    if let Ok(found) = local::stat(path) {
        return Ok(found);
    }
    let path = path.to_owned();
    run(move || Ok(rustix::fs::stat(&path)?))
}

/// fstat(2) of a file on a device.
///
/// # Errors
/// Those of the call; [`Left::error`] where it does not return.
pub fn stat(file: impl AsFd, device: u64) -> io::Result<Stat> {
    let file = file.as_fd();
    if CALLS.with_borrow(|calls| calls.local_devices.contains(&device)) {
        return Ok(rustix::fs::fstat(file)?);
    }
    let file = file.try_clone_to_owned()?;
    run(move || Ok(rustix::fs::fstat(file)?))
}

/// Up to `len` bytes from `offset` on, wherever the file's cursor is; fewer at its end.
///
/// # Errors
/// Where it cannot be read; [`Left::error`] where reading does not return.
pub fn read_range(file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    match read_cached(file, &mut bytes, offset) {
        Cached::All(filled) => bytes.truncate(filled),
        Cached::Failed(error) => return Err(error),
        Cached::Part(filled) => {
            let file = File::from(file.try_clone_to_owned()?);
            bytes.truncate(filled);
            bytes = run(move || {
                bytes.resize(len, 0);
                let read = read_to_end_of(&file, &mut bytes[filled..], offset + filled as u64)?;
                bytes.truncate(filled + read);
                Ok(bytes)
            })?;
        }
    }
    Ok(bytes)
}

/// Fills `buffer` from `offset` on; returns how many bytes there are, fewer than it has room for at the file's end and before a
/// part that cannot be read.
///
/// # Errors
/// Where nothing can be read; [`Left::error`] where reading does not return.
pub fn read_at(file: &Arc<File>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let filled = match read_cached(file.as_fd(), buffer, offset) {
        Cached::All(filled) => return Ok(filled),
        Cached::Failed(error) => return Err(error),
        Cached::Part(filled) => filled,
    };
    let (file, len) = (Arc::clone(file), buffer.len() - filled);
    let rest = run(move || {
        let mut bytes = vec![0; len];
        let read = read_to_end_of(&file, &mut bytes, offset + filled as u64)?;
        bytes.truncate(read);
        Ok(bytes)
    });
    match rest {
        Ok(rest) => {
            buffer[filled..filled + rest.len()].copy_from_slice(&rest);
            Ok(filled + rest.len())
        }
        Err(error) if filled == 0 || Left::of(&error).is_some() => Err(error),
        Err(_) => Ok(filled),
    }
}

/// What of a range is in the page cache.
enum Cached {
    /// This many bytes, and with them the range or the file ends.
    All(usize),
    /// This many bytes; more have to be waited for.
    Part(usize),
    Failed(io::Error),
}

fn read_cached(file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> Cached {
    let mut filled = 0;
    while filled < buffer.len() {
        let part = &mut [IoSliceMut::new(&mut buffer[filled..])];
        match rustix::io::preadv2(file, part, offset + filled as u64, ReadWriteFlags::NOWAIT) {
            Ok(0) if says_end_for_what_is_not_cached() => return Cached::Part(filled),
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            // Not in memory; or the file system, the kernel or seccomp does not know the flag.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
                return Cached::Part(filled);
            }
            Err(error) if filled == 0 => return Cached::Failed(error.into()),
            Err(_) => break,
        }
    }
    Cached::All(filled)
}

/// Whether `RWF_NOWAIT` may return 0 before the end of a file: Linux 5.9 and 5.10, as preadv2(2) says under BUGS.
fn says_end_for_what_is_not_cached() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let name = rustix::system::uname();
        let release = name.release().to_bytes();
        [&b"5.9."[..], b"5.10."].iter().any(|version| release.starts_with(version))
    })
}

/// As far as there is something, on the calling thread.
fn read_to_end_of(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if filled == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(filled)
}

/// Up to `len` bytes from `offset` on, on the calling thread, which may wait for ever.
///
/// # Errors
/// Where it cannot be read.
pub fn read_range_here(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let read = read_to_end_of(file, &mut bytes, offset)?;
    bytes.truncate(read);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_call_that_does_not_return_is_left_behind_and_further_ones_are_refused_until_that_is_noticed() {
        wait_until(Instant::now());
        let (release, released) = bounded::<()>(0);
        let error = run(move || Ok(released.recv())).unwrap_err();
        let left = Left::of(&error).unwrap();
        assert!(Left::of(&run(|| Ok(())).unwrap_err()).is_some(), "refused");
        assert!(take_left().is_some() && take_left().is_none());
        run(|| Ok(())).unwrap();
        assert!(!left.has_returned());
        release.send(()).unwrap();
        while !left.has_returned() {
            thread::yield_now();
        }
    }

    #[test]
    fn no_more_threads_than_so_many_are_left_behind() {
        wait_until(Instant::now());
        let (release, released) = bounded::<()>(0);
        for _ in 0..LEFT_MAX + 5 {
            let released = released.clone();
            assert!(run(move || Ok(released.recv())).is_err());
            take_left();
        }
        CALLS.with_borrow_mut(|calls| assert_eq!(calls.count_left(), LEFT_MAX));
        drop(release);
        while CALLS.with_borrow_mut(Calls::count_left) > 0 {
            thread::yield_now();
        }
        while Left::of(&run(|| Ok(())).err().unwrap_or_else(|| io::Error::other("none"))).is_some() {
            take_left();
        }
    }

    #[test]
    fn bytes_come_whether_they_are_cached_or_not() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"some bytes").unwrap();
        assert_eq!(read_range(file.as_fd(), 5, 100).unwrap(), b"bytes");
        assert_eq!(read_range_here(&file, 5, 2).unwrap(), b"by");
        let (file, mut buffer) = (Arc::new(file), [0; 4]);
        assert_eq!(read_at(&file, &mut buffer, 8).unwrap(), 2);
        assert_eq!(&buffer[..2], b"es");
        assert_eq!(stat(&*file, 0).unwrap().st_size, 10);
    }

    #[test]
    fn an_error_comes_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let folder = File::open(folder.path()).unwrap();
        let error = read_range(folder.as_fd(), 0, 10).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::ISDIR));
    }
}
