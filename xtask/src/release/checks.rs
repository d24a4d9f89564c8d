//! What is asked of the artefacts before anyone sees them.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};

use super::{
    VERSION,
    artefacts::{Programs, SBOMS},
};
use crate::{go, helm, helm::Helm, image, process, remap};

/// What was checked so far.
#[derive(Default)]
pub struct Checks {
    /// Whether something could not be checked here.
    pub skipped: bool,
}

impl Checks {
    /// Says how a check went that not every machine can carry out; an outcome with a text is why this one cannot.
    pub fn optional(&mut self, name: &str, outcome: anyhow::Result<Option<String>>) -> anyhow::Result<()> {
        match outcome.with_context(|| name.to_owned())? {
            None => println!("checked: {name}"),
            Some(reason) => {
                self.skipped = true;
                println!("SKIPPED {name}: {reason}");
            }
        }
        Ok(())
    }
}

/// What takes seconds.
pub fn run(folder: &Path, programs: &Programs<'_>, image: &str, checks: &mut Checks) -> anyhow::Result<()> {
    sums_are_right(folder)?;
    chart_renders(folder, image)?;
    boms_name_what_is_linked(folder)?;
    checks.optional("the programs say their version", programs_start(programs))?;
    checks.optional("skopeo reads the image for all machines", skopeo_reads(folder, programs))?;
    checks.optional("dpkg reads the debs", dpkg_reads(folder, programs))
}

fn sums_are_right(folder: &Path) -> anyhow::Result<()> {
    let said = process::output_of(Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(folder))?;
    println!("checked: SHA256SUMS names {} files", said.lines().count());
    Ok(())
}

/// The packed chart makes what the folder makes.
fn chart_renders(folder: &Path, image: &str) -> anyhow::Result<()> {
    let helm = Helm::find_or_build()?;
    let values = ["--set", "loki.url=http://loki.monitoring:3100"];
    let packed = helm.template_of(&folder.join(format!("pilcrow-{VERSION}.tgz")), &values)?;
    let with_image = format!("image.repository={image}");
    let values = [&values[..], &["--set", &with_image]].concat();
    ensure!(packed == helm.template_of(&helm::chart(), &values)?, "the packed chart makes other manifests");
    ensure!(packed.contains(&format!("\"{image}:{VERSION}\"")), "the packed chart does not take the image {image}");
    println!("checked: the packed chart makes what its folder makes");
    Ok(())
}

fn boms_name_what_is_linked(folder: &Path) -> anyhow::Result<()> {
    for sbom in SBOMS {
        let text = fs::read_to_string(folder.join(format!("pilcrow-{VERSION}.{}", sbom.extension)))?;
        let parsed: serde_json::Value = serde_json::from_str(&text).context("the SBOM is no JSON")?;
        let (field, value) = sbom.mark;
        ensure!(parsed[field] == value, "the SBOM's {field} is {}", parsed[field]);
        for linked in ["rustls", "mimalloc", "hyper"] {
            ensure!(text.contains(&format!("\"{linked}\"")), "the SBOM {} lacks {linked}", sbom.extension);
        }
    }
    println!("checked: both SBOMs name what is linked");
    Ok(())
}

/// Not for programs that are not optimized: those are built as the next test wants them, and not as others do.
pub fn programs_name_no_folder_of_this_machine(programs: &Programs<'_>) -> anyhow::Result<()> {
    for (target, program) in programs {
        let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        for trace in remap::traces(target)? {
            let found = memchr::memmem::find(&bytes, trace.as_os_str().as_encoded_bytes());
            ensure!(found.is_none(), "{} has {} in it: see xtask/src/remap.rs", program.display(), trace.display());
        }
    }
    println!("checked: no program names a folder of this machine");
    Ok(())
}

