//! `cargo xtask package`: a deb and an rpm of a static program, for nodes that run Pilcrow as a systemd service.
//!
//! In: the program, deploy/package, and the generated man pages and completions. Out: two files, the same bytes for the same
//! commit. nfpm puts them together; e2e/nfpm/go.mod pins its version.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use serde_json::json;

use crate::{build, go, image, manual, process};

/// How its program is built.
pub const NFPM: go::Program = go::Program {
    name: "nfpm",
    module: "github.com/goreleaser/nfpm/v2",
    package: "cmd/nfpm",
    version_variable: "main.version",
    version_with_v: true,
    takes: "about a minute",
    or_give: "the packages of a release",
};

/// What `cargo xtask package` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Triple of the machine that they are for
    #[arg(long, default_value = build::AARCH64_STATIC)]
    target: String,
    /// A static program for --target to take instead of building one
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

/// What is installed as it stands in deploy/package: from, to, permissions, and whether an administrator edits it.
const INSTALLED: [(&str, &str, u32, bool); 2] = [
    // A token may stand in it.
    ("pilcrow.yaml", "/etc/pilcrow/pilcrow.yaml", 0o640, true),
    ("pilcrow.service", "/usr/lib/systemd/system/pilcrow.service", 0o644, false),
];

const DESCRIPTION: &str = "\
Collects container logs and sends them to Grafana Loki.
Follows the logs of a Kubernetes node by eBPF or inotify and saves a
position only when Loki has acknowledged every line up to it.";

/// The JSON schema of the configuration.
pub fn schema() -> PathBuf {
    process::workspace_root().join("deploy/pilcrow.schema.json")
}

/// Builds the program and packs it.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let program = args.program.clone().map_or_else(|| build::build(Some(&args.target), false), Ok)?;
    for path in make(&args.target, &program, env!("CARGO_PKG_VERSION"), &process::target_dir().join("package"))? {
        println!("{}", path.display());
    }
    Ok(())
}

/// The deb and the rpm of `program`, which is for `target`, in `folder`.
pub fn make(target: &str, program: &Path, version: &str, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    let nfpm = NFPM.build()?;
    let work = tempfile::tempdir()?;
    let config = work.path().join("nfpm.yaml");
    // JSON is YAML.
    fs::write(&config, configuration(target, program, version, work.path())?.to_string())?;
    let mut made = Vec::new();
    for kind in ["deb", "rpm"] {
        let path = folder.join(format!("pilcrow_{version}_{}.{kind}", image::architecture(target)?));
        process::output_of(
            Command::new(&nfpm)
                .args(["package", "--packager", kind, "--config"])
                .arg(&config)
                .arg("--target")
                .arg(&path)
                .env("SOURCE_DATE_EPOCH", commit_time()?.to_string()),
        )?;
        made.push(path);
    }
    Ok(made)
}

/// Seconds since 1970 at the commit, or 0 outside a repository.
pub fn commit_time() -> anyhow::Result<u64> {
    let Ok(said) = process::output_of(process::in_workspace("git").args(["log", "-1", "--format=%ct"])) else {
        return Ok(0);
    };
    said.trim().parse().context("git gives no commit time")
}

/// nfpm's, with the generated files and the scripts in `work`.
fn configuration(target: &str, program: &Path, version: &str, work: &Path) -> anyhow::Result<serde_json::Value> {
    let source = process::workspace_root().join("deploy/package");
    let mut contents = vec![content(program, "/usr/bin/pilcrow", 0o755, false)];
    for (from, to, mode, edited) in INSTALLED {
        contents.push(content(&source.join(from), to, mode, edited));
    }
    let licence = process::workspace_root().join("LICENSE");
    contents.push(content(&licence, "/usr/share/doc/pilcrow/copyright", 0o644, false));
    contents.push(content(&schema(), "/usr/share/pilcrow/pilcrow.schema.json", 0o644, false));
    for (number, page) in manual::pages()?.into_iter().enumerate() {
        let path = work.join(number.to_string());
        fs::write(&path, page.content)?;
        contents.push(content(&path, &page.path, 0o644, false));
    }
    let script = |name: &str| source.join(format!("{name}.sh")).display().to_string();
    Ok(json!({
        "name": "pilcrow",
        "arch": image::architecture(target)?,
        "platform": "linux",
        "version": version,
        "release": "1",
        "section": "admin",
        "priority": "optional",
        "maintainer": "The Pilcrow authors",
        "description": DESCRIPTION,
        "license": "Apache-2.0",
        "contents": contents,
        "scripts": {
            "postinstall": script("postinstall"),
            "preremove": script("preremove"),
            "postremove": script("postremove"),
        },
        "deb": {"fields": {"Rules-Requires-Root": "no"}},
    }))
}

fn content(from: &Path, to: &str, mode: u32, edited: bool) -> serde_json::Value {
    json!({
        "src": from.display().to_string(),
        "dst": to,
        "type": if edited { "config|noreplace" } else { "" },
        "file_info": {"mode": mode, "owner": "root", "group": "root"},
    })
}

/// A deb of a program that only says its version, for tests of what a package does to a machine.
pub fn stand_in(version: &str, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let program = folder.join("program");
    fs::write(&program, format!("#!/bin/sh\necho pilcrow {version}\n"))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    make("x86_64-unknown-linux-musl", &program, version, folder)
}
