//! Containers that write marked lines, are restarted, rotated and removed: what there is to collect.
//!
//! In: a [`Cri`] with the image of `workload`. Out: logs, and a [`Ledger`] with the lines that each container says it has
//! written, and the labels that they have to arrive with. It must not know the collector.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use guest::{
    WORKLOAD_IMAGE,
    workload::{FOLDER, JOB, Job, STOP, WRITTEN, Written},
};
use rig::{
    kubelet::{Pod as Name, Stream},
    ledger::Ledger,
};

use super::pod::{Container, NAMESPACES, Pod};
use crate::cri::{
    Cri,
    api::{ContainerConfig, ImageSpec, LinuxContainerConfig, LinuxContainerSecurityContext, Mount},
};

/// Where the folders lie that containers and this program share.
const CONTROL: &str = "/var/lib/workload";

/// Rotations of every log before a pod goes with its logs, and after that: more than files are kept.
const ROUNDS_BEFORE: usize = 4;
const ROUNDS_AFTER: usize = 3;
/// Names of rotated files differ by the second.
const BETWEEN_ROTATIONS: Duration = Duration::from_millis(1100);
/// Lines of a container that ends by itself, and how often it is started again then.
const LINES_TO_THE_CRASH: u64 = 250;
const RESTARTS: u32 = 3;
const CRASH: u8 = 3;

/// What happened, for people.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Logs that containerd opened anew.
    pub rotations: u32,
    /// Containers that were started again.
    pub restarts: u32,
}

/// What was written, and how it has to arrive.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Lines by source.
    pub ledger: Ledger,
    /// Of each source, the labels that say where it is from.
    pub labels: Vec<BTreeMap<String, String>>,
}

/// Runs all containers until their end.
pub fn run(cri: &Cri, outcome: &mut Outcome) -> anyhow::Result<Counts> {
    let pod = |namespace: &str, name: &str, number: u32| {
        let uid = format!("6f1e2d3c-4b5a-4978-8796-{number:012}");
        Pod::run(cri, Name { namespace: namespace.into(), name: name.into(), uid })
    };
    let (web, flaky, gone) = (pod("shop", "web-7c9f", 1)?, pod("default", "flaky", 2)?, pod("batch", "gone-x2x7k", 3)?);
    let mut counts = Counts::default();
    let steady =
        Job { sources: [0; 2], first: [0; 2], lines: None, long_one_in: 50, open_end: false, exit_code: 0, seed: 1 };
    let mut nginx = Writer::start(&web, "nginx", steady.clone(), outcome)?;
    let mut talker = Writer::start(&web, "talker", Job { long_one_in: 5, seed: 2, ..steady.clone() }, outcome)?;
    let mut worker = Writer::start(&gone, "worker", Job { seed: 3, ..steady.clone() }, outcome)?;
    let crash = Job { lines: Some(LINES_TO_THE_CRASH), open_end: true, exit_code: CRASH, seed: 4, ..steady };
    let mut crashing = Writer::start(&flaky, "crashing", crash, outcome)?;

    for _ in 0..ROUNDS_BEFORE {
        counts.rotations += rotate(&[&nginx, &talker, &worker, &crashing])?;
        counts.restarts += u32::from(crashing.restart_if_ended(&flaky, outcome)?);
    }
    worker.end(outcome)?;
    gone.remove()?;
    for _ in 0..ROUNDS_AFTER {
        counts.rotations += rotate(&[&nginx, &talker, &crashing])?;
        counts.restarts += u32::from(crashing.restart_if_ended(&flaky, outcome)?);
    }
    while crashing.attempt < RESTARTS {
        crashing.restart(&flaky, outcome)?;
        counts.restarts += 1;
    }
    for writer in [&mut nginx, &mut talker, &mut crashing] {
        writer.end(outcome)?;
    }
    Ok(counts)
}

/// After a while, the logs of all that run; says how many were rotated.
fn rotate(writers: &[&Writer]) -> anyhow::Result<u32> {
    thread::sleep(BETWEEN_ROTATIONS);
    let mut rotated = 0;
    for writer in writers {
        rotated += u32::from(writer.container.rotate()?);
    }
    Ok(rotated)
}

