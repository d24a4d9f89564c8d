//! A running node that the collector watches for some seconds: what it fell back to, and whether every line arrived.
//!
//! In: a [`Scenario`] that is in force. Out: a [`Collected`], with a fault for a lost line, and for each thing that the
//! collector did other than was to be expected, or said other than `pilcrow doctor` says.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::Context;
use guest::{COLLECTOR, Collected, Scenario};
use rig::{
    kubelet::{Live, LiveOptions, Node},
    metrics::{Backend, Metrics, Usage},
    program::{Collector, Setup},
    receiver::{Keep, Options, Receiver},
    tally,
};

use crate::{doctor::Doctor, system::DISK};

/// How long lines are written, with rotations, restarts and pods that come and go.
pub const WRITING: Duration = Duration::from_secs(4);

/// Enough for several rotations of each log while every instruction is emulated.
pub const LIVE: LiveOptions = LiveOptions {
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

/// Longer than any emulation takes: waiting longer is a failure, never a measurement.
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
    let violations = receiver.violations().split_off(pushes_of_doctor);
    let mut collected = judged(scenario, &doctor, &report, violations, &metrics, &usage)?;
    collected.faults.extend(ended.err().map(|error| format!("{error:#}")));
    if !collected.faults.is_empty() {
        println!("{}", fs::read_to_string(folder.join("pilcrow.log"))?);
    }
    Ok(collected)
}

/// The result of a scenario, from what doctor said before, what arrived, what the receiver found wrong with the pushes, and what
/// the collector reported about itself.
///
/// # Errors
/// Where it does not say which backends it took.
pub fn judged(
    scenario: Scenario,
    doctor: &Doctor,
    report: &tally::Report,
    violations: Vec<String>,
    metrics: &Metrics,
    usage: &Usage,
) -> anyhow::Result<Collected> {
    let backend = |name| metrics.backend(name).with_context(|| format!("/metrics has no {name}"));
    let (signal, reader) = (backend("pilcrow_signal_backend_info")?, backend("pilcrow_reader_backend_info")?);
    let mut faults = Expected::of(scenario).faults(&signal, &reader);
    faults.extend(doctor.disagreements(&signal, &reader));
    faults.extend(violations);
    faults.extend((!report.is_complete()).then(|| report.to_string()));
    Ok(Collected {
        scenario: scenario.name().to_owned(),
        events: String::new(),
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

/// What the collector has to select.
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
