//! The step `helm`: the chart, as far as Helm and `pilcrow check` can judge it.
//!
//! What a real API server says of it is the step `kube`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};

use super::Report;
use crate::{apt, build, helm, helm::Helm, k3s, manifests, process};

/// Values that the chart must refuse, as `--set` takes them, and what it must name.
const REFUSED: [(&str, &str); 24] = [
    ("labels.cluster=x", "set loki.url"),
    ("loki.ulr=http://loki", "'ulr'"),
    ("loki.url=loki:3100", "/loki/url"),
    ("loki.url=http://user:secret@loki:3100", "/loki/url"),
    ("replicas=3", "'replicas'"),
    ("loki=null", "missing property 'loki'"),
    ("loki.url=http://l,loki.tls=null", "missing property 'tls'"),
    ("loki.url=http://l,image=null", "missing property 'image'"),
    ("loki.url=http://l,labels=home", "/labels"),
    ("loki.url=http://l,config=debug", "/config"),
    ("port=80", "/port"),
    ("labels.pod=x", "/labels"),
    ("levels=all", "/levels"),
    ("labels.a-b=x", "/labels"),
    ("config.http.listen=[::]:1", "/config/http"),
    ("config.paths.log=/x", "/config/paths"),
    ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
    ("image.digest=sha256:12", "/image/digest"),
    ("migrate.from=vector", "/migrate/from"),
    ("migrate.path=run/promtail", "/migrate/path"),
    ("securityContext.privileged=true", "'privileged'"),
    ("securityContext.capabilities={ALL}", "/securityContext/capabilities/0"),
    ("resources.limits.memory=64 MB", "/resources/limits/memory"),
    ("loki.url=http://l,loki.basicAuth.existingSecret=a,loki.bearerToken.existingSecret=b", "not both"),
];

/// Values that leave something out, and that the chart must take.
const TAKEN: [&str; 3] = [
    "loki.url=http://l,labels=null",
    "loki.url=http://l,config=null",
    "loki.url=http://l,livenessProbe=null,nodeSelector=null,tolerations=null,resources=null",
];

/// Values, with the folder of the node that an init container reads and what it imports.
const IMPORTED: [(&str, Option<(&str, &str)>); 6] = [
    ("migrate.path=/somewhere", None),
    ("migrate=null", None),
    ("migrate.from=promtail", Some(("/run/promtail", "/run/import"))),
    ("migrate.from=alloy", Some(("/var/alloy-log-storage", "/run/import"))),
    ("migrate.from=alloy,migrate.path=/srv/alloy", Some(("/srv/alloy", "/run/import"))),
    ("migrate.from=alloy,importPositions.file=/run/p/old.yaml", Some(("/run/p", "/run/import/old.yaml"))),
];

/// Everything in one report.
pub fn run() -> anyhow::Result<Report> {
    if let Err(reason) = Helm::check_available() {
        return Ok(Report::one_skipped("helm", reason));
    }
    let helm = Helm::find_or_build()?;
    let program = build::build(None, true)?;
    let mut report = Report::default();
    for values in helm::values_files()? {
        let name = values.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let arguments = ["--values".into(), values.into_os_string()];
        report.note("helm", &format!("{name} is linted"), helm.lint(&arguments));
        report.note(
            "helm",
            &format!("{name} makes a configuration that pilcrow check takes"),
            configuration_is_good(&helm, &program, &arguments),
        );
    }
    for values in TAKEN {
        let values = ["--set", values];
        report.note("helm", &format!("{} is taken", values[1]), helm.template(&values).map(drop));
    }
    for (values, expected) in IMPORTED {
        report.note("helm", &format!("{values} imports {expected:?}"), imports(&helm, values, expected));
    }
    for (values, named) in REFUSED {
        report.note("helm", &format!("{values} is refused"), is_refused(&helm, values, named));
    }
    report.note("helm", "deploy/manifests is current", manifests::are_current(&helm));
    report.note("helm", "k3s can install deploy/k3s", k3s::is_installable(&helm));
    match apt::ensure(&[apt::Package { name: "shellcheck", program: "shellcheck" }]) {
        Ok(()) => report.note(
            "helm",
            "install.sh, migrate.sh, uninstall.sh and the chart's test pass shellcheck",
            scripts_are_clean(),
        ),
        Err(error) => report.add(Report::one_skipped("shellcheck", error.to_string())),
    }
    Ok(report)
}

fn scripts_are_clean() -> anyhow::Result<()> {
    let scripts = ["install.sh", "migrate.sh", "uninstall.sh", "helm/pilcrow/files/test.sh"];
    let scripts = scripts.map(|name| process::workspace_root().join("deploy").join(name));
    process::output_of(Command::new("shellcheck").args(scripts)).map(drop)
}

fn configuration_is_good(helm: &Helm, program: &Path, values: &[std::ffi::OsString]) -> anyhow::Result<()> {
    let objects = helm::objects(&helm.template(values)?)?;
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), helm::configuration(&objects)?)?;
    // What the chart takes from a Secret.
    let mut check = Command::new(program);
    check.args(["check", "--config"]).arg(file.path()).env("LOKI_USERNAME", "pilcrow").env("NODE_NAME", "pi-3");
    process::output_of(&mut check).map(drop)
}

/// The folder is mounted only where something is imported, and read-only.
fn imports(helm: &Helm, values: &str, expected: Option<(&str, &str)>) -> anyhow::Result<()> {
    let objects = helm::objects(&helm.template(&["--set", &format!("loki.url=http://l,{values}")])?)?;
    let pod = &helm::find(&objects, "DaemonSet")?["spec"]["template"]["spec"];
    let named = |list: &serde_json::Value, name: &str| -> Option<serde_json::Value> {
        list.as_array()?.iter().find(|item| item["name"] == name).cloned()
    };
    let folder = named(&pod["volumes"], "import").map(|volume| volume["hostPath"]["path"].clone());
    ensure!(
        folder.as_ref().and_then(|path| path.as_str()) == expected.map(|(folder, _)| folder),
        "it mounts {folder:?}"
    );
    let init = &pod["initContainers"];
    let Some((_, path)) = expected else {
        ensure!(init.is_null(), "there is an init container: {init}");
        return Ok(());
    };
    let args = ["import-positions", "--once", "--config", "/etc/pilcrow/pilcrow.yaml", path];
    ensure!(init[0]["args"] == serde_json::json!(args), "it is run with {}", init[0]["args"]);
    let mount = named(&init[0]["volumeMounts"], "import").context("it does not mount the folder")?;
    ensure!(mount["readOnly"] == true && mount["mountPath"] == "/run/import", "it mounts the folder as {mount}");
    let main = &pod["containers"][0]["volumeMounts"];
    ensure!(named(main, "import").is_none(), "the container itself mounts the folder");
    Ok(())
}

fn is_refused(helm: &Helm, values: &str, named: &str) -> anyhow::Result<()> {
    let said = helm.template(&["--set", values]).err().context("it is taken")?;
    ensure!(format!("{said:#}").contains(named), "it is refused without naming {named}: {said:#}");
    Ok(())
}
