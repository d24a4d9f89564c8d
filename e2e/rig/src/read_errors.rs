//! Reads that fail: EIO for the files that a test chooses, in a process that need not know of it.
//!
//! In: a command, and which files from when to when. Out: read(2), pread(2) and their kin give EIO for these. A seccomp filter hands
//! those system calls to a thread here (seccomp_unotify(2)), which looks at the open file and answers EIO or "go on". So it
//! works for any program, static or not, whoever makes the call; not for io_uring, whose reads are no system calls. Needs no
//! root.

#![expect(unsafe_code, reason = "std and rustix have no seccomp notifications")]

use std::{
    fmt, fs, io, mem,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command},
    ptr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use anyhow::Context;
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};

use crate::program;

/// Under this number the process has its end of the filter, so that it can be fetched from it; it does not use it itself.
const LISTENER: i32 = 900;
const CALLS: [libc::c_long; 5] =
    [libc::SYS_read, libc::SYS_readv, libc::SYS_pread64, libc::SYS_preadv, libc::SYS_preadv2];

type Choose = Box<dyn Fn(&Path) -> bool + Send>;

/// Which reads fail; clones are the same. At first none does.
#[derive(Clone, Default)]
pub struct ReadErrors(Arc<Shared>);

#[derive(Default)]
struct Shared {
    choose: Mutex<Option<Choose>>,
    given: AtomicU64,
}

impl ReadErrors {
    /// Why it cannot be done on this machine.
    #[must_use]
    pub fn not_available() -> Option<&'static str> {
        let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
        (!actions.contains("user_notif")).then_some("reads cannot fail: the kernel has no seccomp notifications")
    }

    /// From now on reads of the files with these paths fail.
    pub fn begin(&self, choose: impl Fn(&Path) -> bool + Send + 'static) {
        *self.choose() = Some(Box::new(choose));
    }

    /// No more.
    pub fn end(&self) {
        *self.choose() = None;
    }

    /// How many reads failed so far.
    #[must_use]
    pub fn given(&self) -> u64 {
        self.0.given.load(Relaxed)
    }

    /// Starts a process whose reads these are; it is killed when the calling thread ends.
    ///
    /// # Errors
    /// Where it cannot be started, or the kernel does not permit the filter.
    pub fn spawn(&self, command: &mut Command) -> anyhow::Result<Child> {
        // SAFETY: between fork and exec only prctl(2), seccomp(2) and dup2(2) are called, with arguments on the stack.
        unsafe { command.pre_exec(install_filter) };
        let mut child = program::spawn(command)?;
        match fetch_listener(&child) {
            Ok(listener) => {
                let errors = self.clone();
                thread::Builder::new().name("read-errors".into()).spawn(move || errors.answer(&listener))?;
                Ok(child)
            }
            Err(error) => {
                // It would wait for its first read for ever.
                let _ = child.kill();
                let _ = child.wait();
                Err(error).context("cannot fetch the filter of the reads")
            }
        }
    }

    /// Answers until the process has ended.
    fn answer(&self, listener: &OwnedFd) {
        loop {
            let mut waiting = [PollFd::new(listener, PollFlags::IN)];
            match poll(&mut waiting, None) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) => {}
            }
            if !waiting[0].revents().contains(PollFlags::IN) {
                return;
            }
            let Some(call) = receive(listener) else { continue };
            let fails = self.fails(call.pid, call.data.args[0]);
            self.0.given.fetch_add(u64::from(fails), Relaxed);
            send(listener, call.id, fails);
        }
    }

    fn fails(&self, pid: u32, descriptor: u64) -> bool {
        let choose = self.choose();
        let Some(choose) = &*choose else { return false };
        let Ok(path) = fs::read_link(format!("/proc/{pid}/fd/{}", descriptor as i32)) else { return false };
        let text = path.to_string_lossy();
        choose(&PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(&text)))
    }

    fn choose(&self) -> std::sync::MutexGuard<'_, Option<Choose>> {
        self.0.choose.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ReadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadErrors").field("given", &self.given()).finish_non_exhaustive()
    }
}

/// In the new process, before its program.
fn install_filter() -> io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut filter = [statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW); CALLS.len() + 3];
    // The number is the first word of what the filter sees.
    filter[0] = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0);
    for (index, number) in CALLS.into_iter().enumerate() {
        let compare = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number as u32);
        filter[index + 1] = libc::sock_filter { jt: (CALLS.len() - index) as u8, ..compare };
    }
    filter[CALLS.len() + 2] = statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF);
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: `program` and what it points to live until the call returns; the others take numbers.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
        let listener = libc::syscall(libc::SYS_seccomp, mode, flags, ptr::from_ref(&program));
        // The copy, unlike the first one, stays open over exec.
        if listener < 0 || libc::dup2(listener as i32, LISTENER) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn fetch_listener(child: &Child) -> io::Result<OwnedFd> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    Ok(pidfd_getfd(process, LISTENER, PidfdGetfdFlags::empty())?)
}

/// A call that waits; none where its process was killed meanwhile.
fn receive(listener: &OwnedFd) -> Option<libc::seccomp_notif> {
    // SAFETY: all zeros are a value of this struct of integers, and the kernel demands them; it writes no more than the struct.
    unsafe {
        let mut call: libc::seccomp_notif = mem::zeroed();
        let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
        (libc::ioctl(listener.as_raw_fd(), request, ptr::from_mut(&mut call)) == 0).then_some(call)
    }
}

fn send(listener: &OwnedFd, id: u64, fails: bool) {
    let (error, flags) = if fails { (-libc::EIO, 0) } else { (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32) };
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error, flags };
    // SAFETY: the kernel reads no more than the struct. It fails where the process was killed meanwhile.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, ptr::from_mut(&mut answer)) };
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn reads_of_chosen_files_fail_while_it_is_so_and_all_others_do_not() {
        if let Some(reason) = ReadErrors::not_available() {
            println!("SKIPPED: {reason}");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let [bad, good] = ["bad.log", "good.log"].map(|name| folder.path().join(name));
        fs::write(&bad, "bad").unwrap();
        fs::write(&good, "good").unwrap();
        let errors = ReadErrors::default();
        let cat = |path: &Path| {
            let mut command = Command::new("cat");
            command.arg(path).stdout(Stdio::piped()).stderr(Stdio::piped());
            let output = errors.spawn(&mut command).unwrap().wait_with_output().unwrap();
            (output.status.success(), String::from_utf8(output.stdout).unwrap())
        };
        assert_eq!(cat(&bad), (true, "bad".into()));
        errors.begin(|path| path.ends_with("bad.log"));
        assert_eq!(cat(&bad), (false, String::new()));
        assert_eq!(cat(&good), (true, "good".into()));
        assert_eq!(errors.given(), 1);
        errors.end();
        assert_eq!(cat(&bad), (true, "bad".into()));
    }
}
