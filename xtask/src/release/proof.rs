//! A user's ways in, each tried with the artefacts themselves.
//!
//! In: a release's folder. Out: an error where one of them does not lead to an installation, or to lines that arrive.

use std::path::Path;

use anyhow::ensure;

use super::{
    VERSION,
    artefacts::Programs,
    checks::{self, Checks},
    registry::{self, Registry},
};
use crate::{build, e2e::kube, helm::Helm, image, process, test, vm};

/// All of them; what cannot be tried here is noted.
pub fn run(folder: &Path, programs: &Programs<'_>, image: &str, checks: &mut Checks) -> anyhow::Result<()> {
    checks.optional("the deb for this machine installs, starts and goes", deb_installs(folder, programs))?;
    let signature = checks::signature(folder);
    checks.optional("a signature by a throw-away key is verified, and a changed file is refused", signature)?;
    checks.optional(
        "a registry takes image and chart, and an API server what Helm installs from there, and the manifests",
        kubernetes_takes_it(folder, programs, image),
    )?;
    for (name, set) in [
        ("the image's pod collects on a node with containerd, in QEMU", vm::Set::Containers),
        ("the deb's service collects under systemd, in QEMU", vm::Set::Service),
    ] {
        checks.optional(name, collects(programs, set))?;
    }
    Ok(())
}

fn deb_installs(folder: &Path, programs: &Programs<'_>) -> anyhow::Result<Option<String>> {
    let of_this_machine = programs.iter().find(|(target, _)| target.starts_with(std::env::consts::ARCH));
    let Some((target, _)) = of_this_machine else { return Ok(Some("there is none".into())) };
    if process::find("dpkg").is_none() {
        return Ok(Some("dpkg is not installed".into()));
    }
    let deb = folder.join(format!("pilcrow_{VERSION}_{}.deb", image::architecture(target)?));
    test::deb_installs(&deb, VERSION)?;
    Ok(None)
}

fn kubernetes_takes_it(folder: &Path, programs: &Programs<'_>, image: &str) -> anyhow::Result<Option<String>> {
    let possible = kube::cluster::PROGRAM.can_build().and_then(|()| Helm::check_available());
    if let Err(reason) = possible.and_then(|()| registry::can_start()) {
        return Ok(Some(reason));
    }
    if process::find("skopeo").is_none() {
        return Ok(Some("skopeo is not installed".into()));
    }
    let registry = Registry::start()?;
    let pushed = registry.push_image(&folder.join(image::file_name(None)), "pilcrow:release")?;
    for (target, _) in programs {
        let machine = image::architecture(target)?;
        ensure!(pushed.contains(&format!("{machine:?}")), "the registry's image is not for {machine}: {pushed}");
    }
    let chart = registry.push_chart(&Helm::find_or_build()?, &folder.join(format!("pilcrow-{VERSION}.tgz")))?;
    kube::release::is_installable(&kube::release::Files {
        chart: &[&chart, "--version", VERSION, "--plain-http"],
        image: &format!("{image}:{VERSION}"),
        manifest: &folder.join("pilcrow-kubectl.yaml"),
        for_k3s: &folder.join("pilcrow-k3s.yaml"),
    })?;
    Ok(None)
}

fn collects(programs: &Programs<'_>, set: vm::Set) -> anyhow::Result<Option<String>> {
    if let Err(reason) = vm::can_boot() {
        return Ok(Some(reason));
    }
    let arm64 = programs.iter().find(|(target, _)| *target == build::AARCH64_STATIC);
    let Some((_, program)) = arm64 else { return Ok(Some("there is no program for arm64".into())) };
    vm::prove(set, program)?;
    Ok(None)
}
