//! The step `packages`: what the deb and the rpm do to a machine, in a root of their own, without touching this one's.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use super::Report;
use crate::{
    apt::{self, Package},
    build, package, process,
};

/// systemd-analyze's exposure times ten; 0 is none, 100 everything. Root with four capabilities is 23.
const EXPOSURE_MAX: u32 = 25;

/// Everything in one report.
pub fn run() -> anyhow::Result<Report> {
    if let Err(reason) = package::NFPM.can_build() {
        return Ok(Report::one_skipped("packages", reason));
    }
    let mut report = Report::default();
    let folder = tempfile::tempdir()?;
    let made = package::stand_in("1.2.3", folder.path())?;
    let [deb, rpm] = made.as_slice() else { anyhow::bail!("not two packages: {made:?}") };
    report.note("packages", "the same commit gives the same packages", same_again(&made));
    report.note("packages", "the packaged configuration is a good one", configuration_is_good());
    if process::find("dpkg-deb").is_some() {
        report.note("packages", "the deb holds what it should", deb_holds(deb));
        report.note(
            "packages",
            "an upgrade keeps the configuration, a purge leaves nothing",
            a_deb_installs_upgrades_and_leaves(folder.path(), deb),
        );
    } else {
        report.add(Report::one_skipped("deb", "no dpkg on this machine"));
    }
    match apt::ensure(&[Package { name: "rpm", program: "rpm" }]) {
        Ok(()) => report.note("packages", "the rpm holds what it should", rpm_holds(rpm)),
        Err(error) => report.add(Report::one_skipped("rpm", error.to_string())),
    }
    if process::find("systemd-analyze").is_some() {
        report.note("packages", "the service is hardened", service_is_hardened());
    } else {
        report.add(Report::one_skipped("service", "no systemd-analyze on this machine"));
    }
    match apt::ensure(&[Package { name: "shellcheck", program: "shellcheck" }]) {
        Ok(()) => report.note("packages", "the packages' scripts pass shellcheck", scripts_are_clean()),
        Err(error) => report.add(Report::one_skipped("shellcheck", error.to_string())),
    }
    Ok(report)
}

fn same_again(made: &[PathBuf]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for (first, second) in made.iter().zip(package::stand_in("1.2.3", folder.path())?) {
        ensure!(fs::read(first)? == fs::read(&second)?, "{} differs", second.display());
    }
    Ok(())
}

fn source(name: &str) -> PathBuf {
    process::workspace_root().join("deploy/package").join(name)
}

fn configuration_is_good() -> anyhow::Result<()> {
    let program = build::build(None, true)?;
    let mut check = Command::new(program);
    check.args(["check", "--config"]).arg(source("pilcrow.yaml")).env("NODE_NAME", "pi-3");
    process::output_of(&mut check).map(drop)
}

/// Of both kinds of packages.
const FILES: [&str; 9] = [
    "/usr/bin/pilcrow",
    "/etc/pilcrow/pilcrow.yaml",
    "/usr/lib/systemd/system/pilcrow.service",
    "/usr/share/man/man1/pilcrow.1",
    "/usr/share/pilcrow/pilcrow.schema.json",
    "/usr/share/man/man1/pilcrow-import-positions.1",
    "/usr/share/bash-completion/completions/pilcrow",
    "/usr/share/zsh/vendor-completions/_pilcrow",
    "/usr/share/fish/vendor_completions.d/pilcrow.fish",
];

fn deb_holds(deb: &Path) -> anyhow::Result<()> {
    let listed = process::output_of(Command::new("dpkg-deb").arg("--contents").arg(deb))?;
    for file in FILES {
        ensure!(listed.contains(&format!(".{file}\n")), "no {file} in\n{listed}");
    }
    ensure!(!listed.contains(" 1000/") && listed.contains("root/root"), "not all belongs to root:\n{listed}");
    let control = process::output_of(Command::new("dpkg-deb").arg("--field").arg(deb))?;
    ensure!(control.contains("Package: pilcrow\n") && control.contains("Architecture: amd64\n"), "{control}");
    Ok(())
}

fn rpm_holds(rpm: &Path) -> anyhow::Result<()> {
    let ask = |what: &[&str]| process::output_of(Command::new("rpm").args(what).arg(rpm));
    let listed = ask(&["--query", "--package", "--list"])?;
    for file in FILES {
        ensure!(listed.lines().any(|line| line == file), "no {file} in\n{listed}");
    }
    let edited = ask(&["--query", "--package", "--configfiles"])?;
    ensure!(edited.trim() == "/etc/pilcrow/pilcrow.yaml", "configuration files: {edited}");
    let scripts = ask(&["--query", "--package", "--scripts"])?;
    ensure!(scripts.contains("postinstall") && scripts.contains("preuninstall"), "scripts: {scripts}");
    process::output_of(Command::new("rpm").arg("--checksig").arg("--nosignature").arg(rpm)).map(drop)
}

