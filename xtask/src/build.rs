//! `cargo xtask build`: the binary with the probe in it, for this machine or for another one.
//!
//! In: a target triple. Out: the path of the program. A released program is built by cargo-zigbuild together with its standard
//! library, and has no path of this machine in it. Others for another machine by cross, where Docker works; else by
//! cargo-zigbuild, with the target's standard library from rustup or, where rustup cannot get it, built from source. It says
//! which it took. Nothing is installed outside the target folder but what rustup itself adds.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::{apt, ebpf, musl, process, remap};

/// Versions known to go together and with Rust 1.95.
const ZIG_PACKAGES: [&str; 2] = ["ziglang==0.17.1", "cargo-zigbuild==0.24.0"];

/// The triple of most users' machines.
pub const AARCH64_STATIC: &str = "aarch64-unknown-linux-musl";

/// The oldest glibc on which programs for another machine's `…-gnu` run, as Zig links them: the one that Rust asks for.
pub const GLIBC: &str = "2.17";

/// What a static release program may take on the disk, and on a Pi's SD card.
const STATIC_PROGRAM_BYTES_MAX: u64 = 10 << 20;

/// Release programs end where they panic and are stripped: tables that lead a panic from frame to frame, 0.6 MB on
/// x86_64, serve nobody. Without effect where the standard library has them, as rustup's has: linking all as one program then
/// makes them for every function.
const WITHOUT_UNWIND_TABLES: &str = "-Cforce-unwind-tables=no";

/// What makes cargo build the program as it is released: with the features that it asks for itself.
const AS_RELEASED: [&str; 4] = ["--package", "collector", "--bin", "pilcrow"];

/// What makes cargo build the program as `cargo test --workspace` does, which has often been run before: with every feature of
/// a dependency that anything in the workspace asks for, tests included. Otherwise the tree above such a dependency is built
/// once more. Features for tests count only where a test or an example is named.
const AS_TESTED: [&str; 5] = ["--workspace", "--bin", "pilcrow", "--example", "counting"];

/// What `cargo xtask build` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Triple of the machine to build for, such as aarch64-unknown-linux-musl; without it, this machine
    #[arg(long)]
    target: Option<String>,
    /// Build without optimization: faster to build
    #[arg(long)]
    debug: bool,
}

/// Builds and says where the program is.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let program = build(args.target.as_deref(), args.debug)?;
    println!("{} ({})", program.display(), mebibytes(fs::metadata(&program)?.len()));
    Ok(())
}

/// The program for `target`, or for this machine.
pub fn build(target: Option<&str>, debug: bool) -> anyhow::Result<PathBuf> {
    ebpf::ensure_built()?;
    let profile = if debug { Profile::Dev } else { Profile::Release };
    let program = compile(target, arguments(target, profile), profile)?.join("pilcrow");
    if !debug && target.is_some_and(|target| target.ends_with("musl")) {
        check_size(fs::metadata(&program)?.len()).with_context(|| format!("{} is built, but", program.display()))?;
    }
    Ok(program)
}

/// An error where a static release program is too large.
fn check_size(bytes: u64) -> anyhow::Result<()> {
    if bytes > STATIC_PROGRAM_BYTES_MAX {
        bail!(
            "it has {}, {bytes} bytes, and {} is the limit (docs/development.md); look for what was added with \
             `nm --size-sort` on a build that is not stripped, above all a dependency or a feature of one",
            mebibytes(bytes),
            mebibytes(STATIC_PROGRAM_BYTES_MAX)
        );
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / (1 << 20) as f64)
}

/// Builds programs, optimized, in one command, so that what they have in common is built once. The folder of the programs,
/// of which examples are in `examples`.
pub fn optimized(target: Option<&str>, arguments: &[&str]) -> anyhow::Result<PathBuf> {
    compile(target, arguments, Profile::Release)
}

/// What cargo is told to build the program. For another machine nobody runs the tests of the whole workspace.
fn arguments(target: Option<&str>, profile: Profile) -> &'static [&'static str] {
    match (profile, target) {
        (Profile::Dev, None) => &AS_TESTED,
        _ => &AS_RELEASED,
    }
}

/// Compiles; gives the folder of what it built. Programs for this machine are those of a plain `cargo build`.
fn compile(target: Option<&str>, arguments: &[&str], profile: Profile) -> anyhow::Result<PathBuf> {
    let (name, folder) = match profile {
        Profile::Dev => ("dev", "debug"),
        Profile::Demo => ("demo", "demo"),
        Profile::Release => ("release", "release"),
    };
    let arguments = [arguments, &["--profile", name]].concat();
    match target {
        None => process::run(process::cargo().arg("build").args(arguments))?,
        // Released programs are made in one way only, so that the same sources give the same bytes on any machine.
        Some(target) if profile == Profile::Dev && docker_runs_cross() => {
            println!("cross-compiling for {target} with cross, in Docker");
            let mut cross = process::in_workspace("cross");
            cross.env("CROSS_CONFIG", process::workspace_root().join("cross.toml"));
            cross.arg("build").args(arguments).args(["--target", target]).args(musl::arguments_for(target)?);
            process::run(&mut cross)?;
        }
        Some(target) => {
            process::run(&mut zig_cargo(target, &[&["zigbuild"], &arguments[..]].concat(), profile != Profile::Dev)?)?
        }
    }
    Ok(process::target_dir().join(target.unwrap_or_default()).join(folder))
}

