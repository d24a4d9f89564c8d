//! `cargo xtask e2e --kube`: the real collector asks a real kube-apiserver for its node's pods, with the rights that
//! the chart gives it and no others.
//!
//! In: nothing, or the path of a kube-apiserver. Out: an error unless every line comes once, with exactly the `app` that the
//! objects in the API say, from the first line of a new pod on, while the API server is killed, and after a role was
//! missing. The judge is the rig's receiver.

mod chart;
pub mod cluster;
mod expiry;
mod k3s;
mod pod;
pub mod release;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use rig::{
    program::Collector,
    receiver::{Options, Receiver},
};

use super::collector;
use crate::{build, helm::Helm, process};
use chart::Deploy;
use cluster::Cluster;

const NODE: &str = "pi-3";
/// Waiting longer is a failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of a static pod's manifest, as the kubelet would make them.
const STATIC_UIDS: [&str; 2] = ["0f1e2d3c4b5a69788796a5b4c3d2e1f0", "aa55aa55aa55aa55aa55aa55aa55aa55"];

/// Runs it all and says what was found.
pub fn run(apiserver: Option<&Path>, release: bool) -> anyhow::Result<()> {
    let program = build::build(None, !release)?;
    let apiserver = apiserver.map_or_else(|| cluster::PROGRAM.build(), |path| Ok(path.to_owned()))?;
    let mut cluster = Cluster::start(&apiserver)?;
    let helm = Helm::find_or_build()?;
    chart::every_manifest_is_accepted(&cluster, &helm)?;
    k3s::define(&cluster)?;
    k3s::takes(&cluster, &process::workspace_root().join("deploy/k3s/pilcrow.yaml"))?;
    let manifest = process::workspace_root().join("deploy/manifests/pilcrow.yaml");
    cluster.kubectl(&["apply", "-f", &manifest.display().to_string()])?;
    println!("kube-apiserver takes deploy/manifests/pilcrow.yaml");
    cluster.apply(&format!("{{apiVersion: v1, kind: Node, metadata: {{name: {NODE}}}}}"))?;
    labels_follow_the_api(&mut cluster, &program)?;
    a_missing_role_is_reported_and_can_be_added(&cluster, &program)?;
    // Those that kubectl made are no release's, and Helm leaves them alone.
    cluster.kubectl(&["delete", "clusterrole,clusterrolebinding", "pilcrow"])?;
    let deploy = Deploy::new(&cluster, &helm)?;
    chart::the_scripts_install_and_uninstall(&deploy)?;
    pod::the_chart_s_pod_does_its_work(&cluster, &deploy, &program)?;
    expiry::a_forgotten_watch_leaves_no_gap(&mut cluster, &program)?;
    println!("every line had exactly the labels that the API says");
    Ok(())
}

