//! Flags by which no path of this machine gets into what the Rust compiler makes, so that others can make the same.
//!
//! In: where the standard library's sources are. Out: `--remap-path-prefix` flags, and what to look for in a program that was
//! compiled with them. It must not know what is compiled.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::process::{output_of, target_dir, workspace_root};

/// The Rust compiler.
pub fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// The folder of the compiler's toolchain.
pub fn sysroot() -> anyhow::Result<PathBuf> {
    Ok(output_of(rustc().args(["--print", "sysroot"]))?.trim_end().into())
}

/// A flag for each folder with source files. `library` is the standard library's, where it is not the toolchain's own.
pub fn flags(library: Option<&Path>) -> anyhow::Result<Vec<String>> {
    Ok(places(library)?.into_iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect())
}

/// Folders and what they are called instead. Of two that hold a file the compiler takes the later one.
fn places(library: Option<&Path>) -> anyhow::Result<Vec<(PathBuf, &'static str)>> {
    let mut places = vec![(sysroot()?, "/rust"), (workspace_root(), "/pilcrow"), (target_dir(), "/pilcrow/target")];
    if let Some(library) = library {
        places.push((library.into(), "/rust/lib/rustlib/src/rust/library"));
    }
    if let Some(home) = cargo_home() {
        // Below it is a folder for each registry, named after its address.
        let registries = fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten();
        places.extend(registries.map(|registry| (registry.path(), "/crates")));
    }
    Ok(places)
}

/// Beginnings of paths that the compiler was given for `target`: a program that has one of them in it is not what another machine
/// makes. Longer than the folders, as one of those may be `/src` or `/usr`.
pub fn traces(target: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut traces = vec![
        sysroot()?.join("lib/rustlib/src/rust"),
        workspace_root().join("collector"),
        workspace_root().join("target/"),
        target_dir().join(target),
    ];
    traces.extend(cargo_home().map(|home| home.join("registry/src")));
    Ok(traces)
}

/// Where cargo keeps what it fetches.
pub fn cargo_home() -> Option<PathBuf> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}
