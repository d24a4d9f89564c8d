//! The checkpoint file on the disk.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::{DecodeError, Snapshot, format};
use crate::config::open_named_file;

const CURRENT: &str = "checkpoint";
const PREVIOUS: &str = "checkpoint.previous";
const UNFINISHED: &str = "checkpoint.tmp";

/// The folder with the checkpoint files.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Held by the one process that saves in a folder.
#[derive(Debug)]
pub struct Lock {
    _folder: File,
}

/// Why an existing checkpoint file was skipped.
#[derive(Debug)]
pub enum LoadError {
    /// It cannot be read.
    Io(PathBuf, io::Error),
    /// It was read and cannot be used.
    Decode(PathBuf, DecodeError),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "cannot read the checkpoint {}: {error}", path.display()),
            Self::Decode(path, error) => write!(f, "cannot use the checkpoint {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for LoadError {}

impl Store {
    /// The checkpoint files of this folder, which is made when it is not there.
    ///
    /// # Errors
    /// Where the folder is not there and cannot be made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.into() })
    }

    /// Takes the folder for this process, until the lock is dropped or the process ends, however it does; `None`: another
    /// one has it.
    ///
    /// # Errors
    /// Where the folder cannot be opened, or its file system knows no locks.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        let folder = File::open(&self.folder)?;
        match folder.try_lock() {
            Ok(()) => Ok(Some(Lock { _folder: folder })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// What was saved last, the version before where that cannot be used, nothing where there is none. The errors say
    /// which files were skipped and why.
    pub fn load(&self) -> (Snapshot, Vec<LoadError>) {
        let mut errors = Vec::new();
        for name in [CURRENT, PREVIOUS] {
            let path = self.folder.join(name);
            match open_named_file(&path) {
                Ok(file) => match format::read(file) {
                    Ok(snapshot) => return (snapshot, errors),
                    Err(error) => errors.push(LoadError::Decode(path, error)),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => errors.push(LoadError::Io(path, error)),
            }
        }
        (Snapshot::default(), errors)
    }

    /// Where an error of [`Self::load`] says that a file is a newer version's, renames that file, so that no save replaces
    /// it, and returns the new path. `None`: it is another error.
    ///
    /// # Errors
    /// Where it cannot be renamed.
    pub fn set_aside_newer(&self, error: &LoadError) -> io::Result<Option<PathBuf>> {
        let LoadError::Decode(path, DecodeError::Version(version)) = error else { return Ok(None) };
        let mut kept = path.clone().into_os_string();
        kept.push(format!(".version-{version}"));
        fs::rename(path, &kept)?;
        Ok(Some(kept.into()))
    }

    /// The file that a save writes before it renames it.
    #[cfg(test)]
    pub fn unfinished(&self) -> PathBuf {
        self.folder.join(UNFINISHED)
    }

    /// Where it saves.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Saves. Whatever happens meanwhile, either the new state or the one before can be loaded.
    ///
    /// # Errors
    /// Where the folder cannot be written to; what was saved before is still there.
    pub fn save(&self, snapshot: &Snapshot) -> io::Result<()> {
        let [current, previous, unfinished] = [CURRENT, PREVIOUS, UNFINISHED].map(|name| self.folder.join(name));
        let mut file = match File::create(&unfinished) {
            // The folder was removed while it was in use.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.folder)?;
                File::create(&unfinished)?
            }
            created => created?,
        };
        format::write(snapshot, &mut file)?;
        file.sync_data()?;
        match fs::rename(&current, &previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::rename(&unfinished, &current)?,
        }
        // Without it a power cut could bring back names older than both files.
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::SavedContainer;
    use crate::config::make_fifo;

    fn snapshot(seen_at: u64) -> Snapshot {
        Snapshot { containers: vec![SavedContainer { name: "a_b_c/d".into(), seen_at, files: Vec::new() }] }
    }

    #[test]
    fn the_last_saved_state_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state")).unwrap();
        assert_eq!(store.load().0, Snapshot::default());
        for seen_at in 1..4 {
            store.save(&snapshot(seen_at)).unwrap();
            let (loaded, errors) = store.load();
            assert_eq!(loaded, snapshot(seen_at));
            assert!(errors.is_empty());
        }
    }

    #[test]
    fn a_folder_that_was_removed_while_in_use_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state");
        let store = Store::open(&folder).unwrap();
        store.save(&snapshot(1)).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        store.save(&snapshot(2)).unwrap();
        assert_eq!(store.load().0, snapshot(2));
    }

    #[test]
    fn the_state_before_serves_where_the_last_one_is_torn_or_missing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.save(&snapshot(1)).unwrap();
        store.save(&snapshot(2)).unwrap();
        let current = dir.path().join(CURRENT);
        let bytes = fs::read(&current).unwrap();
        fs::write(&current, &bytes[..bytes.len() - 3]).unwrap();
        let (loaded, errors) = store.load();
        assert_eq!(loaded, snapshot(1));
        assert!(errors[0].to_string().contains("incomplete"), "{}", errors[0]);
        fs::remove_file(&current).unwrap();
        assert_eq!(store.load().0, snapshot(1));
        store.save(&snapshot(3)).unwrap();
        assert_eq!(store.load().0, snapshot(3));
    }

    /// The start read what was there to its end: it waited for ever, or ran out of memory.
    #[test]
    fn a_fifo_or_an_endless_file_in_the_place_of_a_checkpoint_is_only_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.save(&snapshot(1)).unwrap();
        store.save(&snapshot(2)).unwrap();
        let current = dir.path().join(CURRENT);
        fs::remove_file(&current).unwrap();
        make_fifo(&current);
        let (loaded, errors) = store.load();
        assert_eq!((loaded, errors.len()), (snapshot(1), 1));
        fs::remove_file(&current).unwrap();
        File::create(&current).unwrap().set_len(1 << 40).unwrap();
        let (loaded, errors) = store.load();
        assert_eq!((loaded, errors.len()), (snapshot(1), 1));
    }

    #[test]
    fn a_newer_versions_file_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let newer = b"pilcrow-checkpoint 7 00000000\nsomething else";
        fs::write(dir.path().join(CURRENT), newer).unwrap();
        let (loaded, errors) = store.load();
        assert_eq!((loaded, errors.len()), (Snapshot::default(), 1));
        assert!(errors[0].to_string().contains("version 7"), "{}", errors[0]);
        let kept = store.set_aside_newer(&errors[0]).unwrap().unwrap();
        for seen_at in 1..4 {
            store.save(&snapshot(seen_at)).unwrap();
        }
        assert_eq!(fs::read(kept).unwrap(), newer);
        assert_eq!(store.load().0, snapshot(3));
    }

    #[test]
    fn a_folder_has_one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (Store::open(dir.path()).unwrap(), Store::open(dir.path()).unwrap());
        let lock = one.lock().unwrap();
        assert!(lock.is_some() && other.lock().unwrap().is_none());
        drop(lock);
        assert!(other.lock().unwrap().is_some());
    }

    #[test]
    fn a_failed_save_leaves_what_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.save(&snapshot(1)).unwrap();
        fs::create_dir(dir.path().join(UNFINISHED)).unwrap();
        assert!(store.save(&snapshot(2)).is_err());
        assert_eq!(store.load().0, snapshot(1));
    }
}
