//! `cargo xtask build`: the binary with the probe in it, for this machine or for another one.
//!
//! In: a target triple. Out: the path of the program. Three ways lead to another machine's program: cross, where Docker
//! works; else cargo-zigbuild, with the target's standard library from rustup or, where rustup cannot get it, built from
//! source. It says which it took. Nothing is installed outside the target folder but what rustup itself adds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::{apt, ebpf, musl, process};

/// Versions known to go together and with Rust 1.95.
const ZIG_PACKAGES: [&str; 2] = ["ziglang==0.17.1", "cargo-zigbuild==0.24.0"];

/// The triple of most users' machines.
pub const AARCH64_STATIC: &str = "aarch64-unknown-linux-musl";

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
    let megabytes = fs::metadata(&program)?.len() as f64 / 1e6;
    println!("{} ({megabytes:.1} MB)", program.display());
    Ok(())
}

/// The program for `target`, or for this machine.
pub fn build(target: Option<&str>, debug: bool) -> anyhow::Result<PathBuf> {
    ebpf::ensure_built()?;
    let profile = if debug { "dev" } else { "release" };
    compile(target, &["--package", "collector", "--bin", "pilcrow", "--profile", profile])?;
    Ok(built(target, debug).join("pilcrow"))
}

/// The example `name` of package `benches`, optimized, for `target` or for this machine.
pub fn build_benches_example(name: &str, target: Option<&str>) -> anyhow::Result<PathBuf> {
    compile(target, &["--package", "benches", "--example", name, "--profile", "release"])?;
    Ok(built(target, false).join("examples").join(name))
}

/// Where cargo puts what it builds.
fn built(target: Option<&str>, debug: bool) -> PathBuf {
    process::target_dir().join(target.unwrap_or_default()).join(if debug { "debug" } else { "release" })
}

fn compile(target: Option<&str>, arguments: &[&str]) -> anyhow::Result<()> {
    match target {
        None => process::run(process::cargo().arg("build").args(arguments)),
        Some(target) if docker_runs_cross() => {
            println!("cross-compiling for {target} with cross, in Docker");
            let mut cross = process::in_workspace("cross");
            cross.env("CROSS_CONFIG", process::workspace_root().join("cross.toml"));
            cross.arg("build").args(arguments).args(["--target", target]).args(musl::arguments_for(target)?);
            process::run(&mut cross)
        }
        Some(target) => zigbuild(target, arguments),
    }
}

/// The program for this machine, for demonstrations: a probe that cannot be built here is said and no reason to stop, as
/// the collector falls back.
pub fn with_probe_if_possible(debug: bool) -> anyhow::Result<PathBuf> {
    if let Err(error) = ebpf::ensure_built() {
        println!("the eBPF probe cannot be built here: {error:#}\ngoing on without it: the collector will use inotify");
    }
    let (profile, folder) = if debug { ("dev", "debug") } else { ("release", "release") };
    println!("building the collector; the first time this takes some minutes");
    process::run(process::cargo().args(["build", "--package", "collector", "--bin", "pilcrow", "--profile", profile]))?;
    Ok(process::target_dir().join(folder).join("pilcrow"))
}

fn docker_runs_cross() -> bool {
    let found = process::find("cross").is_some() && process::find("docker").is_some();
    // The client alone answers `docker version` too; the server's version needs a server.
    found && process::output_of(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"])).is_ok()
}

fn zigbuild(target: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let arguments: Vec<_> = ["zigbuild"].iter().chain(arguments).copied().collect();
    process::run(&mut zig_cargo(target, &arguments)?)
}

/// What `cargo build …` or `cargo test …` for another machine writes to its standard output, by cargo-zigbuild.
pub fn with_zig(target: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let arguments: Vec<_> =
        arguments.iter().map(|argument| if *argument == "build" { "zigbuild" } else { argument }).collect();
    let mut cargo = zig_cargo(target, &arguments)?;
    cargo.stderr(Stdio::inherit());
    println!("$ {}", process::line_of(&cargo));
    process::output_of(&mut cargo)
}

/// cargo-zigbuild with its arguments.
fn zig_cargo(target: &str, arguments: &[&str]) -> anyhow::Result<Command> {
    let zig = Zig::find_or_install()?;
    let mut cargo = process::in_workspace(&zig.cargo_zigbuild);
    cargo.args(arguments).args(["--target", target]).env("CARGO_ZIGBUILD_ZIG_PATH", &zig.compiler);
    if has_std(target) {
        println!("cross-compiling for {target} with cargo-zigbuild");
    } else {
        println!("cross-compiling for {target} with cargo-zigbuild and a standard library built from source");
        cargo.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1");
        if target.ends_with("musl") {
            // The start-up objects that rustup ships with a musl target are not there: Zig brings its own.
            cargo.env("RUSTFLAGS", "-Clink-self-contained=no");
        }
        if let Some(library) = ebpf::std_sources()? {
            cargo.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
        }
    }
    cargo.args(musl::arguments_for(target)?);
    Ok(cargo)
}

/// Whether the toolchain has the target's standard library, after asking rustup for it.
fn has_std(target: &str) -> bool {
    let Ok(sysroot) = process::output_of(Command::new("rustc").args(["--print", "sysroot"])) else {
        return false;
    };
    let library = Path::new(sysroot.trim_end()).join("lib/rustlib").join(target).join("lib");
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

/// Builds the static aarch64 program, starts it under an emulator, and looks for the probe in it.
pub fn aarch64_binary_starts() -> anyhow::Result<()> {
    apt::ensure(&[apt::Package { name: "qemu-user-static", program: "qemu-aarch64-static" }])?;
    let object = ebpf::ensure_built()?;
    let program = build(Some(AARCH64_STATIC), true)?;

    // Without -L the emulator finds no aarch64 loader, so a program that is not static does not start.
    let said = process::output_of(Command::new("qemu-aarch64-static").arg(&program).arg("--version"))?;
    let expected = concat!("pilcrow ", env!("CARGO_PKG_VERSION"));
    if said.trim_end() != expected {
        bail!("`pilcrow --version` said {said:?} and not {expected:?}");
    }
    let probe = fs::read(&object).with_context(|| format!("cannot read {}", object.display()))?;
    if memchr::memmem::find(&fs::read(&program)?, &probe).is_none() {
        bail!("{} does not hold the probe {}", program.display(), object.display());
    }
    println!("{said}");
    Ok(())
}
