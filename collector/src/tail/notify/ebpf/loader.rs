//! An aya loader that has not read the kernel's types.
//!
//! The only constructor of aya 0.14's `EbpfLoader` reads all of /sys/kernel/btf/vmlinux for relocations that the probe
//! does not have, and takes 50 MB for it: more than Pilcrow's whole budget, at once and on every node. So the loader is
//! made on a thread of its own to which the kernel shows no files. With an aya that has a constructor without types, this
//! file goes.

use std::thread;

use aya::EbpfLoader;

/// A loader without the kernel's types; with them where the thread could not be shut off from files, which works, too.
pub fn without_kernel_types() -> EbpfLoader<'static> {
    let made = thread::Builder::new().name("loader".into()).spawn(|| {
        refuse_to_open_files();
        EbpfLoader::new()
    });
    let mut loader = made.ok().and_then(|thread| thread.join().ok()).unwrap_or_default();
    loader.btf(None);
    loader
}

/// From here on, opening a file fails with `ENOENT` on this thread (seccomp(2)).
fn refuse_to_open_files() {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let jump_if = |number: libc::c_long, jt: u8| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt,
        jf: 0,
        k: number as u32,
    };
    // musl opens by open(2) where the architecture has it, glibc by openat(2).
    #[cfg(target_arch = "x86_64")]
    let open = libc::SYS_open;
    #[cfg(not(target_arch = "x86_64"))]
    let open = libc::SYS_openat;
    let mut filter = [
        // The number of the system call is the first field of struct seccomp_data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        jump_if(libc::SYS_openat, 2),
        jump_if(open, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOENT as u32),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: both calls concern this thread only, the second one reads `program` and `filter`, which outlive it.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 {
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_thread_that_asks_for_it_can_open_no_files() {
        let opened = thread::spawn(|| {
            refuse_to_open_files();
            std::fs::File::open("/proc/self/status").map(|_| ())
        });
        assert_eq!(opened.join().unwrap().unwrap_err().kind(), std::io::ErrorKind::NotFound);
        assert!(std::fs::File::open("/proc/self/status").is_ok());
    }
}
