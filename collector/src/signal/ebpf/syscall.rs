//! bpf(2) and perf_event_open(2), as far as the probe needs them.
//!
//! In: maps and relocated programs of the object. Out: file descriptors, each closed when dropped. aya's own loader does
//! the same, but not without reading all types of the kernel first, which takes 22 MB and more time than all the rest;
//! its object parser, relocation and map types are used.

use std::{
    ffi::{CStr, CString, c_long},
    fs, io, mem,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

use aya_obj::{
    Map,
    generated::{
        PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_BPF, PERF_FLAG_FD_CLOEXEC, bpf_attach_type, bpf_attr, bpf_cmd,
        bpf_insn, bpf_prog_type, perf_event_attr,
    },
};

/// Loading is tried again so often while a signal or io_uring interrupts the verifier.
const LOAD_TRIES: usize = 10;

/// Where a program can be attached.
#[derive(Clone, Copy, Debug)]
pub enum AttachPoint {
    /// The function or tracepoint with this ID in the kernel's BTF.
    Btf(bpf_attach_type, u32),
    /// Any kprobe.
    Kprobe,
}

/// Makes a map as the object defines it, with at most `max_entries`.
pub fn create_map(map: &Map, max_entries: u32) -> io::Result<OwnedFd> {
    let mut attributes = no_attributes();
    // SAFETY: all fields of the union are plain integers, and all are 0.
    let create = unsafe { &mut attributes.__bindgen_anon_1 };
    create.map_type = map.map_type();
    create.key_size = map.key_size();
    create.value_size = map.value_size();
    create.max_entries = max_entries;
    create.map_flags = map.map_flags();
    bpf_fd(bpf_cmd::BPF_MAP_CREATE, &mut attributes)
}

/// Sets the only value of an array, and makes it read-only for good: the verifier then takes it for constant.
pub fn set_and_freeze(map: BorrowedFd<'_>, value: &[u8]) -> io::Result<()> {
    let key = 0_u32;
    let mut attributes = no_attributes();
    // SAFETY: as in `create_map`.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    element.map_fd = map.as_raw_fd() as u32;
    element.key = ptr::from_ref(&key) as u64;
    element.__bindgen_anon_1.value = value.as_ptr() as u64;
    bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attributes)?;
    let mut attributes = no_attributes();
    attributes.__bindgen_anon_2.map_fd = map.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_MAP_FREEZE, &mut attributes).map(drop)
}

/// Loads a program. What the verifier says goes to `log`; without one it is not asked for.
pub fn load_program(
    instructions: &[bpf_insn],
    license: &CStr,
    point: AttachPoint,
    log: Option<&mut [u8]>,
) -> io::Result<OwnedFd> {
    let mut attributes = no_attributes();
    // SAFETY: as in `create_map`.
    let load = unsafe { &mut attributes.__bindgen_anon_3 };
    match point {
        AttachPoint::Btf(attach_type, id) => {
            load.prog_type = bpf_prog_type::BPF_PROG_TYPE_TRACING as u32;
            load.expected_attach_type = attach_type as u32;
            load.attach_btf_id = id;
        }
        AttachPoint::Kprobe => load.prog_type = bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32,
    }
    load.insns = instructions.as_ptr() as u64;
    load.insn_cnt = instructions.len() as u32;
    load.license = license.as_ptr() as u64;
    if let Some(log) = log {
        load.log_level = 1;
        load.log_buf = log.as_mut_ptr() as u64;
        load.log_size = log.len() as u32;
    }
    let mut tries = 1;
    loop {
        match bpf_fd(bpf_cmd::BPF_PROG_LOAD, &mut attributes) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && tries < LOAD_TRIES => tries += 1,
            loaded => return loaded,
        }
    }
}

/// Attaches a program to the function or tracepoint that it was loaded for.
pub fn attach_to_btf(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attributes = no_attributes();
    attributes.raw_tracepoint.prog_fd = program.as_raw_fd() as u32;
    bpf_fd(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attributes)
}

/// Attaches a program to a function's entry, or to its return.
pub fn attach_to_function(program: BorrowedFd<'_>, function: &str, at_return: bool) -> io::Result<OwnedFd> {
    let name = CString::new(function)?;
    // The kernel numbers its kinds of events as it starts.
    let kind = fs::read_to_string("/sys/bus/event_source/devices/kprobe/type")?;
    // SAFETY: plain integers, for all of which 0 is good.
    let mut event: perf_event_attr = unsafe { mem::zeroed() };
    event.size = size_of::<perf_event_attr>() as u32;
    event.type_ = kind.trim_end().parse().map_err(io::Error::other)?;
    // The first bit is called retprobe in .../kprobe/format.
    event.config = at_return.into();
    event.__bindgen_anon_3.kprobe_func = name.as_ptr() as u64;
    let (every_process, cpu, no_group) = (-1, 0, -1);
    let flags = u64::from(PERF_FLAG_FD_CLOEXEC);
    // SAFETY: `event` and the name that it points to live until the call returns.
    let fd =
        unsafe { libc::syscall(libc::SYS_perf_event_open, ptr::from_ref(&event), every_process, cpu, no_group, flags) };
    let event = owned(fd)?;
    control_event(&event, PERF_EVENT_IOC_SET_BPF, program.as_raw_fd())?;
    control_event(&event, PERF_EVENT_IOC_ENABLE, 0)?;
    Ok(event)
}

fn control_event(event: &OwnedFd, request: u32, argument: i32) -> io::Result<()> {
    // SAFETY: these requests take an integer and touch no memory of this process.
    match unsafe { libc::ioctl(event.as_raw_fd(), request.into(), argument) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn no_attributes() -> bpf_attr {
    // SAFETY: a union of structures of integers, for which 0 is good.
    unsafe { mem::zeroed() }
}

fn bpf_fd(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<OwnedFd> {
    bpf(command, attributes).and_then(owned)
}

fn bpf(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<c_long> {
    // SAFETY: the attributes are those of the command, and what they point to lives as long as the caller's borrow.
    match unsafe { libc::syscall(libc::SYS_bpf, command as u32, ptr::from_mut(attributes), size_of::<bpf_attr>()) } {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

/// Takes what a system call gave: a new descriptor, or -1.
fn owned(fd: c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
