//! A real kube-apiserver with a real etcd: on free ports, with all they store in a temporary folder. No kubelet, no
//! scheduler, no controllers: pods are objects, and nothing runs.
//!
//! In: nothing, or the path of a kube-apiserver. Out: `kubectl` and kubeconfigs for it; dropping it stops both.

use std::{
    fs::{self, File},
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::{apt, go, process};

/// How its program is built.
pub const PROGRAM: go::Program = go::Program {
    name: "kube-apiserver",
    module: "k8s.io/kubernetes",
    package: "cmd/kube-apiserver",
    version_variable: "k8s.io/component-base/version.gitVersion",
    version_with_v: true,
    takes: "about six minutes",
    or_give: "--kube-apiserver-bin",
};

const READY_WITHIN: Duration = Duration::from_secs(90);
/// The token of a user who may do everything.
const ADMIN: &str = "admin-token";

/// In its folder; made by its first start, and signed by itself.
const AUTHORITY: &str = "certificates/apiserver.crt";

const PACKAGES: [apt::Package; 4] = [
    apt::Package { name: "etcd-server", program: "etcd" },
    apt::Package { name: "kubernetes-client", program: "kubectl" },
    apt::Package { name: "curl", program: "curl" },
    apt::Package { name: "openssl", program: "openssl" },
];

/// A process that is killed when it is dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let name = process::line_of(command);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self(command.spawn().with_context(|| format!("cannot start {name}"))?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running API.
pub struct Cluster {
    program: PathBuf,
    port: u16,
    etcd_url: String,
    api: Option<Running>,
    _etcd: Running,
    // Last, so that the folder is removed after the processes that write to it have ended.
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts both and waits until the API is ready.
    pub fn start(program: &Path) -> anyhow::Result<Self> {
        apt::ensure(&PACKAGES)?;
        let folder = tempfile::Builder::new().prefix("pilcrow-kube-").tempdir()?;
        let [port, client, peer] = free_ports()?;
        let etcd_url = format!("http://127.0.0.1:{client}");
        fs::write(folder.path().join("tokens.csv"), format!("{ADMIN},admin,admin,system:masters\n"))?;
        process::output_of(
            Command::new("openssl")
                .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "service-accounts.key"])
                .current_dir(folder.path()),
        )?;
        let etcd = Running::start(
            Command::new("etcd")
                .args(["--data-dir", "etcd", "--listen-client-urls", &etcd_url])
                .args(["--advertise-client-urls", &etcd_url])
                .arg(format!("--listen-peer-urls=http://127.0.0.1:{peer}"))
                .current_dir(folder.path()),
            &PROGRAM.folder()?.join("etcd.log"),
        )?;
        let mut cluster = Self { program: program.to_owned(), port, etcd_url, api: None, _etcd: etcd, folder };
        cluster.start_api()?;
        Ok(cluster)
    }

    /// Starts the API server (again) and waits until it is ready.
    pub fn start_api(&mut self) -> anyhow::Result<()> {
        self.start_api_with(&[])
    }

    /// The same with further flags.
    pub fn start_api_with(&mut self, flags: &[&str]) -> anyhow::Result<()> {
        let log = PROGRAM.folder()?.join("kube-apiserver.log");
        let api = Running::start(
            Command::new(&self.program)
                .arg(format!("--etcd-servers={}", self.etcd_url))
                .arg(format!("--secure-port={}", self.port))
                .args(["--bind-address=127.0.0.1", "--cert-dir=certificates", "--token-auth-file=tokens.csv"])
                .args(["--authorization-mode=RBAC", "--service-account-issuer=https://kubernetes.default.svc"])
                .args(["--service-account-key-file=service-accounts.key"])
                .args(["--service-account-signing-key-file=service-accounts.key"])
                // Its service accounts are made by a controller, which is not here.
                .args(["--disable-admission-plugins=ServiceAccount", "--service-cluster-ip-range=10.0.0.0/24"])
                .args(flags)
                .current_dir(self.folder.path()),
            &log,
        )?;
        let start = Instant::now();
        let api = self.api.insert(api);
        let (mut ready, mut ended) = (false, None);
        while !ready && ended.is_none() && start.elapsed() < READY_WITHIN {
            thread::sleep(Duration::from_millis(250));
            ended = api.0.try_wait()?;
            ready = kubectl(self.folder.path()).args(["get", "--raw", "/readyz"]).output()?.status.success();
            if !ready && !self.folder.path().join("admin").exists() {
                // The certificates are made by the first start.
                let _ = write_kubeconfig(self.folder.path(), self.port, "admin", ADMIN);
            }
        }
        ensure!(ready, "kube-apiserver is not ready (ended: {ended:?}); see {}", log.display());
        println!("kube-apiserver is ready after {} s", start.elapsed().as_secs());
        Ok(())
    }

    /// kill -9.
    pub fn kill_api(&mut self) {
        self.api = None;
    }

    /// The port of the API server on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority that signed the API server's certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join(AUTHORITY)
    }

    /// The kubeconfig of a user who may do everything.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.folder.path().join("admin")
    }

    /// Compacts etcd, so that it has no past revisions.
    pub fn forget_history(&self) -> anyhow::Result<()> {
        let status = self.etcd("maintenance/status", "{}")?;
        let revision = status["header"]["revision"].as_str().context("etcd tells no revision")?;
        // Refused where everything is forgotten already, with the words that it is compacted.
        let answer = self.etcd("kv/compaction", &format!("{{\"revision\": {revision}, \"physical\": true}}"))?;
        ensure!(answer["error"].is_null() || answer.to_string().contains("compacted"), "etcd: {answer}");
        Ok(())
    }

    /// What etcd's JSON gateway answers.
    fn etcd(&self, call: &str, body: &str) -> anyhow::Result<serde_json::Value> {
        let url = format!("{}/v3/{call}", self.etcd_url);
        let answer = process::output_of(Command::new("curl").args(["--silent", "--show-error", "--data", body, &url]))?;
        serde_json::from_str(&answer).with_context(|| format!("etcd answers {answer}"))
    }

    /// What `kubectl ARGUMENTS` answers to a user who may do everything.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        process::output_of(kubectl(self.folder.path()).args(arguments))
    }

    /// `kubectl apply` of these manifests.
    pub fn apply(&self, manifests: &str) -> anyhow::Result<()> {
        let mut command = kubectl(self.folder.path());
        let mut child = command.args(["apply", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        // What begins with a brace kubectl takes for JSON.
        write!(child.stdin.take().context("stdin is piped")?, "---\n{manifests}")?;
        if !child.wait()?.success() {
            bail!("kube-apiserver does not take:\n{manifests}");
        }
        Ok(())
    }

    /// A kubeconfig with the token of a service account.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> anyhow::Result<PathBuf> {
        let token = self.kubectl(&["-n", namespace, "create", "token", account])?;
        write_kubeconfig(self.folder.path(), self.port, account, token.trim())
    }
}

fn kubectl(folder: &Path) -> Command {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(folder.join("admin")).current_dir(folder);
    command
}

fn write_kubeconfig(folder: &Path, port: u16, name: &str, token: &str) -> anyhow::Result<PathBuf> {
    let authority = folder.join(AUTHORITY);
    ensure!(authority.exists(), "kube-apiserver has made no certificate yet");
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
        "clusters": [{"name": "e2e", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "certificate-authority": authority,
        }}],
        "users": [{"name": "e2e", "user": {"token": token}}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
    });
    let path = folder.join(name);
    fs::write(&path, config.to_string())?;
    Ok(path)
}

/// Three ports that were free a moment ago.
fn free_ports() -> anyhow::Result<[u16; 3]> {
    let listeners = [(); 3].map(|()| TcpListener::bind(("127.0.0.1", 0)));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.as_ref().map_err(|error| anyhow::anyhow!("no free port: {error}"))?.local_addr()?.port();
    }
    Ok(ports)
}
