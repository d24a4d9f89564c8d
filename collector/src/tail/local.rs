//! Folders that are listed, and what lies below one that is known to be on a local file system.
//!
//! In: paths. Out: descriptors, names and their status. What has `here` in its name, and [`open`] and [`stat`], are for the
//! thread that must never wait for ever: they ask no server and no disk where a name leads. They reach what lies below the
//! folder given to [`know`], by names that the kernel has in memory, and neither through a mount point nor through a link, as
//! openat2(2) guarantees. Anything else is an error of whatever kind, with which the caller turns to [`super::apart`]. Knows
//! no logs.

use std::{
    cell::RefCell,
    ffi::OsStr,
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat, fstat, fstatfs, openat, openat2, statat},
    io::Errno,
    path::Arg,
};

/// File systems that need no server, and have what fstat(2) says of an open file in memory: ext4, XFS, Btrfs, F2FS, tmpfs,
/// overlayfs, ZFS, bcachefs (include/uapi/linux/magic.h).
const LOCAL: [u64; 8] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994, 0x794c_7630, 0x2fc1_2fc1, 0xca45_1a4e];

/// For some hundred names at a time.
const LISTING_BYTES: usize = 8 << 10;

/// A folder whose file system is local.
struct Known {
    path: PathBuf,
    folder: OwnedFd,
}

thread_local! {
    static KNOWN: RefCell<Option<Known>> = const { RefCell::new(None) };
}

/// Whether a file system is local; `kind`: statfs(2)'s `f_type`.
pub fn is_local(kind: u64) -> bool {
    LOCAL.contains(&kind)
}

/// From now on this thread opens what lies below `path` itself; `folder`: what [`Folder::if_local`] said of it.
pub fn know(path: &Path, folder: Option<OwnedFd>) {
    KNOWN.set(folder.map(|folder| Known { path: path.to_owned(), folder }));
}

/// Opens what lies below the known folder.
///
/// # Errors
/// Where it does not, or not without what this thread must not do.
pub fn open(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    KNOWN.with_borrow(|known| {
        let known = known.as_ref().ok_or(Errno::XDEV)?;
        let below = path.strip_prefix(&known.path).map_err(|_| Errno::XDEV)?;
        Ok(open_below(&known.folder, below, flags)?)
    })
}

/// Status of what lies below the known folder.
///
/// # Errors
/// Those of [`open`].
pub fn stat(path: &Path) -> io::Result<Stat> {
    Ok(fstat(open(path, OFlags::PATH)?)?)
}

