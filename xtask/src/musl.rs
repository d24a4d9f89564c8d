//! tokio-uring 0.5.0 for musl, where its release does not compile: a length is a `u32` there and not a `usize`.
//!
//! The released source is copied into the target folder, the four places are changed, and cargo is told to take that copy.
//! tokio-uring has had no release since 2024; with one that compiles, this file goes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::process;

/// Files of tokio-uring, and what in them becomes what.
const CHANGES: [(&str, [(&str, &str); 2]); 2] =
    [("src/io/sendmsg.rs", CONTROL_LENGTH), ("src/io/sendmsg_zc.rs", CONTROL_LENGTH)];
const CONTROL_LENGTH: [(&str, &str); 2] = [
    ("msg_controllen = _msg_control.bytes_init();", "msg_controllen = _msg_control.bytes_init() as _;"),
    ("msg_controllen = 0_usize;", "msg_controllen = 0;"),
];

/// A change of dependencies for one run of cargo. Dropped after the run, as cargo writes it down in Cargo.lock, which is
/// then put back.
pub struct Patch {
    source: Option<PathBuf>,
    lock_file: PathBuf,
    lock: Vec<u8>,
}

/// What building for `target` needs; nothing where it is not musl.
pub fn patch_for(target: &str) -> anyhow::Result<Patch> {
    let lock_file = process::workspace_root().join("Cargo.lock");
    let lock = fs::read(&lock_file).with_context(|| format!("cannot read {}", lock_file.display()))?;
    let source = if target.ends_with("musl") { Some(changed_source()?) } else { None };
    Ok(Patch { source, lock_file, lock })
}

impl Patch {
    /// To be given to cargo.
    pub fn arguments(&self) -> Vec<String> {
        let patch = |path: &PathBuf| ["--config".into(), format!("patch.crates-io.tokio-uring.path={path:?}")];
        self.source.iter().flat_map(patch).collect()
    }
}

impl Drop for Patch {
    fn drop(&mut self) {
        if self.source.is_some()
            && let Err(error) = fs::write(&self.lock_file, &self.lock)
        {
            eprintln!("cannot put back {}: {error}; `git checkout Cargo.lock` does", self.lock_file.display());
        }
    }
}

fn changed_source() -> anyhow::Result<PathBuf> {
    let released = released_source()?;
    let changed = process::target_dir().join("musl/tokio-uring");
    if changed.exists() {
        fs::remove_dir_all(&changed)?;
    }
    copy_folder(&released, &changed)?;
    for (file, changes) in CHANGES {
        let path = changed.join(file);
        let mut text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for (from, to) in changes {
            if !text.contains(from) {
                bail!("{file} of tokio-uring has no `{from}`: it is another release, see xtask/src/musl.rs");
            }
            text = text.replace(from, to);
        }
        fs::write(&path, text)?;
    }
    Ok(changed)
}

/// Where cargo keeps the release that Cargo.lock names.
fn released_source() -> anyhow::Result<PathBuf> {
    let metadata = process::output_of(process::cargo().args(["metadata", "--format-version=1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let package = packages.iter().find(|package| package["name"] == "tokio-uring");
    let manifest = package.and_then(|package| package["manifest_path"].as_str()).context("tokio-uring is not used")?;
    Ok(Path::new(manifest).parent().context("a manifest lies in a folder")?.into())
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to.parent().context("the target folder has a parent")?)?;
    process::run(Command::new("cp").arg("-r").arg(from).arg(to))
}
