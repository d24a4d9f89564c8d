//! `cargo xtask e2e --docker`: the collector beside a real Docker, without Kubernetes.
//!
//! In: dockerd and docker, from Debian's package where they are missing; root. Out: an error unless every line that containers wrote
//! came once, in order and with the names that Compose would give: over Docker's rotations, a restart of the collector, and a
//! container that is removed. Docker runs with a root folder of its own and without networks; other containers are not seen.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rig::{
    program::{self, Collector, Setup},
    receiver::{Options, Receiver},
};

use crate::{apt, place::Place, process};

const PACKAGES: [apt::Package; 3] = [
    apt::Package { name: "docker.io", program: "dockerd" },
    apt::Package { name: "docker.io", program: "docker" },
    apt::Package { name: "busybox-static", program: "busybox" },
];

/// Docker, and all lines, have so long.
const PATIENCE: Duration = Duration::from_secs(120);

const COMPOSE: &str = "deploy/docker/compose.yaml";

/// Lines of each container, which Docker rotates several times.
const LINES: usize = 3_000;

/// Whether this machine can run it; else the reason and the fix.
pub fn check_available() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("dockerd has to be run as root".into());
    }
    apt::ensure(&PACKAGES).map_err(|error| format!("{error:#}"))
}

/// Runs it all and says what was found.
pub fn run(collector: &Path) -> anyhow::Result<()> {
    check_available().map_err(anyhow::Error::msg)?;
    configuration_is_good(collector)?;
    let place = Place::temporary(&process::target_dir().join("docker"), "docker-")?;
    let docker = Docker::start(place.path())?;
    let receiver = Receiver::start(Options::default())?;
    let configuration = format!(
        "loki: {{url: {:?}}}\nlabels: {{cluster: docker}}\npaths: {{docker: {:?}, state: {:?}}}\n",
        receiver.url(),
        docker.containers(),
        place.path().join("state"),
    );
    let many = format!("i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done");
    let setup = Setup::write(collector, place.path(), &configuration)?;
    docker.container("early", &[], &many)?;
    let mut running = Collector::start(&setup)?;
    running.wait_for_start()?;
    let shop = ["com.docker.compose.project=shop", "com.docker.compose.service=web"];
    docker.container("shop-web-1", &shop, &many)?;
    let wait = |running: &mut Collector, lines: usize| {
        let start = Instant::now();
        while !receiver.wait_until(Duration::from_secs(1), |counts| counts.entries >= lines as u64) {
            running.check_running()?;
            ensure!(start.elapsed() < PATIENCE, "{} of {lines} lines came", receiver.counts().entries);
        }
        anyhow::Ok(())
    };
    wait(&mut running, 2 * LINES)?;
    running.terminate()?;
    docker.container("meanwhile", &[], "echo once")?;
    let mut running = Collector::start(&setup)?;
    running.wait_for_start()?;
    wait(&mut running, 2 * LINES + 1)?;
    // Docker removes the log with the container, as soon as that has ended.
    docker.output(&["run", "--rm", "--network=none", "--name=gone", IMAGE, "/bin/sh", "-c", "echo once; sleep 2"])?;
    wait(&mut running, 2 * LINES + 2)?;
    running.terminate()?;

    let all: Vec<String> = (0..LINES).map(|n| format!("line {n}")).collect();
    let once = vec!["once".to_owned()];
    for (namespace, pod, container, lines) in [
        ("docker", "early", "early", &all),
        ("shop", "shop-web-1", "web", &all),
        ("docker", "meanwhile", "meanwhile", &once),
        ("docker", "gone", "gone", &once),
    ] {
        let found = receiver.texts(&[("namespace", namespace), ("pod", pod), ("container", container)]);
        ensure!(found == *lines, "{pod} has {} lines of {}, or others, or in another order", found.len(), lines.len());
    }
    let violations = receiver.violations();
    ensure!(violations.is_empty(), "{violations:?}");
    println!("docker: {} lines of 4 containers came once and in order", receiver.counts().entries);
    Ok(())
}

/// The example's configuration is one.
fn configuration_is_good(collector: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(process::workspace_root().join(COMPOSE))?;
    let compose: serde_json::Value = serde_saphyr::from_str(&text).context(COMPOSE)?;
    let configuration =
        compose["configs"]["pilcrow"]["content"].as_str().context("it gives Pilcrow no configuration")?;
    let url = compose["services"]["pilcrow"]["environment"]["LOKI_URL"].as_str().context("it names no Loki")?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("pilcrow.yaml");
    fs::write(&path, configuration)?;
    process::output_of(Command::new(collector).args(["check", "--config"]).arg(path).env("LOKI_URL", url)).map(drop)
}

/// The only image, with nothing but a shell.
const IMAGE: &str = "shell:1";

/// A dockerd of our own; dropping it ends it and its containers.
struct Docker {
    daemon: Child,
    folder: PathBuf,
}

impl Docker {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join("docker");
        fs::create_dir_all(&folder)?;
        let log = fs::File::create(folder.join("dockerd.log"))?;
        let mut command = Command::new("dockerd");
        command.args(["--storage-driver=vfs", "--bridge=none", "--iptables=false", "--ip6tables=false"]);
        for (option, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(option).arg(folder.join(name));
        }
        command.arg("--host").arg(format!("unix://{}", folder.join("sock").display()));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let docker = Self { daemon: program::spawn(&mut command)?, folder };
        let start = Instant::now();
        while docker.output(&["version"]).is_err() {
            ensure!(
                start.elapsed() < PATIENCE,
                "dockerd does not answer; see {}",
                docker.folder.join("dockerd.log").display()
            );
            thread::sleep(Duration::from_millis(200));
        }
        docker.make_image()?;
        Ok(docker)
    }

    fn make_image(&self) -> anyhow::Result<()> {
        let root = self.folder.join("root");
        fs::create_dir_all(root.join("bin"))?;
        fs::copy(process::find("busybox").context("no busybox")?, root.join("bin/busybox"))?;
        for name in ["sh", "sleep"] {
            fs::hard_link(root.join("bin/busybox"), root.join("bin").join(name))?;
        }
        let archive = self.folder.join("root.tar");
        process::output_of(Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&archive).arg("."))?;
        self.output(&["import", &archive.display().to_string(), IMAGE]).map(drop)
    }

    fn containers(&self) -> PathBuf {
        self.folder.join("data/containers")
    }

    /// A container that runs a script and stays.
    fn container(&self, name: &str, labels: &[&str], script: &str) -> anyhow::Result<()> {
        let (name, script) = (format!("--name={name}"), format!("{script}; sleep 1000"));
        let mut arguments =
            vec!["run", "--detach", "--network=none", &name, "--log-opt=max-size=50k", "--log-opt=max-file=20"];
        for label in labels {
            arguments.extend(["--label", label]);
        }
        arguments.extend([IMAGE, "/bin/sh", "-c", &script]);
        self.output(&arguments).map(drop)
    }

    fn output(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let socket = format!("unix://{}", self.folder.join("sock").display());
        process::output_of(Command::new("docker").args(["--host", &socket]).args(arguments))
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let all = self.output(&["ps", "--all", "--quiet"]).unwrap_or_default();
        let ids: Vec<&str> = all.split_whitespace().collect();
        if !ids.is_empty() {
            // What is not removed ends with dockerd's own runtime.
            let _ = self.output(&[&["rm", "--force"][..], &ids].concat());
        }
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.daemon),
            rustix::process::Signal::TERM,
        );
        let _ = self.daemon.wait();
    }
}
