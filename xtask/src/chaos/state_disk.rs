//! A small disk for the state, which can be filled: a tmpfs, for which one must be root.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::process;

const SIZE: &str = "size=16m";
const BALLAST: &str = "ballast";

/// The folder with the state; unmounted when dropped.
pub struct StateDisk {
    folder: PathBuf,
    mounted: bool,
}

impl StateDisk {
    /// Mounts it at `folder`, which is made. Where one is not root it is a plain folder, and cannot be filled.
    pub fn mount(folder: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mounted = rustix::process::geteuid().is_root();
        if mounted {
            let mut mount = Command::new("mount");
            process::output_of(mount.args(["-t", "tmpfs", "-o", SIZE, "pilcrow-chaos"]).arg(&folder))?;
        }
        Ok(Self { folder, mounted })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Why it cannot be filled.
    pub fn cannot_be_filled(&self) -> Option<&'static str> {
        (!self.mounted).then_some("the state disk cannot be filled: mounting a small one needs root")
    }

    /// Leaves no byte free, if it can be filled.
    pub fn fill(&self) -> anyhow::Result<()> {
        if !self.mounted {
            return Ok(());
        }
        let mut ballast = File::create(self.folder.join(BALLAST))?;
        loop {
            match ballast.write(&[0; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).context("cannot fill the state disk"),
            }
        }
    }

    /// Makes room again.
    pub fn free(&self) -> anyhow::Result<()> {
        match fs::remove_file(self.folder.join(BALLAST)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("cannot empty the state disk"),
            _ => Ok(()),
        }
    }

    /// Copies what is on it to `to`, as it is gone after the run.
    pub fn copy_to(&self, to: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
        }
        Ok(())
    }
}

impl Drop for StateDisk {
    fn drop(&mut self) {
        if self.mounted {
            // Lazily: a collector may still be about to end.
            let unmounted = process::output_of(Command::new("umount").arg("--lazy").arg(&self.folder));
            if let Err(error) = unmounted {
                eprintln!("{} stays mounted: {error:#}", self.folder.display());
            }
        }
    }
}
