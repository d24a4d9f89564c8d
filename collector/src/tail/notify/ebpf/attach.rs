//! Attaches a plan's programs to the running kernel.
//!
//! In: the object and the kernel's types. Out: an [`Attached`] set of programs, or the [`Refusal`] with its fix.

use std::{error::Error, io, iter, path::Path};

use aya::{
    Btf, Ebpf, EbpfLoader, Endianness, VerifierLogLevel,
    programs::{BtfTracePoint, FExit, KProbe, ProgramError},
};
use collector_ebpf::{global, map, program};
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, setrlimit},
};

use super::{
    OBJECT,
    calibration::{self, Offsets},
    loader,
    plan::{Hook, Kind, PLANS, Plan},
};
use crate::tail::notify::{
    Refusal,
    btf::{BtfError, KernelTypes},
    proof::LogFileSystem,
};

/// Where `struct pt_regs` has the first three arguments of a function.
pub const REGISTERS: [u64; 3] = if cfg!(target_arch = "x86_64") {
    // di, si and dx, arch/x86/include/asm/ptrace.h.
    [112, 104, 96]
} else {
    // x0, x1 and x2, arch/arm64/include/asm/ptrace.h.
    [0, 8, 16]
};

/// `ENOTSUPP`, which is not for user space and yet comes out of bpf(2).
const ENOTSUPP: i32 = 524;

/// The fix for errors that nobody has seen yet.
const UNEXPECTED: &str = "please report it, with what `pilcrow` writes at log.level debug";

/// Programs that run on writes, until this is dropped.
pub struct Attached {
    /// Holds the programs and the maps.
    pub ebpf: Ebpf,
    /// The functions and tracepoints that are hooked.
    pub targets: Vec<&'static str>,
}