/// A root with its own database of packages. Scripts run outside of it and are told by DPKG_ROOT where it is.
struct Root(PathBuf);

impl Root {
    /// Without any package.
    fn new(folder: PathBuf) -> anyhow::Result<Self> {
        for needed in ["var/lib/dpkg/updates", "var/lib/dpkg/info", "tmp"] {
            fs::create_dir_all(folder.join(needed))?;
        }
        for needed in ["var/lib/dpkg/status", "var/lib/dpkg/available"] {
            fs::write(folder.join(needed), "")?;
        }
        Ok(Self(folder))
    }

    fn dpkg(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg("--root").arg(&self.0).args(["--force-script-chrootless", "--force-confdef", "--force-confold"]);
        if !rustix::process::geteuid().is_root() {
            dpkg.arg("--force-not-root");
        }
        dpkg.arg("--log").arg(self.0.join("dpkg.log"));
        process::output_of(dpkg.args(arguments))
    }

    fn has(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }

    fn has_nothing_of_it(&self) -> anyhow::Result<()> {
        for left in ["usr/bin/pilcrow", "etc/pilcrow", "var/lib/pilcrow", "usr/lib/systemd/system/pilcrow.service"] {
            ensure!(!self.has(left), "{left} is there after a purge");
        }
        Ok(())
    }
}

/// A release's deb: what it installs says the version, and nothing is left of it.
pub fn deb_installs(deb: &Path, version: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = Root::new(folder.path().join("root"))?;
    root.dpkg(&["--install", &deb.display().to_string()])?;
    let said = process::output_of(Command::new(root.0.join("usr/bin/pilcrow")).arg("--version"))?;
    ensure!(said.trim_end() == format!("pilcrow {version}"), "the installed program says {said}");
    root.dpkg(&["--purge", "pilcrow"])?;
    root.has_nothing_of_it()
}

fn a_deb_installs_upgrades_and_leaves(folder: &Path, first: &Path) -> anyhow::Result<()> {
    let root = Root::new(folder.join("root"))?;
    root.dpkg(&["--install", &first.display().to_string()])?;
    let configuration = root.0.join("etc/pilcrow/pilcrow.yaml");
    let mode = fs::metadata(&configuration)?.permissions().mode() & 0o777;
    ensure!(mode == 0o640, "the configuration may hold a token and has mode {mode:o}");
    let said = process::output_of(&mut Command::new(root.0.join("usr/bin/pilcrow")))?;
    ensure!(said == "pilcrow 1.2.3\n", "{said}");

    fs::write(&configuration, "loki: {url: \"http://mine:3100\"}\n")?;
    fs::create_dir_all(root.0.join("var/lib/pilcrow"))?;
    fs::write(root.0.join("var/lib/pilcrow/positions"), "saved")?;
    let newer = folder.join("newer");
    fs::create_dir_all(&newer)?;
    let newer = package::stand_in("1.3.0", &newer)?;
    root.dpkg(&["--install", &newer.first().context("no deb")?.display().to_string()])?;
    let said = process::output_of(&mut Command::new(root.0.join("usr/bin/pilcrow")))?;
    ensure!(said == "pilcrow 1.3.0\n", "after an upgrade: {said}");
    ensure!(fs::read_to_string(&configuration)?.contains("mine"), "an upgrade replaced the configuration");
    ensure!(root.has("var/lib/pilcrow/positions"), "an upgrade removed the saved positions");

    root.dpkg(&["--remove", "pilcrow"])?;
    ensure!(!root.has("usr/bin/pilcrow"), "the program is there after a removal");
    ensure!(root.has("etc/pilcrow/pilcrow.yaml"), "a removal took the configuration");
    ensure!(root.has("var/lib/pilcrow/positions"), "a removal took the saved positions");
    root.dpkg(&["--purge", "pilcrow"])?;
    root.has_nothing_of_it()
}

fn service_is_hardened() -> anyhow::Result<()> {
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", &format!("--threshold={EXPOSURE_MAX}")]);
    process::output_of(analyze.arg(source("pilcrow.service")).env("SYSTEMD_LOG_LEVEL", "err")).map(drop)
}

fn scripts_are_clean() -> anyhow::Result<()> {
    let scripts = ["postinstall.sh", "preremove.sh", "postremove.sh"].map(source);
    process::output_of(Command::new("shellcheck").args(scripts)).map(drop)
}
