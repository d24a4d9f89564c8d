//! Whether inotify and io_uring can be had: tried for real, as seccomp shows itself in no file.

use rustix::fs::inotify;

use super::{Finding, System};
use crate::config::{Config, ReaderChoice, SignalChoice};

/// Enough for a watch on each log file and each container's folder of a full node, with room for the kubelet's own.
const WATCHES_WANTED: u64 = 8192;

pub(super) fn inotify(config: &Config, system: &System) -> Vec<Finding> {
    let mut findings = Vec::new();
    match inotify::init(inotify::CreateFlags::CLOEXEC) {
        Ok(_) => findings.push(Finding::ok("inotify", "instance", "can be had")),
        Err(error) => {
            let limit = system.number("/proc/sys/fs/inotify/max_user_instances").unwrap_or(0);
            let found = format!("can not be had: {error} (fs.inotify.max_user_instances is {limit})");
            let mend = "sysctl fs.inotify.max_user_instances=1024";
            findings.push(match config.signal {
                SignalChoice::Inotify => Finding::fail("inotify", "instance", found, mend),
                _ => Finding::warn("inotify", "instance", found, mend),
            });
        }
    }
    findings.push(match system.number("/proc/sys/fs/inotify/max_user_watches") {
        Some(watches) if watches < WATCHES_WANTED => {
            let mend = format!("sysctl fs.inotify.max_user_watches={WATCHES_WANTED}, or more");
            Finding::warn("inotify", "watches", format!("{watches} at most"), mend)
        }
        Some(watches) => Finding::ok("inotify", "watches", format!("{watches} at most")),
        None => Finding::ok("inotify", "watches", "limit not readable"),
    });
    findings
}

pub(super) fn io_uring(config: &Config, system: &System) -> Vec<Finding> {
    let attempt = tokio_uring::Runtime::new(tokio_uring::builder().entries(8));
    let sysctl = system.number("/proc/sys/kernel/io_uring_disabled").unwrap_or(0);
    let finding = match attempt.map(drop) {
        Ok(()) => Finding::ok("reader", "io_uring", "can be used"),
        Err(error) => {
            let mend = match (sysctl, error.kind()) {
                (1 | 2, _) => format!("sysctl kernel.io_uring_disabled=0 (it is {sysctl})"),
                (_, std::io::ErrorKind::PermissionDenied) => {
                    "the container's seccomp profile forbids it: allow io_uring_setup, io_uring_enter and \
                     io_uring_register"
                        .into()
                }
                (_, std::io::ErrorKind::Unsupported) => "this kernel is older than 5.6 or was built without it".into(),
                (_, std::io::ErrorKind::OutOfMemory) => {
                    "raise the limit of locked memory: LimitMEMLOCK=infinity".into()
                }
                _ => "please report this".into(),
            };
            let found = format!("can not be used: {error}");
            match config.reader {
                ReaderChoice::IoUring => {
                    Finding::fail("reader", "io_uring", found, format!("{mend}; or set reader to auto"))
                }
                _ => Finding::warn("reader", "io_uring", found, format!("{mend}; pread does the work")),
            }
        }
    };
    vec![finding]
}
