//! Proves that a backend sees writes, by writing.
//!
//! In: the folders that Pilcrow knows, a backend. Out: which [`Way`]s of writing it saw. Where the proof happens matters:
//! some hooks see the file systems of one type only, and Pilcrow's own folders may be on another one than the logs, which
//! are often mounted read-only.

use std::{
    env, fmt,
    fs::{self, File, OpenOptions},
    io::{self, IoSlice, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
    process, thread,
};

use io_uring::{IoUring, opcode, types};
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    pipe::{SpliceFlags, pipe, splice},
};

use super::{
    Refusal, Signal, Slot,
    mounts::{FileSystem, MountTable},
};

/// A way of appending bytes to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// write(2) and pwrite(2): containerd and dockerd.
    Write,
    /// writev(2): conmon, of CRI-O and podman.
    Writev,
    /// splice(2), sendfile(2) and copy_file_range(2).
    Splice,
    /// `IORING_OP_WRITE`.
    IoUring,
}

impl Way {
    const ALL: [Self; 4] = [Self::Write, Self::Writev, Self::Splice, Self::IoUring];

    /// As people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Writev => "writev",
            Self::Splice => "splice",
            Self::IoUring => "io_uring",
        }
    }

    /// Whether a container runtime is known to write logs so: a backend that does not see it is of no use.
    const fn is_required(self) -> bool {
        matches!(self, Self::Write | Self::Writev)
    }

    /// Appends a byte.
    fn append(self, file: &File) -> io::Result<()> {
        match self {
            Self::Write => (&*file).write_all(b"w"),
            Self::Writev => (&*file).write_vectored(&[IoSlice::new(b"v"), IoSlice::new(b"v")]).map(drop),
            Self::Splice => {
                let (reader, writer) = pipe()?;
                rustix::io::write(&writer, b"s")?;
                // A file in append mode takes no splice, hence the offset.
                let mut end = file.metadata()?.len();
                splice(&reader, None, file, Some(&mut end), 1, SpliceFlags::empty())?;
                Ok(())
            }
            Self::IoUring => append_by_io_uring(file, thread::Builder::new().name("proof".into())),
        }
    }
}

/// On a thread of its own: `BPF_PROG_LOAD` fails with EAGAIN while io_uring has work for the calling thread.
///
/// # Errors
/// `WouldBlock` where there is no thread for it: then nothing is known of this way.
fn append_by_io_uring(file: &File, builder: thread::Builder) -> io::Result<()> {
    thread::scope(|scope| {
        let append = || {
            let mut ring = IoUring::new(1)?;
            let end = file.metadata()?.len();
            let entry = opcode::Write::new(types::Fd(file.as_raw_fd()), b"u".as_ptr(), 1).offset(end).build();
            // SAFETY: the byte is static, and the file outlives the operation, which has completed at the return.
            unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
            ring.submit_and_wait(1)?;
            let result = ring.completion().next().map_or(0, |completion| completion.result());
            if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
        };
        let thread = builder.spawn_scoped(scope, append).map_err(|error| {
            let reached = "the limit of processes (pids.max of the cgroup, ulimit -u) is reached";
            io::Error::new(io::ErrorKind::WouldBlock, format!("cannot start a thread: {reached}: {error}"))
        })?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the io_uring thread panicked")))
    })
}

/// What a backend saw. Ways that the system does not permit to try are in neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// These.
    pub seen: Vec<Way>,
    /// Not these.
    pub missed: Vec<Way>,
}

impl fmt::Display for Proof {
    /// `sees write, writev; misses splice`, or `was not tested`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.seen.as_slice(), self.missed.as_slice()) {
            ([], []) => write!(f, "was not tested"),
            (seen, []) => write!(f, "sees {}", names(seen)),
            (seen, missed) => write!(f, "sees {}; misses {}", names(seen), names(missed)),
        }
    }
}

fn names(ways: &[Way]) -> String {
    ways.iter().map(|way| way.name()).collect::<Vec<_>>().join(", ")
}

/// A file to write to for a proof. Has no name, and so is gone when closed.
pub struct Place {
    /// The file, to read and write.
    pub file: File,
    pub folder: PathBuf,
    /// The file system that it is on.
    pub file_system: FileSystem,
}

/// The file system of the logs, and the places for proofs.
pub struct LogFileSystem {
    /// The file system of the folder of logs.
    pub file_system: FileSystem,
    /// Folders to write in, the preferred ones first. May not exist, may be read-only.
    folders: Vec<PathBuf>,
}

