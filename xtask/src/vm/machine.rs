//! A virtual machine: QEMU without the help of a processor, so that every architecture runs everywhere.
//!
//! In: a kernel's image, an initramfs, a disk. Out: the lines of the console as they come, and an end, by the machine
//! itself or when its time is over.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::apt;

/// What a kernel boots on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// An arm64 board with the cores of a Pi 4.
    CortexA72,
    /// An arm64 board with the cores of a Pi 5: kernels with pages of 16 KiB hang on a Cortex-A72.
    CortexA76,
    /// A PC.
    X86,
}

impl Machine {
    /// As dpkg calls it.
    pub const fn debian_architecture(self) -> &'static str {
        match self {
            Self::CortexA72 | Self::CortexA76 => "arm64",
            Self::X86 => "amd64",
        }
    }

    /// As Rust calls it.
    pub const fn architecture(self) -> &'static str {
        match self {
            Self::CortexA72 | Self::CortexA76 => "aarch64",
            Self::X86 => "x86_64",
        }
    }

    /// What brings its QEMU.
    pub fn package(self) -> apt::Package {
        match self {
            Self::CortexA72 | Self::CortexA76 => {
                apt::Package { name: "qemu-system-arm", program: "qemu-system-aarch64" }
            }
            Self::X86 => apt::Package { name: "qemu-system-x86", program: "qemu-system-x86_64" },
        }
    }

    /// Without pointer authentication, which makes emulation three times slower, and on x86 without CMPXCHG16B: QEMU 7.2
    /// now and then leaves wrong flags behind it, and the kernel then dies of a double fault.
    const fn processor(self) -> &'static str {
        match self {
            Self::CortexA72 => "cortex-a72",
            Self::CortexA76 => "cortex-a76",
            Self::X86 => "max,-cx16",
        }
    }

    const fn board(self) -> &'static str {
        match self {
            Self::CortexA72 | Self::CortexA76 => "virt",
            Self::X86 => "q35",
        }
    }

    const fn console(self) -> &'static str {
        match self {
            Self::CortexA72 | Self::CortexA76 => "ttyAMA0",
            Self::X86 => "ttyS0",
        }
    }

    /// x86 emulated on several threads now and then ends in a double fault.
    const fn threads(self) -> &'static str {
        match self {
            Self::CortexA72 | Self::CortexA76 => "tcg,thread=multi",
            Self::X86 => "tcg,thread=single",
        }
    }
}

/// How fast time goes in a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As it does outside, on two processors.
    Real,
    /// A nanosecond per instruction, on one processor: the machine's clock counts instructions.
    Instructions,
}

/// What is booted.
#[derive(Debug)]
pub struct Boot {
    pub machine: Machine,
    pub pace: Pace,
    /// The kernel's image.
    pub image: PathBuf,
    /// Its first files.
    pub initramfs: PathBuf,
    /// A raw image; what is written to it is lost or kept as the machine's end has it.
    pub disk: PathBuf,
    /// Memory, in MiB.
    pub memory_mib: u32,
    /// After this time the machine is killed.
    pub patience: Duration,
}

impl Boot {
    /// Boots, where QEMU is installed, and hands over each line of the console, until the machine is off.
    ///
    /// # Errors
    /// If QEMU cannot be started or fails, or the time is over.
    pub fn run(&self, mut line: impl FnMut(&str)) -> anyhow::Result<()> {
        let program = self.machine.package().program;
        let mut command = Command::new(program);
        self.describe(&mut command);
        let mut child = rig::program::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let console = child.stdout.take().context("QEMU's output is a pipe")?;
        let (lines, console_lines) = mpsc::channel();
        let reader = thread::spawn(move || {
            for read in BufReader::new(console).split(b'\n') {
                let Ok(read) = read else { break };
                let text = String::from_utf8_lossy(&read);
                if lines.send(text.trim_end_matches('\r').to_owned()).is_err() {
                    break;
                }
            }
        });
        let end = Instant::now() + self.patience;
        let outcome = loop {
            match console_lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(text) => line(&text),
                Err(mpsc::RecvTimeoutError::Disconnected) => break child.wait()?,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    child.kill()?;
                    child.wait()?;
                    bail!("the machine was not done after {} minutes", self.patience.as_secs() / 60);
                }
            }
        };
        // It has ended: the pipe is closed.
        let _ = reader.join();
        if !outcome.success() {
            bail!("{program} ended with {outcome}");
        }
        Ok(())
    }

    fn describe(&self, command: &mut Command) {
        let disk = format!("file={},format=raw,if=virtio,cache=unsafe", path_option(&self.disk));
        // A panic ends the machine, and the report that says that all is done is missing. Addresses are the same each
        // time, and what protects from other programs costs time here and protects nobody.
        let arguments = format!(
            "console={} panic=-1 oops=panic loglevel=4 nokaslr mitigations=off rdinit=/init",
            self.machine.console()
        );
        command
            .args(["-M", self.machine.board(), "-cpu", self.machine.processor()])
            .args(["-m", &self.memory_mib.to_string()])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"])
            .arg("-kernel")
            .arg(&self.image)
            .arg("-initrd")
            .arg(&self.initramfs)
            .args(["-drive", &disk, "-append", &arguments]);
        match self.pace {
            Pace::Real => command.args(["-accel", self.machine.threads(), "-smp", "2"]),
            Pace::Instructions => {
                command.args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-smp", "1"])
            }
        };
    }
}

/// QEMU takes a comma for the end of an option, and two for one.
fn path_option(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}
