//! Programs that cargo installs, in the version that is asked for.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::process;

/// The program in target/tools; builds it where it is missing or has another version (some minutes).
pub fn ensure(name: &str, version: &str) -> anyhow::Result<PathBuf> {
    let tools = process::target_dir().join("tools");
    let program = tools.join("bin").join(name);
    let printed = process::output_of(Command::new(&program).arg("--version")).unwrap_or_default();
    if !printed.split_whitespace().any(|word| word.trim_start_matches('v') == version) {
        install(&tools, name, version)?;
    }
    Ok(program)
}

/// Builds a program into the folder `bin` of `tools`.
pub fn install(tools: &Path, name: &str, version: &str) -> anyhow::Result<()> {
    println!("installing {name} {version} into {} (once, some minutes)", tools.display());
    let mut install = process::cargo();
    // They are started a few times: to optimise them takes longer than it would ever save.
    install.env("CARGO_PROFILE_DEV_DEBUG", "0");
    install.args(["install", "--debug", "--locked", "--force", "--root"]).arg(tools);
    process::run(install.args([name, "--version", version]))
}
