//! What the eBPF probe takes: the rights, and the kernel's side. Whether it then works, `signal` has tried.

use super::{
    Finding, System,
    kernel::RaspberryPiOs,
    privileges::{Capabilities, Capability},
};

const OTHER_KERNELS: &str =
    "for eBPF use a kernel with BTF: Ubuntu Server for Pi, Debian, Fedora, Talos and Armbian have it";

pub(super) fn examine(system: &System) -> Vec<Finding> {
    vec![capabilities(system), btf(system), kprobes(system), lockdown(system)]
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
    let origin = match RaspberryPiOs::of(&system.release()) {
        Some(_) => "Raspberry Pi OS builds its kernels without BTF",
        None => "this kernel was built without CONFIG_DEBUG_INFO_BTF",
    };
    let instead = match (has_kprobes(system), RaspberryPiOs::of(&system.release())) {
        (true, _) => {
            "kprobes work without BTF: the probe finds out by itself where the kernel has what it needs, and a write costs a \
             little more"
        }
        (false, Some(RaspberryPiOs::Pi5)) => {
            "and that for the Pi 5 without kprobes, too: no probe can attach, and inotify is used"
        }
        (false, _) => "without kprobes no probe can attach, and inotify is used",
    };
    Finding::warn(
        "ebpf",
        "btf",
        "/sys/kernel/btf/vmlinux is missing",
        format!("{origin}; {instead} (what that costs: docs/performance.md); {OTHER_KERNELS}"),
    )
}

fn has_kprobes(system: &System) -> bool {
    system.exists("/sys/bus/event_source/devices/kprobe")
}

/// The kernel lists the perf event source that kprobes are attached by, whether tracefs is mounted or not.
fn kprobes(system: &System) -> Finding {
    if has_kprobes(system) {
        return Finding::ok("ebpf", "kprobes", "there");
    }
    let fix = "this kernel was built without CONFIG_KPROBE_EVENTS; fexit and tp_btf do not need them";
    Finding::warn("ebpf", "kprobes", "not there", fix)
}

fn lockdown(system: &System) -> Finding {
    // `none [integrity] confidentiality`: the one in force is in brackets.
    let text = system.read("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode = text.split('[').nth(1).and_then(|rest| rest.split(']').next()).unwrap_or("none");
    if mode == "confidentiality" {
        let fix = "confidentiality forbids kprobes; fexit and tp_btf do not need what it forbids. Where neither is available, \
                    start the kernel with lockdown=integrity";
        return Finding::warn("ebpf", "lockdown", mode, fix);
    }
    Finding::ok("ebpf", "lockdown", mode)
}
