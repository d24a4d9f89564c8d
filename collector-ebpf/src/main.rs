//! The probe: programs on the kernel's write path.
//!
//! In: every write to a file. Out: dirty flags and ring buffer events for the tracked ones, see the library's first
//! lines. Knows no paths and no offsets of kernel structures: the collector reads those from the running kernel's BTF and
//! sets them as constants before the verifier sees the programs.
//!
//! All hooks run after the data is in the page cache, and except for the ext4 tracepoints after the new size is visible: a
//! collector that is woken by them must find the bytes.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "rustc knows no atomic swap for BPF, though its instruction set has one")]

use core::{
    ffi::c_void,
    intrinsics::{AtomicOrdering, atomic_xchg},
    sync::atomic::AtomicU64,
};

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel, bpf_probe_read_kernel_buf},
    macros::{btf_tracepoint, fexit, kprobe, kretprobe, map},
    maps::{Array, HashMap, LruHashMap, RingBuf},
    programs::{BtfTracePointContext, FExitContext, ProbeContext, RetProbeContext},
};
use collector_ebpf::{CLEAN, Control, Event, FileKey, RING_BYTES, SLOTS, Sample, WRITTEN, global::ITSELF};

#[map]
static TRACKED: HashMap<FileKey, u64> = HashMap::with_max_entries(SLOTS, BPF_F_NO_PREALLOC);
#[map]
static DIRTY: Array<u64> = Array::with_max_entries(SLOTS, BPF_F_MMAPABLE);
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);
#[map]
static CONTROL: Array<Control> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static IN_FLIGHT: LruHashMap<u64, u64> = LruHashMap::with_max_entries(collector_ebpf::IN_FLIGHT, 0);
#[map]
static SAMPLES: Array<Sample> = Array::with_max_entries(collector_ebpf::SAMPLES, 0);

/// Declares globals that the collector sets at load, and a function each that reads it.
macro_rules! globals {
    ($($name:ident $read:ident),* $(,)?) => {$(
        #[unsafe(no_mangle)]
        static $name: u64 = 0;

        #[inline(always)]
        fn $read() -> u64 {
            // SAFETY: a valid static. Volatile, so that the compiler does not take the 0 of the source for its value.
            unsafe { core::ptr::read_volatile(&raw const $name) }
        }
    )*};
}

globals! {
    KIOCB_FILE kiocb_file,
    IO_KIOCB_FILE io_kiocb_file,
    FILE_INODE file_inode,
    INODE_NUMBER inode_number,
    INODE_SUPER_BLOCK inode_super_block,
    SUPER_BLOCK_DEVICE super_block_device,
    REGISTER_ARGUMENT_0 register_argument_0,
    REGISTER_ARGUMENT_1 register_argument_1,
    REGISTER_ARGUMENT_2 register_argument_2,
    CALIBRATION_BUFFER calibration_buffer,
    CALIBRATION_BYTES calibration_bytes,
    CALIBRATION_VIA calibration_via,
}

type Address = *const c_void;

/// How a kind of program may read the kernel's memory.
trait KernelMemory {
    /// The pointer at `base + offset`.
    fn pointer(base: Address, offset: u64) -> Option<Address>;
    /// The u64 at `base + offset`.
    fn long(base: Address, offset: u64) -> Option<u64>;
    /// The u32 at `base + offset`.
    fn int(base: Address, offset: u64) -> Option<u32>;
}

/// Plain loads: the verifier knows the type of the pointer and makes a faulting load give 0.
struct Typed;

impl Typed {
    #[inline(always)]
    fn load<T>(base: Address, offset: u64) -> T {
        // SAFETY: the verifier refuses the program unless `base` is a pointer to a kernel structure that has a field of
        // this size at this offset. Volatile: a load of its own width, neither merged nor split.
        unsafe { base.byte_add(offset as usize).cast::<T>().read_volatile() }
    }
}

impl KernelMemory for Typed {
    #[inline(always)]
    fn pointer(base: Address, offset: u64) -> Option<Address> {
        Some(Self::load(base, offset))
    }

    #[inline(always)]
    fn long(base: Address, offset: u64) -> Option<u64> {
        Some(Self::load(base, offset))
    }

    #[inline(always)]
    fn int(base: Address, offset: u64) -> Option<u32> {
        Some(Self::load(base, offset))
    }
}

/// Checked copies, for kprobes: the verifier knows nothing of their arguments.
struct Untyped;