/// With what the chart's ClusterRole allows; waits so long for metadata that a line's labels can only come from the API.
fn labels_follow_the_api(cluster: &mut Cluster, program: &Path) -> anyhow::Result<()> {
    let logs = Logs::new()?;
    make_pod(cluster, "web", Some("nginx"), None)?;
    make_pod(cluster, "plain", None, None)?;
    make_pod(cluster, "etcd", Some("etcd"), Some(STATIC_UIDS[0]))?;
    // Of another node: nothing of it may be known here, and its UID stands in a folder all the same.
    cluster.apply(&pod("elsewhere", Some("wrong"), None).replace(NODE, "pi-4"))?;
    let kubeconfig = cluster.kubeconfig_of("pilcrow", "pilcrow")?;
    for pod in ["web", "plain"] {
        logs.write(pod, &uid(cluster, pod)?, pod, 0)?;
    }
    logs.write("etcd", STATIC_UIDS[0], "etcd", 0)?;
    logs.write("elsewhere", &uid(cluster, "elsewhere")?, "elsewhere", 0)?;
    let mut collector = logs.collect(program, &kubeconfig, "10m")?;
    logs.wait_for(3)?;

    println!("a pod that is new, and one whose log is there before the API knows it");
    make_pod(cluster, "new", Some("redis"), None)?;
    logs.write("new", &uid(cluster, "new")?, "new", 0)?;
    logs.write("static", STATIC_UIDS[1], "static", 0)?;
    logs.wait_for(4)?;
    make_pod(cluster, "static", Some("kube-proxy"), Some(STATIC_UIDS[1]))?;
    logs.wait_for(5)?;

    println!("kube-apiserver is killed");
    cluster.kill_api();
    logs.write("web", &logs.uid_of("web")?, "web", 1)?;
    logs.wait_for(6)?;
    cluster.start_api()?;
    make_pod(cluster, "after", Some("after-restart"), None)?;
    logs.write("after", &uid(cluster, "after")?, "after", 0)?;
    logs.wait_for(7)?;

    println!("a pod is deleted, and its last line read after that");
    cluster.kubectl(&["delete", "pod", "new", "--force", "--grace-period=0"])?;
    make_pod(cluster, "last", Some("last"), None)?;
    logs.write("last", &uid(cluster, "last")?, "last", 0)?;
    logs.wait_for(8)?; // and so the deletion before it is known
    logs.write("new", &logs.uid_of("new")?, "new", 1)?;
    logs.wait_for(9)?;
    for (container, app) in [
        ("web", Some("nginx")),
        ("plain", None),
        ("etcd", Some("etcd")),
        ("new", Some("redis")),
        ("static", Some("kube-proxy")),
        ("after", Some("after-restart")),
        ("last", Some("last")),
    ] {
        logs.expect(container, &[app])?;
    }
    logs.expect("elsewhere", &[])?;
    doctor_says(&logs, program, "ok", "pods of the node pi-3")?;
    collector.terminate()?;
    // At the end no line is left behind, whatever is known of its pod.
    logs.wait_for(10)?;
    logs.expect("elsewhere", &[None])
}

/// With a token that allows nothing; then the role is given.
fn a_missing_role_is_reported_and_can_be_added(cluster: &Cluster, program: &Path) -> anyhow::Result<()> {
    println!("a service account without a role");
    let logs = Logs::new()?;
    cluster.kubectl(&["-n", "default", "create", "serviceaccount", "nobody"])?;
    let kubeconfig = cluster.kubeconfig_of("default", "nobody")?;
    let web = uid(cluster, "web")?;
    logs.write("web", &web, "web", 0)?;
    let mut collector = logs.collect(program, &kubeconfig, "100ms")?;
    logs.wait_for(1)?;
    logs.expect("web", &[None])?;
    for words in
        ["forbids Pilcrow to read the pods (403 ", "{apiGroups: [\"\"], resources: [pods], verbs: [get, list, watch]}"]
    {
        wait_until(&format!("the log says {words:?}"), || Ok(fs::read_to_string(collector::log())?.contains(words)))?;
    }
    doctor_says(&logs, program, "warn", "forbids Pilcrow to read the pods (403 ")?;
    cluster.kubectl(&[
        "create",
        "clusterrolebinding",
        "fixed",
        "--clusterrole=pilcrow",
        "--serviceaccount=default:nobody",
    ])?;
    wait_until("the log says that the API answers", || {
        Ok(fs::read_to_string(collector::log())?.contains("the Kubernetes API answers again"))
    })?;
    let mut lines = 1;
    wait_until("a line has the label", || {
        logs.write("web", &web, "web", lines)?;
        lines += 1;
        logs.wait_for(lines.into())?;
        Ok(logs.apps("web").contains(&Some("nginx".to_owned())))
    })?;
    logs.expect("web", &[None, Some("nginx")])?;
    collector.terminate()
}

/// A pod's manifest; a static one's mirror has the UID of its manifest as annotation.
fn pod(name: &str, app: Option<&str>, static_uid: Option<&str>) -> String {
    let label = app.map(|app| format!("app.kubernetes.io/name: {app}")).unwrap_or_default();
    let mirror = static_uid
        .map(|uid| format!("kubernetes.io/config.hash: {uid}, kubernetes.io/config.mirror: {uid}"))
        .unwrap_or_default();
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{{label}}}, annotations: {{{mirror}}}}}, \
         spec: {{nodeName: {NODE}, containers: [{{name: {name}, image: none}}]}}}}"
    )
}

fn make_pod(cluster: &Cluster, name: &str, app: Option<&str>, static_uid: Option<&str>) -> anyhow::Result<()> {
    cluster.apply(&pod(name, app, static_uid))
}