/// A container that writes.
struct Writer {
    name: String,
    job: Job,
    control: PathBuf,
    container: Container,
    /// Those that ended, the oldest first: the kubelet keeps one of them, and its log.
    ended: Vec<Container>,
    attempt: u32,
}

impl Writer {
    fn start(pod: &Pod, name: &str, mut job: Job, outcome: &mut Outcome) -> anyhow::Result<Self> {
        job.sources = Stream::ALL.map(|stream| outcome.add_source(pod.name(), name, stream));
        let control = PathBuf::from(CONTROL).join(&pod.name().name).join(name);
        let container = start(pod, name, 0, &job, &control)?;
        Ok(Self { name: name.to_owned(), job, control, container, ended: Vec::new(), attempt: 0 })
    }

    /// As the kubelet does with a container that crashed, up to [`RESTARTS`] times; says whether it did.
    fn restart_if_ended(&mut self, pod: &Pod, outcome: &Outcome) -> anyhow::Result<bool> {
        let is_due = self.attempt < RESTARTS && self.container.exit_code()?.is_some();
        if is_due {
            self.restart(pod, outcome)?;
        }
        Ok(is_due)
    }

    /// After it has ended by itself. Its new log goes on where the last one stopped; of the containers before it, all but one
    /// are removed with their logs, as the kubelet does.
    fn restart(&mut self, pod: &Pod, outcome: &Outcome) -> anyhow::Result<()> {
        let written = self.wait(outcome)?;
        for (first, lines) in self.job.first.iter_mut().zip(written.lines) {
            *first += lines;
        }
        self.job.seed += 100;
        self.attempt += 1;
        let container = start(pod, &self.name, self.attempt, &self.job, &self.control)?;
        self.ended.push(std::mem::replace(&mut self.container, container));
        if self.ended.len() > 1 {
            self.ended.remove(0).remove()?;
        }
        Ok(())
    }

    /// Waits for its end, and counts what it has written.
    fn wait(&self, outcome: &Outcome) -> anyhow::Result<Written> {
        let code = self.container.wait()?;
        let error = fs::read_to_string(self.control.join("error")).unwrap_or_default();
        ensure!(code == i32::from(self.job.exit_code), "{} ended with {code}: {error}", self.name);
        let written = fs::read(self.control.join(WRITTEN)).with_context(|| format!("no count of {}", self.name))?;
        let written: Written = serde_json::from_slice(&written)?;
        for (index, source) in self.job.sources.into_iter().enumerate() {
            outcome.ledger.add_lines(source, written.lines[index], written.bytes[index]);
        }
        Ok(written)
    }

    /// Ends it, if it has not ended.
    fn end(&mut self, outcome: &Outcome) -> anyhow::Result<()> {
        fs::write(self.control.join(STOP), "")?;
        self.wait(outcome).map(drop)
    }
}

fn start(pod: &Pod, name: &str, attempt: u32, job: &Job, control: &Path) -> anyhow::Result<Container> {
    fs::create_dir_all(control)?;
    fs::write(control.join(JOB), serde_json::to_vec(job)?)?;
    let mount = Mount { container_path: FOLDER.into(), host_path: control.display().to_string(), readonly: false };
    let security = LinuxContainerSecurityContext { namespace_options: Some(NAMESPACES), ..Default::default() };
    let config = ContainerConfig {
        image: Some(ImageSpec { image: WORKLOAD_IMAGE.to_owned() }),
        args: vec!["write".to_owned()],
        mounts: vec![mount],
        linux: Some(LinuxContainerConfig { resources: None, security_context: Some(security) }),
        ..ContainerConfig::default()
    };
    pod.start(name, attempt, &config)
}

impl Outcome {
    fn add_source(&mut self, pod: &Name, container: &str, stream: Stream) -> u32 {
        let Name { namespace, name, .. } = pod;
        let labels = [
            ("cluster", "home-k8s"),
            ("namespace", namespace),
            ("pod", name),
            ("container", container),
            ("job", &format!("{namespace}/{container}")),
            ("stream", stream.name()),
        ];
        self.labels.push(labels.map(|(label, value)| (label.to_owned(), value.to_owned())).into());
        self.ledger.add_source(format!("{namespace}/{name}/{container} {}", stream.name()))
    }
}
