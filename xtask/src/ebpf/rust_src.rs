//! The sources of the standard library, of exactly the compiler's version: `core` is built for the BPF target from them.
//!
//! The toolchain's own if they are there; else rustup's component rust-src; else, where rustup has no server, the
//! distribution's package rust-src, unpacked into the target folder.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use super::Compiler;
use crate::{
    apt::{Archive, PrivateApt},
    process::output_of,
};

/// The suite of Debian that has a package rust-src for new compilers.
const SUITE: &str = "trixie-backports";

/// Where they are in a toolchain.
pub const IN_TOOLCHAIN: &str = "lib/rustlib/src/rust/library";

/// Where the sources are.
pub enum RustSrc {
    /// Where cargo looks for them.
    Toolchain,
    /// In another folder, which cargo must be told.
    Elsewhere {
        /// The folder `library` of Rust's source tree.
        library: PathBuf,
    },
}

impl RustSrc {
    /// Their folder, where that is not the toolchain's.
    pub fn elsewhere(&self) -> Option<&Path> {
        match self {
            Self::Toolchain => None,
            Self::Elsewhere { library } => Some(library),
        }
    }

    /// Finds them or fetches them.
    pub fn find_or_fetch(compiler: &Compiler, target: &Path) -> anyhow::Result<Self> {
        if in_toolchain(compiler) {
            println!("build-ebpf: using the toolchain's rust-src");
            return Ok(Self::Toolchain);
        }
        let folder = target.join("rust-src");
        let library = folder.join(format!("usr/src/rustc-{}/library", compiler.release));
        if is_library(&library) {
            println!("build-ebpf: using {}", library.display());
            return Ok(Self::Elsewhere { library });
        }
        let rustup_error = match add_component() {
            Ok(()) if in_toolchain(compiler) => {
                println!("build-ebpf: added rust-src with rustup");
                return Ok(Self::Toolchain);
            }
            Ok(()) => "the toolchain still has no rust-src after `rustup component add rust-src`".into(),
            Err(error) => format!("{error:#}"),
        };
        println!("build-ebpf: rustup has no rust-src here; trying the package rust-src of Debian {SUITE}");
        fetch_package(compiler, &folder).with_context(|| {
            format!(
                "no rust-src for Rust {}; make `rustup component add rust-src` work (it said: {rustup_error})",
                compiler.release
            )
        })?;
        if !is_library(&library) {
            bail!("the package rust-src has no {}", library.display());
        }
        println!("build-ebpf: using {}", library.display());
        Ok(Self::Elsewhere { library })
    }
}

fn in_toolchain(compiler: &Compiler) -> bool {
    is_library(&compiler.sysroot.join(IN_TOOLCHAIN))
}

/// Whether cargo can build the standard library from this folder.
fn is_library(folder: &Path) -> bool {
    folder.join("Cargo.lock").is_file() && folder.join("core/src/lib.rs").is_file()
}

fn add_component() -> anyhow::Result<()> {
    println!("build-ebpf: rustup component add rust-src");
    output_of(Command::new("rustup").args(["component", "add", "rust-src"])).map(drop)
}

/// Downloads and unpacks the package with an apt configuration of its own: the machine's lists, cache and packages stay
/// as they are.
fn fetch_package(compiler: &Compiler, folder: &Path) -> anyhow::Result<()> {
    let apt = PrivateApt::new(folder, &Archive { suites: &[SUITE], architecture: None })?;
    println!("build-ebpf: apt-get update, {} {SUITE}", apt.mirror());
    apt.run("apt-get", &["update"])?;
    let versions = apt.run("apt-cache", &["madison", "rust-src"])?;
    let prefix = format!("{}+", compiler.release);
    let version = versions
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|version| version.starts_with(&prefix))
        .with_context(|| format!("{SUITE} has no rust-src {}, only:\n{versions}", compiler.release))?;
    println!("build-ebpf: apt-get download rust-src={version}");
    apt.unpack(&format!("rust-src={version}"), folder)
}
