//! A pod of the chart's DaemonSet, run by the container runtime that every cluster has, runc, in the kubelet's place.
//!
//! In: the DaemonSet and ConfigMap as the API server has them, a token that is bound to the pod, and folders that stand for
//! the node's. Out: the program, with exactly the security context, mounts, arguments and environment that the manifest
//! says; dropping it ends it. What is not the manifest's: it shares this machine's network, to reach the API server, and the
//! system's libraries where the program is not static.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{
    Logs, NODE,
    chart::{Deploy, NAMESPACE},
    cluster::Cluster,
    make_pod, uid, wait_until,
};
use crate::{apt, process};

const PACKAGES: [apt::Package; 1] = [apt::Package { name: "runc", program: "runc" }];
/// Where kube-rs and every other client looks.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Their libraries, for a program that is not static.
const LIBRARIES: [&str; 3] = ["/lib", "/lib64", "/usr/lib"];

/// Where Promtail's chart has its positions, on the node.
const POSITIONS: &str = "run/promtail/positions.yaml";

/// By the chart with only Loki's address set, and then with the seccomp profile and another collector's positions: the
/// seven labels on every line, of a pod that is new from its first line on, no line that the other collector has sent, and no way of
/// detecting growth or reading that this machine has is lost by the confinement.
pub fn the_chart_s_pod_does_its_work(cluster: &Cluster, deploy: &Deploy, program: &Path) -> anyhow::Result<()> {
    apt::ensure(&PACKAGES)?;
    for (seccomp, import) in [("Unconfined", None), ("Localhost", Some(POSITIONS))] {
        println!("a pod of the chart's DaemonSet, in runc, with seccomp {seccomp}");
        let logs = Logs::new()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (port, profile) = (format!("port={port}"), format!("securityContext.seccomp.type={seccomp}"));
        let url = logs.receiver.url();
        let import_value =
            format!("importPositions.file={}", import.map(|file| format!("/{file}")).unwrap_or_default());
        let values = ["--set", &port, "--set", &profile, "--set", &import_value];
        deploy.install(&url, &[&["--skip-loki-check"][..], &values].concat())?;
        let (old, new) = (format!("old-{}", seccomp.to_lowercase()), format!("new-{}", seccomp.to_lowercase()));
        make_pod(cluster, &old, Some("nginx"), None)?;
        logs.write(&old, &uid(cluster, &old)?, &old, 0)?;
        if let Some(file) = import {
            as_if_sent(&logs, &old, &logs.folder.path().join(file))?;
            logs.write(&old, &uid(cluster, &old)?, &old, 1)?;
        }

        let pod = Pod::start(cluster, program, &logs)?;
        logs.wait_for(1)?;
        make_pod(cluster, &new, Some("redis"), None)?;
        logs.write(&new, &uid(cluster, &new)?, &new, 0)?;
        logs.wait_for(2)?;
        wait_until("the pod is ready by its own probe", || Ok(pod.is_ready()))?;
        for (name, app) in [(&old, "nginx"), (&new, "redis")] {
            has_the_seven_labels(&logs, name, app)?;
        }
        ensure!(
            pod.choices()? == choices_of_this_machine(program, &logs)?,
            "the pod has other backends than this machine: {}",
            pod.said()
        );
        // A system call that the profile forbids would show here.
        let log = pod.log();
        ensure!(!log.contains(" WARN ") && !log.contains(" ERROR "), "the pod has something to complain of:\n{log}");
        println!("{}", pod.said());
    }
    Ok(())
}

/// Writes positions that say that everything in a pod's log is sent.
fn as_if_sent(logs: &Logs, pod: &str, file: &Path) -> anyhow::Result<()> {
    let path = format!("default_{pod}_{}/{pod}/0.log", logs.uid_of(pod)?);
    let size = fs::metadata(logs.pods().join(&path))?.len();
    fs::create_dir_all(file.parent().context("a file has a folder")?)?;
    Ok(fs::write(file, format!("positions:\n  /var/log/pods/{path}: \"{size}\"\n"))?)
}

