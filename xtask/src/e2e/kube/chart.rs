//! deploy/install.sh, uninstall.sh and the chart with the real helm and kubectl, against a real API server.
//!
//! Nothing becomes ready there, as there is no kubelet: [`mod@super::pod`] tests that pods run.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};

use super::cluster::Cluster;
use crate::{helm, helm::Helm, process};

/// Where the scripts install.
pub const NAMESPACE: &str = "logs";

/// What deploy/ has for those who install.
pub struct Deploy<'a> {
    cluster: &'a Cluster,
    /// For PATH: holds `helm`.
    folder: tempfile::TempDir,
}

impl<'a> Deploy<'a> {
    /// Makes `helm` known by that name, wherever it is.
    pub fn new(cluster: &'a Cluster, helm: &Helm) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::os::unix::fs::symlink(helm.program(), folder.path().join("helm"))?;
        Ok(Self { cluster, folder })
    }

    /// `deploy/install.sh --loki URL --no-wait …`.
    pub fn install(&self, loki: &str, more: &[&str]) -> anyhow::Result<String> {
        self.script("install.sh", &[&["--namespace", NAMESPACE, "--loki", loki, "--no-wait"], more].concat())
    }

    /// `helm …`.
    pub fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.run(&self.folder.path().join("helm"), arguments)
    }

    fn script(&self, name: &str, arguments: &[&str]) -> anyhow::Result<String> {
        self.run(&process::workspace_root().join("deploy").join(name), arguments)
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [self.folder.path().to_owned()].into_iter().chain(std::env::split_paths(&path));
        let mut command = Command::new(program);
        command.args(arguments).env("PATH", std::env::join_paths(folders)?);
        // Helm's caches, too, belong in a folder that goes away.
        command.env("KUBECONFIG", self.cluster.admin_kubeconfig()).env("HOME", self.folder.path());
        process::output_of(&mut command)
    }

    /// What Helm has made and not removed.
    pub fn objects(&self) -> anyhow::Result<String> {
        self.cluster.kubectl(&[
            "get",
            "daemonsets,serviceaccounts,configmaps,clusterroles,clusterrolebindings",
            "--all-namespaces",
            "--selector=app.kubernetes.io/instance=pilcrow,app.kubernetes.io/managed-by=Helm",
            "--output=name",
        ])
    }
}

/// Installs twice, looks at what is there, uninstalls twice.
pub fn the_scripts_install_and_uninstall(deploy: &Deploy) -> anyhow::Result<()> {
    let loki = "http://10.0.0.7:3100";
    for _ in 0..2 {
        let said = deploy.install(loki, &["--skip-loki-check", "--cluster", "attic"])?;
        ensure!(said.contains("Pilcrow is installed"), "{said}");
    }
    let objects = deploy.objects()?;
    ensure!(objects.lines().count() == 5, "install.sh made {objects}");
    let labels = deploy.cluster.kubectl(&["get", "namespace", NAMESPACE, "--output=jsonpath={.metadata.labels}"])?;
    ensure!(labels.contains(r#""pod-security.kubernetes.io/enforce":"privileged""#), "{labels}");
    for _ in 0..2 {
        deploy.script("uninstall.sh", &["--namespace", NAMESPACE])?;
    }
    let left = deploy.objects()?;
    ensure!(left.is_empty(), "uninstall.sh left {left}");
    println!("install.sh and uninstall.sh do their work, each of them twice");
    Ok(())
}

/// With every values file and the plain manifests; without the monitors, whose kinds are not Kubernetes' own.
pub fn every_manifest_is_accepted(cluster: &Cluster, helm: &Helm) -> anyhow::Result<()> {
    let manifests = process::workspace_root().join("deploy/manifests/pilcrow.yaml");
    let mut all = vec![("deploy/manifests/pilcrow.yaml".to_owned(), fs::read_to_string(&manifests)?)];
    for values in helm::values_files()? {
        all.push((values.display().to_string(), helm.template(&["--values".into(), values.into_os_string()])?));
    }
    // What is only tried is not there for what comes after it.
    for namespace in ["pilcrow", "monitoring"] {
        cluster.kubectl(&["create", "namespace", namespace])?;
    }
    let file = tempfile::Builder::new().suffix(".json").tempfile()?;
    for (name, manifests) in all {
        let objects = helm::objects(&manifests)?;
        let own = |object: &&serde_json::Value| object["apiVersion"] != "monitoring.coreos.com/v1";
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects.iter().filter(own).collect::<Vec<_>>()});
        fs::write(file.path(), list.to_string())?;
        // Fields that the API server does not know are errors, too.
        server_dry_run(cluster, file.path()).with_context(|| format!("kube-apiserver does not take {name}"))?;
    }
    println!("kube-apiserver takes what the chart makes of every values file, and deploy/manifests");
    Ok(())
}

/// Whether the API server would take a file, and knows every field in it.
pub fn server_dry_run(cluster: &Cluster, file: &Path) -> anyhow::Result<String> {
    let file = file.display().to_string();
    cluster.kubectl(&["apply", "--dry-run=server", "--validate=strict", "--filename", &file])
}
