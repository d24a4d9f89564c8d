//! The programs that run in a machine: its first process, the collector, tests.
//!
//! In: an architecture. Out: files of this machine and where they lie in the other one. For another architecture they are
//! static, cross-compiled as `cargo xtask build --target …` does; for this machine's own they are those that `cargo
//! test` has built already, with the libraries that they load.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use guest::{COLLECTOR, Invocation};

use crate::{build, ebpf, process};

/// A file of this machine, and its name in the other one.
#[derive(Clone, Debug)]
pub struct Program {
    /// Absolute, in the machine.
    pub name: String,
    /// Here.
    pub path: PathBuf,
}

/// Where test programs lie in the machine.
pub const TESTS: &str = "/tests";

/// Of the collector's tests those that depend on the kernel: its unit tests and the probe's.
const TEST_PROGRAMS: [&str; 2] = ["collector", "probe"];

/// What is wanted in a machine, beside its first process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// The collector and its tests.
    #[default]
    Tests,
    /// The collector and the probe's tests.
    Probe,
    /// The benchmark of the probe's cost.
    Cost,
    /// The collector, and the program of the containers that it collects from.
    Containers,
    /// The collector, for a deb.
    Service,
    /// The benchmark of the whole pipeline, the collector and the floor, as they are released.
    Pipeline,
}

/// Where the kernel finds the first of them.
pub const FIRST_PROCESS: &str = "/init";

/// Where the benchmarks lie in the machine, and the floor.
const COST: &str = "/bin/probe_cost";
const PIPELINE: &str = "/bin/pipeline";
const FLOOR: &str = "/bin/floor";

/// The logs whose collecting is counted, a minute or two of emulation: enough for the benchmark to hold the ratio to the
/// floor to its limit, and for ticks of 10 ms, in which the kernel gives CPU time, to be no part of it.
const COUNTED_BACKLOG: &str = "200MB";

impl Set {
    /// The benchmark that is all that is run of a set, under a clock that each instruction moves on by a nanosecond.
    pub fn benchmark(self) -> Option<Invocation> {
        let (program, arguments) = match self {
            Self::Tests | Self::Probe | Self::Containers | Self::Service => return None,
            Self::Cost => (COST, String::new()),
            // What counts allocations is no part of this scenario, but has to be named.
            Self::Pipeline => (
                PIPELINE,
                format!(
                    "--scenario backlog --size {COUNTED_BACKLOG} --runs 1 --folder /mnt/disk/bench \
                     --collector {COLLECTOR} --floor {FLOOR} --counting {COLLECTOR}"
                ),
            ),
        };
        let arguments = arguments.split_whitespace().map(str::to_owned).collect();
        Some(Invocation { program: program.to_owned(), arguments })
    }

    /// cargo's arguments, for a run each.
    const fn cross(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Tests => {
                &[Self::PROBE, &["test", "--no-run", "--package", "guest", "--package", "collector", "--lib"]]
            }
            Self::Probe => &[Self::PROBE],
            Self::Cost => &[
                &["build", "--package", "guest", "--bin", "guest"],
                &["build", "--package", "benches", "--bench", "probe_cost"],
            ],
            // One command for both, so that nothing is built twice.
            Self::Containers | Self::Service => &[&["build", "--package", "guest", "--package", "collector", "--bins"]],
            Self::Pipeline => Self::PIPELINE,
        }
    }

    /// Tests that are built with the programs, and the same packages in each command: with fewer their dependencies would have
    /// fewer features, and be built again.
    const PROBE: &'static [&'static str] = &[
        "build",
        "--package",
        "guest",
        "--package",
        "collector",
        "--bin",
        "guest",
        "--bin",
        "pilcrow",
        "--test",
        "probe",
    ];

    /// What is counted has to be what is released, so the collector is built alone: another package may want more features
    /// of what both depend on.
    const PIPELINE: &'static [&'static [&'static str]] = &[
        &["build", "--package", "guest", "--bin", "guest"],
        &["build", "--package", "collector", "--bin", "pilcrow", RELEASE],
        &["build", "--package", "benches", "--bin", "pipeline", "--bin", "floor", RELEASE],
    ];

    /// Of the whole workspace and with a test or an example, as `cargo xtask test` does: with fewer packages their dependencies
    /// would have fewer features, and be built again.
    const fn native(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Tests => {
                &[&["build", "--workspace", "--bins", "--example", "counting"], &["test", "--workspace", "--no-run"]]
            }
            Self::Probe => &[&["build", "--workspace", "--bin", "guest", "--bin", "pilcrow", "--test", "probe"]],
            Self::Cost => &[&["build", "--workspace", "--bins", "--bench", "probe_cost"]],
            // Images and packages hold nothing but a program, which has to be static.
            Self::Containers | Self::Service => &[],
            Self::Pipeline => Self::PIPELINE,
        }
    }
}

/// Builds a set for an architecture, as Rust calls it.
pub fn build(architecture: &str, set: Set) -> anyhow::Result<Vec<Program>> {
    ebpf::ensure_built()?;
    let is_native = architecture == env::consts::ARCH && !set.native().is_empty();
    let executables = if is_native { native(set)? } else { cross(&static_target(architecture), set)? };
    let mut programs: Vec<_> = executables.into_iter().filter_map(Executable::place).collect();
    if is_native {
        for program in &mut programs {
            strip(program)?;
        }
        let libraries = libraries(&programs)?;
        programs.extend(libraries);
    }
    Ok(programs)
}

