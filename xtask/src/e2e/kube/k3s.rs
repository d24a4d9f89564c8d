//! The manifest for k3s, against the definition that k3s itself gives its API server.
//!
//! In: a real API server, and the sources of k3s' controller for charts, which e2e/k3s/go.mod names. Out: an error where a k3s would
//! refuse the manifest, or leave out a field of it.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};

use super::{chart::server_dry_run, cluster::Cluster};
use crate::process;

const MODULE: &str = "github.com/k3s-io/helm-controller";

/// In the module.
const DEFINITION: &str = "pkg/crds/yaml/generated/helm.cattle.io_helmcharts.yaml";

/// As long as an API server may take to serve a new kind.
const ESTABLISHED_WITHIN: &str = "--timeout=60s";

/// Makes k3s' kinds known to the API server.
pub fn define(cluster: &Cluster) -> anyhow::Result<()> {
    let mut go = Command::new("go");
    go.args(["mod", "download", "-json", MODULE]).current_dir(process::workspace_root().join("e2e/k3s"));
    let said: serde_json::Value = serde_json::from_str(&process::output_of(&mut go)?)?;
    let sources = said["Dir"].as_str().context("go names no folder")?;
    let definition = Path::new(sources).join(DEFINITION).display().to_string();
    cluster.kubectl(&["apply", "--filename", &definition])?;
    cluster.kubectl(&["wait", "--for=condition=Established", ESTABLISHED_WITHIN, "crd/helmcharts.helm.cattle.io"])?;
    Ok(())
}

/// All of it, and not with a field that no k3s knows.
pub fn takes(cluster: &Cluster, manifest: &Path) -> anyhow::Result<()> {
    server_dry_run(cluster, manifest).context("k3s does not take the manifest")?;
    let misspelt = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    fs::write(misspelt.path(), fs::read_to_string(manifest)?.replace("valuesContent:", "valueContent:"))?;
    let refused = server_dry_run(cluster, misspelt.path()).err().context("a misspelt field is taken")?;
    ensure!(format!("{refused:#}").contains("valueContent"), "{refused:#}");
    println!("the definition of k3s takes {}", manifest.display());
    Ok(())
}
