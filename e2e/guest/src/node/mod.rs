//! A node with a real containerd: the collector as a pod of its DaemonSet, and pods for it to collect from.
//!
//! In: a root file system with containerd, two images and the DaemonSet. Out: a [`Collected`], with a fault for each line
//! that did not arrive as it was written, once, in order and with the labels of its container.

mod manifest;
mod pod;
mod runtime;
mod writers;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use guest::{COLLECTOR_ARCHIVE, Collected, DAEMONSET, Scenario, WORKLOAD_ARCHIVE, WORKLOAD_IMAGE};
use rig::{
    kubelet::Pod as Name,
    mark,
    metrics::{Metrics, Usage},
    receiver::{Options, Receiver},
    tally::Stamps,
};
use serde_json::Value;

use crate::{collect::judged, cri::Cri, doctor::Doctor};
use pod::{Container, Pod};
use runtime::Containerd;

const NODE: &str = "pi-3";
/// Of the collector's pod, whose own logs are not compared.
const NAMESPACE: &str = "pilcrow";
/// The folder that the ConfigMap is.
const CONFIG_MAP: &str = "/var/lib/kubelet/config";
/// Where the program finds it.
const CONFIG: &str = "/etc/pilcrow/pilcrow.yaml";
/// On the node's network.
const STATUS: &str = "127.0.0.1:9080";

/// Waiting longer is a failure.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(50);

/// Runs it all.
pub fn collect() -> anyhow::Result<Collected> {
    let containerd = Containerd::start()?;
    let done = collect_from(&containerd);
    if done.is_err() {
        println!("{}", runtime::end_of_log());
    }
    done
}

fn collect_from(containerd: &Containerd) -> anyhow::Result<Collected> {
    let daemonset: Value = serde_json::from_slice(&fs::read(DAEMONSET)?)?;
    let template = &daemonset["spec"]["template"]["spec"];
    let image = template["containers"][0]["image"].as_str().context("the DaemonSet names no image")?;
    containerd.import(WORKLOAD_ARCHIVE, WORKLOAD_IMAGE)?;
    containerd.import(COLLECTOR_ARCHIVE, image)?;
    let receiver = Receiver::start(Options { stamps: Stamps::Runtime, ..Options::default() })?;
    let (pod, collector) = start_collector(containerd.cri(), template, &receiver)?;
    println!("guest: the collector runs as a pod");
    let doctor = Doctor::read(&collector.exec(&["/pilcrow", "doctor", "--json", "--config", CONFIG])?)?;
    // Doctor tries a push without lines.
    let pushes_of_doctor = receiver.violations().len();

    let mut outcome = writers::Outcome::default();
    let counts = writers::run(containerd.cri(), &mut outcome)?;
    println!("guest: the containers have ended");
    receiver.wait_until(PATIENCE, |counts| counts.marked_lines >= outcome.ledger.lines());
    let metrics = Metrics::fetch(STATUS)?;
    let usage = Usage::of(collector.process()?)?;
    // The chart's terminationGracePeriodSeconds.
    collector.stop(Duration::from_secs(15))?;
    let code = collector.wait()?;

    let report = receiver.report(&outcome.ledger);
    let violations = receiver.violations().split_off(pushes_of_doctor);
    let mut collected = judged(Scenario::AsIs, &doctor, &report, violations, &metrics, &usage)?;
    collected.scenario = containerd.version().to_owned();
    collected.events = format!("{} rotations, {} restarts, a pod removed", counts.rotations, counts.restarts);
    let faults = &mut collected.faults;
    faults.extend((report.faults.repeated > 0).then(|| format!("{} lines came twice", report.faults.repeated)));
    faults.extend(wrong_labels(&receiver, &outcome.labels));
    faults.extend((code != 0).then(|| format!("after SIGTERM the collector ended with {code}")));
    if !faults.is_empty() {
        println!("{}", collector.log());
    }
    pod.remove()?;
    Ok(collected)
}

/// The DaemonSet's pod, as the kubelet would start it, and ready by its own word. What is not the manifest's: the node's
/// network, as there is no network plug-in, and a configuration that names the receiver and no Kubernetes API.
fn start_collector(cri: &Cri, template: &Value, receiver: &Receiver) -> anyhow::Result<(Pod, Container)> {
    let config_map = Path::new(CONFIG_MAP);
    fs::create_dir_all(config_map)?;
    let configuration = format!(
        "loki: {{url: {:?}}}\nlabels: {{cluster: home-k8s}}\n\
         kubernetes: {{enabled: false, namespaces: {{exclude: [{NAMESPACE}]}}}}\n",
        receiver.url()
    );
    let file = Path::new(CONFIG).file_name().context("a file has a name")?;
    fs::write(config_map.join(file), configuration)?;
    let config = manifest::container(template, config_map, NODE)?;
    let uid = "6f1e2d3c-4b5a-4978-8796-000000000000".to_owned();
    let pod = Pod::run(cri, Name { namespace: NAMESPACE.into(), name: "pilcrow-x2x7k".into(), uid })?;
    let container = pod.start("pilcrow", 0, &config)?;
    let end = Instant::now() + PATIENCE;
    let url = format!("http://{STATUS}/ready");
    while !rig::http::get(&url, Duration::from_secs(2)).is_ok_and(|(status, _)| status == 200) {
        let ended = container.exit_code()?;
        ensure!(
            ended.is_none() && Instant::now() < end,
            "the collector is not ready ({ended:?}):\n{}",
            container.log()
        );
        thread::sleep(POLL);
    }
    Ok((pod, container))
}

/// Streams whose lines are from containers that have other labels.
fn wrong_labels(receiver: &Receiver, expected: &[BTreeMap<String, String>]) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, stream) in receiver.streams() {
        let labels: BTreeMap<String, String> = stream.labels.iter().cloned().collect();
        let marks = stream.entries.iter().filter_map(|entry| mark::read(entry.line.as_bytes()).ok());
        let strange = marks.filter(|mark| expected.get(mark.source as usize) != Some(&labels)).count();
        if strange > 0 {
            faults.push(format!("{strange} lines of {name} are from a container with other labels"));
        }
    }
    faults
}
