//! `cargo xtask build-ebpf`: the probe's object file, from nothing but a C compiler and Rust.
//!
//! In: the sources in collector-ebpf. Out: [`OBJECT`], which the collector's build script embeds. What the build needs
//! beside Rust, bpf-linker and the standard library's sources, is found or fetched ([`linker`], [`rust_src`]); each step
//! says which way it took. Nothing outside the target folder is changed, but for rustup's own component rust-src.

mod linker;
mod rust_src;

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use linker::Linker;
use rust_src::RustSrc;

/// The object file, in the workspace's target folder. The collector's build script looks for it there.
const OBJECT: &str = "ebpf/pilcrow-probe.o";

/// rustc's name for the target.
const TARGET: &str = "bpfel-unknown-none";

/// The oldest BPF instruction set that has 32-bit atomics, Linux 5.12.
const TARGET_CPU: &str = "v3";

/// Options of `build-ebpf`.
#[derive(clap::Args)]
pub struct Args {
    /// Build even if nothing has changed
    #[arg(long)]
    force: bool,
}

/// Builds the probe and says where it is.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let object = if args.force { build(true)? } else { ensure_built()? };
    println!("build-ebpf: {}", object.display());
    Ok(())
}

/// Builds the probe unless it is up to date, and returns the object file's path. For the other commands.
pub fn ensure_built() -> anyhow::Result<PathBuf> {
    build(false)
}

/// Where cargo finds the standard library's sources for -Zbuild-std; none: where it looks by itself. For cross builds.
pub fn std_sources() -> anyhow::Result<Option<PathBuf>> {
    match RustSrc::find_or_fetch(&Compiler::query()?, &workspace_root().join("target"))? {
        RustSrc::Toolchain => Ok(None),
        RustSrc::Elsewhere { library } => Ok(Some(library)),
    }
}

fn build(force: bool) -> anyhow::Result<PathBuf> {
    let root = workspace_root();
    let target = root.join("target");
    let object = target.join(OBJECT);
    let compiler = Compiler::query()?;
    let stamp = target.join("ebpf-build/stamp");
    let fingerprint = fingerprint(&root, &compiler)?;
    if !force && object.is_file() && fs::read_to_string(&stamp).is_ok_and(|built| built == fingerprint) {
        println!("build-ebpf: up to date");
        return Ok(object);
    }

    let linker = Linker::find_or_install(&target)?;
    let rust_src = RustSrc::find_or_fetch(&compiler, &target)?;
    let built = compile(&root, &target, &linker, &rust_src)?;
    install(&built, &object)?;
    fs::write(&stamp, fingerprint).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(object)
}

fn compile(root: &Path, target: &Path, linker: &Linker, rust_src: &RustSrc) -> anyhow::Result<PathBuf> {
    println!("build-ebpf: compiling collector-ebpf for {TARGET}");
    let mut cargo = probe_cargo("build", root, target, linker, rust_src);
    let status = cargo.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the probe did not compile: cargo {status}");
    }
    Ok(target.join("ebpf-build").join(TARGET).join("release/pilcrow-probe"))
}

/// Clippy on the probe, warnings are errors: a run over the workspace sees only the library of its package.
pub fn lint() -> anyhow::Result<()> {
    let root = workspace_root();
    let target = root.join("target");
    let (linker, rust_src) = (Linker::find_or_install(&target)?, RustSrc::find_or_fetch(&Compiler::query()?, &target)?);
    let mut cargo = probe_cargo("clippy", &root, &target, &linker, &rust_src);
    let status = cargo.args(["--", "-D", "warnings"]).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("clippy on the probe: cargo {status}");
    }
    Ok(())
}

/// `cargo SUBCOMMAND` on the probe's program, in a target folder of its own.
fn probe_cargo(subcommand: &str, root: &Path, target: &Path, linker: &Linker, rust_src: &RustSrc) -> Command {
    let flags = [
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        format!("-Ctarget-cpu={TARGET_CPU}"),
        format!("-Clinker={}", linker.path.display()),
        // aya-ebpf wants to know; the programs use nothing that depends on it.
        "--cfg=bpf_target_arch=\"x86_64\"".into(),
    ];
    let mut cargo = Command::new(cargo());
    cargo
        .current_dir(root)
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
    if let RustSrc::Elsewhere { library } = rust_src {
        cargo.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
    }
    cargo
}

/// Puts the object in its place, and leaves an equal one alone: cargo takes a new time stamp for a change.
fn install(built: &Path, object: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    if fs::read(object).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let folder = object.parent().context("an object file lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(object, bytes).with_context(|| format!("cannot write {}", object.display()))
}

/// A number for everything that the object is made of.
fn fingerprint(root: &Path, compiler: &Compiler) -> anyhow::Result<String> {
    let mut hasher = DefaultHasher::new();
    compiler.description.hash(&mut hasher);
    (linker::VERSION, TARGET, TARGET_CPU).hash(&mut hasher);
    for file in ["collector-ebpf/Cargo.toml", "collector-ebpf/src/lib.rs", "collector-ebpf/src/main.rs", "Cargo.lock"] {
        let path = root.join(file);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?.hash(&mut hasher);
    }
    Ok(format!("{:016x}\n", hasher.finish()))
}

fn workspace_root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

/// The cargo that runs this program, so that the sub-build uses the same toolchain.
fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// The Rust compiler that builds the probe.
struct Compiler {
    /// `rustc -vV`.
    description: String,
    /// Such as 1.95.0.
    release: String,
    /// The toolchain's folder.
    sysroot: PathBuf,
}

impl Compiler {
    fn query() -> anyhow::Result<Self> {
        let rustc = env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from);
        let description = output(Command::new(&rustc).arg("-vV"))?;
        let release = description
            .lines()
            .find_map(|line| line.strip_prefix("release: "))
            .context("rustc -vV names no release")?
            .to_owned();
        let sysroot = output(Command::new(&rustc).args(["--print", "sysroot"]))?.trim_end().into();
        Ok(Self { description, release, sysroot })
    }
}

/// What a command writes to its standard output; an error if it cannot be started or fails.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
