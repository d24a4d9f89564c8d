//! Whether the eBPF probe can be used: what it takes, and which of its kinds attach.

use super::{
    Finding, Status, System,
    kernel::RaspberryPiOs,
    privileges::{Capabilities, Capability},
};
use crate::config::{Config, SignalChoice};

/// One way to attach the probe, as it was tried: attached, and proven by a write that it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeKind {
    /// `fexit`, `tp_btf`, `kprobe`.
    pub name: String,
    /// Why it can not be used.
    pub outcome: Result<(), String>,
}

const OTHER_KERNELS: &str =
    "for eBPF take a kernel with BTF: Ubuntu Server for Pi, Debian, Fedora, Talos and Armbian have it";

pub(super) fn examine(config: &Config, system: &System, probe: Option<&[ProbeKind]>) -> Vec<Finding> {
    let mut findings = vec![capabilities(system), btf(system), kprobes(system), lockdown(system)];
    if let Some(kinds) = probe {
        findings.extend(kinds.iter().map(kind));
        findings.push(in_all(kinds));
    }
    // Only a configuration that rules the fallbacks out makes it a matter of can or can not.
    let usable = match probe {
        Some(kinds) => kinds.iter().any(|kind| kind.outcome.is_ok()),
        None => findings[0].status == Status::Ok,
    };
    if config.signal == SignalChoice::Ebpf && !usable {
        let found = "signal is ebpf, and eBPF can not be used here";
        findings.push(Finding::fail("ebpf", "signal", found, "mend the above, or set signal to auto"));
    }
    findings
}

fn capabilities(system: &System) -> Finding {
    let have = Capabilities::effective(system);
    let check = "capabilities";
    if have.has(Capability::Bpf) && have.has(Capability::Perfmon) {
        return Finding::ok("ebpf", check, "CAP_BPF and CAP_PERFMON");
    }
    if have.has(Capability::SysAdmin) {
        return Finding::ok("ebpf", check, "CAP_SYS_ADMIN, which stands for CAP_BPF and CAP_PERFMON");
    }
    let missing: Vec<&str> = [(Capability::Bpf, "CAP_BPF"), (Capability::Perfmon, "CAP_PERFMON")]
        .into_iter()
        .filter_map(|(capability, name)| (!have.has(capability)).then_some(name))
        .collect();
    let missing = missing.join(" and ");
    Finding::warn("ebpf", check, format!("{missing} missing"), format!("run as root, or give {missing}"))
}

fn btf(system: &System) -> Finding {
    if system.exists("/sys/kernel/btf/vmlinux") {
        return Finding::ok("ebpf", "btf", "/sys/kernel/btf/vmlinux");
    }
    let mend = match RaspberryPiOs::of(&system.release()) {
        Some(RaspberryPiOs::Pi5) => format!(
            "Raspberry Pi OS's kernel for the Pi 5 comes without BTF and without kprobes: no probe can attach, and inotify \
             does the work; {OTHER_KERNELS}"
        ),
        Some(RaspberryPiOs::Older) => format!(
            "Raspberry Pi OS's kernels come without BTF: no probe can find its way in them, and inotify does the work; \
             {OTHER_KERNELS}"
        ),
        None => format!("this kernel was built without CONFIG_DEBUG_INFO_BTF; inotify does the work; {OTHER_KERNELS}"),
    };
    Finding::warn("ebpf", "btf", "/sys/kernel/btf/vmlinux is missing", mend)
}

/// The kernel lists the perf event source that kprobes are attached by, whether tracefs is mounted or not.
fn kprobes(system: &System) -> Finding {
    if system.exists("/sys/bus/event_source/devices/kprobe") {
        return Finding::ok("ebpf", "kprobes", "there");
    }
    let mend = "this kernel was built without CONFIG_KPROBE_EVENTS; fexit and tp_btf do not need them";
    Finding::warn("ebpf", "kprobes", "not there", mend)
}

fn lockdown(system: &System) -> Finding {
    // `none [integrity] confidentiality`: the one in force is in brackets.
    let text = system.read("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode = text.split('[').nth(1).and_then(|rest| rest.split(']').next()).unwrap_or("none");
    if mode == "confidentiality" {
        let mend = "start the kernel with lockdown=integrity: confidentiality forbids programs to read kernel memory";
        return Finding::warn("ebpf", "lockdown", mode, mend);
    }
    Finding::ok("ebpf", "lockdown", mode)
}

fn kind(kind: &ProbeKind) -> Finding {
    match &kind.outcome {
        Ok(()) => Finding::ok("ebpf", "kind", format!("{} attaches, and saw a write", kind.name)),
        Err(why) => {
            let mend = "nothing needs to be done as long as another kind attaches";
            Finding::warn("ebpf", "kind", format!("{}: {why}", kind.name), mend)
        }
    }
}

fn in_all(kinds: &[ProbeKind]) -> Finding {
    if kinds.is_empty() {
        let mend = "build with `cargo xtask build`, which embeds it; inotify does the work";
        return Finding::warn("ebpf", "probe", "this binary was built without the probe", mend);
    }
    match kinds.iter().find(|kind| kind.outcome.is_ok()) {
        Some(first) => Finding::ok("ebpf", "probe", format!("can be used, by {}", first.name)),
        None => Finding::warn("ebpf", "probe", "no kind attaches", "see the reasons above; inotify does the work"),
    }
}
