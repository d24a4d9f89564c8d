//! Helm, and what it makes of the chart in deploy/helm/pilcrow.
//!
//! In: values. Out: manifests, or Helm's own words of what is wrong with them. Helm comes from PATH where it is
//! installed, else it is built from the Go module in e2e/helm.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::{go, process};

/// How its program is built.
pub const PROGRAM: go::Program = go::Program {
    name: "helm",
    module: "helm.sh/helm/v3",
    package: "cmd/helm",
    version_variable: "helm.sh/helm/v3/internal/version.version",
    version_with_v: true,
    takes: "about two minutes",
    or_give: "a helm in PATH",
};

/// The release that manifests are rendered for, and its namespace.
pub const RELEASE: &str = "pilcrow";

/// What a Helm that reaches no cluster takes the cluster's version for; its own guess depends on how it was built.
const KUBE_VERSION: &str = "1.30.0";

pub struct Helm {
    program: PathBuf,
}

impl Helm {
    /// Whether there is one, or this machine can build it; else the reason and the fix.
    pub fn check_available() -> Result<(), String> {
        if process::find("helm").is_some() { Ok(()) } else { PROGRAM.can_build() }
    }

    /// From PATH, else built.
    pub fn find_or_build() -> anyhow::Result<Self> {
        let program = process::find("helm").map_or_else(|| PROGRAM.build(), Ok)?;
        Ok(Self { program })
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// `helm lint --strict`.
    pub fn lint(&self, values: &[impl AsRef<OsStr>]) -> anyhow::Result<()> {
        process::output_of(self.command("lint").arg("--strict").arg(chart()).args(values)).map(drop)
    }

    /// `helm template`: all manifests, one YAML document each.
    pub fn template(&self, values: &[impl AsRef<OsStr>]) -> anyhow::Result<String> {
        self.template_of(&chart(), values)
    }

    /// The same of another chart, a folder or a packed one.
    pub fn template_of(&self, chart: &Path, values: &[impl AsRef<OsStr>]) -> anyhow::Result<String> {
        process::output_of(self.command("template").args([RELEASE, "--namespace", RELEASE]).arg(chart).args(values))
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args([name, "--kube-version", KUBE_VERSION]);
        command
    }
}

/// The chart's folder.
pub fn chart() -> PathBuf {
    process::workspace_root().join("deploy/helm/pilcrow")
}

/// Values files, one for each way in which people are expected to use the chart.
pub fn values_files() -> anyhow::Result<Vec<PathBuf>> {
    let folder = chart().join("ci");
    let mut files = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    files.sort();
    ensure!(files.len() > 1, "{} holds no values files", folder.display());
    Ok(files)
}

/// The objects in rendered manifests.
pub fn objects(manifests: &str) -> anyhow::Result<Vec<serde_json::Value>> {
    let all: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(manifests).context("rendered manifests are no YAML")?;
    Ok(all.into_iter().filter(|object| !object.is_null()).collect())
}

/// The first object of a kind.
pub fn find<'a>(objects: &'a [serde_json::Value], kind: &str) -> anyhow::Result<&'a serde_json::Value> {
    objects.iter().find(|object| object["kind"] == kind).with_context(|| format!("the chart makes no {kind}"))
}

/// The configuration that the chart's pods get.
pub fn configuration(objects: &[serde_json::Value]) -> anyhow::Result<&str> {
    find(objects, "ConfigMap")?["data"]["pilcrow.yaml"].as_str().context("the ConfigMap has no pilcrow.yaml")
}
