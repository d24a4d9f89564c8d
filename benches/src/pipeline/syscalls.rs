//! System calls of a process, counted by the kernel: the tracepoint `raw_syscalls:sys_enter` by perf_event_open(2). It
//! costs the process about 0.1 µs a call, and nothing is stopped or written for it.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::fd::{FromRawFd, RawFd},
    process::Command,
    sync::LazyLock,
};

/// Where tracefs may be.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
const TRACEPOINT: &str = "events/raw_syscalls/sys_enter/id";

/// `PERF_TYPE_TRACEPOINT`, linux/perf_event.h.
const TYPE_TRACEPOINT: u32 = 2;
/// `PERF_FLAG_FD_CLOEXEC` of the same.
const CLOSE_ON_EXEC: libc::c_ulong = 8;
/// The bit `inherit`: threads to come are counted with the one that makes them.
const INHERIT: u64 = 1 << 1;

/// `struct perf_event_attr` of linux/perf_event.h in its first version, 64 bytes.
#[repr(C)]
#[derive(Default)]
struct EventAttributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_kind: u32,
    config1: u64,
}

/// The tracepoint's number; the error is said once.
static EVENT: LazyLock<Option<u64>> = LazyLock::new(|| match event() {
    Ok(id) => Some(id),
    Err(error) => {
        println!("system calls are not counted: {error}");
        None
    }
});

/// The calls of a process since [`Self::of`].
pub struct SystemCalls(Vec<File>);

impl SystemCalls {
    /// Counts from now on, in all threads and those to come; `None` where this kernel or user may not.
    pub fn of(pid: u32) -> Option<Self> {
        let event = (*EVENT)?;
        let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let ids = threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse().ok());
        let counters = ids.map(|thread| count(event, thread)).filter(|counter| !is_gone(counter));
        counters.collect::<io::Result<_>>().ok().map(Self)
    }

    /// How many there were.
    pub fn count(&self) -> Option<u64> {
        self.0.iter().map(read).sum::<io::Result<_>>().ok()
    }
}

/// Whether a thread ended before it could be counted.
fn is_gone(counter: &io::Result<File>) -> bool {
    counter.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH))
}

fn read(mut counter: &File) -> io::Result<u64> {
    let mut value = [0; 8];
    counter.read_exact(&mut value)?;
    Ok(u64::from_ne_bytes(value))
}

/// Starts to count `event` in a thread.
#[expect(unsafe_code, reason = "no crate of this workspace wraps perf_event_open")]
fn count(event: u64, thread: i32) -> io::Result<File> {
    let attributes = EventAttributes {
        kind: TYPE_TRACEPOINT,
        size: size_of::<EventAttributes>() as u32,
        config: event,
        flags: INHERIT,
        ..EventAttributes::default()
    };
    let (any_processor, no_group) = (-1, -1);
    // SAFETY: the kernel reads `size` bytes of `attributes`, which outlives the call, and writes nothing.
    let fd = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw const attributes, thread, any_processor, no_group, CLOSE_ON_EXEC)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that was just opened and that nobody else knows.
    Ok(unsafe { File::from_raw_fd(fd as RawFd) })
}

/// The number of the tracepoint, from tracefs, which is mounted for a moment where it is not, seen by nobody else.
fn event() -> io::Result<u64> {
    let mounted = TRACEFS.iter().find_map(|folder| fs::read_to_string(format!("{folder}/{TRACEPOINT}")).ok());
    let text = match mounted {
        Some(text) => text,
        None => {
            let folder = TRACEFS[0];
            let script = format!("mount -t tracefs tracefs {folder} && cat {folder}/{TRACEPOINT}");
            let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).output()?;
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
    };
    text.trim().parse().map_err(|_| io::Error::other("no tracepoint raw_syscalls:sys_enter is available (needs root)"))
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn the_calls_of_threads_that_are_there_and_of_those_to_come_are_counted() {
        let Some(calls) = SystemCalls::of(process::id()) else {
            println!("SKIPPED: system calls cannot be counted here");
            return;
        };
        let call = || (0..1000).for_each(|_| assert!(rustix::process::getppid().is_some()));
        call();
        std::thread::spawn(call).join().unwrap();
        assert!(calls.count().unwrap() >= 2000);
    }
}
