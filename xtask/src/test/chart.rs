//! The step `helm`: the chart, as far as Helm and `pilcrow check` can judge it.
//!
//! What a real API server says of it is the step `kube`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::Report;
use crate::{apt, build, helm, helm::Helm, k3s, manifests, process};

/// Values that the chart must refuse, as `--set` takes them, and what it must name.
const REFUSED: [(&str, &str); 34] = [
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
    ("config.paths.docker=/x", "/config/paths/docker"),
    ("config.leevls=true", "'leevls'"),
    ("config.loki.timeout=ten", "/config/loki/timeout"),
    ("config.loki.batch.bytes=1TiB", "/config/loki/batch/bytes"),
    ("config.signal=epbf", "/config/signal"),
    ("config.sweep.interval=5", "/config/sweep/interval"),
    ("config.relabel_configs[0].regexp=x", "'regexp'"),
    ("config.kubernetes.namespaces.include=shop", "/config/kubernetes/namespaces/include"),
    ("loki.url=null", "set loki.url"),
    ("hostPaths.logs=null", "/hostPaths"),
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
const TAKEN: [&str; 5] = [
    "loki.url=http://l,labels=null",
    "loki.url=http://l,config=null",
    "loki.url=http://l,config.reader=pread,config.labels.site=7,config.kubernetes.enabled=true",
    "loki.url=http://l,config.loki.timeout=${TIMEOUT},config.levels=${LEVELS:-true},config.log=null,config.hold.bytes=0,config.reader.shards=2",
    "loki.url=http://l,livenessProbe=null,nodeSelector=null,tolerations=null,resources=null",
];

/// Pages whose examples are configurations, which `config` must take.
const PAGES: [&str; 4] = ["configuration.md", "labels.md", "migration.md", "pipeline.md"];

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
    report.note("helm", "the pages' configurations are taken as config", examples_are_taken(&helm));
    report.note("helm", "ci/ sets every value", every_value_is_tried());
    report.note("helm", "a value that is set to null is refused, or nothing needs it", no_null_is_rendered(&helm));
    for (values, expected) in IMPORTED {
        report.note("helm", &format!("{values} imports {expected:?}"), imports(&helm, values, expected));
    }
    report.note("helm", "another podLogsDir is mounted where paths.pods says", pods_folder_is_mounted(&helm));
    for (values, named) in REFUSED {
        report.note("helm", &format!("{values} is refused"), is_refused(&helm, values, named));
    }
    report.note("helm", "deploy/manifests is current", manifests::are_current(&helm));
    report.note("helm", "k3s can install deploy/k3s", k3s::is_installable(&helm));
    match apt::ensure(&[apt::Package { name: "shellcheck", program: "shellcheck" }]) {
        Ok(()) => {
            report.note("helm", "the scripts in deploy and the chart's test pass shellcheck", scripts_are_clean())
        }
        Err(error) => report.add(Report::one_skipped("shellcheck", error.to_string())),
    }
    Ok(report)
}

fn scripts_are_clean() -> anyhow::Result<()> {
    let scripts = ["install.sh", "migrate.sh", "needs.sh", "proof.sh", "uninstall.sh", "helm/pilcrow/files/test.sh"];
    let scripts = scripts.map(|name| process::workspace_root().join("deploy").join(name));
    process::output_of(Command::new("shellcheck").args(scripts)).map(drop)
}

/// The collector's own tests have these examples decoded.
fn examples_are_taken(helm: &Helm) -> anyhow::Result<()> {
    let mut count = 0;
    for page in PAGES {
        let text = fs::read_to_string(process::workspace_root().join("docs").join(page))?;
        for example in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let mut config: Value = serde_saphyr::from_str(example).with_context(|| page.to_owned())?;
            // The chart has values of its own for it.
            config.as_object_mut().context("an example is no group of keys")?.remove("http");
            let file = tempfile::NamedTempFile::new()?;
            fs::write(file.path(), serde_json::json!({"loki": {"url": "http://l"}, "config": config}).to_string())?;
            let arguments = ["--values".as_ref(), file.path().as_os_str()];
            helm.template(&arguments).with_context(|| format!("{page}:\n{example}"))?;
            count += 1;
        }
    }
    ensure!(count > 5, "only {count} examples were found");
    Ok(())
}