fn has_the_seven_labels(logs: &Logs, name: &str, app: &str) -> anyhow::Result<()> {
    let job = format!("default/{name}");
    let expected: BTreeSet<(String, String)> = [
        ("cluster", "home-k8s"),
        ("namespace", "default"),
        ("pod", name),
        ("container", name),
        ("app", app),
        ("job", &job),
        ("stream", "stdout"),
    ]
    .map(|(label, value)| (label.to_owned(), value.to_owned()))
    .into();
    let streams = logs.receiver.streams();
    let of_pod = streams.values().filter(|stream| stream.label("pod") == Some(name));
    let found: Vec<BTreeSet<_>> = of_pod.map(|stream| stream.labels.iter().cloned().collect()).collect();
    ensure!(found == [expected.clone()], "{name} has the labels {found:?} instead of {expected:?}");
    Ok(())
}

/// A running container.
struct Pod {
    folder: tempfile::TempDir,
    id: String,
    process: std::process::Child,
    ready_url: String,
}

impl Pod {
    /// Runs the init containers to their end, then the container.
    fn start(cluster: &Cluster, program: &Path, logs: &Logs) -> anyhow::Result<Self> {
        let json = |kind: &str| -> anyhow::Result<Value> {
            let text = cluster.kubectl(&["--namespace", NAMESPACE, "get", kind, "pilcrow", "--output=json"])?;
            Ok(serde_json::from_str(&text)?)
        };
        let (daemonset, config) = (json("daemonset")?, json("configmap")?);
        let spec = &daemonset["spec"]["template"]["spec"];
        let folder = tempfile::Builder::new().prefix("pilcrow-pod-").tempdir()?;
        fs::create_dir_all(folder.path().join("config"))?;
        let configuration = config["data"]["pilcrow.yaml"].as_str().context("the ConfigMap is empty")?;
        fs::write(folder.path().join("config/pilcrow.yaml"), configuration)?;
        write_service_account(cluster, &daemonset, &folder.path().join("token"))?;
        process::output_of(Command::new("runc").arg("spec").current_dir(folder.path()))?;
        fs::rename(folder.path().join("config.json"), folder.path().join("runc-spec.json"))?;

        let id = folder.path().file_name().context("a folder has a name")?.to_string_lossy().into_owned();
        for (number, init) in spec["initContainers"].as_array().into_iter().flatten().enumerate() {
            let bundle = bundle(folder.path(), spec, init, cluster, program, logs)?;
            let said = process::output_of(
                Command::new("runc").args(["run", "--bundle"]).arg(&bundle).arg(format!("{id}-{number}")),
            )?;
            print!("{said}");
        }
        let container = &spec["containers"][0];
        let bundle = bundle(folder.path(), spec, container, cluster, program, logs)?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new("runc");
        command.args(["run", "--bundle"]).arg(bundle).arg(&id);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = rig::program::spawn(&mut command)?;
        let probe = &container["readinessProbe"]["httpGet"];
        let port = &container["ports"][0];
        ensure!(probe["port"] == port["name"], "the probe asks another port");
        let path = probe["path"].as_str().context("no probe")?;
        let ready_url = format!("http://127.0.0.1:{}{path}", port["containerPort"]);
        Ok(Self { folder, id, process, ready_url })
    }

