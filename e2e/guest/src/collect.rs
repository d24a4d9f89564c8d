//! A node at work under the collector's eyes, for some seconds: what it fell back to, and whether every line arrived.
//!
//! In: a [`Scenario`] that is in force. Out: a [`Collected`], with a fault for a lost line, and for each thing that the
//! collector did other than was to be expected, or said other than `pilcrow doctor` says.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use guest::{COLLECTOR, Collected, Scenario};
use rig::{
    kubelet::{Live, LiveOptions, Node},
    metrics::{Backend, Metrics, Usage},
    program::{Collector, Setup},
    receiver::{Keep, Options, Receiver},
};
use serde_json::Value;

use crate::system::DISK;

/// How long lines are written, with rotations, restarts and pods that come and go.
const WRITING: Duration = Duration::from_secs(4);

/// Enough for several rotations of each log while every instruction is emulated.
const LIVE: LiveOptions = LiveOptions {
    containers: 6,
    lines_per_second: 500,
    rotate_every: Duration::from_millis(1500),
    restart_every: Duration::from_secs(3),
    replace_pod_every: Duration::from_secs(2),
    docker_one_in: 3,
    long_one_in: 200,
    halved_one_in: 20,
    keep: 8,
    seed: 1,
};

/// Longer than any emulation takes: reaching it is a failure, never a measurement.
const PATIENCE: Duration = Duration::from_secs(240);

/// Runs doctor, the collector, the writers and the receiver.
pub fn collect(scenario: Scenario) -> anyhow::Result<Collected> {
    let folder = Path::new(DISK).join(scenario.name());
    fs::create_dir_all(&folder)?;
    let receiver = Receiver::start(Options { keep: Keep::Counts, ..Options::default() })?;
    let node = Node::new(&folder, 1)?;
    let setup = Setup::write(Path::new(COLLECTOR), &folder, &configuration(&receiver, &node, &folder))?;
    let doctor = Doctor::ask(&setup)?;
    // Doctor tries a push without lines.
    let pushes_of_doctor = receiver.violations().len();
    let mut collector = Collector::start(&setup)?;
    collector.wait_for_start()?;

    let live = Live::start(node, LIVE)?;
    let ledger = live.ledger().clone();
    thread::sleep(WRITING);
    live.stop()?;
    receiver.wait_until(PATIENCE, |counts| counts.marked_lines >= ledger.lines());
    let metrics = Metrics::fetch(collector.status_address())?;
    let usage = Usage::of(collector.pid())?;
    let ended = collector.terminate();

    let report = receiver.report(&ledger);
    let backend = |name| metrics.backend(name).with_context(|| format!("/metrics has no {name}"));
    let (signal, reader) = (backend("pilcrow_signal_backend_info")?, backend("pilcrow_reader_backend_info")?);
    let mut faults = Expected::of(scenario).faults(&signal, &reader);
    faults.extend(doctor.disagreements(&signal, &reader));
    faults.extend(receiver.violations().into_iter().skip(pushes_of_doctor));
    faults.extend((!report.is_complete()).then(|| report.to_string()));
    faults.extend(ended.err().map(|error| format!("{error:#}")));
    if !faults.is_empty() {
        println!("{}", fs::read_to_string(folder.join("pilcrow.log"))?);
    }
    Ok(Collected {
        scenario: scenario.name().to_owned(),
        ways: doctor.ways(&signal),
        signal: signal.name,
        signal_reason: signal.fallback_reason,
        reader: reader.name,
        reader_reason: reader.fallback_reason,
        written: report.written,
        missing: report.missing,
        sweep_finds: metrics.sum("pilcrow_sweep_finds_total"),
        peak_bytes: usage.peak_bytes,
        faults,
    })
}

fn configuration(receiver: &Receiver, node: &Node, folder: &Path) -> String {
    format!(
        "loki: {{url: {:?}}}\nlabels: {{cluster: home-k8s}}\npaths: {{pods: {:?}, state: {:?}}}\n\
         kubernetes: {{enabled: false}}\n",
        receiver.url(),
        node.pods(),
        folder.join("state"),
    )
}

/// What the collector has to come to.
struct Expected {
    /// What the backend's name begins with.
    signal: &'static str,
    /// What has to be in the reason why it is no better one.
    signal_reason: &'static str,
    reader: &'static str,
    reader_reason: &'static str,
}