impl Untyped {
    #[inline(always)]
    fn copy<T>(base: Address, offset: u64) -> Option<T> {
        // SAFETY: the helper checks the address; a bad one is an error.
        unsafe { bpf_probe_read_kernel(base.wrapping_byte_add(offset as usize).cast::<T>()).ok() }
    }
}

impl KernelMemory for Untyped {
    #[inline(always)]
    fn pointer(base: Address, offset: u64) -> Option<Address> {
        Self::copy(base, offset)
    }

    #[inline(always)]
    fn long(base: Address, offset: u64) -> Option<u64> {
        Self::copy(base, offset)
    }

    #[inline(always)]
    fn int(base: Address, offset: u64) -> Option<u32> {
        Self::copy(base, offset)
    }
}

/// The slot of an inode, if it is tracked.
#[inline(always)]
fn slot_of_inode<M: KernelMemory>(inode: Address) -> Option<u64> {
    let device = u64::from(M::int(M::pointer(inode, inode_super_block())?, super_block_device())?);
    let control = control()?;
    let only_device = load(&control.only_device);
    if only_device != Control::ANY_DEVICE && only_device != device {
        return None;
    }
    let key = FileKey { inode: M::long(inode, inode_number())?, device };
    let (word, bit) = Control::bit_of(key.inode);
    if load(control.inodes.get(word)?) & bit == 0 {
        return None;
    }
    // SAFETY: the value is copied at once. An element that is removed meanwhile gives a slot that is no longer this
    // file's, and the mark for it a needless read.
    unsafe { TRACKED.get(key) }.copied()
}

/// The slot of an open file, if it is tracked.
#[inline(always)]
fn slot_of_file<M: KernelMemory>(file: Address) -> Option<u64> {
    slot_of_inode::<M>(M::pointer(file, file_inode())?)
}

#[inline(always)]
fn control() -> Option<&'static Control> {
    CONTROL.get(0)
}

/// A plain load: BPF's instruction set has atomic ones only from version 4 on.
#[inline(always)]
fn load(word: &AtomicU64) -> u64 {
    // SAFETY: the address of an atomic, aligned and alive. The kernel never tears an aligned load of a word.
    unsafe { word.as_ptr().read_volatile() }
}

/// BPF's exchange instruction, which the kernel makes a full barrier.
#[inline(always)]
fn swap(word: &AtomicU64, value: u64) -> u64 {
    // SAFETY: the address of an atomic, aligned and alive.
    unsafe { atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(word.as_ptr(), value) }
}

/// Marks a slot. `word` is not [`CLEAN`].
///
/// The swap is a full barrier between the write's bytes and the look at the flag, as the collector's swap is between the
/// flag and its read: one of the two sees the other's. A plain test of the flag first would not be.
#[inline(always)]
fn mark(slot: u64, word: u64) -> Option<()> {
    let flag = DIRTY.get_ptr_mut(slot as u32)?;
    // SAFETY: an aligned word inside the array, which the map keeps alive.
    if swap(unsafe { AtomicU64::from_ptr(flag) }, word) != CLEAN {
        return None;
    }
    let control = control()?;
    let Some(mut event) = EVENTS.reserve::<Event>(0) else {
        swap(&control.dropped, 1);
        // Without room, and yet armed: the collector emptied the ring buffer just now, so there is room for this. If not,
        // it has armed itself but not yet looked whether there are events, and will not sleep.
        if swap(&control.armed, 0) != 0 {
            let mut event = EVENTS.reserve::<Event>(0)?;
            event.write(Event { slot: Event::WAKE_ONLY });
            event.submit(BPF_RB_FORCE_WAKEUP.into());
        }
        return None;
    };
    event.write(Event { slot });
    // Only now, with the event reserved: a collector that arms itself later sees that there is one, and does not sleep.
    let wake = swap(&control.armed, 0) != 0;
    event.submit(u64::from(if wake { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }));
    Some(())
}

/// Declares an fexit program for a function, given where its arguments have the file.
macro_rules! fexit_programs {
    ($($program:ident: |$context:ident| $file:expr;)*) => {$(
        #[fexit]
        fn $program($context: FExitContext) -> i32 {
            if let Some(slot) = slot_of_file::<Typed>($file) {
                mark(slot, WRITTEN);
            }
            0
        }
    )*};
}

fexit_programs! {
    fexit_generic_perform_write: |context| Typed::load(context.arg::<Address>(0), kiocb_file());
    fexit_iomap_file_buffered_write: |context| Typed::load(context.arg::<Address>(0), kiocb_file());
    fexit_vfs_write: |context| context.arg::<Address>(0);
    fexit_vfs_writev: |context| context.arg::<Address>(0);
    fexit_iter_file_splice_write: |context| context.arg::<Address>(1);
    fexit_io_write: |context| Typed::load(context.arg::<Address>(0), io_kiocb_file());
}

