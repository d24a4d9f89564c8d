//! `cargo xtask image`: a container image as one file, made without Docker.
//!
//! In: a static program. Out: target/image/pilcrow-image-VERSION-linux-ARCH.tar, an OCI image layout in a tar that also has the
//! manifest.json of `docker save`: `ctr images import`, `docker load`, `podman load` and skopeo take it. The same program and
//! the same certificates give the same bytes. It holds what deploy/Dockerfile's image holds.

pub mod layout;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};

use crate::{apt, build, process};

/// The image's default name, with the version as its tag; the chart's default too.
pub const NAME: &str = "localhost/pilcrow";

/// The machines that a release is for.
pub const TARGETS: [&str; 2] = ["aarch64-unknown-linux-musl", "x86_64-unknown-linux-musl"];

/// Where the program serves its metrics, by default.
const PORT: u16 = 9080;

/// Small enough for a slow line and an SD card.
const COMPRESSED_MAX: u64 = 10 << 20;

/// Certificate authorities for a Loki behind https, where rustls-native-certs looks for them.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// What `cargo xtask image` takes.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Triple of the machine that it is for; without it, one image for each of arm64 and amd64
    #[arg(long)]
    target: Option<String>,
    /// The image's name, with or without a tag
    #[arg(long, default_value = NAME)]
    name: String,
    /// A static program to take instead of building one; its machine is --target
    #[arg(long, value_name = "PATH", requires = "target", conflicts_with = "debug")]
    program: Option<PathBuf>,
    /// Take a program that is not optimized: faster to build
    #[arg(long)]
    debug: bool,
}

/// Builds the programs, makes the images and says where they are.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let targets = args.target.as_deref().map_or(TARGETS.to_vec(), |target| vec![target]);
    let mut programs = Vec::new();
    for target in targets {
        let program = match &args.program {
            Some(program) => program.clone(),
            None => build::build(Some(target), args.debug)?,
        };
        let (path, size) = make(target, &args.name, &program)?;
        println!("{} ({:.1} MiB)", path.display(), size as f64 / f64::from(1 << 20));
        // Debug information is most of a program that is not optimized.
        if !args.debug && size > COMPRESSED_MAX {
            bail!("{} is larger than {} MiB", path.display(), COMPRESSED_MAX >> 20);
        }
        programs.push((target, program));
    }
    if programs.len() > 1 {
        let path = folder()?.join(file_name(None));
        fs::write(&path, archive_of_several(&args.name, &programs)?)?;
        println!("{} (all of them as one image, for a registry)", path.display());
    }
    Ok(())
}

/// What an image's archive is called here and in a release: one for an architecture, or one for all.
pub fn file_name(architecture: Option<&str>) -> String {
    let only = architecture.map(|name| format!("-linux-{name}")).unwrap_or_default();
    format!("pilcrow-image-{}{only}.tar", env!("CARGO_PKG_VERSION"))
}

/// Where images go.
fn folder() -> anyhow::Result<PathBuf> {
    let folder = process::target_dir().join("image");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The image of `program`, which is for `target`, and its size in bytes.
fn make(target: &str, name: &str, program: &Path) -> anyhow::Result<(PathBuf, u64)> {
    let path = folder()?.join(file_name(Some(architecture(target)?)));
    let archive = archive_of(target, name, program)?;
    fs::write(&path, &archive).with_context(|| format!("cannot write {}", path.display()))?;
    Ok((path, archive.len() as u64))
}

/// The bytes of the image of `program`, which is for `target`.
pub fn archive_of(target: &str, name: &str, program: &Path) -> anyhow::Result<Vec<u8>> {
    let name = tagged(name);
    let (authorities, program) = (authorities()?, read(program)?);
    let (image, files) = image_of(target, &name, &authorities, &program)?;
    layout::archive(&image, &files)
}

/// The bytes of one image that holds every program, each for its target.
pub fn archive_of_several(name: &str, programs: &[(&str, PathBuf)]) -> anyhow::Result<Vec<u8>> {
    let name = tagged(name);
    let authorities = authorities()?;
    let contents = programs.iter().map(|(_, program)| read(program)).collect::<anyhow::Result<Vec<_>>>()?;
    let images = programs
        .iter()
        .zip(&contents)
        .map(|((target, _), program)| image_of(target, &name, &authorities, program))
        .collect::<anyhow::Result<Vec<_>>>()?;
    layout::archive_of_several(&images)
}

fn image_of<'a>(
    target: &str,
    name: &'a str,
    authorities: &'a [u8],
    program: &'a [u8],
) -> anyhow::Result<(layout::Image<'a>, Vec<layout::File<'a>>)> {
    let files = vec![
        layout::File { path: AUTHORITIES, mode: 0o644, content: authorities },
        layout::File { path: "pilcrow", mode: 0o755, content: program },
    ];
    let command = ("/pilcrow", &["run"][..]);
    Ok((layout::Image { name, architecture: architecture(target)?, command, port: Some(PORT) }, files))
}

/// With this version, where the name has no tag.
fn tagged(name: &str) -> String {
    if name.rsplit('/').next().is_some_and(|last| last.contains(':')) {
        return name.to_owned();
    }
    format!("{name}:{}", env!("CARGO_PKG_VERSION"))
}

fn authorities() -> anyhow::Result<Vec<u8>> {
    apt::ensure(&[apt::Package { name: "ca-certificates", program: "update-ca-certificates" }])?;
    read(Path::new("/").join(AUTHORITIES).as_path())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// That another tool reads the image of the program for `target`, built without optimization.
pub fn is_read_by_skopeo(target: &str) -> anyhow::Result<()> {
    apt::ensure(&[apt::Package { name: "skopeo", program: "skopeo" }])?;
    let (path, _) = make(target, NAME, &build::build(Some(target), true)?)?;
    for transport in ["oci-archive", "docker-archive"] {
        let archive = format!("{transport}:{}", path.display());
        let said = process::output_of(Command::new("skopeo").args(["inspect", "--config", &archive]))?;
        let config: serde_json::Value = serde_json::from_str(&said).context("skopeo gives no JSON")?;
        ensure!(
            config["architecture"] == architecture(target)? && config["config"]["Entrypoint"][0] == "/pilcrow",
            "skopeo reads {archive} as {said}"
        );
        // Copying compares every digest.
        let copy = tempfile::tempdir()?;
        let copy = format!("dir:{}", copy.path().display());
        process::output_of(Command::new("skopeo").args(["--insecure-policy", "copy", &archive, &copy]))?;
    }
    println!("skopeo reads {}", path.display());
    Ok(())
}

/// The name that Go, and with it every container tool, has for a static target.
pub fn architecture(target: &str) -> anyhow::Result<&'static str> {
    ensure!(target.ends_with("-linux-musl"), "an image holds only the program, so it must be static: {TARGETS:?}");
    match target.split('-').next() {
        Some("aarch64") => Ok("arm64"),
        Some("x86_64") => Ok("amd64"),
        _ => bail!("images are made for {TARGETS:?}, not for {target}"),
    }
}
