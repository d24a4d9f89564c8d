//! Other programs: where they are, and running them so that a failure names the command.
//!
//! In: a [`Command`]. Out: nothing or an error with the command line and its exit status. It must not know what any of
//! the programs is for.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

/// What `cargo run` sets for xtask itself. Handed on to another cargo, it would change the environment that build
/// scripts watch (ring's does), and every `cargo xtask` after a plain `cargo` would build half the tree again.
const SET_BY_CARGO_RUN: [&str; 5] = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];

/// The folder of the workspace's Cargo.toml.
pub fn workspace_root() -> PathBuf {
    let xtask = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    xtask.parent().map_or(xtask.clone(), Path::to_path_buf)
}

/// The folder that cargo builds into.
pub fn target_dir() -> PathBuf {
    let root = workspace_root();
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

/// Cargo, in the workspace's folder.
pub fn cargo() -> Command {
    in_workspace(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A program in the workspace's folder, with the environment that it would have from a terminal.
pub fn in_workspace(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace_root());
    for (name, _) in env::vars_os() {
        if SET_BY_CARGO_RUN.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes())) {
            command.env_remove(name);
        }
    }
    command
}

/// A command line as one would type it, without the environment.
pub fn line_of(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words: Vec<_> = std::iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

/// Says the command, runs it with this terminal's output, and fails with its line if it fails.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = line_of(command);
    println!("$ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// What the command writes to its standard output; an error with its standard error if it fails.
pub fn output_of(command: &mut Command) -> anyhow::Result<String> {
    let line = line_of(command);
    let output = command.output().with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The files that git knows by these patterns: their names from the workspace on, and what is in them. Those that are gone or no text
/// are left out.
pub fn tracked_texts(patterns: &[&str]) -> anyhow::Result<Vec<(String, String)>> {
    let listed = output_of(in_workspace("git").arg("ls-files").args(patterns))?;
    let read = |name: &str| Some((name.to_owned(), fs::read_to_string(workspace_root().join(name)).ok()?));
    Ok(listed.lines().filter_map(read).collect())
}

/// The file that a program's name stands for, as the shell would find it.
pub fn find(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|file| file.is_file())
}
