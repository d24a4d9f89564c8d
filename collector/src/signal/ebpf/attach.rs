//! Attaches a plan's programs to the running kernel.
//!
//! In: the object and the kernel's types. Out: an [`Attached`] set of programs, or the [`Refusal`] with its mend.

use std::{
    collections::BTreeMap,
    error::Error,
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

use aya_obj::{EbpfSectionKind, Object, generated::bpf_attach_type};
use collector_ebpf::{global, map, program};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{
    object::OBJECT,
    plan::{Hook, Kind, PLANS, Plan},
    syscall::{self, AttachPoint},
};
use crate::signal::{
    Refusal,
    btf::{BtfError, KernelTypes},
};

/// Room for what the verifier says about a program that it refuses.
const VERIFIER_LOG_BYTES: usize = 256 * 1024;

/// `ENOTSUPP`, which is not for user space and yet comes out of bpf(2).
const ENOTSUPP: i32 = 524;

/// The mend of what nobody has seen yet.
const UNEXPECTED: &str = "please report it, with what `pilcrow` writes at log.level debug";

/// Programs that run on writes, until this is dropped.
pub struct Attached {
    /// The maps, by name.
    pub maps: BTreeMap<String, OwnedFd>,
    /// Keep the programs attached, and these the maps alive.
    pub links: Vec<OwnedFd>,
    /// The functions and tracepoints that are hooked.
    pub targets: Vec<&'static str>,
}

/// What of the running kernel and the object an attachment needs; read once for all plans.
pub struct Kernel {
    globals: Vec<(&'static str, u64)>,
    /// The hooks that the kernel has, with arguments as the programs take them, and their IDs in its BTF.
    hooks: Vec<(Kind, &'static str, u32)>,
    object: Object,
}

impl Kernel {
    /// Reads the types.
    pub fn read() -> Result<Self, Refusal> {
        let object = OBJECT.ok_or_else(|| {
            Refusal::new(
                "this pilcrow was built without the eBPF probe",
                "build it again after `cargo xtask build-ebpf`, or take a released binary",
            )
        })?;
        let object = Object::parse(object).map_err(|error| Refusal::new(in_full(&error), UNEXPECTED))?;
        let types = KernelTypes::of_running_kernel().map_err(|error| {
            let mend = match error {
                BtfError::Missing => "use a kernel that was built with CONFIG_DEBUG_INFO_BTF=y",
                BtfError::Unreadable(_) => "let pilcrow read /sys/kernel/btf",
                BtfError::Malformed(_) => UNEXPECTED,
            };
            Refusal::new(error, mend)
        })?;
        let all_hooks = PLANS.iter().flat_map(|plan| plan.hooks.iter().map(|hook| (plan.kind, hook)));
        let hooks = all_hooks.filter_map(|(kind, hook)| Some((kind, hook.target, fitting_id(&types, kind, hook)?)));
        Ok(Self { globals: globals(&types)?, hooks: hooks.collect(), object })
    }

    /// Makes the maps, loads the plan's programs and attaches them.
    ///
    /// # Errors
    /// If the kernel has none of the plan's hooks or refuses all of its programs.
    pub fn attach(&self, plan: &Plan) -> Result<Attached, Refusal> {
        if plan.kind == Kind::Kprobe && !Path::new("/sys/bus/event_source/devices/kprobe").exists() {
            return Err(Refusal::new(
                "this kernel has no kprobes",
                "use a kernel that was built with CONFIG_KPROBES=y",
            ));
        }
        // Before Linux 5.11 the maps count as locked memory. Where it fails and matters, making the maps fails too.
        let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
        let loaded =
            LoadedObject::new(&self.object, &self.globals, plan.kind).map_err(|error| refusal(plan, &*error))?;
        let mut attached = Attached { maps: BTreeMap::new(), links: Vec::new(), targets: Vec::new() };
        let mut refused = None;
        for hook in plan.hooks {
            let found = self.hooks.iter().find(|(kind, target, _)| *kind == plan.kind && *target == hook.target);
            let Some((.., id)) = found else { continue };
            match loaded.attach(plan.kind, hook, *id) {
                Ok(links) => {
                    attached.links.extend(links);
                    attached.targets.push(hook.target);
                }
                Err(error) => refused = Some(refusal(plan, &error)),
            }
        }
        if !attached.targets.is_empty() {
            attached.maps = loaded.maps;
            return Ok(attached);
        }
        Err(refused.unwrap_or_else(|| {
            let hooks: Vec<_> = plan.hooks.iter().map(|hook| hook.target).collect();
            let what = if plan.kind == Kind::TpBtf { "tracepoints" } else { "functions" };
            Refusal::new(
                format!("the kernel itself has no {what} {} of the known shape", hooks.join(", ")),
                "another kind of program may serve; those of a module cannot be hooked",
            )
        }))
    }
}

/// The object with its maps made, its globals set and its programs ready to be loaded.
struct LoadedObject {
    object: Object,
    maps: BTreeMap<String, OwnedFd>,
}

impl LoadedObject {
    fn new(object: &Object, globals: &[(&str, u64)], kind: Kind) -> Result<Self, Box<dyn Error>> {
        let mut object = object.clone();
        let values: Vec<_> = globals.iter().map(|(name, value)| (*name, value.to_ne_bytes())).collect();
        object.patch_map_data(values.iter().map(|(name, value)| (*name, (value.as_slice(), true))).collect())?;
        let mut maps = BTreeMap::new();
        for (name, map) in &object.maps {
            let is_used = name != map::IN_FLIGHT || kind == Kind::Kprobe;
            let fd = syscall::create_map(map, if is_used { map.max_entries() } else { 1 })?;
            if map.section_kind() == EbpfSectionKind::Rodata {
                syscall::set_and_freeze(fd.as_fd(), map.data())?;
            }
            maps.insert(name.clone(), fd);
        }
        let sections = object.functions.keys().map(|(section, _)| *section).collect();
        let definitions = object.maps.clone();
        let of_maps =
            definitions.iter().filter_map(|(name, map)| Some((name.as_str(), maps.get(name)?.as_raw_fd(), map)));
        object.relocate_maps(of_maps, &sections)?;
        object.relocate_calls(&sections)?;
        Ok(Self { object, maps })
    }

    fn attach(&self, kind: Kind, hook: &Hook, id: u32) -> io::Result<Vec<OwnedFd>> {
        let name = format!("{}_{}", kind.name(), hook.target);
        match kind {
            Kind::Fexit => self.attach_to_btf(&name, AttachPoint::Btf(bpf_attach_type::BPF_TRACE_FEXIT, id)),
            Kind::TpBtf => self.attach_to_btf(&name, AttachPoint::Btf(bpf_attach_type::BPF_TRACE_RAW_TP, id)),
            Kind::Kprobe => {
                let entry = hook.argument.kprobe_program().ok_or_else(|| io::Error::other("a tracepoint's hook"))?;
                let on_return = self.load(program::KRETPROBE, AttachPoint::Kprobe)?;
                let on_entry = self.load(entry, AttachPoint::Kprobe)?;
                // The return first: an entry without a return would leave its thread's slot behind.
                let on_return = syscall::attach_to_function(on_return.as_fd(), hook.target, true)?;
                let on_entry = syscall::attach_to_function(on_entry.as_fd(), hook.target, false)?;
                Ok(vec![on_return, on_entry])
            }
        }
    }

    fn attach_to_btf(&self, program: &str, point: AttachPoint) -> io::Result<Vec<OwnedFd>> {
        let program = self.load(program, point)?;
        Ok(vec![syscall::attach_to_btf(program.as_fd())?])
    }

    fn load(&self, name: &str, point: AttachPoint) -> io::Result<OwnedFd> {
        let program = self.object.programs.get(name);
        let function = program.and_then(|found| self.object.functions.get(&(found.section_index, found.address)));
        let function = function.ok_or_else(|| io::Error::other(format!("the object has no program {name}")))?;
        let loaded = syscall::load_program(&function.instructions, &self.object.license, point, None);
        if loaded.is_err() && tracing::enabled!(tracing::Level::DEBUG) {
            let mut log = vec![0; VERIFIER_LOG_BYTES];
            let again = syscall::load_program(&function.instructions, &self.object.license, point, Some(&mut log));
            let log = CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy();
            tracing::debug!(program = name, error = ?again.err(), %log, "the kernel refused an eBPF program");
        }
        loaded
    }
}

/// The BTF ID of a hook, if the kernel has it with arguments as the programs take them.
fn fitting_id(types: &KernelTypes, kind: Kind, hook: &Hook) -> Option<u32> {
    let (index, structure) = hook.argument.position();
    let (found, id) = match kind {
        Kind::Fexit | Kind::Kprobe => (types.function_argument(hook.target, index), types.function_id(hook.target)),
        Kind::TpBtf => (types.tracepoint_argument(hook.target, index), types.tracepoint_id(hook.target)),
    };
    id.filter(|_| found == Some(structure))
}

/// Where the probe finds what it reads, in bytes.
fn globals(types: &KernelTypes) -> Result<Vec<(&'static str, u64)>, Refusal> {
    let offset = |structure: &str, member: &str| {
        types
            .member_offset(structure, member)
            .ok_or_else(|| Refusal::new(format!("the kernel's types have no {structure}.{member}"), UNEXPECTED))
    };
    let registers = if cfg!(target_arch = "x86_64") {
        // di and si in struct pt_regs, arch/x86/include/asm/ptrace.h.
        [112, 104]
    } else {
        // x0 and x1, arch/arm64/include/asm/ptrace.h.
        [0, 8]
    };
    Ok(vec![
        (global::KIOCB_FILE, offset("kiocb", "ki_filp")?),
        // Without io_uring there is none, and no hook that needs it.
        (global::IO_KIOCB_FILE, types.member_offset("io_kiocb", "file").unwrap_or(0)),
        (global::FILE_INODE, offset("file", "f_inode")?),
        (global::INODE_NUMBER, offset("inode", "i_ino")?),
        (global::INODE_SUPER_BLOCK, offset("inode", "i_sb")?),
        (global::SUPER_BLOCK_DEVICE, offset("super_block", "s_dev")?),
        (global::REGISTER_ARGUMENT_0, registers[0]),
        (global::REGISTER_ARGUMENT_1, registers[1]),
    ])
}

/// What the kernel said, and what can be done about it.
fn refusal(plan: &Plan, error: &(dyn Error + 'static)) -> Refusal {
    let Some(error) = error.downcast_ref::<io::Error>() else {
        return Refusal::new(in_full(error), UNEXPECTED);
    };
    let mend = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "run pilcrow as root or with the capabilities CAP_BPF and CAP_PERFMON; if it has them, the kernel or the \
             container runtime (lockdown, seccomp) forbids this kind"
        }
        Some(ENOTSUPP) if plan.kind == Kind::Fexit => "on arm64, fexit needs Linux 6.5 or newer",
        Some(libc::ENOSYS) => "use a kernel that was built with CONFIG_BPF_SYSCALL=y",
        _ => UNEXPECTED,
    };
    Refusal::new(error, mend)
}

/// An error and its causes, in one line.
fn in_full(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