/// The ext4 tracepoints: `(struct inode *inode, loff_t pos, unsigned int len, unsigned int copied)`.
macro_rules! ext4_programs {
    ($($program:ident $tracepoint:literal;)*) => {$(
        #[btf_tracepoint(function = $tracepoint)]
        fn $program(context: BtfTracePointContext) -> i32 {
            if let Some(slot) = slot_of_inode::<Typed>(context.arg::<Address>(0)) {
                let end = context.arg::<u64>(1).wrapping_add(context.arg::<u32>(3).into());
                mark(slot, end.max(WRITTEN));
            }
            0
        }
    )*};
}

ext4_programs! {
    tp_btf_ext4_da_write_end "ext4_da_write_end";
    tp_btf_ext4_write_end "ext4_write_end";
    tp_btf_ext4_journalled_write_end "ext4_journalled_write_end";
}

/// Declares a kprobe program for the entry of functions, given where their arguments have the file.
macro_rules! kprobe_programs {
    ($($program:ident: |$context:ident| $file:expr;)*) => {$(
        #[kprobe]
        fn $program($context: ProbeContext) -> u32 {
            enter($file);
            0
        }
    )*};
}

kprobe_programs! {
    kprobe_kiocb: |context| Untyped::pointer(argument(&context, register_argument_0()), kiocb_file());
    kprobe_file: |context| Some(argument(&context, register_argument_0()));
    kprobe_second_file: |context| Some(argument(&context, register_argument_1()));
    kprobe_io_kiocb: |context| Untyped::pointer(argument(&context, register_argument_0()), io_kiocb_file());
}

/// The pointer in a register of the probed function; null, which nothing can be read from, if that fails.
#[inline(always)]
fn argument(context: &ProbeContext, register: u64) -> Address {
    Untyped::pointer(context.as_ptr(), register).unwrap_or(core::ptr::null())
}

/// Remembers that this thread writes to a tracked file.
#[inline(always)]
fn enter(file: Option<Address>) -> Option<()> {
    let slot = slot_of_file::<Untyped>(file?)?;
    IN_FLIGHT.insert(bpf_get_current_pid_tgid(), slot, 0).ok()
}

#[kretprobe]
fn kretprobe_return(_context: RetProbeContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: copied at once; only this thread writes its own entry.
    if let Some(slot) = unsafe { IN_FLIGHT.get(thread) }.copied() {
        // An entry that could not be removed makes the thread's next write anywhere a needless mark.
        let _ = IN_FLIGHT.remove(thread);
        mark(slot, WRITTEN);
    }
    0
}

/// Takes the samples of a calibration, for kernels that do not tell where a structure's members lie. In: the write of one
/// buffer, which only the collector knows. Out: the beginning of its `struct file`, or of what that points to, and of all
/// that this points to.
#[kprobe]
fn kprobe_sample(context: ProbeContext) -> u32 {
    sample(&context);
    0
}

#[inline(always)]
fn sample(context: &ProbeContext) -> Option<()> {
    let is_ours = argument(context, register_argument_1()).addr() as u64 == calibration_buffer()
        && argument(context, register_argument_2()).addr() as u64 == calibration_bytes();
    if !is_ours {
        return None;
    }
    let file = argument(context, register_argument_0());
    let start = if calibration_via() == ITSELF { file } else { Untyped::pointer(file, calibration_via())? };
    let words = copy_words(0, start)?;
    for index in 0..collector_ebpf::SAMPLE_WORDS {
        // SAFETY: inside the array, which the map keeps alive; only this program writes to it.
        let word = unsafe { words.cast::<u64>().add(index).read_volatile() };
        copy_words(1 + index as u32, core::ptr::without_provenance(word as usize))?;
    }
    Some(())
}

/// Fills an entry of [`SAMPLES`]; with zeros if that address cannot be read.
#[inline(always)]
fn copy_words(entry: u32, from: Address) -> Option<*mut Sample> {
    let words = SAMPLES.get_ptr_mut(entry)?;
    // SAFETY: the whole entry as bytes; the helper checks the address that it reads from.
    unsafe {
        let bytes = core::slice::from_raw_parts_mut(words.cast::<u8>(), size_of::<Sample>());
        let _ = bpf_probe_read_kernel_buf(from.cast(), bytes);
    }
    Some(words)
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
