//! `cargo xtask manifests`: deploy/manifests, rendered from the chart for those who use kubectl or kustomize.
//!
//! In: the chart. Out: pilcrow.yaml and monitoring.yaml there, deploy/k3s/pilcrow.yaml and the values in the chart's README.md, or with
//! `--check` an error when they are not what the chart makes today. kustomization.yaml beside them is written by hand.

use std::{fs, path::PathBuf};

use anyhow::{Context, bail};

use crate::{chart_readme, helm::Helm, image, k3s, process};

/// What `cargo xtask manifests` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Only say whether they are current
    #[arg(long)]
    check: bool,
}

/// A file of deploy/manifests.
struct Rendered {
    name: &'static str,
    /// Over what all files have.
    values: &'static [&'static str],
    /// Which of the chart's templates; empty: all.
    templates: &'static [&'static str],
    /// The comment at its beginning.
    head: &'static str,
    /// Whether [`NAMESPACE`] comes first.
    has_namespace: bool,
}

/// The namespace that everything is installed into.
pub const NAMESPACE: &str = "\
apiVersion: v1
kind: Namespace
metadata:
  name: pilcrow
  labels:
    # hostPath volumes and added capabilities are not in the baseline.
    pod-security.kubernetes.io/enforce: privileged
";

/// A change of the configuration cannot change the checksum in plain manifests, so there is none.
const VALUES: [&str; 2] = ["--set", "loki.url=http://loki.monitoring:3100,rollOnConfigChange=false"];

const FILES: [Rendered; 2] = [
    Rendered {
        name: "pilcrow.yaml",
        values: &[],
        templates: &[],
        head: "\
# Pilcrow on every node. Made from deploy/helm/pilcrow by `cargo xtask manifests`; not to be edited in the repository.
# In your own copy, or by kustomize: the address of your Loki and your cluster's name in the ConfigMap, and the image.
#   kubectl apply -f pilcrow.yaml
",
        has_namespace: true,
    },
    Rendered {
        name: "monitoring.yaml",
        values: &["--set", "podMonitor.enabled=true,prometheusRule.enabled=true,dashboard.enabled=true"],
        templates: &["podmonitor", "prometheusrule", "dashboard"],
        head: "\
# For clusters with the Prometheus Operator and Grafana's sidecar: scraping, alerts and the dashboard.
# Made from deploy/helm/pilcrow by `cargo xtask manifests`; not to be edited in the repository.
",
        has_namespace: false,
    },
];

/// Lines of the chart that are only true of a release of Helm.
const OF_HELM: [&str; 3] = ["# Source: ", "helm.sh/chart: ", "app.kubernetes.io/managed-by: "];

/// Writes or compares them.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let helm = Helm::find_or_build()?;
    let (readme, text) = chart_readme::rendered()?;
    if !args.check {
        // The chart is packed with it.
        fs::write(readme, text)?;
    }
    for (path, text) in render(&helm)? {
        if args.check {
            check(&path, &text)?;
        } else {
            fs::write(&path, text)?;
            println!("wrote {}", path.display());
        }
    }
    Ok(())
}

/// Fails unless all files are what the chart makes.
pub fn are_current(helm: &Helm) -> anyhow::Result<()> {
    render(helm)?.iter().try_for_each(|(path, text)| check(path, text))
}

fn check(path: &PathBuf, text: &str) -> anyhow::Result<()> {
    if fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))? != text {
        bail!("{} is not what the chart makes: run cargo xtask manifests", path.display());
    }
    Ok(())
}

fn render(helm: &Helm) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let folder = process::workspace_root().join("deploy/manifests");
    fs::create_dir_all(&folder)?;
    let render_one = |file: &Rendered| {
        let mut arguments: Vec<String> =
            VALUES.iter().chain(file.values).chain(&["--skip-tests"]).map(|&argument| argument.to_owned()).collect();
        for template in file.templates {
            arguments.extend(["--show-only".to_owned(), format!("templates/{template}.yaml")]);
        }
        let head = [file.head, if file.has_namespace { NAMESPACE } else { "" }].concat();
        Ok((folder.join(file.name), plain(&head, &helm.template(&arguments)?)))
    };
    let mut rendered = FILES.iter().map(render_one).collect::<anyhow::Result<Vec<_>>>()?;
    let for_k3s = process::workspace_root().join("deploy/k3s");
    fs::create_dir_all(&for_k3s)?;
    rendered.push(chart_readme::rendered()?);
    rendered.push((for_k3s.join("pilcrow.yaml"), k3s::manifest(image::NAME)?));
    Ok(rendered)
}

/// Rendered manifests without what only a release of Helm has.
fn plain(head: &str, rendered: &str) -> String {
    let mut text = head.to_owned();
    for line in rendered.lines() {
        if !OF_HELM.iter().any(|of_helm| line.trim_start().starts_with(of_helm)) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_release_of_helm_has_is_left_out() {
        let rendered = "---\n# Source: pilcrow/templates/x.yaml\nkind: X\nmetadata:\n  labels:\n    helm.sh/chart: pilcrow-1\n    a: b\n";
        assert_eq!(plain("# head\n", rendered), "# head\n---\nkind: X\nmetadata:\n  labels:\n    a: b\n");
    }
}
