//! The chart as one file, and with it a manifest that k3s installs by itself.
//!
//! In: deploy/helm/pilcrow. Out: the bytes of pilcrow-VERSION.tgz, the same for the same files, and deploy/k3s/pilcrow.yaml:
//! an object of the kind HelmChart, which k3s and RKE2 know, with the chart in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    helm::{self, Helm},
    image,
    image::layout::{File, gzip, tar_of},
    manifests::NAMESPACE,
};

/// What is no part of a packed chart, as .helmignore says.
const NOT_PACKED: [&str; 2] = ["ci", ".helmignore"];

const HEAD: &str = "\
# Pilcrow on every node of a k3s or RKE2 cluster. Made from deploy/helm/pilcrow by `cargo xtask manifests`; edit only
# valuesContent, in your own copy. On a server node:
#   sudo cp pilcrow-image-*-linux-$(dpkg --print-architecture).tar /var/lib/rancher/k3s/agent/images/    (on every node)
#   sudo cp pilcrow.yaml /var/lib/rancher/k3s/server/manifests/
";

const CHART: &str = "\
---
apiVersion: helm.cattle.io/v1
kind: HelmChart
metadata:
  name: pilcrow
  namespace: kube-system
spec:
  targetNamespace: pilcrow
  # All values: deploy/helm/pilcrow/values.yaml
  valuesContent: |-
    loki:
      url: http://loki.monitoring:3100
    labels:
      cluster: home-k8s
  chartContent: ";

/// pilcrow-VERSION.tgz, as `helm package` makes it, but for times and owners, with `image` as the default image.
pub fn chart_archive(image: &str) -> anyhow::Result<Vec<u8>> {
    let root = helm::chart();
    let mut paths = Vec::new();
    collect(&root, &mut paths)?;
    paths.sort();
    let mut contents = Vec::new();
    for path in &paths {
        let name = format!("pilcrow/{}", path.strip_prefix(&root)?.display());
        let mut content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        match name.as_str() {
            "pilcrow/values.yaml" => content = with(&content, "  repository: ", image::NAME, image)?,
            "pilcrow/Chart.yaml" => content = with(&content, "      image: ", image::NAME, image)?,
            // Where the release workflow puts the chart.
            "pilcrow/README.md" if image != image::NAME => {
                content = with(&content, "", "deploy/helm/pilcrow", &format!("oci://{image}/charts/pilcrow"))?;
            }
            _ => {}
        }
        contents.push((name, content));
    }
    let files: Vec<File> = contents.iter().map(|(path, content)| File { path, mode: 0o644, content }).collect();
    Ok(gzip(&tar_of(&files)?)?)
}

/// A file of the chart with another text behind `before`.
fn with(file: &[u8], before: &str, from: &str, to: &str) -> anyhow::Result<Vec<u8>> {
    let (file, line) = (std::str::from_utf8(file)?, format!("{before}{from}"));
    ensure!(file.contains(&line), "the chart has no `{line}`");
    Ok(file.replace(&line, &format!("{before}{to}")).into_bytes())
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if NOT_PACKED.iter().any(|not| name == *not) || name.to_string_lossy().ends_with('~') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), paths)?;
        } else {
            paths.push(entry.path());
        }
    }
    Ok(())
}

/// deploy/k3s/pilcrow.yaml, with `image` as the default image.
pub fn manifest(image: &str) -> anyhow::Result<String> {
    Ok(format!("{HEAD}{NAMESPACE}{CHART}{}\n", STANDARD.encode(chart_archive(image)?)))
}

/// What k3s would do with the manifest: unpack the chart, and render it with the values.
pub fn is_installable(helm: &Helm) -> anyhow::Result<()> {
    let objects = helm::objects(&manifest(image::NAME)?)?;
    let chart = helm::find(&objects, "HelmChart")?;
    ensure!(chart["apiVersion"] == "helm.cattle.io/v1" && chart["metadata"]["namespace"] == "kube-system");
    for (field, value) in chart["spec"].as_object().context("no spec")? {
        // Of k3s-io/helm-controller's HelmChartSpec.
        ensure!(
            ["targetNamespace", "valuesContent", "chartContent"].contains(&field.as_str()),
            "unknown field {field}"
        );
        ensure!(value.is_string(), "{field} is no text");
    }
    let text = |field: &str| chart["spec"][field].as_str().unwrap_or_default();
    let folder = tempfile::tempdir()?;
    let (packed, values) = (folder.path().join("pilcrow.tgz"), folder.path().join("values.yaml"));
    fs::write(&packed, STANDARD.decode(text("chartContent"))?)?;
    fs::write(&values, text("valuesContent"))?;
    let rendered = helm.template_of(&packed, &["--values".as_ref(), values.as_os_str()])?;
    let objects = helm::objects(&rendered)?;
    ensure!(helm::configuration(&objects)?.contains("http://loki.monitoring:3100"), "the values are not taken");
    helm::find(&objects, "DaemonSet").map(drop)
}
