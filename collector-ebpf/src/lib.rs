//! What the probe and the collector agree upon: the maps, the words in shared memory and the globals set at load.
//!
//! The probe (`src/main.rs`, built for bpfel-unknown-none) looks up every written file's [`FileKey`] in the map
//! [`map::TRACKED`]. For a tracked one it swaps the word of the file's slot in [`map::DIRTY`]; only the change from
//! [`CLEAN`] to something else puts an [`Event`] into the ring buffer [`map::EVENTS`], and only the first event after the
//! collector set [`Control::armed`] wakes the collector. The collector swaps the word back to [`CLEAN`] before it reads
//! the file.
#![no_std]

use core::sync::atomic::AtomicU64;

/// Tracked files at most: the number of words in [`map::DIRTY`].
pub const SLOTS: u32 = 16_384;

/// Bytes of the ring buffer: room for 4096 events. One that finds no room sets [`Control::dropped`].
pub const RING_BYTES: u32 = 64 * 1024;

/// Threads that may be inside a tracked write at once under kprobes; the oldest entry gives way to one more.
pub const IN_FLIGHT: u32 = 2048;

/// Words that a calibration takes of a structure, and of each structure that one of these points to.
pub const SAMPLE_WORDS: usize = 32;

/// The beginning of a structure of the kernel, in words; zeros where nothing can be read.
pub type Sample = [u64; SAMPLE_WORDS];

/// Entries of [`map::SAMPLES`] for a calibration: one for the structure itself and one for each of its words.
pub const SAMPLES: u32 = 1 + SAMPLE_WORDS as u32;

/// The word of a slot in [`map::DIRTY`] whose file has not been written since the last drain.
pub const CLEAN: u64 = 0;

/// The word of a slot after a write whose bytes are already visible to a reader.
///
/// The ext4 tracepoints fire just before the file's new size is visible; they store the offset behind the written bytes
/// instead, which is never 0, so that the collector can wait for that size.
pub const WRITTEN: u64 = 1;

/// A file as the kernel knows it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileKey {
    /// `inode.i_ino`.
    pub inode: u64,
    /// `super_block.s_dev`, (major << 20) | minor: not always what stat(2) says.
    pub device: u64,
}

impl FileKey {
    /// As the key of [`map::TRACKED`], inode first.
    #[must_use]
    pub const fn words(self) -> [u64; 2] {
        [self.inode, self.device]
    }
}

/// A slot went from clean to dirty.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Index into [`map::DIRTY`]; [`Event::WAKE_ONLY`] for none.
    pub slot: u64,
}

impl Event {
    /// The slot of an event that only wakes the collector.
    pub const WAKE_ONLY: u64 = u64::MAX;
}

/// The words beside the dirty flags that both sides write, in [`map::CONTROL`].
#[repr(C)]
#[derive(Debug)]
pub struct Control {
    /// 1 while the collector sleeps or is about to: the first event then wakes it and clears this.
    pub armed: AtomicU64,
    /// 1 after an event found no room: the collector then looks at every dirty flag.
    pub dropped: AtomicU64,
    /// The one device whose files are tracked, so that other writes need no look-up; [`Control::ANY_DEVICE`] if there
    /// are several.
    pub only_device: AtomicU64,
    /// A bit for each tracked inode, and for those that share it: without it a write needs no look-up. See
    /// [`Control::bit_of`].
    pub inodes: [AtomicU64; INODE_WORDS],
}

/// Words of [`Control::inodes`]: with 100 tracked files one untracked inode in 160 shares a bit with one of them.
pub const INODE_WORDS: usize = 256;

impl Control {
    /// The word of [`Control::inodes`] that has an inode's bit, and the word with that bit.
    #[must_use]
    #[inline(always)]
    pub const fn bit_of(inode: u64) -> (usize, u64) {
        // Fibonacci hashing: the highest bits of the product depend on all bits of the number.
        let hash = inode.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50;
        ((hash >> 6) as usize & (INODE_WORDS - 1), 1 << (hash & 63))
    }

