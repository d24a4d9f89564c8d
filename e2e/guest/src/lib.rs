//! What `cargo xtask vm` and the first process of its virtual machines exchange.
//!
//! The machine finds a [`Plan`] in its initramfs and writes [`Report`]s to its console, each a line of JSON behind
//! [`Report::MARK`]; between them stands what test programs print, as libtest prints it. No [`Report::Ended`]: the
//! machine died.

pub mod workload;

use serde::{Deserialize, Serialize};

/// Where the plan lies in the initramfs.
pub const PLAN: &str = "/plan.json";

/// Where the collector lies.
pub const COLLECTOR: &str = "/bin/pilcrow";

/// The static program of containers, in their image.
pub const WORKLOAD: &str = "/workload";

/// The name of that image, which is the one of pods' sandboxes too.
pub const WORKLOAD_IMAGE: &str = "localhost/workload:1";

/// Where its archive lies on a disk that has a root file system with containerd.
pub const WORKLOAD_ARCHIVE: &str = "/pilcrow/workload.tar";

/// Where the archive of the collector's image lies on it.
pub const COLLECTOR_ARCHIVE: &str = "/pilcrow/pilcrow.tar";

/// Where the collector's DaemonSet lies on it, as JSON.
pub const DAEMONSET: &str = "/pilcrow/daemonset.json";

/// Where a disk with systemd has the program that its service for the proof starts: the first process's own.
pub const SERVICE_PROGRAM: &str = "/pilcrow/guest";

/// What that is told.
pub const SERVICE_PROOF: &str = "service";

/// Where the deb of this version lies on such a disk.
pub const DEB: &str = "/pilcrow/pilcrow.deb";

/// Where one of an older version lies on it.
pub const OLDER_DEB: &str = "/pilcrow/older.deb";

/// The folder of kernel modules, which the plan names in the order of their loading.
pub const MODULES: &str = "/modules";

/// What a machine is to do after its start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// File names in [`MODULES`], each after those that it needs.
    pub modules: Vec<String>,
    /// Test programs, made by libtest, run one after the other.
    pub tests: Vec<Invocation>,
    /// Other programs, run after them; what they print is the result.
    pub programs: Vec<Invocation>,
    /// What the collector is put through, in this order.
    pub scenarios: Vec<Scenario>,
    /// The disk is a root file system with containerd: make it the root, and let the collector collect what containerd
    /// writes.
    pub containerd: bool,
    /// The disk is a root file system with systemd: make it the root and become systemd, whose service goes on.
    pub systemd: bool,
}

/// A program, and what it is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invocation {
    /// Its path in the machine.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// What is taken from the collector before it has to collect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Nothing: root on the kernel as it comes.
    AsIs,
    /// Kprobes, as in a kernel without `CONFIG_KPROBE_EVENTS`.
    NoKprobes,
    /// The kernel's types, as in a kernel without `CONFIG_DEBUG_INFO_BTF`.
    NoBtf,
    /// Both, as in the kernel that Raspberry Pi OS has for the Pi 5.
    NoBtfNoKprobes,
    /// `io_uring`, by kernel.io_uring_disabled=2.
    NoIoUring,
    /// CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN.
    NoCapabilities,
    /// The same, and inotify, whose instances are used up.
    NoInotify,
    /// Kprobes and the copying of kernel memory, by the lockdown mode `confidentiality`. The machine stays so: no scenario
    /// that is to do without lockdown can come later.
    Lockdown,
    /// The same, and the kernel's types.
    LockdownNoBtf,
}

impl Scenario {
    /// All of them, in an order in which they can be run.
    pub const ALL: [Self; 9] = [
        Self::AsIs,
        Self::NoKprobes,
        Self::NoBtf,
        Self::NoBtfNoKprobes,
        Self::NoIoUring,
        Self::NoCapabilities,
        Self::NoInotify,
        Self::Lockdown,
        Self::LockdownNoBtf,
    ];

    /// Its name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AsIs => "as-is",
            Self::NoKprobes => "no-kprobes",
            Self::NoBtf => "no-btf",
            Self::NoBtfNoKprobes => "no-btf-no-kprobes",
            Self::NoIoUring => "no-io_uring",
            Self::NoCapabilities => "no-capabilities",
            Self::NoInotify => "no-inotify",
            Self::Lockdown => "lockdown",
            Self::LockdownNoBtf => "lockdown-no-btf",
        }
    }

    /// The scenario of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name)
    }
}

/// A message from the machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// It is up.
    Booted {
        /// Of the kernel, as `uname -r` prints it.
        release: String,
        /// Of the kernel's memory management.
        page_bytes: usize,
    },
    /// A scenario came to its end.
    Collected(Collected),
    /// A scenario is not possible on this kernel.
    Impossible {
        /// Which one.
        scenario: Scenario,
        /// Why not.
        reason: String,
    },
    /// Everything was done.
    Ended {
        /// Test programs and scenarios that failed.
        failed: u32,
    },
}

impl Report {
    /// Begins each line that holds a report.
    pub const MARK: &str = "@guest ";

    /// The report in a line of the console; none if it holds something else.
    ///
    /// # Errors
    /// If the line is a report that cannot be read, as when the kernel wrote into it.
    pub fn in_line(line: &str) -> Option<serde_json::Result<Self>> {
        line.split_once(Self::MARK).map(|(_, json)| serde_json::from_str(json))
    }
}

/// How collecting went.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Collected {
    /// [`Scenario::name`].
    pub scenario: String,
    /// What happened to the logs meanwhile, for people; empty where that is the same each time.
    pub events: String,
    /// How growth was detected, in the collector's words.
    pub signal: String,
    /// Why not in a better way; empty if it is the best one.
    pub signal_reason: String,
    /// Which ways of writing that was seen to see, in doctor's words.
    pub ways: String,
    /// How files were read.
    pub reader: String,
    /// Why not in a better way; empty if it is the best one.
    pub reader_reason: String,
    /// Lines in the logs.
    pub written: u64,
    /// Lines that did not arrive.
    pub missing: u64,
    /// How often the sweep found what was not detected.
    pub sweep_finds: u64,
    /// Most memory that was ever resident, in bytes.
    pub peak_bytes: u64,
    /// Everything that is wrong, as sentences; empty if all is well.
    pub faults: Vec<String>,
}
