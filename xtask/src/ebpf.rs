//! `cargo xtask build-ebpf`: the probe's object file, from nothing but a C compiler and Rust.
//!
//! In: the sources in collector-ebpf. Out: the object in collector-ebpf/prebuilt, which the collector embeds; it is in the
//! repository and built only where the sources have changed. What the build needs beside Rust, bpf-linker and the standard
//! library's sources, is found or fetched ([`linker`], [`rust_src`]); each step says which way it took.

mod linker;
mod object;
mod prebuilt;
mod rust_src;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::{
    process::{self, output_of, workspace_root},
    remap,
};
use linker::Linker;
use prebuilt::Prebuilt;
use rust_src::RustSrc;

/// rustc's name for the target.
const TARGET: &str = "bpfel-unknown-none";

/// The oldest BPF instruction set that has 32-bit atomics, Linux 5.12.
const TARGET_CPU: &str = "v3";

/// Options of `build-ebpf`.
#[derive(clap::Args)]
pub struct Args {
    /// Build it, also if the sources have not changed
    #[arg(long)]
    force: bool,
    /// Build it, and fail if the object in collector-ebpf/prebuilt is another
    #[arg(long, conflicts_with = "force")]
    check: bool,
}

/// Makes the object, or compares it.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let root = workspace_root();
    if args.check {
        let skipped = check()?;
        println!(
            "build-ebpf: {}",
            skipped.as_deref().unwrap_or("the probe, built from its sources, is the one in the repository")
        );
        return Ok(());
    }
    if args.force { write(&root) } else { ensure_built() }
}

/// Builds the object and compares it with the one in the repository. Some: why they cannot be compared.
pub fn check() -> anyhow::Result<Option<String>> {
    let root = workspace_root();
    Prebuilt::read(&root)?.check(&root, &build(&root)?)
}

/// Builds the object where its sources have changed. For the other commands.
pub fn ensure_built() -> anyhow::Result<()> {
    let root = workspace_root();
    let is_up_to_date = Prebuilt::read(&root).and_then(|prebuilt| prebuilt.is_of_sources(&root));
    if is_up_to_date.unwrap_or(false) {
        println!("build-ebpf: {} is up to date", prebuilt::FOLDER);
        return Ok(());
    }
    write(&root)
}

fn write(root: &Path) -> anyhow::Result<()> {
    Prebuilt::of(root, build(root)?)?.write(root)
}

/// A folder of the workspace with the standard library's sources, for cargo to build it for other machines: their path is a part of
/// every symbol's name, but for what of it is the workspace's.
pub fn std_sources() -> anyhow::Result<PathBuf> {
    let compiler = Compiler::query()?;
    let target = workspace_root().join("target");
    let library = match RustSrc::find_or_fetch(&compiler, &target)? {
        RustSrc::Toolchain => compiler.sysroot.join(rust_src::IN_TOOLCHAIN),
        RustSrc::Elsewhere { library } => library,
    };
    let link = target.join("std/library");
    if fs::read_link(&link).ok().as_deref() != Some(&library) {
        fs::create_dir_all(target.join("std"))?;
        // There is none, or one to the sources of another compiler.
        let _ = fs::remove_file(&link);
        symlink(&library, &link).with_context(|| format!("cannot make {}", link.display()))?;
    }
    Ok(link)
}

/// The object's bytes, built here.
fn build(root: &Path) -> anyhow::Result<Vec<u8>> {
    let target = root.join("target");
    let linker = Linker::find_or_install(&target)?;
    let rust_src = RustSrc::find_or_fetch(&Compiler::query()?, &target)?;
    let built = compile(&target, &linker, &rust_src)?;
    object::without_dwarf(&fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?)
}

fn compile(target: &Path, linker: &Linker, rust_src: &RustSrc) -> anyhow::Result<PathBuf> {
    println!("build-ebpf: compiling collector-ebpf for {TARGET}");
    let mut cargo = probe_cargo("build", target, &linker.path, rust_src)?;
    let status = cargo.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the probe did not compile: cargo {status}");
    }
    Ok(target.join("ebpf-build").join(TARGET).join("release/pilcrow-probe"))
}

/// Clippy on the probe, warnings are errors: a run over the workspace sees only the library of its package.
pub fn lint() -> anyhow::Result<()> {
    let target = workspace_root().join("target");
    let rust_src = RustSrc::find_or_fetch(&Compiler::query()?, &target)?;
    // Nothing is linked.
    let mut cargo = probe_cargo("clippy", &target, Path::new("bpf-linker"), &rust_src)?;
    let status = cargo.args(["--", "-D", "warnings"]).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("clippy on the probe: cargo {status}");
    }
    Ok(())
}

/// `cargo SUBCOMMAND` on the probe's program, in a target folder of its own.
fn probe_cargo(subcommand: &str, target: &Path, linker: &Path, rust_src: &RustSrc) -> anyhow::Result<Command> {
    let mut flags = vec![
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        format!("-Ctarget-cpu={TARGET_CPU}"),
        format!("-Clinker={}", linker.display()),
        // aya-ebpf wants to know; the programs use nothing that depends on it.
        "--cfg=bpf_target_arch=\"x86_64\"".into(),
    ];
    // Paths of source files are in the object's BTF.
    flags.extend(remap::flags(rust_src.elsewhere())?);
    let mut cargo = process::cargo();
    cargo
        .args([subcommand, "--release", "--package", "collector-ebpf", "--bin", "pilcrow-probe", "--features", "probe"])
        .args(["--target", TARGET, "-Zbuild-std=core", "--target-dir"])
        .arg(target.join("ebpf-build"))
        // Lets a stable compiler take -Z options. For this sub-build only: build scripts of other packages look at it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        // The workspace has its dependencies built small; here they are the standard library, a part of every program.
        .args(["--config", "profile.release.package.'*'.opt-level=3"])
        // bpf-linker makes the object's BTF from the debug information that the release profile strips.
        .env("CARGO_PROFILE_RELEASE_STRIP", "none");
    if let Some(library) = rust_src.elsewhere() {
        cargo.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
    }
    Ok(cargo)
}

/// The Rust compiler that builds the probe.
struct Compiler {
    /// Such as 1.95.0.
    release: String,
    /// The toolchain's folder.
    sysroot: PathBuf,
}

impl Compiler {
    fn query() -> anyhow::Result<Self> {
        let description = output_of(remap::rustc().arg("-vV"))?;
        let release = description
            .lines()
            .find_map(|line| line.strip_prefix("release: "))
            .context("rustc -vV names no release")?
            .to_owned();
        Ok(Self { release, sysroot: remap::sysroot()? })
    }
}