    fn is_ready(&self) -> bool {
        rig::http::get(&self.ready_url, std::time::Duration::from_secs(1)).is_ok_and(|(status, _)| status == 200)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// What it says of its backends.
    fn said(&self) -> String {
        let log = self.log();
        let telling =
            |line: &&str| line.contains("backend") || line.contains("reading by") || line.contains("level=error");
        log.lines().filter(telling).collect::<Vec<_>>().join("\n")
    }

    /// What `auto` selects in it, by `pilcrow doctor`, run in it as `kubectl exec` does.
    fn choices(&self) -> anyhow::Result<Vec<String>> {
        let mut doctor = Command::new("runc");
        doctor.args(["exec", &self.id, "/pilcrow", "doctor", "--json", "--config", "/etc/pilcrow/pilcrow.yaml"]);
        choices(&mut doctor)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // Killed, not asked: that it ends in good order is tested elsewhere. All fail only where it has ended.
        let _ = Command::new("runc").args(["kill", &self.id, "KILL"]).stderr(Stdio::null()).status();
        let _ = self.process.wait();
        let _ = Command::new("runc").args(["delete", "--force", &self.id]).stderr(Stdio::null()).status();
    }
}

/// What `auto` selects for the same folders without any confinement.
fn choices_of_this_machine(program: &Path, logs: &Logs) -> anyhow::Result<Vec<String>> {
    let file = logs.folder.path().join("unconfined.yaml");
    let (pods, state) = (logs.pods(), logs.folder.path().join("state"));
    fs::create_dir_all(&state)?;
    fs::write(&file, format!("paths: {{pods: {}, state: {}}}\n", pods.display(), state.display()))?;
    choices(Command::new(program).args(["doctor", "--json", "--config"]).arg(file))
}

/// A doctor has its exit code for other things, such as a Loki that takes no push of its own.
fn choices(doctor: &mut Command) -> anyhow::Result<Vec<String>> {
    let output = doctor.output()?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no report: {}", String::from_utf8_lossy(&output.stderr)))?;
    let findings = report["findings"].as_array().into_iter().flatten();
    let chosen = findings.filter(|finding| finding["section"] == "choice").map(|finding| finding["found"].to_string());
    let chosen: Vec<_> = chosen.collect();
    ensure!(!chosen.is_empty(), "the report has no choices: {report}");
    Ok(chosen)
}

/// A token of the DaemonSet's account, bound to a pod of it, as the kubelet gets one; and what stands beside it.
fn write_service_account(cluster: &Cluster, daemonset: &Value, folder: &Path) -> anyhow::Result<()> {
    let account = daemonset["spec"]["template"]["spec"]["serviceAccountName"].as_str().context("no account")?;
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: pilcrow-x2x7k, namespace: {NAMESPACE}}}, \
         spec: {{nodeName: {NODE}, serviceAccountName: {account}, containers: [{{name: pilcrow, image: none}}]}}}}"
    ))?;
    let bound = ["--bound-object-kind=Pod", "--bound-object-name=pilcrow-x2x7k"];
    let token = cluster.kubectl(&[&["--namespace", NAMESPACE, "create", "token", account][..], &bound].concat())?;
    fs::create_dir_all(folder)?;
    fs::write(folder.join("token"), token.trim())?;
    fs::write(folder.join("namespace"), NAMESPACE)?;
    fs::copy(cluster.authority(), folder.join("ca.crt"))?;
    Ok(())
}

/// A bundle for runc, below the pod's folder: what the kubelet would have mounted, around the program.
fn bundle(
    folder: &Path,
    pod: &Value,
    container: &Value,
    cluster: &Cluster,
    program: &Path,
    logs: &Logs,
) -> anyhow::Result<PathBuf> {
    let bundle = folder.join(container["name"].as_str().context("no name")?);
    fs::create_dir_all(bundle.join("rootfs"))?;
    fs::copy(program, bundle.join("rootfs/pilcrow"))?;
    let mut mounts = vec![(folder.join("token"), SERVICE_ACCOUNT.to_owned(), true)];
    for mount in container["volumeMounts"].as_array().context("no mounts")? {
        let (name, path) = (&mount["name"], mount["mountPath"].as_str().context("no path")?);
        let volume = pod["volumes"].as_array().into_iter().flatten().find(|volume| volume["name"] == *name);
        let volume = volume.with_context(|| format!("there is no volume {name}"))?;
        let source = match volume["hostPath"]["path"].as_str() {
            Some("/var/log") => logs.folder.path().to_owned(),
            Some(other) => logs.folder.path().join(other.trim_start_matches('/')),
            None => folder.join("config"),
        };
        fs::create_dir_all(&source)?;
        mounts.push((source, path.to_owned(), mount["readOnly"] == true));
    }
    mounts.extend(LIBRARIES.iter().filter(|path| Path::new(path).is_dir()).map(|&p| (p.into(), p.to_owned(), true)));
    let mut spec: Value = serde_json::from_slice(&fs::read(folder.join("runc-spec.json"))?)?;
    confine(&mut spec, container, cluster, &mounts)?;
    fs::write(bundle.join("config.json"), spec.to_string())?;
    Ok(bundle)
}

