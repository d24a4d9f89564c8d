//! The disk of `cargo xtask vm --containerd`: a root file system with Debian's containerd and runc.
//!
//! In: programs that were built for the machine. Out: an ext4 with containerd, its configuration, the images of the collector
//! and of the program in its neighbours' containers, and the DaemonSet of deploy/manifests. The kernel and the first process
//! are those of every other machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use super::{
    machine::Machine,
    programs::{self, Program},
    root::Root,
};
use crate::{helm, image, process};

/// containerd, and what it and runc load.
const PACKAGES: [&str; 4] = ["containerd", "runc", "libc6", "libseccomp2"];

/// Modules that it needs, where they are not built into the kernel.
pub const MODULES: [&str; 1] = ["overlay"];

/// What containerd has to be told: the sandboxes' image, which no registry has, and no AppArmor, whose tools are not here.
/// The rest is as it comes: overlayfs, runc, and records of 16 KiB.
fn configuration() -> String {
    format!(
        "version = 2\n\
         disabled_plugins = [\"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.snapshotter.v1.zfs\"]\n\n\
         [plugins.\"io.containerd.grpc.v1.cri\"]\n\
         sandbox_image = {:?}\n\
         disable_apparmor = true\n",
        guest::WORKLOAD_IMAGE
    )
}

/// Makes the disk in `folder`.
pub fn make_disk(folder: &Path, machine: Machine, programs: &[Program]) -> anyhow::Result<PathBuf> {
    let root = Root::of_debian("containerd", machine, |packages, to| {
        for package in PACKAGES {
            packages.unpack(package, to).with_context(|| format!("cannot fetch {package}"))?;
        }
        ensure!(to.join("usr/bin/containerd").is_file(), "Debian's containerd has no /usr/bin/containerd");
        Ok(())
    })?;
    for name in ["/etc/containerd", "/var/log/pods", "/var/lib", "/opt/cni/bin", "/etc/cni/net.d"] {
        root.add_folder(name)?;
    }
    let target = programs::static_target(machine.architecture());
    let daemonset = daemonset()?;
    let collector_image = daemonset["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
    let collector_image = collector_image.context("the DaemonSet names no image")?;
    let workload = fs::read(programs::named(programs, guest::WORKLOAD)?)?;
    let workload_image = image::layout::Image {
        name: guest::WORKLOAD_IMAGE,
        architecture: image::architecture(&target)?,
        command: (guest::WORKLOAD, &["pause"]),
        port: None,
    };
    let workload_path = guest::WORKLOAD.trim_start_matches('/');
    let workload_files = [image::layout::File { path: workload_path, mode: 0o755, content: &workload }];
    let files = [
        ("/etc/containerd/config.toml", configuration().into_bytes()),
        // containerd copies them into every sandbox.
        ("/etc/hosts", b"127.0.0.1 localhost\n".to_vec()),
        ("/etc/resolv.conf", Vec::new()),
        ("/etc/hostname", b"pi-3\n".to_vec()),
        (guest::WORKLOAD_ARCHIVE, image::layout::archive(&workload_image, &workload_files)?),
        (
            guest::COLLECTOR_ARCHIVE,
            image::archive_of(&target, collector_image, programs::named(programs, guest::COLLECTOR)?)?,
        ),
        (guest::DAEMONSET, serde_json::to_vec(&daemonset)?),
    ];
    for (name, contents) in files {
        root.add(name, &contents)?;
    }
    root.make_disk(folder)
}

/// What the chart makes, as it stands in deploy/manifests.
fn daemonset() -> anyhow::Result<serde_json::Value> {
    let file = process::workspace_root().join("deploy/manifests/pilcrow.yaml");
    let manifests = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    helm::find(&helm::objects(&manifests)?, "DaemonSet").cloned()
}
