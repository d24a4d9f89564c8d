//! tokio-uring 0.5.0 for musl, where its release does not compile: a length is a `u32` there and not a `usize`.
//!
//! The released source is copied into the folder `target`, the four places are changed, and cargo is told to take that copy.
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

/// What cargo is to be told when it builds for `target`; nothing where that is not musl.
pub fn arguments_for(target: &str) -> anyhow::Result<Vec<String>> {
    if !target.ends_with("musl") {
        return Ok(Vec::new());
    }
    // Unlike a [patch], this leaves Cargo.lock as it is.
    Ok(vec!["--config".into(), format!("paths=[{:?}]", changed_source()?)])
}

fn changed_source() -> anyhow::Result<PathBuf> {
    let released = released_source()?;
    // In the workspace whatever CARGO_TARGET_DIR is: the path is a part of the symbols' names, but for what of it is the workspace's.
    let changed = process::workspace_root().join("target/musl/tokio-uring");
    // A new copy would have new time stamps, and cargo would build it and all that uses it again.
    let stamp = changed.with_extension("of");
    let made_from = released.display().to_string();
    if fs::read_to_string(&stamp).is_ok_and(|from| from == made_from) {
        return Ok(changed);
    }
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
    let library = changed.join("src/lib.rs");
    // Cargo shows the warnings of what lies in a folder of one's own, and these are not ours to fix.
    fs::write(&library, format!("#![allow(warnings)]\n{}", fs::read_to_string(&library)?))?;
    fs::write(stamp, made_from)?;
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
