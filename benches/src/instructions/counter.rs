//! What counts a program's instructions, from its start to its end: callgrind for this machine's, QEMU for others'.

use std::{
    fmt,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};

use super::{absolute, trace};

/// Makes a block of every instruction: its name before QEMU 8.1 and since.
const ONE_INSTRUCTION_A_BLOCK: [&str; 2] = ["QEMU_SINGLESTEP", "QEMU_ONE_INSN_PER_TB"];

/// What a program executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All instructions.
    pub instructions: u64,
    /// Those of them that calculate with vectors; `None` where the counter cannot tell.
    pub vector: Option<u64>,
}

/// A way to count.
#[derive(Debug, PartialEq, Eq)]
pub enum Counter {
    /// `valgrind --tool=callgrind`, which says the number at the end.
    Callgrind,
    /// QEMU's user mode, which traces every instruction; its argument is the processor's name in QEMU's terms.
    Emulator(String),
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Callgrind => f.write_str("callgrind"),
            Self::Emulator(processor) => write!(f, "qemu-{processor}, one trace line for each instruction"),
        }
    }
}

impl Counter {
    /// For programs of `target`; `None`: of this machine.
    ///
    /// # Errors
    /// A target that is none.
    pub fn of(target: Option<&str>) -> anyhow::Result<Self> {
        let Some(target) = target else { return Ok(Self::Callgrind) };
        let (processor, _) = target.split_once('-').with_context(|| format!("{target} is no target triple"))?;
        Ok(Self::Emulator(processor.to_owned()))
    }

    /// Whether benches/limits.toml is about these counts: the instructions of other processors are other ones.
    pub fn has_limits(&self) -> bool {
        *self == Self::Callgrind && cfg!(target_arch = "x86_64")
    }

    /// A command that starts `program`, `counted` or just so.
    pub fn command(&self, program: &Path, counted: bool) -> Command {
        let program = absolute(program);
        match self {
            Self::Callgrind if counted => {
                let mut command = Command::new("valgrind");
                command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
                command
            }
            Self::Callgrind => Command::new(program),
            Self::Emulator(processor) => {
                let mut command = Command::new(format!("qemu-{processor}-static"));
                if counted {
                    command.envs(ONE_INSTRUCTION_A_BLOCK.map(|name| (name, "1"))).args(["-d", trace::LOGGED]);
                }
                command.arg(program);
                command
            }
        }
    }

    /// Runs a command of [`Self::command`] to its end.
    ///
    /// # Errors
    /// Where it cannot be started, fails, or says no number.
    pub fn count(&self, command: &mut Command) -> anyhow::Result<Count> {
        let name = command.get_program().display().to_string();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let said = BufReader::new(child.stderr.take().context("no standard error")?);
        let count = match self {
            Self::Callgrind => Count { instructions: collected(said)?.unwrap_or_default(), vector: None },
            Self::Emulator(processor) => trace::count(said, processor)?,
        };
        let status = child.wait()?;
        ensure!(status.success(), "{name} ended with {status}");
        if count.instructions == 0 {
            bail!("{name} counted nothing");
        }
        Ok(count)
    }
}

/// The number of callgrind's line `==PID== Collected : N`.
fn collected(said: impl BufRead) -> anyhow::Result<Option<u64>> {
    let mut count = None;
    for line in said.lines() {
        if let Some((_, number)) = line?.split_once("Collected :") {
            count = number.trim().parse().ok();
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrinds_sum_is_found() {
        let said = "==7== Callgrind\n==7== Events    : Ir\n==7== Collected : 123456\n==7== \n";
        assert_eq!(collected(said.as_bytes()).unwrap(), Some(123_456));
        assert_eq!(collected(&b"nothing"[..]).unwrap(), None);
    }

    #[test]
    fn a_target_is_counted_by_the_emulator_of_its_processor() {
        assert_eq!(Counter::of(Some("aarch64-unknown-linux-musl")).unwrap(), Counter::Emulator("aarch64".into()));
        assert!(Counter::of(Some("pi")).is_err());
        assert_eq!(Counter::of(None).unwrap(), Counter::Callgrind);
    }

    #[test]
    fn a_program_that_cannot_be_counted_is_an_error() {
        let error = Counter::Callgrind.count(&mut Command::new("true")).unwrap_err().to_string();
        assert!(error.contains("true counted nothing"), "{error}");
    }
}
