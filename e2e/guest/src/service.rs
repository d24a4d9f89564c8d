//! A machine with a real systemd and dpkg: the deb is installed, collects as a service, is upgraded meanwhile, and goes.
//!
//! In: a root file system with systemd as the first process, and two debs. Out: a [`Collected`], with a fault for each line that
//! did not arrive once, and for each thing that dpkg and systemd did otherwise than docs/install.md says.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use guest::{Collected, DEB, OLDER_DEB, Scenario};
use rig::{
    kubelet::{Live, LiveOptions, Node},
    metrics::{Metrics, Usage},
    receiver::{Keep, Options, Receiver},
};

use crate::{
    collect::{LIVE, WRITING, judged},
    doctor::Doctor,
};

const PROGRAM: &str = "/usr/bin/pilcrow";
const CONFIG: &str = "/etc/pilcrow/pilcrow.yaml";
const STATE: &str = "/var/lib/pilcrow";
const UNIT: &str = "pilcrow.service";
const STATUS: &str = "127.0.0.1:9080";

/// While the service is started again, which takes half a minute where every instruction is emulated, no log is removed: neither a
/// rotated one, nor that of an earlier container or of a pod. So no line may be missing.
const WRITTEN: LiveOptions = LiveOptions {
    lines_per_second: 100,
    rotate_every: Duration::from_secs(30),
    restart_every: Duration::from_secs(3600),
    replace_pod_every: Duration::from_secs(3600),
    docker_one_in: 0,
    ..LIVE
};

/// Waiting longer is a failure.
const PATIENCE: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(50);

/// Does it all.
pub fn prove() -> anyhow::Result<Collected> {
    let proved = install_collect_and_remove();
    if !proved.as_ref().is_ok_and(|collected| collected.faults.is_empty()) {
        println!("{}", run("journalctl", &["--no-pager", "--lines=40", "--unit", UNIT]).unwrap_or_default());
    }
    proved
}

fn install_collect_and_remove() -> anyhow::Result<Collected> {
    let receiver = Receiver::start(Options { keep: Keep::Counts, ..Options::default() })?;
    let version = run("/usr/lib/systemd/systemd", &["--version"])?;
    let said = run("dpkg", &["--install", OLDER_DEB])?;
    ensure!(said.contains("systemctl enable --now pilcrow"), "the package does not say what to do next: {said}");
    ensure!(!is_active() && property("UnitFileState")? == "disabled", "an installation starts the service");
    let configuration =
        format!("loki: {{url: {:?}}}\nlabels: {{cluster: home-k8s}}\nkubernetes: {{enabled: false}}\n", receiver.url());
    fs::write(CONFIG, &configuration)?;
    let doctor = Doctor::read(&Command::new(PROGRAM).args(["doctor", "--json", "--config", CONFIG]).output()?.stdout)?;
    // Doctor tries a push without lines.
    let pushes_of_doctor = receiver.violations().len();
    run("systemctl", &["enable", "--now", UNIT])?;
    wait_until_ready()?;
    println!("guest: the service runs");

    let live = Live::start(Node::new(Path::new("/var/log"), 1)?, WRITTEN)?;
    let ledger = live.ledger().clone();
    thread::sleep(WRITING);
    let before = main_process()?;
    run("dpkg", &["--force-confold", "--install", DEB])?;
    wait_until_ready()?;
    let mut faults = Vec::new();
    let mut expect = |is_so: bool, fault: &str| faults.extend((!is_so).then(|| fault.to_owned()));
    expect(main_process()? != before, "an upgrade does not restart the service");
    expect(fs::read_to_string(CONFIG)? == configuration, "an upgrade changes the configuration");
    println!("guest: the service runs in the new version");
    thread::sleep(WRITING);
    live.stop()?;
    receiver.wait_until(PATIENCE, |counts| counts.marked_lines >= ledger.lines());
    let metrics = Metrics::fetch(STATUS)?;
    let usage = Usage::of(main_process()?)?;
    expect(fs::metadata(STATE)?.permissions().mode() & 0o777 == 0o700, "others can read the saved positions");
    expect(property("NRestarts")? == "0", "the service has failed and was started again");
    run("systemctl", &["stop", UNIT])?;
    expect(property("Result")? == "success", "the service did not end well");

    run("systemctl", &["start", UNIT])?;
    run("dpkg", &["--remove", "pilcrow"])?;
    expect(!is_active(), "a removal leaves the service running");
    expect(Path::new(CONFIG).exists() && Path::new(STATE).exists(), "a removal takes configuration or positions");
    run("dpkg", &["--purge", "pilcrow"])?;
    expect(!Path::new(CONFIG).exists() && !Path::new(STATE).exists(), "a purge leaves configuration or positions");
    expect(property("LoadState")? == "not-found", "a purge leaves the unit");

    let report = receiver.report(&ledger);
    let violations = receiver.violations().split_off(pushes_of_doctor);
    let mut collected = judged(Scenario::AsIs, &doctor, &report, violations, &metrics, &usage)?;
    collected.scenario = version.lines().next().unwrap_or_default().to_owned();
    collected.events = "the deb installed, upgraded, removed and purged".to_owned();
    collected
        .faults
        .extend((report.faults.repeated > 0).then(|| format!("{} lines came twice", report.faults.repeated)));
    collected.faults.extend(faults);
    Ok(collected)
}

/// What a program of the machine writes to its standard output.
fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot start {program}"))?;
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{program} {arguments:?} ended with {}: {said}{error}", output.status);
    Ok(said.into_owned())
}

/// What systemd says of the service.
fn property(name: &str) -> anyhow::Result<String> {
    Ok(run("systemctl", &["show", "--value", "--property", name, UNIT])?.trim().to_owned())
}

fn is_active() -> bool {
    run("systemctl", &["is-active", "--quiet", UNIT]).is_ok()
}

fn main_process() -> anyhow::Result<u32> {
    property("MainPID")?.parse().context("systemd names no process")
}

/// By the service's own word, as long as systemd has not given it up.
fn wait_until_ready() -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    let url = format!("http://{STATUS}/ready");
    while !rig::http::get(&url, Duration::from_secs(2)).is_ok_and(|(status, _)| status == 200) {
        let state = property("ActiveState")?;
        ensure!(state != "failed" && Instant::now() < end, "the service is not ready, and {state}");
        thread::sleep(POLL);
    }
    Ok(())
}
