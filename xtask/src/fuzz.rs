//! `cargo xtask fuzz`: the targets of collector/fuzz, coverage-guided.
//!
//! In: a target's name and minutes. Out: an error where an input breaks a target's property; the input is kept and named.
//! Inputs that reach new code are kept in target/fuzz/corpus for the next run; the corpora in the repository are small
//! and change by hand only.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::{cargo_tool, process};

/// cargo-fuzz, pinned as bpf-linker is.
const VERSION: &str = "0.13.2";
/// Longest input, in bytes: enough for some records, and the fuzzer stays fast.
const INPUT_BYTES_MAX: u32 = 2048;
/// An input that takes longer is a finding.
const INPUT_SECONDS_MAX: u32 = 10;

/// What `cargo xtask fuzz` takes.
#[derive(clap::Args)]
pub struct Args {
    /// cri, docker, timestamps, …; without one, all of them, one after the other
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
}

/// Builds and runs; every target runs, whatever the ones before found.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let all = targets()?;
    let wanted = match &args.target {
        Some(target) if all.contains(target) => vec![target.clone()],
        Some(target) => bail!("there is no fuzz target {target}; there are {}", all.join(", ")),
        None => all,
    };
    let cargo_fuzz = cargo_tool::ensure("cargo-fuzz", VERSION)?;
    process::run(fuzz_command(&cargo_fuzz, "build").args((wanted.len() == 1).then(|| &wanted[0])))?;
    let broken: Vec<_> = wanted
        .iter()
        .filter_map(|target| fuzz(&cargo_fuzz, target, args.minutes).err().map(|error| format!("{target}: {error:#}")))
        .collect();
    if !broken.is_empty() {
        bail!(
            "an input breaks what must hold; put it into collector/fuzz/corpus once it is fixed:\n{}",
            broken.join("\n")
        );
    }
    Ok(())
}

fn folder() -> PathBuf {
    process::workspace_root().join("collector/fuzz")
}

fn target_folder() -> PathBuf {
    process::target_dir().join("fuzz")
}

/// The targets' names, in alphabetical order.
fn targets() -> anyhow::Result<Vec<String>> {
    let folder = folder().join("fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = Vec::new();
    for file in files {
        names.extend(file?.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn fuzz(cargo_fuzz: &Path, target: &str, minutes: u64) -> anyhow::Result<()> {
    let [learnt, artifacts] = ["corpus", "artifacts"].map(|kind| target_folder().join(kind).join(target));
    for folder in [&learnt, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    // The fuzzer adds to the first corpus, and only reads the others.
    let mut command = fuzz_command(cargo_fuzz, "run");
    command.arg(target).arg(learnt).arg(folder().join("corpus").join(target)).arg("--");
    command.arg(format!("-max_total_time={}", minutes * 60)).arg(format!("-max_len={INPUT_BYTES_MAX}"));
    command.arg(format!("-timeout={INPUT_SECONDS_MAX}")).arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args(["-print_final_stats=1", "-reload=0"]);
    process::run(&mut command)
}

/// `cargo fuzz COMMAND`, in release mode with debug assertions and the address sanitizer, as is cargo-fuzz's default.
fn fuzz_command(cargo_fuzz: &Path, command: &str) -> Command {
    let mut fuzz = process::in_workspace(cargo_fuzz);
    // cargo-fuzz passes -Z flags, which the stable compiler takes only so.
    fuzz.env("RUSTC_BOOTSTRAP", "1").arg(command);
    fuzz.arg("--fuzz-dir").arg(folder()).arg("--target-dir").arg(target_folder());
    fuzz
}