/// What of the running kernel an attachment needs; read once for all plans.
pub struct Kernel {
    globals: Vec<(&'static str, u64)>,
    /// The hooks that the kernel has, with arguments as the programs take them.
    hooks: Vec<(Kind, &'static str)>,
    /// As aya wants the kernel's types: it only looks up the IDs of the hooks. None: the kernel does not tell them.
    btf: Option<Btf>,
}

impl Kernel {
    /// Reads the types; where the kernel has none, finds by writing what kprobes need of them.
    pub fn read(logs: &LogFileSystem) -> Result<Self, Refusal> {
        match KernelTypes::of_running_kernel() {
            Ok(types) => Self::with_types(types),
            Err(BtfError::Missing) => Self::without_types(logs),
            Err(error @ BtfError::Unreadable(_)) => Err(Refusal::new(error, "let pilcrow read /sys/kernel/btf")),
            Err(error @ BtfError::Malformed(_)) => Err(Refusal::new(error, UNEXPECTED)),
        }
    }

    fn with_types(types: KernelTypes) -> Result<Self, Refusal> {
        let globals = globals(&types)?;
        let hooks: Vec<_> = all_hooks()
            .filter(|(kind, hook)| fits(&types, *kind, hook))
            .map(|(kind, hook)| (kind, hook.target))
            .collect();
        let name = |(kind, target): &(Kind, &str)| match kind {
            Kind::TpBtf => format!("btf_trace_{target}"),
            Kind::Fexit | Kind::Kprobe => (*target).to_owned(),
        };
        let skeleton = types.skeleton(&hooks.iter().map(name).collect::<Vec<_>>());
        // Megabytes that nobody needs any more.
        drop(types);
        let btf =
            Btf::parse(&skeleton, Endianness::default()).map_err(|error| Refusal::new(in_full(&error), UNEXPECTED))?;
        Ok(Self { globals, hooks, btf: Some(btf) })
    }

    /// Whether a function is there and takes what the programs expect is then seen by attaching and proving.
    fn without_types(logs: &LogFileSystem) -> Result<Self, Refusal> {
        if !has_kprobes() {
            return Err(Refusal::new(
                format!("{}, and no kprobes, which could do without", BtfError::Missing),
                "use a kernel that was built with CONFIG_DEBUG_INFO_BTF=y",
            ));
        }
        let offsets = calibration::calibrate(logs).map_err(|refusal| Refusal {
            reason: format!("{}, and {}", BtfError::Missing, refusal.reason),
            ..refusal
        })?;
        tracing::info!(?offsets, "this kernel has no BTF; the offsets were found by writing to files of our own");
        let hooks = all_hooks().filter(|(kind, _)| *kind == Kind::Kprobe).map(|(kind, hook)| (kind, hook.target));
        Ok(Self { globals: calibrated_globals(&offsets), hooks: hooks.collect(), btf: None })
    }

    /// Makes aya's loader, which is good for all plans.
    pub fn loader(&self) -> EbpfLoader<'_> {
        let mut loader = loader();
        loader.map_max_entries(map::SAMPLES, 1);
        for (name, value) in &self.globals {
            loader.override_global(name, value, true);
        }
        loader
    }

    /// Loads the object's maps and the plan's programs, and attaches those.
    ///
    /// # Errors
    /// If the kernel has none of the plan's hooks or refuses all of its programs.
    pub fn attach(&self, loader: &mut EbpfLoader<'_>, plan: &Plan) -> Result<Attached, Refusal> {
        if plan.kind == Kind::Kprobe && !has_kprobes() {
            return Err(Refusal::new(
                "this kernel has no kprobes",
                "use a kernel that was built with CONFIG_KPROBES=y",
            ));
        }
        if plan.kind != Kind::Kprobe && self.btf.is_none() {
            return Err(Refusal::new(BtfError::Missing, "use a kernel that was built with CONFIG_DEBUG_INFO_BTF=y"));
        }
        let in_flight = if plan.kind == Kind::Kprobe { collector_ebpf::IN_FLIGHT } else { 1 };
        loader.map_max_entries(map::IN_FLIGHT, in_flight);
        let mut ebpf = loader.load(OBJECT).map_err(|error| refusal(&plan.name(), plan.kind, &error))?;
        let mut targets = Vec::new();
        let mut refused = None;
        for hook in plan.hooks.iter().filter(|hook| self.hooks.contains(&(plan.kind, hook.target))) {
            match self.attach_hook(&mut ebpf, plan.kind, hook) {
                Ok(()) => targets.push(hook.target),
                Err(error) => refused = Some(refusal(&plan.name(), plan.kind, &error)),
            }
        }
        if !targets.is_empty() {
            return Ok(Attached { ebpf, targets });
        }
        Err(refused.unwrap_or_else(|| {
            let hooks: Vec<_> = plan.hooks.iter().map(|hook| hook.target).collect();
            let what = if plan.kind == Kind::TpBtf { "tracepoints" } else { "functions" };
            Refusal::new(
                format!("the kernel itself has no {what} {} of the known shape", hooks.join(", ")),
                "another kind of program may work; those of a module cannot be hooked",
            )
        }))
    }

    fn attach_hook(&self, ebpf: &mut Ebpf, kind: Kind, hook: &Hook) -> Result<(), ProgramError> {
        let name = format!("{}_{}", kind.name(), hook.target);
        match (kind, &self.btf) {
            (Kind::Fexit, Some(btf)) => {
                let program: &mut FExit = typed(ebpf, &name)?;
                program.load(hook.target, btf)?;
                program.attach()?;
            }
            (Kind::TpBtf, Some(btf)) => {
                let program: &mut BtfTracePoint = typed(ebpf, &name)?;
                program.load(hook.target, btf)?;
                program.attach()?;
            }
            (Kind::Fexit | Kind::TpBtf, None) => return Err(ProgramError::UnexpectedProgramType),
            (Kind::Kprobe, _) => {
                let entry = hook.argument.kprobe_program().ok_or(ProgramError::UnexpectedProgramType)?;
                // The return first: an entry without a return would leave a stale mark behind.
                for name in [program::KRETPROBE, entry] {
                    let program: &mut KProbe = typed(ebpf, name)?;
                    match program.load() {
                        // By another hook of the same shape.
                        Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
                        Err(error) => return Err(error),
                    }
                    program.attach(hook.target, 0)?;
                }
            }
        }
        Ok(())
    }
}

/// Those of all plans.
fn all_hooks() -> impl Iterator<Item = (Kind, &'static Hook)> {
    PLANS.iter().flat_map(|plan| plan.hooks.iter().map(|hook| (plan.kind, hook)))
}

/// aya's loader without kernel types and without any global set.
pub fn loader() -> EbpfLoader<'static> {
    // Before Linux 5.11 the maps count as locked memory. Where it fails and matters, making the maps fails too.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    let mut loader = loader::without_kernel_types();
    // The verifier's log takes megabytes, and a refused program is loaded again for more of it.
    if !tracing::enabled!(tracing::Level::DEBUG) {
        loader.verifier_log_level(VerifierLogLevel::DISABLE);
    }
    loader
}