fn open_below(folder: impl AsFd, path: impl Arg, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH | ResolveFlags::CACHED;
    openat2(folder, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// A folder that is open to be listed.
pub struct Folder {
    path: PathBuf,
    folder: OwnedFd,
    is_here: bool,
}

impl Folder {
    /// For a thread that must not wait.
    ///
    /// # Errors
    /// Those of [`open`].
    pub fn open_here(path: &Path) -> io::Result<Self> {
        let folder = open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Self { path: path.to_owned(), folder, is_here: true })
    }

    /// For a thread that may wait.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { path: path.to_owned(), folder, is_here: false })
    }

    /// Its path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path that leads to the folder itself, whatever its name leads to by now.
    pub fn path_of_descriptor(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.folder.as_raw_fd()).into()
    }

    /// Another descriptor of it where its file system is local.
    pub fn if_local(&self) -> Option<OwnedFd> {
        let is_local = fstatfs(&self.folder).is_ok_and(|found| is_local(found.f_type as u64));
        is_local.then(|| self.folder.try_clone().ok())?
    }

    /// Whether calls by path may be made now: not where this thread must not wait.
    ///
    /// # Errors
    /// `XDEV` where they may not.
    pub fn allow_paths(&self) -> io::Result<()> {
        if self.is_here { Err(Errno::XDEV.into()) } else { Ok(()) }
    }

    /// Calls `each` with every name in it and what it is, until that fails.
    ///
    /// # Errors
    /// Where it cannot be listed, and those of `each`.
    pub fn each(&self, mut each: impl FnMut(&OsStr, FileType) -> io::Result<()>) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); LISTING_BYTES];
        let mut entries = RawDir::new(&self.folder, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Err(Errno::INTR) => continue,
                entry => entry?,
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => self.kind(name)?,
                kind => kind,
            };
            each(name, kind)?;
        }
        Ok(())
    }

    /// What a name is that the file system says nothing about in a listing.
    fn kind(&self, name: &OsStr) -> io::Result<FileType> {
        match self.stat(name) {
            Ok(found) => Ok(FileType::from_raw_mode(found.st_mode)),
            Err(error) if self.is_here => Err(error),
            Err(_) => Ok(FileType::Unknown),
        }
    }

    /// Status of what a name in it stands for, which may be a link.
    ///
    /// # Errors
    /// Where there is none; those of [`open`] where this thread must not wait.
    pub fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        match self.is_here {
            true => Ok(fstat(open_below(&self.folder, name, OFlags::PATH | OFlags::NOFOLLOW)?)?),
            false => Ok(statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    /// A folder that this thread knows, with a file in a folder in it; `None` where this kernel opens nothing so.
    fn known() -> Option<tempfile::TempDir> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("pod")).unwrap();
        fs::write(folder.path().join("pod/0.log"), "some bytes").unwrap();
        know(folder.path(), Folder::open(folder.path()).unwrap().if_local());
        let opened = open(&folder.path().join("pod"), OFlags::PATH);
        if let Err(error) = &opened {
            println!("SKIPPED: nothing is opened on this thread here: {error}");
        }
        opened.is_ok().then_some(folder)
    }

    #[test]
    fn what_lies_below_the_known_folder_is_opened_and_nothing_else() {
        let Some(folder) = known() else { return };
        let log = folder.path().join("pod/0.log");
        assert_eq!(stat(&log).unwrap().st_size, 10);
        assert_eq!(stat(folder.path()).unwrap_err().kind(), io::ErrorKind::NotFound, "itself");
        for outside in ["/", "../x", "pod/../../x"] {
            assert!(stat(&folder.path().join(outside)).is_err(), "{outside}");
        }
        know(folder.path(), None);
        assert!(stat(&log).is_err());
    }

    #[test]
    fn no_link_is_followed_on_the_way_or_at_its_end() {
        let Some(folder) = known() else { return };
        symlink("pod", folder.path().join("linked")).unwrap();
        symlink("0.log", folder.path().join("pod/1.log")).unwrap();
        for path in ["linked", "linked/0.log", "pod/1.log"] {
            assert!(open(&folder.path().join(path), OFlags::RDONLY).is_err(), "{path}");
        }
    }

    #[test]
    fn no_mount_point_is_passed() {
        let root = Folder::open(Path::new("/")).unwrap();
        know(Path::new("/"), root.folder.try_clone().ok());
        assert!(open(Path::new("/proc"), OFlags::PATH).is_err());
        assert!(Folder::open(Path::new("/proc")).unwrap().if_local().is_none());
    }

    #[test]
    fn a_listing_says_what_each_name_is_on_either_thread() {
        let Some(folder) = known() else { return };
        let pod = folder.path().join("pod");
        fs::create_dir(pod.join("folder")).unwrap();
        symlink("0.log", pod.join("link")).unwrap();
        for listed in [Folder::open_here(&pod).unwrap(), Folder::open(&pod).unwrap()] {
            let mut found = Vec::new();
            let each = |name: &OsStr, kind| {
                found.push((name.to_str().unwrap().to_owned(), kind, listed.kind(name)?));
                Ok(())
            };
            listed.each(each).unwrap();
            found.sort_by(|a, b| a.0.cmp(&b.0));
            let all = [("0.log", FileType::RegularFile), ("folder", FileType::Directory), ("link", FileType::Symlink)];
            assert_eq!(found, all.map(|(name, kind)| (name.to_owned(), kind, kind)));
            assert_eq!(listed.allow_paths().is_err(), listed.is_here);
            assert!(Folder::open(&listed.path_of_descriptor()).is_ok());
        }
    }
}