fn programs_start(programs: &Programs<'_>) -> anyhow::Result<Option<String>> {
    for (target, program) in programs {
        let machine = target.split('-').next().unwrap_or_default();
        let mut command = if machine == std::env::consts::ARCH {
            Command::new(program)
        } else if let Some(emulator) = process::find(&format!("qemu-{machine}-static")) {
            let mut command = Command::new(emulator);
            command.arg(program);
            command
        } else {
            return Ok(Some(format!("no qemu-{machine}-static (Debian's package qemu-user-static)")));
        };
        let said = process::output_of(command.arg("--version"))?;
        ensure!(said.trim_end() == format!("pilcrow {VERSION}"), "{} says {said:?}", program.display());
    }
    Ok(None)
}

fn skopeo_reads(folder: &Path, programs: &Programs<'_>) -> anyhow::Result<Option<String>> {
    if process::find("skopeo").is_none() {
        return Ok(Some("skopeo is not installed".into()));
    }
    let archive = format!("oci-archive:{}", folder.join(image::file_name(None)).display());
    for (target, _) in programs {
        let machine = image::architecture(target)?;
        let mut inspect = Command::new("skopeo");
        let said = process::output_of(inspect.args(["--override-arch", machine, "inspect", "--config", &archive]))?;
        let config: serde_json::Value = serde_json::from_str(&said)?;
        ensure!(config["architecture"] == machine, "for {machine} skopeo finds {said}");
    }
    let copy = tempfile::tempdir()?;
    let copy = format!("dir:{}", copy.path().display());
    process::output_of(Command::new("skopeo").args(["--insecure-policy", "copy", "--all", &archive, &copy]))?;
    Ok(None)
}

fn dpkg_reads(folder: &Path, programs: &Programs<'_>) -> anyhow::Result<Option<String>> {
    if process::find("dpkg-deb").is_none() {
        return Ok(Some("dpkg-deb is not installed".into()));
    }
    for (target, _) in programs {
        let machine = image::architecture(target)?;
        let deb = folder.join(format!("pilcrow_{VERSION}_{machine}.deb"));
        let said = process::output_of(Command::new("dpkg-deb").arg("--field").arg(&deb))?;
        ensure!(said.contains(&format!("Architecture: {machine}\n")), "{} says {said}", deb.display());
        process::output_of(Command::new("dpkg-deb").arg("--contents").arg(&deb))?;
    }
    Ok(None)
}

/// How the program that signs is built, where it is not installed.
const COSIGN: go::Program = go::Program {
    name: "cosign",
    module: "github.com/sigstore/cosign/v2",
    package: "cmd/cosign",
    version_variable: "sigs.k8s.io/release-utils/version.gitVersion",
    version_with_v: true,
    takes: "about six minutes",
    or_give: "a cosign in PATH",
};

/// As the workflow signs, but with a key instead of an identity.
pub fn signature(folder: &Path) -> anyhow::Result<Option<String>> {
    let program = match process::find("cosign") {
        Some(program) => program,
        None => match COSIGN.can_build() {
            Ok(()) => COSIGN.build()?,
            Err(reason) => return Ok(Some(reason)),
        },
    };
    let work = tempfile::tempdir()?;
    let cosign = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(work.path()).env("COSIGN_PASSWORD", "");
        process::output_of(&mut command)
    };
    cosign(&["generate-key-pair"])?;
    let sums = folder.join("SHA256SUMS").display().to_string();
    let offline = "--tlog-upload=false";
    cosign(&["sign-blob", "--yes", offline, "--key", "cosign.key", "--output-signature", "signature", &sums])?;
    let verify = |file: &str| {
        let known = "--insecure-ignore-tlog=true";
        cosign(&["verify-blob", known, "--key", "cosign.pub", "--signature", "signature", file])
    };
    verify(&sums)?;
    let changed = work.path().join("changed");
    fs::write(&changed, fs::read_to_string(&sums)? + "x")?;
    ensure!(verify(&changed.display().to_string()).is_err(), "a changed file passes");
    Ok(None)
}