/// The one that lies at `name` in the machine.
pub fn named<'a>(programs: &'a [Program], name: &str) -> anyhow::Result<&'a Path> {
    let program = programs.iter().find(|program| program.name == name);
    program.map(|program| program.path.as_path()).with_context(|| format!("{name} was not built"))
}

/// The triple of an architecture's static programs.
pub fn static_target(architecture: &str) -> String {
    format!("{architecture}-unknown-linux-musl")
}

fn native(set: Set) -> anyhow::Result<Vec<Executable>> {
    let mut found = Vec::new();
    for arguments in set.native() {
        let mut cargo = process::cargo();
        cargo.args(*arguments).arg(MESSAGES).stderr(Stdio::inherit());
        println!("$ {}", process::line_of(&cargo));
        found.extend(executables(&process::output_of(&mut cargo)?)?);
    }
    Ok(found)
}

fn cross(target: &str, set: Set) -> anyhow::Result<Vec<Executable>> {
    let mut found = Vec::new();
    for arguments in set.cross() {
        let release = arguments.contains(&RELEASE);
        let profile: &[_] = if release { &[] } else { &["--profile", "vm"] };
        let arguments: Vec<_> = arguments.iter().chain(profile).copied().chain([MESSAGES]).collect();
        found.extend(executables(&build::with_zig(target, &arguments, release)?)?);
    }
    Ok(found)
}

const RELEASE: &str = "--release";

/// Errors as a person reads them, everything else as JSON.
const MESSAGES: &str = "--message-format=json-render-diagnostics";

/// Leaves out debug information, hundreds of megabytes that the machine would have to unpack.
fn strip(program: &mut Program) -> anyhow::Result<()> {
    let folder = process::target_dir().join("vm/stripped");
    fs::create_dir_all(&folder)?;
    let name = program.path.file_name().context("a program has a name")?;
    let stripped = folder.join(name);
    process::output_of(Command::new("strip").arg("--strip-debug").arg(&program.path).arg("-o").arg(&stripped))?;
    program.path = stripped;
    Ok(())
}

/// What cargo says that it has built.
#[derive(Debug, PartialEq)]
struct Executable {
    name: String,
    path: PathBuf,
    is_test: bool,
}

impl Executable {
    /// Where it lies in the machine; none if it is not needed there.
    fn place(self) -> Option<Program> {
        let name = match (self.name.as_str(), self.is_test) {
            ("guest", false) => FIRST_PROCESS.to_owned(),
            ("pilcrow", false) => COLLECTOR.to_owned(),
            ("workload", false) => guest::WORKLOAD.to_owned(),
            ("probe_cost", _) => COST.to_owned(),
            ("pipeline", false) => PIPELINE.to_owned(),
            ("floor", false) => FLOOR.to_owned(),
            (name, true) if TEST_PROGRAMS.contains(&name) => format!("{TESTS}/{name}"),
            _ => return None,
        };
        Some(Program { name, path: self.path })
    }
}

/// Those in cargo's output, a message a line.
fn executables(messages: &str) -> anyhow::Result<Vec<Executable>> {
    messages.lines().map(executable_of).filter_map(Result::transpose).collect()
}

fn executable_of(message: &str) -> anyhow::Result<Option<Executable>> {
    let message: serde_json::Value = serde_json::from_str(message).with_context(|| format!("cargo said: {message}"))?;
    let Some(path) = message["executable"].as_str() else { return Ok(None) };
    let name = message["target"]["name"].as_str().context("cargo names no target")?.to_owned();
    let is_test = message["profile"]["test"].as_bool().unwrap_or_default();
    Ok(Some(Executable { name, path: path.into(), is_test }))
}

/// The shared libraries that dynamic programs load, their loader among them, under the same names.
fn libraries(programs: &[Program]) -> anyhow::Result<Vec<Program>> {
    let mut found: Vec<Program> = Vec::new();
    for program in programs {
        let text = process::output_of(Command::new("ldd").arg(&program.path))?;
        for path in text.lines().filter_map(library_of) {
            if found.iter().all(|known| known.path != path) {
                found.push(Program { name: path.display().to_string(), path: path.to_owned() });
            }
        }
    }
    if found.is_empty() {
        bail!("ldd names no library of {}", programs.len());
    }
    Ok(found)
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` or `/lib64/ld-linux-x86-64.so.2 (0x…)`; what the kernel brings
/// along has no path.
fn library_of(line: &str) -> Option<&Path> {
    let named = line.split_once(" => ").map_or(line, |(_, path)| path);
    let path = named.trim().split(" (").next()?;
    path.starts_with('/').then(|| Path::new(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_with_a_path() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found: Vec<_> = text.lines().filter_map(library_of).collect();
        assert_eq!(found, ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(Path::new));
    }

    #[test]
    fn what_cargo_says_of_a_test_program_is_read() {
        let message = r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"probe"},
            "profile":{"test":true},"executable":"/t/deps/probe-1"}"#;
        let expected = Executable { name: "probe".into(), path: "/t/deps/probe-1".into(), is_test: true };
        assert_eq!(executable_of(message).unwrap(), Some(expected));
        assert_eq!(executable_of(r#"{"reason":"build-finished","success":true}"#).unwrap(), None);
    }
}
