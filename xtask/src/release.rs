//! `cargo xtask release`: everything that a release has, in target/release-artifacts, checked. It publishes nothing.
//!
//! In: the sources. Out: programs, images, chart, packages, SBOMs, the k3s manifest and SHA256SUMS, and beside the folder
//! release-notes.md. .github/workflows/release.yaml signs and publishes what is there.

mod artefacts;
mod checks;
mod notes;
mod proof;
mod registry;
pub mod reproduce;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::{build, image, k3s, package, process};
use artefacts::{Programs, SBOMS};
use checks::Checks;

/// What `cargo xtask release` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Do not ask for a clean tree, the version's tag and its section in CHANGELOG.md
    #[arg(long)]
    dry_run: bool,
    /// Take programs that are not optimized: to try the rest
    #[arg(long, requires = "dry_run")]
    debug: bool,
    /// Without the checks that boot machines and start an API server, which take half an hour
    #[arg(long, requires = "dry_run")]
    quick: bool,
    /// The image's name in the registry that it will be pushed to; chart and manifests take it as their default
    #[arg(long, default_value = image::NAME)]
    image: String,
    /// Only for this machine; may be repeated
    #[arg(long, requires = "dry_run")]
    target: Vec<String>,
}

/// This release's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Makes and checks it all.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let notes = notes::of_version(VERSION);
    if !args.dry_run {
        is_tagged()?;
    }
    let targets: Vec<&str> = match args.target.as_slice() {
        [] => image::TARGETS.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    let folder = process::target_dir().join("release-artifacts");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;

    let mut programs: Programs<'_> = Vec::new();
    for target in targets {
        programs.push((target, build::build(Some(target), args.debug)?));
    }
    if !args.debug {
        checks::programs_name_no_folder_of_this_machine(&programs)?;
    }
    make(&programs, &args.image, &folder)?;
    match notes {
        Ok(notes) => fs::write(process::target_dir().join("release-notes.md"), notes)?,
        Err(error) if args.dry_run => println!("no release notes: {error:#}"),
        Err(error) => return Err(error),
    }
    let mut checks = Checks::default();
    checks::run(&folder, &programs, &args.image, &mut checks)?;
    if args.quick {
        checks.optional("the ways in", Ok(Some("--quick leaves them out".into())))?;
    } else {
        proof::run(&folder, &programs, &args.image, &mut checks)?;
    }
    for path in files_of(&folder)? {
        println!("{:>10}  {}", fs::metadata(&path)?.len(), name_of(&path));
    }
    println!(
        "{} is whole and checked{}",
        folder.display(),
        if checks.skipped { ", but for what was skipped" } else { "" }
    );
    Ok(())
}

/// All artefacts, SHA256SUMS last.
fn make(programs: &Programs<'_>, name: &str, folder: &Path) -> anyhow::Result<()> {
    for (target, program) in programs {
        let machine = image::architecture(target)?;
        let inner = format!("pilcrow-{VERSION}-linux-{machine}");
        fs::write(folder.join(format!("{inner}.tar.gz")), artefacts::program_archive(&inner, program)?)?;
        let archive = image::archive_of(target, name, program)?;
        fs::write(folder.join(image::file_name(Some(machine))), archive)?;
        package::make(target, program, VERSION, folder)?;
    }
    let of_all = image::archive_of_several(name, programs)?;
    fs::write(folder.join(image::file_name(None)), of_all)?;
    fs::write(folder.join(format!("pilcrow-{VERSION}.tgz")), k3s::chart_archive(name)?)?;
    let deploy = process::workspace_root().join("deploy");
    for (from, to) in
        [("manifests/pilcrow.yaml", "pilcrow-kubectl.yaml"), ("docker/compose.yaml", "pilcrow-compose.yaml")]
    {
        let text = fs::read_to_string(deploy.join(from))?;
        fs::write(folder.join(to), text.replace(&format!("{}:", image::NAME), &format!("{name}:")))?;
    }
    fs::write(folder.join("pilcrow-k3s.yaml"), k3s::manifest(name)?)?;
    fs::copy(deploy.join("k3s/loki-grafana.yaml"), folder.join("loki-grafana.yaml"))?;
    fs::copy(deploy.join("seccomp/pilcrow.json"), folder.join("pilcrow-seccomp.json"))?;
    fs::copy(package::schema(), folder.join("pilcrow.schema.json"))?;
    for sbom in SBOMS {
        fs::write(folder.join(format!("pilcrow-{VERSION}.{}", sbom.extension)), artefacts::sbom(&sbom)?)?;
    }
    let mut sums = String::new();
    for path in files_of(folder)? {
        sums.push_str(&format!("{}  {}\n", image::layout::sha256(&fs::read(&path)?), name_of(&path)));
    }
    fs::write(folder.join("SHA256SUMS"), sums)?;
    Ok(())
}

/// In the order of their names.
fn files_of(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// That what is built is what the tag names.
fn is_tagged() -> anyhow::Result<()> {
    let git = |arguments: &[&str]| process::output_of(process::in_workspace("git").args(arguments));
    let changed = git(&["status", "--porcelain"])?;
    if !changed.is_empty() {
        bail!("the working tree has changes; commit them first, or use --dry-run:\n{changed}");
    }
    let tag = format!("v{VERSION}");
    let tags = git(&["tag", "--points-at", "HEAD"]).context("cannot ask git for tags")?;
    if !tags.lines().any(|known| known == tag) {
        bail!("HEAD is not tagged {tag}, which Cargo.toml's version asks for; tag it, or use --dry-run");
    }
    Ok(())
}