impl Expected {
    fn of(scenario: Scenario) -> Self {
        let (signal, signal_reason) = match scenario {
            // Lockdown leaves fexit and tp_btf alone, which copy nothing.
            Scenario::AsIs | Scenario::NoKprobes | Scenario::NoIoUring | Scenario::Lockdown => ("ebpf (", ""),
            Scenario::NoBtf => ("ebpf (kprobe ", ""),
            Scenario::NoBtfNoKprobes => ("inotify", "BTF"),
            Scenario::NoCapabilities => ("inotify", "CAP_BPF"),
            Scenario::NoInotify => ("poll", "max_user_instances"),
            Scenario::LockdownNoBtf => ("inotify", "lockdown"),
        };
        let (reader, reader_reason) = match scenario {
            Scenario::NoIoUring => ("pread", "kernel.io_uring_disabled"),
            _ => ("io_uring", ""),
        };
        Self { signal, signal_reason, reader, reader_reason }
    }

    fn faults(&self, signal: &Backend, reader: &Backend) -> Vec<String> {
        let fault = |what: &str, found: &Backend, name: &str, reason: &str| {
            let is_as_expected = found.name.starts_with(name)
                && found.fallback_reason.contains(reason)
                && found.fallback_reason.is_empty() == reason.is_empty();
            (!is_as_expected).then(|| {
                format!(
                    "{what} is {} ({:?}), expected {name}… with a reason that has {reason:?}",
                    found.name, found.fallback_reason
                )
            })
        };
        let signal = fault("signal", signal, self.signal, self.signal_reason);
        signal.into_iter().chain(fault("reader", reader, self.reader, self.reader_reason)).collect()
    }
}

/// What `pilcrow doctor` says of the same machine and configuration.
struct Doctor(Vec<Finding>);

struct Finding {
    section: String,
    check: String,
    found: String,
}

impl Doctor {
    fn ask(setup: &Setup) -> anyhow::Result<Self> {
        let config: PathBuf = setup.config().to_owned();
        let output = Command::new(COLLECTOR).args(["doctor", "--json", "--config"]).arg(config).output()?;
        ensure!(
            !output.stdout.is_empty(),
            "doctor ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        let report: Value = serde_json::from_slice(&output.stdout).context("cannot read what doctor says")?;
        let findings = report["findings"].as_array().context("doctor has no findings")?;
        let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        let finding = |finding: &Value| Finding {
            section: text(finding, "section"),
            check: text(finding, "check"),
            found: text(finding, "found"),
        };
        Ok(Self(findings.iter().map(finding).collect()))
    }

    fn found(&self, section: &str, check: &str) -> impl Iterator<Item = &str> {
        let of = move |finding: &&Finding| finding.section == section && finding.check == check;
        self.0.iter().filter(of).map(|finding| finding.found.as_str())
    }

    /// What it says that auto comes to: `ebpf (fexit vfs_write)`.
    fn choice(&self, check: &str) -> &str {
        self.found("choice", check).next().unwrap_or_default().trim_start_matches("auto comes to ")
    }

    /// Where the collector took another way than doctor says, or gives another reason.
    fn disagreements(&self, signal: &Backend, reader: &Backend) -> Vec<String> {
        let mut faults = Vec::new();
        let choice = self.choice("signal");
        // Doctor names the first of a plan's hooks, the collector all of them.
        if !signal.name.starts_with(choice.trim_end_matches(')')) {
            faults.push(format!("doctor says that signal comes to {choice}, the collector took {}", signal.name));
        }
        if self.choice("reader") != reader.name {
            faults.push(format!(
                "doctor says that reader comes to {}, the collector took {}",
                self.choice("reader"),
                reader.name
            ));
        }
        if !signal.fallback_reason.is_empty() {
            // `fexit vfs_write: REASON`
            let reasons = self.found("signal", "ebpf").filter_map(|found| found.split_once(": "));
            for (_, reason) in reasons.filter(|(_, reason)| !signal.fallback_reason.contains(reason)) {
                faults.push(format!("doctor says {reason:?}, the collector says {:?}", signal.fallback_reason));
            }
        }
        let uring = self.found("reader", "io_uring").next().unwrap_or_default();
        if let Some(reason) = uring.strip_prefix("can not be used: ")
            && reason != reader.fallback_reason
        {
            faults.push(format!("doctor says {reason:?}, the collector says {:?}", reader.fallback_reason));
        }
        faults
    }

    /// `sees write, writev; misses splice`, of the backend that was taken.
    fn ways(&self, signal: &Backend) -> String {
        let programs = signal.name.strip_prefix("ebpf (").map_or(signal.name.as_str(), |name| name);
        let of_backend = |found: &&str| found.split_once(": ").is_some_and(|(name, _)| programs.starts_with(name));
        let all = ["ebpf", "inotify", "poll"].into_iter().flat_map(|check| self.found("signal", check));
        let found = all.into_iter().find(of_backend).unwrap_or_default();
        found.split_once(": ").map_or(String::new(), |(_, ways)| ways.to_owned())
    }
}
