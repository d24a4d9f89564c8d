//! What this process may do: capabilities and limits.

use rustix::process::{Resource, getrlimit};

use super::{Finding, System};

/// Capabilities by their bit (linux/capability.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capability {
    SysAdmin = 21,
    SysResource = 24,
    Perfmon = 38,
    Bpf = 39,
}

/// A set of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities(u64);

impl Capabilities {
    /// Those in effect: CapEff of proc_pid_status(5).
    pub(super) fn effective(system: &System) -> Self {
        let status = system.read("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        Self(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0))
    }

    pub(super) fn has(self, capability: Capability) -> bool {
        self.0 >> capability as u32 & 1 == 1
    }
}

/// Files that a busy node may need at one time: 110 pods, some containers each, their rotated files, connections.
const OPEN_FILES_WANTED: u64 = 4096;

/// Enough for a watch on each log file and each container's folder of a full node, with room for the kubelet's own.
const WATCHES_WANTED: u64 = 8192;

pub(super) fn limits(system: &System) -> Vec<Finding> {
    vec![open_files(), locked_memory(system), inotify_watches(system)]
}

fn open_files() -> Finding {
    let limit = getrlimit(Resource::Nofile);
    // The soft limit is raised at the start, as far as the hard one allows.
    let found = format!("{} open files, {} at most", or_unlimited(limit.current), or_unlimited(limit.maximum));
    match limit.maximum {
        Some(most) if most < OPEN_FILES_WANTED => {
            let fix = format!(
                "raise it to {OPEN_FILES_WANTED} (LimitNOFILE= in systemd, ulimit -n): each container's log is held open"
            );
            Finding::warn("limits", "open_files", found, fix)
        }
        _ => Finding::ok("limits", "open_files", found),
    }
}

fn locked_memory(system: &System) -> Finding {
    let limit = getrlimit(Resource::Memlock).current;
    let found = match limit {
        Some(bytes) => format!("{} KiB of locked memory", bytes / 1024),
        None => "unlimited locked memory".into(),
    };
    // From 5.11 on BPF maps, from 5.12 on rings count for the cgroup instead; registered buffers still count here.
    let small = limit.is_some_and(|bytes| bytes < 8 << 20);
    if small && system.kernel_version() < (5, 12) && !Capabilities::effective(system).has(Capability::SysResource) {
        let fix = "kernels before 5.12 count BPF maps and rings: give CAP_SYS_RESOURCE, or set LimitMEMLOCK=infinity";
        return Finding::warn("limits", "locked_memory", found, fix);
    }
    Finding::ok("limits", "locked_memory", found)
}

fn inotify_watches(system: &System) -> Finding {
    match system.number("/proc/sys/fs/inotify/max_user_watches") {
        Some(watches) if watches < WATCHES_WANTED => {
            let fix = format!("sysctl fs.inotify.max_user_watches={WATCHES_WANTED}, or more");
            Finding::warn("limits", "inotify_watches", format!("{watches} inotify watches at most"), fix)
        }
        Some(watches) => Finding::ok("limits", "inotify_watches", format!("{watches} inotify watches at most")),
        None => Finding::ok("limits", "inotify_watches", "the limit of inotify watches cannot be read"),
    }
}

fn or_unlimited(limit: Option<u64>) -> String {
    limit.map_or_else(|| "any number of".into(), |limit| limit.to_string())
}
