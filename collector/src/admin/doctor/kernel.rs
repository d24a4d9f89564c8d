//! Which kernel this is.

use super::{Finding, System};

/// The first with a BPF ring buffer and CAP_BPF.
const OLDEST: (u32, u32) = (5, 8);

pub(super) fn examine(system: &System) -> Vec<Finding> {
    vec![kernel(system), machine()]
}

fn kernel(system: &System) -> Finding {
    let release = system.release();
    let name = match RaspberryPiOs::of(&release) {
        Some(_) => format!("{release} (Raspberry Pi OS)"),
        None => release,
    };
    if system.kernel_version() < OLDEST {
        let fix = "eBPF needs 5.8, io_uring 5.6; without them inotify and pread are used";
        return Finding::warn("kernel", "release", name, fix);
    }
    Finding::ok("kernel", "release", name)
}

fn machine() -> Finding {
    let (architecture, page_kib) = (std::env::consts::ARCH, rustix::param::page_size() / 1024);
    let found = format!("{architecture}, pages of {page_kib} KiB");
    match architecture {
        "aarch64" | "x86_64" => Finding::ok("kernel", "machine", found),
        _ => Finding::warn(
            "kernel",
            "machine",
            found,
            "tested on aarch64 and x86_64 only; please report whether it works here",
        ),
    }
}

/// The stock kernels of Raspberry Pi OS, which come without BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RaspberryPiOs {
    /// bcm2712_defconfig: no kprobes and no uprobe events either.
    Pi5,
    /// bcm2711_defconfig and older: have had kprobes.
    Older,
}

impl RaspberryPiOs {
    /// By the release: packages are `6.6.31+rpt-rpi-2712` and `…-rpi-v8`, rpi-update's kernels `6.6.31-v8-16k+` and
    /// `…-v8+`.
    pub(super) fn of(release: &str) -> Option<Self> {
        if release.ends_with("-rpi-2712") || release.ends_with("-v8-16k+") {
            Some(Self::Pi5)
        } else if release.contains("+rpt") || ["-v6+", "-v7+", "-v7l+", "-v8+"].iter().any(|end| release.ends_with(end))
        {
            Some(Self::Older)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raspberry_pi_os_is_known_by_its_release() {
        for (release, kind) in [
            ("6.6.31+rpt-rpi-2712", Some(RaspberryPiOs::Pi5)),
            ("6.12.25+rpt-rpi-2712", Some(RaspberryPiOs::Pi5)),
            ("6.6.31-v8-16k+", Some(RaspberryPiOs::Pi5)),
            ("6.6.31+rpt-rpi-v8", Some(RaspberryPiOs::Older)),
            ("6.6.31+rpt-rpi-v7l", Some(RaspberryPiOs::Older)),
            ("6.1.21-v8+", Some(RaspberryPiOs::Older)),
            ("6.8.0-1013-raspi", None),
            ("6.1.0-26-arm64", None),
            ("6.12.9-talos", None),
        ] {
            assert_eq!(RaspberryPiOs::of(release), kind, "{release}");
        }
    }
}
