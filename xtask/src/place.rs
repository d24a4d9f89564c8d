//! Where logs are written: on a real disk, on ext4 if possible, as the probe's ext4 tracepoint needs it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tempfile::TempDir;

const EXT4: i64 = 0xef53;
const TMPFS: i64 = 0x0102_1994;
const OVERLAYFS: i64 = 0x794c_7630;

/// A folder for pods and state.
#[derive(Debug)]
pub enum Place {
    /// Below the target folder; left there for inspection.
    Kept(PathBuf),
    /// Removed at the end.
    Temporary(TempDir),
}

impl Place {
    /// Below `folder` if that is on ext4, else below /var/tmp if that is, else below `folder` all the same. Always the
    /// same one, emptied, where that is below `folder`.
    pub fn choose(folder: &Path) -> anyhow::Result<Self> {
        if parent(folder) != folder
            && let Ok(temporary) = Self::temporary(folder, "pilcrow-demo-")
        {
            return Ok(temporary);
        }
        let node = folder.join("node");
        if node.exists() {
            fs::remove_dir_all(&node)
                .with_context(|| format!("cannot remove the last demo's {} (written as root?)", node.display()))?;
        }
        fs::create_dir_all(&node)?;
        Ok(Self::Kept(node))
    }

    /// As [`Self::choose`], with a folder of its own, so that several can run at the same time.
    pub fn temporary(folder: &Path, prefix: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self::Temporary(tempfile::Builder::new().prefix(prefix).tempdir_in(parent(folder))?))
    }

    /// Leaves the folder there for inspection, and says where it is.
    pub fn keep(self) -> PathBuf {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.keep(),
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    /// The folder and its file system, for people.
    pub fn describe(&self) -> String {
        let kind = match file_system(self.path()) {
            Some(EXT4) => "ext4",
            Some(TMPFS) => "tmpfs",
            Some(OVERLAYFS) => "overlayfs",
            _ => "another file system",
        };
        format!("{} ({kind})", self.path().display())
    }
}

/// Where a folder for logs is to be made.
fn parent(folder: &Path) -> &Path {
    let elsewhere = Path::new("/var/tmp");
    if file_system(folder) != Some(EXT4) && file_system(elsewhere) == Some(EXT4) { elsewhere } else { folder }
}

fn file_system(path: &Path) -> Option<i64> {
    #[allow(clippy::unnecessary_cast, reason = "f_type has another type on other machines")]
    rustix::fs::statfs(path).ok().map(|found| found.f_type as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_demo_s_files_are_gone_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pilcrow.log"), "x").unwrap();
        fs::create_dir(folder.path().join("node")).unwrap();
        fs::write(folder.path().join("node/old"), "x").unwrap();
        let place = Place::choose(folder.path()).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        assert!(folder.path().join("pilcrow.log").exists());
    }
}