/// Each value is set by a file in ci/ to something else than its default.
fn every_value_is_tried() -> anyhow::Result<()> {
    let read = |path: &Path| -> anyhow::Result<Value> { Ok(serde_saphyr::from_str(&fs::read_to_string(path)?)?) };
    let files = helm::values_files()?.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut untried = Vec::new();
    not_set(&read(&helm::chart().join("values.yaml"))?, &files.iter().collect::<Vec<_>>(), "", &mut untried);
    ensure!(untried.is_empty(), "no file in ci/ sets {}", untried.join(", "));
    Ok(())
}

fn not_set(default: &Value, set: &[&Value], path: &str, untried: &mut Vec<String>) {
    let Some(group) = default.as_object().filter(|group| !group.is_empty()) else {
        if set.iter().all(|value| *value == default) {
            untried.push(path.to_owned());
        }
        return;
    };
    for (key, default) in group {
        // What a file sets to null it sets.
        let set: Vec<&Value> =
            set.iter().filter_map(|value| if value.is_null() { Some(*value) } else { value.get(key) }).collect();
        not_set(default, &set, &format!("{path}.{key}"), untried);
    }
}

/// Every value as null, one after the other: where the chart takes it, no object that matters has an empty field.
fn no_null_is_rendered(helm: &Helm) -> anyhow::Result<()> {
    const ALL: &str = "loki.url=http://l,serviceMonitor.enabled=true,migrate.from=alloy,loki.basicAuth.existingSecret=a,\
                       loki.tls.existingSecret=b";
    let values: Value = serde_saphyr::from_str(&fs::read_to_string(helm::chart().join("values.yaml"))?)?;
    let mut paths = Vec::new();
    each_path(&values, "", &mut paths);
    for path in paths {
        let Ok(rendered) = helm.template(&["--set", ALL, "--set", &format!("{path}=null")]) else { continue };
        let objects = helm::objects(&rendered)?;
        let own = objects
            .iter()
            .filter(|object| ["DaemonSet", "ConfigMap", "Service"].iter().any(|kind| object["kind"] == *kind));
        for object in own {
            let text = object.to_string();
            let empty = [":null", "<nil>", "<no value>"].into_iter().find(|empty| text.contains(empty));
            ensure!(empty.is_none(), "{path}=null is taken, and makes a {} with {empty:?} in it", object["kind"]);
        }
    }
    Ok(())
}

fn each_path(values: &Value, path: &str, paths: &mut Vec<String>) {
    for (key, value) in values.as_object().into_iter().flatten() {
        let path = format!("{path}{}{}", if path.is_empty() { "" } else { "." }, key.replace('.', "\\."));
        each_path(value, &path, paths);
        paths.push(path);
    }
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

/// At the same place as on the node, and read-only; one below /var/log is there with that.
fn pods_folder_is_mounted(helm: &Helm) -> anyhow::Result<()> {
    for (folder, is_mounted) in [("/srv/pods", true), ("/var/log/other", false)] {
        let values = format!("loki.url=http://l,config.paths.pods={folder}");
        let objects = helm::objects(&helm.template(&["--set", &values])?)?;
        ensure!(helm::configuration(&objects)?.contains(folder), "the configuration does not name {folder}");
        let pod = &helm::find(&objects, "DaemonSet")?["spec"]["template"]["spec"];
        let volumes = pod["volumes"].as_array().context("it has no volumes")?;
        let volume = volumes.iter().find(|volume| volume["hostPath"]["path"] == folder);
        ensure!(volume.is_some() == is_mounted, "{folder}: {volume:?}");
        let Some(volume) = volume else { continue };
        let mounts = pod["containers"][0]["volumeMounts"].as_array().context("it mounts nothing")?;
        let mount = mounts.iter().find(|mount| mount["name"] == volume["name"]).context("the folder is not mounted")?;
        ensure!(mount["mountPath"] == folder && mount["readOnly"] == true, "it is mounted as {mount}");
    }
    Ok(())
}

fn is_refused(helm: &Helm, values: &str, named: &str) -> anyhow::Result<()> {
    let said = helm.template(&["--set", values]).err().context("it is taken")?;
    ensure!(format!("{said:#}").contains(named), "it is refused without naming {named}: {said:#}");
    Ok(())
}
