//! A release's files for Kubernetes, installed as docs/install.md says, into a real API server.
//!
//! In: a chart, from a registry or as a file, and two manifests. Out: an error where one of them is not taken. Nothing becomes
//! ready there, as there is no kubelet.

use std::path::Path;

use anyhow::ensure;

use super::{
    chart::{Deploy, NAMESPACE},
    cluster::{self, Cluster},
    k3s,
};
use crate::helm::Helm;

/// What is installed.
pub struct Files<'a> {
    /// Helm's arguments: where the chart is.
    pub chart: &'a [&'a str],
    /// The image that the chart's pods must have.
    pub image: &'a str,
    /// For `kubectl apply`.
    pub manifest: &'a Path,
    /// For k3s' folder of manifests.
    pub for_k3s: &'a Path,
}

/// The chart by helm, twice as an upgrade, and removed; the manifests by kubectl.
pub fn is_installable(files: &Files<'_>) -> anyhow::Result<()> {
    let cluster = Cluster::start(&cluster::PROGRAM.build()?)?;
    let deploy = Deploy::new(&cluster, &Helm::find_or_build()?)?;
    let release = ["pilcrow", "--namespace", NAMESPACE];
    let values = ["--set", "loki.url=http://loki.monitoring:3100", "--set", "labels.cluster=attic"];
    deploy.helm(&[&["install", "--create-namespace"], &release[..], files.chart, &values].concat())?;
    let image = "--output=jsonpath={.spec.template.spec.containers[0].image}";
    let image = cluster.kubectl(&["--namespace", NAMESPACE, "get", "daemonset", "pilcrow", image])?;
    ensure!(image == files.image, "the installed chart takes the image {image} and not {}", files.image);
    deploy.helm(&[&["upgrade", "--reset-then-reuse-values"], &release[..], files.chart].concat())?;
    let objects = deploy.objects()?;
    ensure!(objects.lines().count() == 5, "the chart makes {objects}");
    deploy.helm(&[&["uninstall"], &release[..]].concat())?;
    ensure!(deploy.objects()?.is_empty(), "helm uninstall leaves {}", deploy.objects()?);
    println!("Helm installs, upgrades and removes the chart");
    cluster.kubectl(&["apply", "--filename", &files.manifest.display().to_string()])?;
    println!("kubectl applies {}", files.manifest.display());
    k3s::define(&cluster)?;
    k3s::takes(&cluster, files.for_k3s)
}