/// Turns what `runc spec` writes into what the kubelet would have made of the container.
fn confine(
    spec: &mut Value,
    container: &Value,
    cluster: &Cluster,
    mounts: &[(PathBuf, String, bool)],
) -> anyhow::Result<()> {
    let security = &container["securityContext"];
    let mut env =
        vec!["KUBERNETES_SERVICE_HOST=127.0.0.1".to_owned(), format!("KUBERNETES_SERVICE_PORT={}", cluster.port())];
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().unwrap_or_default();
        let field = &variable["valueFrom"]["fieldRef"]["fieldPath"];
        let value = if field == "spec.nodeName" { NODE } else { variable["value"].as_str().unwrap_or_default() };
        env.push(format!("{name}={value}"));
    }
    let mut arguments = vec![json!("/pilcrow")];
    arguments.extend(container["args"].as_array().into_iter().flatten().cloned());
    let capabilities = capabilities(security)?;
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = Value::Array(arguments);
    spec["process"]["env"] = json!(env);
    spec["process"]["user"] = json!({"uid": security["runAsUser"], "gid": security["runAsGroup"]});
    spec["process"]["noNewPrivileges"] = json!(security["allowPrivilegeEscalation"] == false);
    spec["process"]["capabilities"] =
        json!({"bounding": capabilities, "effective": capabilities, "permitted": capabilities});
    spec["root"]["readonly"] = security["readOnlyRootFilesystem"].clone();
    let namespaces = spec["linux"]["namespaces"].as_array_mut().context("no namespaces")?;
    namespaces.retain(|namespace| namespace["type"] != "network");
    if security["seccompProfile"]["type"] == "Localhost" {
        let profile = security["seccompProfile"]["localhostProfile"].as_str().context("no profile")?;
        let name = Path::new(profile).file_name().context("no profile")?;
        let file = process::workspace_root().join("deploy/seccomp").join(name);
        spec["linux"]["seccomp"] = serde_json::from_slice(&fs::read(file)?)?;
    }
    let list = spec["mounts"].as_array_mut().context("no mounts")?;
    for (source, destination, read_only) in mounts {
        let access = if *read_only { "ro" } else { "rw" };
        list.push(json!({"source": source, "destination": destination, "type": "bind", "options": ["rbind", access]}));
    }
    Ok(())
}

/// What the manifest adds to nothing, without what this machine itself may not give.
fn capabilities(security: &Value) -> anyhow::Result<Vec<String>> {
    ensure!(security["capabilities"]["drop"] == json!(["ALL"]), "the container keeps capabilities");
    ensure!(security["privileged"] == false, "the container is privileged");
    /// Their bits, of linux/capability.h.
    const BITS: [(&str, u32); 4] = [("DAC_READ_SEARCH", 2), ("SYS_RESOURCE", 24), ("PERFMON", 38), ("BPF", 39)];
    let status = fs::read_to_string("/proc/self/status")?;
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).context("no CapBnd")?;
    let bounding = u64::from_str_radix(bounding.trim(), 16)?;
    let mut given = Vec::new();
    for name in security["capabilities"]["add"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let bit = BITS.iter().find(|(known, _)| *known == name).with_context(|| format!("{name} is new"))?.1;
        if bounding >> bit & 1 == 1 {
            given.push(format!("CAP_{name}"));
        } else {
            println!("this machine has no CAP_{name} to give");
        }
    }
    Ok(given)
}
