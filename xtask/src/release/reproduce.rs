//! `cargo xtask reproduce`: the same commit gives the same bytes.
//!
//! In: the committed sources. Out: an error that names the artefacts that differ between two builds in two folders, each a clone
//! of its own with a target folder of its own, and with a folder of its own for what cargo fetches, as two users have it.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};

use super::{files_of, name_of};
use crate::{process, remap};

/// What `cargo xtask reproduce` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Only for this machine; may be repeated
    #[arg(long)]
    target: Vec<String>,
    /// Programs that are not optimized, and no SBOM: quicker, and says less
    #[arg(long)]
    debug: bool,
}

/// SBOMs have a time and a random name in them, as their formats ask, and SHA256SUMS has theirs.
const VARIES: [&str; 3] = [".cdx.json", ".spdx.json", "SHA256SUMS"];

/// Clones and builds twice, and compares.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let work = tempfile::Builder::new().prefix("reproduce-").tempdir_in(process::target_dir())?;
    // Names of different lengths: a path in an artefact shows.
    let clones = ["a", "another-folder"].map(|name| work.path().join(name));
    let artefacts =
        clones.iter().map(|clone| build_in(clone, args)).collect::<anyhow::Result<Vec<_>>>().context("cannot build")?;
    let [first, second] = artefacts.as_slice() else { bail!("not two builds") };
    let names = files_of(first)?.iter().map(|path| name_of(path)).collect::<Vec<_>>();
    ensure!(
        names == files_of(second)?.iter().map(|path| name_of(path)).collect::<Vec<_>>(),
        "the two builds have different artefacts"
    );
    let mut differ = Vec::new();
    for name in names.iter().filter(|name| !VARIES.iter().any(|varies| name.ends_with(varies))) {
        if fs::read(first.join(name))? == fs::read(second.join(name))? {
            println!("the same: {name}");
        } else {
            differ.push(name.as_str());
        }
    }
    if !differ.is_empty() {
        let kept = work.keep();
        bail!("different in two builds: {}; both are kept in {}", differ.join(", "), kept.display());
    }
    println!("every artefact is the same in both builds");
    Ok(())
}

/// A folder for cargo, of another name for each clone, with what it has fetched already.
fn cargo_home_for(clone: &Path) -> anyhow::Result<PathBuf> {
    let home = clone.with_extension("cargo");
    fs::create_dir(&home)?;
    let known = remap::cargo_home().context("neither CARGO_HOME nor HOME is set")?;
    for name in ["config", "config.toml", "git", "registry"] {
        let from = known.join(name);
        if from.exists() {
            symlink(from, home.join(name))?;
        }
    }
    Ok(home)
}

/// Makes all artefacts in a clone, and says where they are.
fn build_in(clone: &Path, args: &Args) -> anyhow::Result<PathBuf> {
    let mut git = process::in_workspace("git");
    process::run(git.args(["clone", "--quiet", "--local"]).arg(process::workspace_root()).arg(clone))?;
    // What is only fetched or built once may be shared: it goes into no artefact by itself.
    for shared in ["tools", "nfpm", "helm", "rust-src"] {
        let from = process::target_dir().join(shared);
        if from.exists() {
            fs::create_dir_all(clone.join("target"))?;
            symlink(from, clone.join("target").join(shared))?;
        }
    }
    let mut cargo = process::cargo();
    cargo.current_dir(clone).env_remove("CARGO_TARGET_DIR").env("CARGO_HOME", cargo_home_for(clone)?);
    cargo.args(["run", "--quiet", "--package", "xtask", "--", "release", "--dry-run", "--quick"]);
    cargo.args(args.debug.then_some("--debug"));
    for target in &args.target {
        cargo.args(["--target", target]);
    }
    process::run(&mut cargo)?;
    Ok(clone.join("target/release-artifacts"))
}
