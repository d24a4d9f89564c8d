//! A system out of a bare kernel: the mounts and modules that the programs need, and the end of it all.

use std::{ffi::CString, fs, io, os::unix::process::CommandExt, path::Path, process::Command, thread, time::Duration};

use anyhow::Context;
use guest::MODULES;
use rustix::{
    mount::{MountFlags, mount, mount_move},
    process::{Resource, Rlimit, chdir, chroot, setrlimit},
    system::{RebootCommand, finit_module, reboot, uname},
};

/// Where the disk is mounted.
pub const DISK: &str = "/mnt/disk";

/// Its device, as virtio-blk calls the first one.
const DEVICE: &str = "/dev/vda";

/// More than any test opens.
const OPEN_FILES: u64 = 65_536;

/// Mounts everything, loads the modules, mounts the disk.
pub fn set_up(modules: &[String]) -> anyhow::Result<()> {
    for (source, target) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/dev/shm"),
        ("securityfs", "/sys/kernel/security"),
    ] {
        fs::create_dir_all(target)?;
        mount_new(source, source, target).with_context(|| format!("cannot mount {target}"))?;
    }
    for module in modules {
        load(module).with_context(|| format!("cannot load the module {module}"))?;
    }
    fs::create_dir_all(DISK)?;
    wait_for(Path::new(DEVICE))?;
    mount_new(DEVICE, "ext4", DISK).with_context(|| format!("cannot mount {DEVICE}"))?;
    // IFF_UP; the kernel then gives it 127.0.0.1.
    fs::write("/sys/class/net/lo/flags", "1").context("cannot bring the loopback interface up")?;
    setrlimit(Resource::Nofile, Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) })?;
    Ok(())
}

/// Makes the disk the root, with the mounts that are there, and mounts what containerd and systemd need beside them. runc exchanges the
/// root of a container by pivot_root(2), which the kernel refuses below an initramfs.
pub fn enter_disk() -> anyhow::Result<()> {
    for folder in ["/proc", "/sys", "/dev", "/tmp"] {
        let to = format!("{DISK}{folder}");
        fs::create_dir_all(&to)?;
        mount_move(folder, &to).with_context(|| format!("cannot move {folder}"))?;
    }
    chdir(DISK)?;
    mount_move(DISK, "/").context("cannot move the disk")?;
    chroot(".").context("cannot enter the disk")?;
    chdir("/")?;
    for (source, target) in [("tmpfs", "/run"), ("cgroup2", "/sys/fs/cgroup"), ("mqueue", "/dev/mqueue")] {
        fs::create_dir_all(target)?;
        mount_new(source, source, target).with_context(|| format!("cannot mount {target}"))?;
    }
    Ok(())
}

/// Makes the first process systemd, which returns only where it cannot be started.
pub fn become_systemd() -> anyhow::Error {
    let program = "/usr/lib/systemd/systemd";
    anyhow::Error::new(Command::new(program).exec()).context(format!("cannot become {program}"))
}

/// Mounts a file system of a type.
pub fn mount_new(source: &str, kind: &str, target: &str) -> io::Result<()> {
    Ok(mount(source, target, kind, MountFlags::empty(), None)?)
}

/// The kernel's release.
pub fn release() -> String {
    uname().release().to_string_lossy().into_owned()
}

/// Ends the machine.
pub fn switch_off() {
    // Until the serial line has taken everything.
    let _ = rustix::termios::tcdrain(io::stdout());
    let _ = reboot(RebootCommand::PowerOff);
    // It is gone any moment; a first process that ends would be a panic of the kernel instead.
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

fn load(module: &str) -> anyhow::Result<()> {
    let file = fs::File::open(Path::new(MODULES).join(module))?;
    match finit_module(file, &CString::default(), 0) {
        // Another one has brought it along, or it is of no use on this machine.
        Err(rustix::io::Errno::EXIST | rustix::io::Errno::NODEV) => Ok(()),
        done => Ok(done?),
    }
}

/// Disks come some time after their drivers.
fn wait_for(device: &Path) -> anyhow::Result<()> {
    for _ in 0..1000 {
        if device.exists() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    anyhow::bail!("{} did not come", device.display())
}
