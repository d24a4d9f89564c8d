//! The disk of `cargo xtask vm --systemd`: a root file system with Debian's systemd and dpkg, and two debs of Pilcrow.
//!
//! In: programs that were built for the machine. Out: an ext4 that the first process makes the root before it becomes systemd,
//! with a service that carries out the proof (e2e/guest/src/service.rs).

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::{
    machine::Machine,
    programs::{self, FIRST_PROCESS, Program},
    root::Root,
};
use crate::package;

/// systemd, dpkg with the programs that it looks for, and what the scripts of packages call.
const PACKAGES: [&str; 6] = ["systemd", "dpkg", "libc-bin", "diffutils", "dash", "coreutils"];

/// What is installed before the package of this version.
const OLDER: &str = "0.0.1";

/// What Debian's scripts would have made; a systemd that leaves the console to the proof; what it starts: everything that it
/// would start otherwise, and the proof.
const FILES: [(&str, &str); 9] = [
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ("/etc/group", "root:x:0:\n"),
    ("/etc/hostname", "pi-3\n"),
    ("/etc/os-release", "ID=debian\n"),
    ("/etc/machine-id", ""),
    ("/etc/systemd/system.conf", "[Manager]\nShowStatus=no\nLogTarget=journal\n"),
    (
        "/etc/systemd/system/default.target",
        "[Unit]\nDescription=The proof's machine\nRequires=multi-user.target\nWants=proof.service\nAllowIsolate=yes\n",
    ),
    ("/var/lib/dpkg/status", ""),
    ("/var/lib/dpkg/available", ""),
];

/// Starts the proof once services can be started, which is before a terminal is given up that no udev ever makes known; and ends the
/// machine if the proof cannot.
fn unit() -> String {
    format!(
        "[Unit]\nDescription=The proof\n\
         SuccessAction=poweroff-force\nFailureAction=poweroff-force\n\n\
         [Service]\nExecStart={} {}\nStandardOutput=tty\nStandardError=tty\nTTYPath=/dev/console\nLimitNOFILE=65536\n",
        guest::SERVICE_PROGRAM,
        guest::SERVICE_PROOF
    )
}

/// Makes the disk in `folder`.
pub fn make_disk(folder: &Path, machine: Machine, programs: &[Program]) -> anyhow::Result<PathBuf> {
    let root = Root::of_debian("systemd", machine, |packages, to| {
        packages.unpack_with_dependencies(&PACKAGES, to)?;
        ensure!(to.join("usr/lib/systemd/systemd").is_file(), "Debian's systemd has no /usr/lib/systemd/systemd");
        Ok(())
    })?;
    for (name, contents) in FILES {
        root.add(name, contents.as_bytes())?;
    }
    for name in ["/root", "/var/lib/dpkg/info", "/var/lib/dpkg/updates", "/var/log/pods"] {
        root.add_folder(name)?;
    }
    root.add("/etc/systemd/system/proof.service", unit().as_bytes())?;
    root.add_file(guest::SERVICE_PROGRAM, programs::named(programs, FIRST_PROCESS)?)?;
    let target = programs::static_target(machine.architecture());
    let collector = programs::named(programs, guest::COLLECTOR)?;
    for (version, name) in [(OLDER, guest::OLDER_DEB), (env!("CARGO_PKG_VERSION"), guest::DEB)] {
        let made = package::make(&target, collector, version, &folder.join("packages"))?;
        let deb = made.iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        root.add_file(name, deb.context("no deb was made")?)?;
    }
    root.make_disk(folder)
}
