//! Which collectors run on this node: two that collect the same logs send each line twice.
//!
//! In: the processes that can be seen (in a pod its own, with hostPID all), the lock of the state folder, the pods' log folders. Out:
//! a finding for Pilcrow, and one for others if there are any.

use std::{collections::BTreeMap, fs, fs::TryLockError, path::Path};

use super::{Finding, System};
use crate::{config::Config, model::PodName};

/// What other collectors call their containers, in their own charts and manifests.
const OTHERS: [&str; 10] = [
    "promtail",
    "alloy",
    "grafana-agent",
    "vlagent",
    "vector",
    "fluent-bit",
    "fluentbit",
    "fluentd",
    "filebeat",
    "otel-collector",
];
const TWICE: &str = "two that collect the same logs send each line twice";

pub(super) fn examine(config: &Config, system: &System) -> Vec<Finding> {
    let containers = containers(&config.paths.pods);
    let mut findings =
        vec![pilcrow(&config.paths.state, &running(system), containers.get("pilcrow").map_or(0, Vec::len))];
    findings.extend(others(&containers));
    findings
}

/// The process IDs of `pilcrow run`.
fn running(system: &System) -> Vec<u32> {
    let is_running = |pid: &u32| {
        let command = system.read(&format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = command.split('\0');
        let program = words.next().and_then(|path| path.rsplit('/').next());
        program == Some("pilcrow") && words.next() == Some("run")
    };
    let mut pids: Vec<u32> =
        system.names("/proc").iter().filter_map(|name| name.parse().ok()).filter(is_running).collect();
    pids.sort_unstable();
    pids
}

/// `pods`: pods of this node with a container of that name.
fn pilcrow(state: &Path, running: &[u32], pods: usize) -> Finding {
    let shown = state.display();
    let ids = running.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let fix = "kubectl get pods -A -o wide, and on the node `ps -C pilcrow`: remove the one that is not wanted; during an update one of \
               them stands by";
    let warn = |found: String| Finding::warn("collectors", "pilcrow", format!("{found}: {TWICE}"), fix);
    match (running, is_locked(state)) {
        ([], false) if pods > 1 => warn(format!("{pods} pods of this node have logged as pilcrow")),
        ([], false) => Finding::ok("collectors", "pilcrow", "no running Pilcrow is visible from here"),
        ([], true) => Finding::ok("collectors", "pilcrow", format!("one has the state folder {shown}")),
        ([_], true) if pods > 1 => warn(format!(
            "process {ids} runs with the state folder {shown}, and {pods} pods of this node have logged as pilcrow"
        )),
        ([_], true) => Finding::ok("collectors", "pilcrow", format!("process {ids}, with the state folder {shown}")),
        ([_], false) => warn(format!("process {ids} runs with another state folder than {shown}")),
        _ => warn(format!("{} run on this node (processes {ids})", running.len())),
    }
}

/// Whether a process has the state folder. The lock is taken for a moment where none has.
fn is_locked(state: &Path) -> bool {
    fs::File::open(state).is_ok_and(|folder| matches!(folder.try_lock(), Err(TryLockError::WouldBlock)))
}

/// The pods of this node by the names of their containers.
fn containers(pods: &Path) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::<String, Vec<String>>::new();
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    for folder in names(pods) {
        let Some(pod) = PodName::parse(&folder) else { continue };
        for container in names(&pods.join(&folder)) {
            all.entry(container).or_default().push(format!("{}/{}", pod.namespace, pod.pod));
        }
    }
    all
}

fn others(containers: &BTreeMap<String, Vec<String>>) -> Option<Finding> {
    let found: Vec<_> =
        OTHERS.iter().filter_map(|name| Some(format!("{name} ({})", containers.get(*name)?.join(", ")))).collect();
    let fix = "if it sends the same logs, remove it once Pilcrow's lines arrive (docs/migration.md)";
    (!found.is_empty())
        .then(|| Finding::warn("collectors", "others", format!("this node has {}: {TWICE}", found.join(", ")), fix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::doctor::Status;

    #[test]
    fn a_second_pilcrow_is_found_by_its_process_its_state_folder_or_its_pod() {
        let root = tempfile::tempdir().unwrap();
        let run = |pid: u32, command: &str| {
            fs::create_dir_all(root.path().join(format!("proc/{pid}"))).unwrap();
            fs::write(root.path().join(format!("proc/{pid}/cmdline")), command).unwrap();
        };
        let state = root.path().join("state");
        fs::create_dir(&state).unwrap();
        let look = |pods: usize| pilcrow(&state, &running(&System::under(root.path())), pods);
        run(1, "/sbin/init\0run\0");
        run(9, "/usr/bin/pilcrow\0doctor\0");
        assert_eq!(look(1).status, Status::Ok);
        assert_eq!(look(2).status, Status::Warn);
        run(7, "/pilcrow\0run\0--config\0x\0");
        let other = look(1);
        assert!(
            other.status == Status::Warn && other.found.starts_with("process 7 runs with another state folder"),
            "{other:?}"
        );
        let lock = fs::File::open(&state).unwrap();
        lock.try_lock().unwrap();
        assert_eq!(look(1).status, Status::Ok);
        run(70, "pilcrow\0run\0");
        assert_eq!(look(1).found, format!("2 run on this node (processes 7, 70): {TWICE}"));
    }

    #[test]
    fn other_collectors_are_named_with_their_pods() {
        let pods = tempfile::tempdir().unwrap();
        for folder in ["monitoring_promtail-x2k_1/promtail", "default_web_2/web", "lost+found/alloy"] {
            fs::create_dir_all(pods.path().join(folder)).unwrap();
        }
        let finding = others(&containers(pods.path())).unwrap();
        assert_eq!(finding.found, format!("this node has promtail (monitoring/promtail-x2k): {TWICE}"));
        assert_eq!(others(&BTreeMap::new()), None);
    }
}