impl LogFileSystem {
    /// That of the folder `pods`, or where that would be made. Proofs are written there, in `state` or in a folder for
    /// temporary files.
    ///
    /// # Errors
    /// If the file system of `pods` cannot be determined.
    pub fn of(pods: &Path, state: &Path) -> Result<Self, Refusal> {
        let pods = nearest_folder(pods);
        let file_system = openat(CWD, &pods, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(io::Error::from)
            .and_then(|folder| MountTable::default().file_system(&folder).cloned())
            .map_err(|error| {
                Refusal::new(
                    format!("cannot tell the file system of {}: {error}", pods.display()),
                    "let pilcrow open the folder and read /proc/self/mountinfo",
                )
            })?;
        let folders = vec![nearest_folder(state), pods, env::temp_dir(), "/var/tmp".into(), "/dev/shm".into()];
        Ok(Self { file_system, folders })
    }

    /// A place on the same file system, or on another one of its type.
    pub fn place_of_same_type(&self) -> Result<Place, Refusal> {
        let same_type = |place: &Place| place.file_system.name == self.file_system.name;
        let places: Vec<_> = self.places().filter(same_type).collect();
        let same = places.iter().position(|place| place.file_system == self.file_system).unwrap_or(0);
        places.into_iter().nth(same).ok_or_else(|| {
            let name = &self.file_system.name;
            Refusal::new(
                format!("the logs are on {name}, and no folder on {name} can be written to for a test"),
                format!("set paths.state to a folder on {name}"),
            )
        })
    }

    /// A place on any file system.
    pub fn any_place(&self) -> Result<Place, Refusal> {
        self.places().next().ok_or_else(|| {
            let reason = "no folder can be written to for a test";
            Refusal::new(reason, "set paths.state to a folder that can be written to")
        })
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        self.folders.iter().filter_map(|folder| {
            let file = nameless_file(folder).ok()?;
            let file_system = MountTable::default().file_system(&file).ok()?.clone();
            Some(Place { file, folder: folder.clone(), file_system })
        })
    }
}

/// The folder itself, or the nearest one above it that exists.
fn nearest_folder(path: &Path) -> PathBuf {
    path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_path_buf()
}

/// A file without a name. Where the file system has no such, as overlayfs before Linux 6.1, it has one for a moment.
fn nameless_file(folder: &Path) -> io::Result<File> {
    let open = |path: &Path, flags: i32, create: bool| {
        OpenOptions::new().read(true).write(true).create_new(create).mode(0o600).custom_flags(flags).open(path)
    };
    open(folder, OFlags::TMPFILE.bits() as i32, false).or_else(|_| {
        let path = folder.join(format!(".pilcrow-proof-{}", process::id()));
        let file = open(&path, 0, true)?;
        fs::remove_file(&path)?;
        Ok(file)
    })
}

/// Writes in every way and looks whether the backend, which tracks nothing yet, sees it.
///
/// # Errors
/// If it does not see a way in which container runtimes write.
pub fn prove(signal: &mut impl Signal, place: &Place) -> Result<Proof, Refusal> {
    let slot = Slot(0);
    let failed = |error: io::Error| {
        let fix = if is_no_thread(&error) { "raise the limit of processes" } else { "please report it" };
        Refusal::new(format!("cannot be tested in {}: {error}", place.folder.display()), fix)
    };
    signal.track(slot, place.file.as_fd(), &place.folder).map_err(failed)?;
    let proof = try_ways(signal, slot, |way| way.append(&place.file)).map_err(failed);
    signal.untrack(slot);
    let proof = proof?;
    let missed: Vec<_> = proof.missed.iter().copied().filter(|way| way.is_required()).collect();
    if missed.is_empty() {
        return Ok(proof);
    }
    let name = &place.file_system.name;
    Err(Refusal::new(
        format!("it does not see {} on {name}", names(&missed)),
        format!("none on {name}; another kind may work"),
    ))
}

fn try_ways(signal: &mut impl Signal, slot: Slot, append: impl Fn(Way) -> io::Result<()>) -> io::Result<Proof> {
    let mut proof = Proof::default();
    let mut dirty = Vec::new();
    for way in Way::ALL {
        signal.drain(&mut dirty)?;
        dirty.clear();
        if let Err(error) = append(way) {
            if way.is_required() || is_no_thread(&error) {
                return Err(error);
            }
            // seccomp and sysctl may forbid io_uring: then nobody writes so here.
            tracing::debug!(way = way.name(), %error, "this way of writing is not possible here");
            continue;
        }
        signal.drain(&mut dirty)?;
        let list = if dirty.contains(&slot) { &mut proof.seen } else { &mut proof.missed };
        list.push(way);
    }
    Ok(proof)
}

/// Whether this way was not tried for lack of a thread, which says nothing about the system.
fn is_no_thread(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::notify::inotify;

    #[test]
    fn a_proof_for_which_there_is_no_thread_is_an_error_and_no_panic() {
        let file = tempfile::tempfile().unwrap();
        // No machine has memory for such a stack.
        let error = append_by_io_uring(&file, thread::Builder::new().stack_size(1 << 60)).unwrap_err();
        assert!(is_no_thread(&error) && error.to_string().contains("pids.max"), "{error}");
    }

    #[tokio::test]
    async fn a_backend_whose_proof_lacks_a_thread_is_refused_and_one_that_may_not_try_io_uring_is_taken() {
        let Ok(mut signal) = inotify::open() else { return println!("SKIPPED: no inotify instance is left") };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proof");
        let file = File::create(&path).unwrap();
        signal.track(Slot(0), file.as_fd(), &path).unwrap();
        let mut prove = |kind: io::ErrorKind| {
            let append = |way: Way| if way == Way::IoUring { Err(kind.into()) } else { way.append(&file) };
            try_ways(&mut signal, Slot(0), append).map_err(|error| error.kind())
        };
        assert_eq!(prove(io::ErrorKind::WouldBlock), Err(io::ErrorKind::WouldBlock));
        assert_eq!(prove(io::ErrorKind::PermissionDenied).map(|proof| proof.seen.contains(&Way::IoUring)), Ok(false));
    }
}