    /// Files of several devices are tracked. No file system has device number 0.
    pub const ANY_DEVICE: u64 = 0;
}

/// Names of the maps.
pub mod map {
    /// Hash: the words of a [`super::FileKey`] to its slot (u64).
    pub const TRACKED: &str = "TRACKED";
    /// Memory-mapped array of [`super::SLOTS`] words.
    pub const DIRTY: &str = "DIRTY";
    /// Ring buffer of [`super::Event`].
    pub const EVENTS: &str = "EVENTS";
    /// Memory-mapped array of one [`super::Control`].
    pub const CONTROL: &str = "CONTROL";
    /// Least-recently-used hash: a thread (`bpf_get_current_pid_tgid`) to the slot of the write it is in. Only kprobes use
    /// it, whose return probes do not see the arguments.
    pub const IN_FLIGHT: &str = "IN_FLIGHT";
    /// Array of [`super::Sample`]: the calibration's structure, then what its words point to, in their order.
    pub const SAMPLES: &str = "SAMPLES";
}

/// Names of the globals that the collector sets at load: offsets in bytes, each a u64.
pub mod global {
    /// `kiocb.ki_filp`.
    pub const KIOCB_FILE: &str = "KIOCB_FILE";
    /// `io_kiocb.file`.
    pub const IO_KIOCB_FILE: &str = "IO_KIOCB_FILE";
    /// `file.f_inode`.
    pub const FILE_INODE: &str = "FILE_INODE";
    /// `inode.i_ino`.
    pub const INODE_NUMBER: &str = "INODE_NUMBER";
    /// `inode.i_sb`.
    pub const INODE_SUPER_BLOCK: &str = "INODE_SUPER_BLOCK";
    /// `super_block.s_dev`.
    pub const SUPER_BLOCK_DEVICE: &str = "SUPER_BLOCK_DEVICE";
    /// The register of a function's first argument, in `pt_regs`.
    pub const REGISTER_ARGUMENT_0: &str = "REGISTER_ARGUMENT_0";
    /// The register of a function's second argument, in `pt_regs`.
    pub const REGISTER_ARGUMENT_1: &str = "REGISTER_ARGUMENT_1";
    /// The register of a function's third argument, in `pt_regs`.
    pub const REGISTER_ARGUMENT_2: &str = "REGISTER_ARGUMENT_2";
    /// The address of the buffer whose write is a calibration's.
    pub const CALIBRATION_BUFFER: &str = "CALIBRATION_BUFFER";
    /// How many bytes that write has.
    pub const CALIBRATION_BYTES: &str = "CALIBRATION_BYTES";
    /// Where in `struct file` the pointer to the structure is that samples are taken of; [`ITSELF`] for the file itself.
    pub const CALIBRATION_VIA: &str = "CALIBRATION_VIA";

    /// See [`CALIBRATION_VIA`].
    pub const ITSELF: u64 = u64::MAX;
}

/// Names of the programs. Those of fexit and `tp_btf` are `fexit_FUNCTION` and `tp_btf_TRACEPOINT`.
pub mod program {
    /// Entry of a function whose first argument is a `struct kiocb *`.
    pub const KPROBE_KIOCB: &str = "kprobe_kiocb";
    /// Entry of a function whose first argument is a `struct file *`.
    pub const KPROBE_FILE: &str = "kprobe_file";
    /// Entry of a function whose second argument is a `struct file *`.
    pub const KPROBE_SECOND_FILE: &str = "kprobe_second_file";
    /// Entry of a function whose first argument is a `struct io_kiocb *`.
    pub const KPROBE_IO_KIOCB: &str = "kprobe_io_kiocb";
    /// Entry of `vfs_write`, for a calibration.
    pub const KPROBE_SAMPLE: &str = "kprobe_sample";
    /// Return of any of the others.
    pub const KRETPROBE: &str = "kretprobe_return";
}
