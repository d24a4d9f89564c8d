//! A machine's disk that is a root file system of Debian's packages.
//!
//! In: a machine, and what to unpack. Out: a folder, unpacked once and kept, and an ext4 of it. Nothing is configured: no script
//! of a package has run.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use super::{DISK_BYTES, disk_file, machine::Machine, packages::Packages};
use crate::process;

/// Links that Debian's base-files makes.
const LINKS: [&str; 3] = ["bin", "lib", "sbin"];

/// A folder that becomes a disk.
pub struct Root(PathBuf);

impl Root {
    /// The unpacked packages, in a folder `name` below target/vm; fetched if they are not there.
    pub fn of_debian(
        name: &str,
        machine: Machine,
        unpack: impl FnOnce(&Packages, &Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let architecture = machine.debian_architecture();
        let folder = process::target_dir().join("vm").join(name).join(architecture);
        if folder.is_dir() {
            return Ok(Self(folder));
        }
        let unpacked = folder.with_extension("part");
        if unpacked.exists() {
            fs::remove_dir_all(&unpacked)?;
        }
        fs::create_dir_all(&unpacked)?;
        for link in LINKS {
            fs::create_dir_all(unpacked.join("usr").join(link))?;
            symlink(format!("usr/{link}"), unpacked.join(link))?;
        }
        unpack(&Packages::of(architecture)?, &unpacked)?;
        fs::rename(&unpacked, &folder)?;
        Ok(Self(folder))
    }

    /// The file or folder of an absolute name, and the folder that it lies in.
    fn place(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.0.join(name.trim_start_matches('/'));
        fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        Ok(path)
    }

    /// Makes a folder.
    pub fn add_folder(&self, name: &str) -> anyhow::Result<()> {
        Ok(fs::create_dir_all(self.place(name)?)?)
    }

    /// Writes a file.
    pub fn add(&self, name: &str, contents: &[u8]) -> anyhow::Result<()> {
        let path = self.place(name)?;
        fs::write(&path, contents).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Copies a file, permissions included.
    pub fn add_file(&self, name: &str, from: &Path) -> anyhow::Result<()> {
        fs::copy(from, self.place(name)?).with_context(|| format!("cannot copy {}", from.display())).map(drop)
    }

    /// An ext4 with all that is in it, in `folder`.
    pub fn make_disk(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let disk = disk_file(folder, DISK_BYTES)?;
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-F", "-t", "ext4", "-E", "root_owner=0:0", "-d"]).arg(&self.0).arg(&disk);
        process::output_of(&mut mke2fs)?;
        Ok(disk)
    }
}
