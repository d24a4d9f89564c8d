//! Debian's packages for the machines, unpacked and never installed.
//!
//! In: names of packages, with versions where several suites have them. Out: their files in a folder, from the mirror that
//! this machine's own apt uses.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::{
    apt::{Archive, PrivateApt},
    process,
};

/// Where packages come from.
pub const SUITES: [&str; 3] = ["bookworm", "trixie", "trixie-backports"];

/// The packages of an architecture, as they are on the mirror now.
pub struct Packages {
    apt: PrivateApt,
}

impl Packages {
    /// Of an architecture by Debian's name; asks the mirror.
    pub fn of(architecture: &str) -> anyhow::Result<Self> {
        let folder = process::target_dir().join("vm/packages").join(architecture);
        fs::create_dir_all(&folder)?;
        let apt = PrivateApt::new(&folder, &Archive { suites: &SUITES, architecture: Some(architecture) })?;
        println!("vm: apt-get update for {architecture}, {} {}", apt.mirror(), SUITES.join(" "));
        apt.run("apt-get", &["update"])?;
        Ok(Self { apt })
    }

    /// What `apt-cache show` says of a package.
    pub fn show(&self, package: &str) -> anyhow::Result<String> {
        self.apt.run("apt-cache", &["show", package])
    }

    /// Fetches NAME or NAME=VERSION, and unpacks it into a folder.
    pub fn unpack(&self, package: &str, to: &Path) -> anyhow::Result<()> {
        println!("vm: apt-get download {package}");
        self.apt.unpack(package, to)
    }

    /// Fetches packages and all that they depend on, and unpacks them into a folder.
    pub fn unpack_with_dependencies(&self, packages: &[&str], to: &Path) -> anyhow::Result<()> {
        println!("vm: apt-get download {}, and what they depend on", packages.join(" "));
        self.apt.unpack_with_dependencies(packages, to)
    }
}

/// The one file or folder of such a name.
pub fn file_beginning_with(folder: &Path, beginning: &str) -> anyhow::Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(beginning) {
            return Ok(entry.path());
        }
    }
    bail!("{} has no {beginning}…", folder.display())
}
