//! Takes from the collector what a [`Scenario`] says, and gives it back.
//!
//! Files are hidden by a mount over them; capabilities are taken from the calling thread and the processes that it starts.

use std::{fs, io, path::Path};

use guest::Scenario;
use rustix::{
    mount::{UnmountFlags, unmount},
    thread::{CapabilitySet, remove_capability_from_bounding_set},
};

use crate::system::mount_new;

const BTF: &str = "/sys/kernel/btf";
/// Where perf_event_open(2) learns how to ask for kprobes. tracefs, the other way to them, is not mounted here.
const KPROBES: &str = "/sys/bus/event_source/devices";
const IO_URING_DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";
const INOTIFY_INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// What is to be restored after a scenario.
#[derive(Default)]
pub struct Undo {
    /// Mount points.
    hidden: Vec<&'static str>,
    /// Files and what was in them.
    changed: Vec<(&'static str, String)>,
}

impl Undo {
    fn hide(&mut self, folder: &'static str) -> io::Result<()> {
        if Path::new(folder).exists() {
            mount_new("hidden", "tmpfs", folder)?;
            self.hidden.push(folder);
        }
        Ok(())
    }

    fn set(&mut self, file: &'static str, value: &str) -> io::Result<()> {
        let before = fs::read_to_string(file)?;
        fs::write(file, value)?;
        self.changed.push((file, before));
        Ok(())
    }

    /// Gives back what can be given back: not capabilities, and not lockdown.
    pub fn undo(self) -> io::Result<()> {
        for folder in self.hidden {
            unmount(folder, UnmountFlags::empty())?;
        }
        for (file, before) in self.changed {
            fs::write(file, before.trim())?;
        }
        Ok(())
    }
}

/// Takes it away. The inner error says why that is not possible on this kernel.
pub fn force(scenario: Scenario) -> io::Result<Result<Undo, String>> {
    let mut undo = Undo::default();
    match scenario {
        Scenario::AsIs => {}
        Scenario::NoKprobes => undo.hide(KPROBES)?,
        Scenario::NoBtf => undo.hide(BTF)?,
        Scenario::NoBtfNoKprobes => {
            undo.hide(BTF)?;
            undo.hide(KPROBES)?;
        }
        Scenario::NoIoUring => {
            if !Path::new(IO_URING_DISABLED).exists() {
                return Ok(Err("the sysctl kernel.io_uring_disabled came with Linux 6.6".into()));
            }
            undo.set(IO_URING_DISABLED, "2")?;
        }
        Scenario::NoCapabilities => drop_capabilities()?,
        Scenario::NoInotify => {
            drop_capabilities()?;
            undo.set(INOTIFY_INSTANCES, "0")?;
        }
        Scenario::Lockdown | Scenario::LockdownNoBtf => {
            if let Err(error) = lock_down() {
                return Ok(Err(format!("{LOCKDOWN}: {error}")));
            }
            if scenario == Scenario::LockdownNoBtf {
                undo.hide(BTF)?;
            }
        }
    }
    Ok(Ok(undo))
}

/// There is no way back, and writing the mode again that is in force is an error.
fn lock_down() -> io::Result<()> {
    const MODE: &str = "confidentiality";
    let is_there = fs::read_to_string(LOCKDOWN)?.contains(&format!("[{MODE}]"));
    if is_there { Ok(()) } else { fs::write(LOCKDOWN, MODE) }
}

/// A process that root starts has all capabilities that are in the bounding set.
fn drop_capabilities() -> io::Result<()> {
    for capability in [CapabilitySet::BPF, CapabilitySet::PERFMON, CapabilitySet::SYS_ADMIN] {
        remove_capability_from_bounding_set(capability)?;
    }
    Ok(())
}