/// Whether the kernel has the hook, with arguments as the programs take them.
fn fits(types: &KernelTypes, kind: Kind, hook: &Hook) -> bool {
    let (index, structure) = hook.argument.position();
    let found = match kind {
        Kind::Fexit | Kind::Kprobe => types.function_argument(hook.target, index),
        Kind::TpBtf => types.tracepoint_argument(hook.target, index),
    };
    found == Some(structure)
}

/// A program of the object, as the kind that it is.
pub fn typed<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, ProgramError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name).ok_or(ProgramError::UnexpectedProgramType)?.try_into()
}

/// Where the probe finds what it reads, in bytes.
fn globals(types: &KernelTypes) -> Result<Vec<(&'static str, u64)>, Refusal> {
    let offset = |structure: &str, member: &str| {
        types
            .member_offset(structure, member)
            .ok_or_else(|| Refusal::new(format!("the kernel's types have no {structure}.{member}"), UNEXPECTED))
    };
    Ok(vec![
        (global::KIOCB_FILE, offset("kiocb", "ki_filp")?),
        // Without io_uring there is none, and no hook that needs it.
        (global::IO_KIOCB_FILE, types.member_offset("io_kiocb", "file").unwrap_or(0)),
        (global::FILE_INODE, offset("file", "f_inode")?),
        (global::INODE_NUMBER, offset("inode", "i_ino")?),
        (global::INODE_SUPER_BLOCK, offset("inode", "i_sb")?),
        (global::SUPER_BLOCK_DEVICE, offset("super_block", "s_dev")?),
        (global::REGISTER_ARGUMENT_0, REGISTERS[0]),
        (global::REGISTER_ARGUMENT_1, REGISTERS[1]),
    ])
}

/// The same from a calibration.
fn calibrated_globals(offsets: &Offsets) -> Vec<(&'static str, u64)> {
    vec![
        // The first members of their structures ever since there are such (include/linux/fs.h, io_uring_types.h).
        (global::KIOCB_FILE, 0),
        (global::IO_KIOCB_FILE, 0),
        (global::FILE_INODE, offsets.file_inode),
        (global::INODE_NUMBER, offsets.inode_number),
        (global::INODE_SUPER_BLOCK, offsets.inode_super_block),
        (global::SUPER_BLOCK_DEVICE, offsets.super_block_device),
        (global::REGISTER_ARGUMENT_0, REGISTERS[0]),
        (global::REGISTER_ARGUMENT_1, REGISTERS[1]),
    ]
}

fn has_kprobes() -> bool {
    [
        "/sys/bus/event_source/devices/kprobe",
        "/sys/kernel/tracing/kprobe_events",
        "/sys/kernel/debug/tracing/kprobe_events",
    ]
    .iter()
    .any(|path| Path::new(path).exists())
}

/// What the kernel said, and what can be done about it.
pub fn refusal(name: &str, kind: Kind, error: &(dyn Error + 'static)) -> Refusal {
    tracing::debug!(name, error = in_full(error), "the kernel refused an eBPF program");
    // The innermost cause is the system call's. What is around it has the verifier's log, which is for developers.
    let Some(error) = causes(error).find_map(|error| error.downcast_ref::<io::Error>()) else {
        return Refusal::new(in_full(error), UNEXPECTED);
    };
    let fix = match Errno::from_io_error(error) {
        Some(Errno::PERM | Errno::ACCESS) => {
            "run pilcrow as root or with the capabilities CAP_BPF and CAP_PERFMON; if it has them, the kernel or the \
             container runtime (lockdown, seccomp) forbids this kind"
        }
        Some(code) if code.raw_os_error() == ENOTSUPP && kind == Kind::Fexit => {
            "on arm64, fexit needs Linux 6.5 or newer"
        }
        // The verifier knows no helper that copies kernel memory then.
        Some(Errno::INVAL) if kind == Kind::Kprobe => {
            "a kernel in the lockdown mode confidentiality allows no kprobes: start it with lockdown=integrity; else please \
             report it, with what `pilcrow` writes at log.level debug"
        }
        Some(Errno::NOSYS) => "use a kernel that was built with CONFIG_BPF_SYSCALL=y",
        _ => UNEXPECTED,
    };
    Refusal::new(error, fix)
}

/// An error, its cause, that one's cause and so on.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// An error and its causes, in one line.
pub fn in_full(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
