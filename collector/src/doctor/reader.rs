//! Whether inotify and io_uring can be had: tried for real, as seccomp shows itself in no file.

use rustix::fs::inotify;

use super::{Finding, System};
use crate::{
    config::{Config, ReaderChoice, SignalChoice},
    read::UringReader,
    run::uring_refusal,
};

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

/// Sets up what the reader side sets up: a ring with the pool's buffers registered.
pub(super) fn io_uring(config: &Config) -> Finding {
    let attempt = UringReader::runtime().and_then(|runtime| runtime.block_on(async { UringReader::new() }).map(drop));
    match attempt {
        Ok(()) => Finding::ok("reader", "io_uring", "can be used"),
        Err(error) => {
            let found = format!("can not be used: {}", uring_refusal(&error));
            match config.reader {
                ReaderChoice::IoUring => Finding::fail("reader", "io_uring", found, "or set reader to auto"),
                _ => Finding::warn("reader", "io_uring", found, "until then pread does the work"),
            }
        }
    }
}