fn uid(cluster: &Cluster, pod: &str) -> anyhow::Result<String> {
    cluster.kubectl(&["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"])
}

/// `pilcrow doctor` with the configuration of the collector that was started last, but for Loki's address: its push without
/// lines is nothing that the receiver should see.
fn doctor_says(logs: &Logs, program: &Path, status: &str, words: &str) -> anyhow::Result<()> {
    let config = fs::read_to_string(collector::folder().join("pilcrow.yaml"))?;
    let file = logs.folder.path().join("doctor.yaml");
    fs::write(&file, config.replace(&logs.receiver.url(), "http://127.0.0.1:9"))?;
    let output = Command::new(program).args(["doctor", "--json", "--config"]).arg(file).output()?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let findings = report["findings"].as_array().into_iter().flatten();
    let about_kubernetes: Vec<_> = findings.filter(|finding| finding["section"] == "kubernetes").collect();
    let good = about_kubernetes.iter().any(|finding| {
        finding["status"] == status && finding["found"].as_str().is_some_and(|found| found.contains(words))
    });
    ensure!(good, "pilcrow doctor should say {status} and {words:?}; it says {about_kubernetes:?}");
    Ok(())
}

/// A pods folder, and the receiver that everything in it should reach.
struct Logs {
    folder: tempfile::TempDir,
    receiver: Receiver,
}

impl Logs {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("pilcrow-kube-logs-").tempdir()?;
        fs::create_dir(folder.path().join("pods"))?;
        Ok(Self { folder, receiver: Receiver::start(Options::default())? })
    }

    fn pods(&self) -> PathBuf {
        self.folder.path().join("pods")
    }

    /// Appends one line.
    fn write(&self, pod: &str, uid: &str, container: &str, second: u32) -> anyhow::Result<()> {
        let folder = self.pods().join(format!("default_{pod}_{uid}")).join(container);
        fs::create_dir_all(&folder)?;
        let mut log = File::options().create(true).append(true).open(folder.join("0.log"))?;
        Ok(log.write_all(format!("2026-01-02T03:04:{second:02}.5Z stdout F line {second}\n").as_bytes())?)
    }

    /// The UID of a pod that was written for.
    fn uid_of(&self, pod: &str) -> anyhow::Result<String> {
        for entry in fs::read_dir(self.pods())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(uid) = name.strip_prefix(&format!("default_{pod}_")) {
                return Ok(uid.to_owned());
            }
        }
        bail!("nothing was written for the pod {pod}")
    }

    fn collect(&self, program: &Path, kubeconfig: &Path, wait: &str) -> anyhow::Result<Collector> {
        let kubernetes =
            format!("{{enabled: true, node_name: {NODE}, kubeconfig: {}, wait: {wait}}}", kubeconfig.display());
        let folder = self.folder.path();
        let setup = collector::setup(program, folder, &self.pods(), &self.receiver.url(), "e2e-kube", &kubernetes)?;
        Collector::start(&setup)
    }

    fn wait_for(&self, lines: u64) -> anyhow::Result<()> {
        let came = self.receiver.wait_until(PATIENCE, |counts| counts.entries >= lines);
        let counts = self.receiver.counts().entries;
        ensure!(came && counts == lines, "{counts} lines came instead of {lines}; see {}", collector::log().display());
        ensure!(self.receiver.violations().is_empty(), "{:?}", self.receiver.violations());
        Ok(())
    }

    /// The values of `app` that a container's lines have.
    fn apps(&self, container: &str) -> BTreeSet<Option<String>> {
        let streams = self.receiver.streams();
        let of_container = streams.values().filter(|stream| stream.label("container") == Some(container));
        of_container.map(|stream| stream.label("app").map(str::to_owned)).collect()
    }

    /// Fails unless a container's lines have these values of `app`, each of them and no other.
    fn expect(&self, container: &str, apps: &[Option<&str>]) -> anyhow::Result<()> {
        let found = self.apps(container);
        let expected = apps.iter().map(|app| app.map(str::to_owned)).collect();
        ensure!(found == expected, "{container} has app {found:?} instead of {expected:?}");
        Ok(())
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = Instant::now();
    while !is_so()? {
        ensure!(start.elapsed() < PATIENCE, "timed out waiting until {what}; see {}", collector::log().display());
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
