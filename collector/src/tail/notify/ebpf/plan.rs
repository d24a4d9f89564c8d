//! Which kernel functions the probe may hook, in order of preference. A plan is attached as a whole and then has to prove
//! itself; the first one that does is taken.

use collector_ebpf::program;

/// A kind of program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// At the return of a function, its arguments typed by BTF. arm64: from Linux 6.5 on.
    Fexit,
    /// A tracepoint, its arguments typed by BTF.
    TpBtf,
    /// A breakpoint at a function's entry and one at its return.
    Kprobe,
}

impl Kind {
    /// As people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fexit => "fexit",
            Self::TpBtf => "tp_btf",
            Self::Kprobe => "kprobe",
        }
    }
}

/// Where a hooked function's arguments have what is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// The first is a `struct kiocb *`.
    Kiocb,
    /// The first is a `struct file *`.
    File,
    /// The second is a `struct file *`.
    SecondFile,
    /// The first is a `struct io_kiocb *`.
    IoKiocb,
    /// The first is a `struct inode *`, of a tracepoint.
    Inode,
}

impl Argument {
    /// The argument's index and the structure that it points to.
    #[must_use]
    pub const fn position(self) -> (usize, &'static str) {
        match self {
            Self::Kiocb => (0, "kiocb"),
            Self::File => (0, "file"),
            Self::SecondFile => (1, "file"),
            Self::IoKiocb => (0, "io_kiocb"),
            Self::Inode => (0, "inode"),
        }
    }

    /// The kprobe program that takes it from there.
    #[must_use]
    pub const fn kprobe_program(self) -> Option<&'static str> {
        match self {
            Self::Kiocb => Some(program::KPROBE_KIOCB),
            Self::File => Some(program::KPROBE_FILE),
            Self::SecondFile => Some(program::KPROBE_SECOND_FILE),
            Self::IoKiocb => Some(program::KPROBE_IO_KIOCB),
            Self::Inode => None,
        }
    }
}

/// A function or tracepoint of the kernel.
#[derive(Debug)]
pub struct Hook {
    pub target: &'static str,
    /// Where its arguments have the file.
    pub argument: Argument,
}

/// On which file systems a plan sees writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Only on those whose own write path has the hook; a proof counts for file systems of the same type.
    ProvenFileSystem,
    /// On every one.
    Everywhere,
}

/// Hooks that together see the writes.
#[derive(Debug)]
pub struct Plan {
    /// The kind of all its programs.
    pub kind: Kind,
    /// What they attach to; those that the kernel has not are left out.
    pub hooks: &'static [Hook],
    /// Where it sees writes.
    pub coverage: Coverage,
    /// Whether the hooks run before the file's new size is visible.
    pub early: bool,
}

/// Where bytes enter the page cache: write, pwrite, writev, splice, sendfile and `io_uring` all pass here, while writes to
/// pipes and sockets do not and so cost nothing.
const PAGE_CACHE: &[Hook] = &[
    // ext4, f2fs, vfat, tmpfs and more.
    Hook { target: "generic_perform_write", argument: Argument::Kiocb },
    // XFS and more.
    Hook { target: "iomap_file_buffered_write", argument: Argument::Kiocb },
];

/// Where system calls enter the virtual file system: every file system, and each way of writing its own function.
const VIRTUAL_FILE_SYSTEM: &[Hook] = &[
    // write, pwrite.
    Hook { target: "vfs_write", argument: Argument::File },
    // writev, pwritev.
    Hook { target: "vfs_writev", argument: Argument::File },
    // splice, sendfile, copy_file_range.
    Hook { target: "iter_file_splice_write", argument: Argument::SecondFile },
    // io_uring, from Linux 6.0 on.
    Hook { target: "io_write", argument: Argument::IoKiocb },
];

/// ext4's tracepoints, for kernels that take no fexit. They run between the copying of the bytes and the new size.
const EXT4_TRACEPOINTS: &[Hook] = &[
    Hook { target: "ext4_da_write_end", argument: Argument::Inode },
    // Mounted with nodelalloc, or nearly full.
    Hook { target: "ext4_write_end", argument: Argument::Inode },
    // Mounted with data=journal.
    Hook { target: "ext4_journalled_write_end", argument: Argument::Inode },
];

/// All plans, the best first.
pub const PLANS: &[Plan] = &[
    Plan { kind: Kind::Fexit, hooks: PAGE_CACHE, coverage: Coverage::ProvenFileSystem, early: false },
    Plan { kind: Kind::Fexit, hooks: VIRTUAL_FILE_SYSTEM, coverage: Coverage::Everywhere, early: false },
    Plan { kind: Kind::TpBtf, hooks: EXT4_TRACEPOINTS, coverage: Coverage::ProvenFileSystem, early: true },
    Plan { kind: Kind::Kprobe, hooks: PAGE_CACHE, coverage: Coverage::ProvenFileSystem, early: false },
    Plan { kind: Kind::Kprobe, hooks: VIRTUAL_FILE_SYSTEM, coverage: Coverage::Everywhere, early: false },
];

impl Plan {
    /// The kind and its first hook, such as `fexit generic_perform_write`: names it among all plans.
    #[must_use]
    pub fn name(&self) -> String {
        let first = self.hooks.first().map_or("", |hook| hook.target);
        format!("{} {first}", self.kind.name())
    }
}