/// The environment's flags for the compiler, and more, as cargo takes them from CARGO_ENCODED_RUSTFLAGS: a path may have spaces.
fn encoded_rust_flags(more: Vec<String>) -> String {
    let given = match (env::var("CARGO_ENCODED_RUSTFLAGS"), env::var("RUSTFLAGS")) {
        (Ok(encoded), _) => encoded.split('\u{1f}').map(str::to_owned).collect(),
        (Err(_), Ok(flags)) => flags.split_whitespace().map(str::to_owned).collect(),
        (Err(_), Err(_)) => Vec::new(),
    };
    let flags: Vec<_> = given.into_iter().chain(more).filter(|flag| !flag.is_empty()).collect();
    flags.join("\u{1f}")
}

/// How a program for this machine is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Not optimized.
    Dev,
    /// Optimized, and built in less time than a release.
    Demo,
    /// As it is released.
    Release,
}

/// The program for this machine, for who waits for it.
pub fn for_this_machine(profile: Profile) -> anyhow::Result<PathBuf> {
    ebpf::ensure_built()?;
    println!("building the collector; the first time this takes some minutes");
    Ok(compile(None, arguments(None, profile), profile)?.join("pilcrow"))
}

fn docker_runs_cross() -> bool {
    let found = process::find("cross").is_some() && process::find("docker").is_some();
    // The client alone answers `docker version` too; the server's version needs a server.
    found && process::output_of(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"])).is_ok()
}

/// What `cargo build …` or `cargo test …` for another machine writes to its standard output, by cargo-zigbuild; with
/// `release`, which the arguments have to ask for as well, as programs are released.
pub fn with_zig(target: &str, arguments: &[&str], release: bool) -> anyhow::Result<String> {
    let arguments: Vec<_> =
        arguments.iter().map(|argument| if *argument == "build" { "zigbuild" } else { argument }).collect();
    let mut cargo = zig_cargo(target, &arguments, release)?;
    cargo.stderr(Stdio::inherit());
    println!("$ {}", process::line_of(&cargo));
    process::output_of(&mut cargo)
}

/// cargo-zigbuild with its arguments. A release program gets a standard library of its own, see [`WITHOUT_UNWIND_TABLES`].
fn zig_cargo(target: &str, arguments: &[&str], release: bool) -> anyhow::Result<Command> {
    let zig = Zig::find_or_install()?;
    let mut cargo = process::in_workspace(&zig.cargo_zigbuild);
    let versioned = if target.ends_with("-gnu") { format!("{target}.{GLIBC}") } else { target.to_owned() };
    cargo.args(arguments).args(["--target", &versioned]).env("CARGO_ZIGBUILD_ZIG_PATH", &zig.compiler);
    if !release && has_std(target) {
        println!("cross-compiling for {target} with cargo-zigbuild");
    } else {
        println!("cross-compiling for {target} with cargo-zigbuild and a standard library built from source");
        cargo.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1");
        let library = ebpf::std_sources()?;
        let mut flags = Vec::new();
        if release {
            flags.push(WITHOUT_UNWIND_TABLES.to_owned());
            flags.extend(remap::flags(Some(&library))?);
        }
        if target.ends_with("musl") {
            // The start-up objects that rustup ships with a musl target may not be there: Zig brings its own.
            flags.push("-Clink-self-contained=no".to_owned());
        }
        cargo.env("CARGO_ENCODED_RUSTFLAGS", encoded_rust_flags(flags));
        cargo.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
    }
    cargo.args(musl::arguments_for(target)?);
    Ok(cargo)
}

/// Whether the toolchain has the target's standard library, after asking rustup for it.
fn has_std(target: &str) -> bool {
    let Ok(sysroot) = remap::sysroot() else { return false };
    let library = sysroot.join("lib/rustlib").join(target).join("lib");
    library.is_dir()
        || (process::output_of(Command::new("rustup").args(["target", "add", target])).is_ok() && library.is_dir())
}

/// Zig as a C cross compiler and linker, and cargo's way to it.
struct Zig {
    compiler: PathBuf,
    cargo_zigbuild: PathBuf,
}

impl Zig {
    /// From target/tools/zig, where pip puts it first if need be.
    fn find_or_install() -> anyhow::Result<Self> {
        let folder = process::target_dir().join("tools/zig");
        let zig = Self { compiler: folder.join("ziglang/zig"), cargo_zigbuild: folder.join("bin/cargo-zigbuild") };
        if !zig.compiler.is_file() || !zig.cargo_zigbuild.is_file() {
            apt::ensure(&[apt::Package { name: "python3-pip", program: "pip3" }])?;
            println!("installing {} into {}", ZIG_PACKAGES.join(" and "), folder.display());
            process::run(
                Command::new("pip3")
                    .args(["install", "--quiet", "--upgrade", "--target"])
                    .arg(&folder)
                    .args(ZIG_PACKAGES),
            )?;
        }
        Ok(zig)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_program_over_the_limit_is_refused_with_its_size() {
        assert!(check_size(STATIC_PROGRAM_BYTES_MAX).is_ok());
        let error = check_size(STATIC_PROGRAM_BYTES_MAX + (1 << 19)).unwrap_err().to_string();
        assert!(error.contains("10.50 MiB") && error.contains("10.00 MiB is the limit"), "{error}");
    }
}
