//! `cargo xtask vm`: the collector and the probe's tests on real kernels.
//!
//! In: names of kernels. Out: for each what its machine said, a table, and an error if anything went wrong in one of them.
//! A machine is QEMU with a kernel of Debian, an initramfs with our programs (package `guest` is the first of them) and an
//! ext4, empty or with Debian's containerd or systemd. Nothing is installed but QEMU; everything is fetched and built below the target
//! folder.

mod containers;
mod initramfs;
mod kernels;
mod machine;
mod modules;
mod packages;
mod programs;
mod root;
mod service;
mod table;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use guest::{COLLECTOR, Collected, Invocation, Plan, Report, Scenario};

use crate::{apt, process, test};
use initramfs::Initramfs;
use kernels::{KERNELS, Kernel};
use machine::{Boot, Pace};
use modules::{Modules, WANTED};
pub use programs::Set;
use programs::{FIRST_PROCESS, Program, TESTS};

/// Debian 13's, as on most nodes.
const DEFAULT: &str = "arm64-6.12";

/// A machine needs some minutes; one that needs this many hangs.
const PATIENCE: Duration = Duration::from_secs(40 * 60);

/// The disk grows as it is written.
const DISK_BYTES: u64 = 1 << 30;
const MEMORY_MIB: u32 = 1024;

/// Test programs, and which of their tests depend on the kernel.
const TEST_PROGRAMS: [(&str, &[&str]); 2] = [("collector", &["tail::notify::", "tail::read::"]), ("probe", &[])];

/// What `cargo xtask vm` takes.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Kernels to boot; without any: arm64-6.12
    #[arg(value_parser = KERNELS.map(|kernel| kernel.name))]
    kernels: Vec<String>,
    /// All kernels, and a table of them
    #[arg(long, conflicts_with = "kernels")]
    all: bool,
    /// Only these scenarios, and no test programs
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',', value_parser = Scenario::ALL.map(Scenario::name))]
    scenario: Vec<String>,
    /// Only test programs, and of their tests those with this in their names
    #[arg(long, value_name = "PART", conflicts_with = "scenario")]
    test: Option<String>,
    /// Only count the instructions that the probe adds to a write
    #[arg(long, conflicts_with_all = ["scenario", "test"])]
    cost: bool,
    /// Only let the collector, as a pod, collect from pods that a real containerd runs; arm64 kernels
    #[arg(long, conflicts_with_all = ["scenario", "test", "cost"])]
    containerd: bool,
    /// Only install the deb under a real systemd, let it collect, upgrade and purge it; arm64 kernels
    #[arg(long, conflicts_with_all = ["scenario", "test", "cost", "containerd"])]
    systemd: bool,
    /// Only count the instructions of the collector, and of the floor, on a backlog, kernel included
    #[arg(long, conflicts_with_all = ["scenario", "test", "cost", "containerd", "systemd"])]
    pipeline: bool,
    /// Show all that a machine writes to its console
    #[arg(long, short)]
    verbose: bool,
}

/// What a machine is to do, but for what depends on its kernel.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Test programs by name, and arguments.
    pub tests: Vec<(String, Vec<String>)>,
    /// In this order.
    pub scenarios: Vec<Scenario>,
    /// What it is to do it with: the other sets are for something else than tests and scenarios.
    pub set: Set,
    /// In the place of the collector that is built for it.
    pub collector: Option<PathBuf>,
    pub verbose: bool,
}

impl Work {
    fn of(args: &Args) -> Self {
        let scenarios: Vec<_> = args.scenario.iter().filter_map(|name| Scenario::named(name)).collect();
        let arguments = |filters: &[&str]| match &args.test {
            Some(part) => vec![part.clone()],
            None => filters.iter().map(|filter| (*filter).to_owned()).collect(),
        };
        let mut tests = TEST_PROGRAMS.map(|(name, filters)| (name.to_owned(), arguments(filters))).to_vec();
        let set = match args {
            Args { cost: true, .. } => Set::Cost,
            Args { pipeline: true, .. } => Set::Pipeline,
            Args { containerd: true, .. } => Set::Containers,
            Args { systemd: true, .. } => Set::Service,
            _ => Set::Tests,
        };
        let scenarios = match (scenarios.is_empty(), args.test.is_some() || set != Set::Tests) {
            (true, true) => Vec::new(),
            (true, false) => Scenario::ALL.to_vec(),
            (false, _) => scenarios,
        };
        if set != Set::Tests || !args.scenario.is_empty() {
            tests.clear();
        }
        Self { tests, scenarios, set, verbose: args.verbose, collector: None }
    }
}

/// Whether machines can be started here, or why not.
pub fn can_boot() -> Result<(), String> {
    apt::can_fetch()
}

/// A kernel of each kind, for `cargo xtask test`: what the machine that it runs on may not be able to do.
pub fn report() -> anyhow::Result<test::Report> {
    // Static programs, on a kernel as it comes, on one in the manner of a Pi 4's and on one in that of a Pi 5's.
    let arm64 = Work {
        tests: vec![("probe".into(), vec!["every_way_of_writing_is_seen".into()])],
        scenarios: vec![Scenario::AsIs, Scenario::NoBtf, Scenario::NoBtfNoKprobes],
        set: Set::Probe,
        ..Work::default()
    };
    // Kinds of programs that this machine's own kernel may refuse.
    let amd64 = Work { tests: arm64.tests.clone(), set: Set::Probe, ..Work::default() };
    let mut programs = Built::default();
    let machines = [("arm64-6.12", arm64), ("amd64-6.12", amd64)].map(|(name, work)| {
        let kernel = Kernel::named(name).with_context(|| format!("there is no kernel {name}"))?;
        Ok((name, prepare(kernel, &work, &mut programs)?))
    });
    let machines = machines.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    // At the same time, as one of them alone does not keep two processors busy.
    let outcomes: Vec<_> = thread::scope(|scope| {
        let started: Vec<_> = machines.iter().map(|(name, machine)| (*name, scope.spawn(|| machine.run()))).collect();
        started.into_iter().map(|(name, thread)| (name, thread.join())).collect()
    });
    let mut total = test::Report::default();
    for (name, outcome) in outcomes {
        let outcome = outcome.map_err(|_| anyhow::anyhow!("the thread of {name} panicked"))?;
        total.add(outcome.with_context(|| name)?.into_report(name));
    }
    Ok(total)
}

/// A real containerd, or a real systemd, on the default kernel, for `cargo xtask test --all`.
pub fn report_of(set: Set) -> anyhow::Result<test::Report> {
    let kernel = Kernel::named(DEFAULT).with_context(|| format!("there is no kernel {DEFAULT}"))?;
    let work = Work { set, ..Work::default() };
    Ok(boot(kernel, &work, &mut Built::default())?.into_report(DEFAULT))
}

/// The same with a released program; an error where not all is well.
pub fn prove(set: Set, collector: &Path) -> anyhow::Result<()> {
    let kernel = Kernel::named(DEFAULT).with_context(|| format!("there is no kernel {DEFAULT}"))?;
    let work = Work { set, collector: Some(collector.to_owned()), ..Work::default() };
    ensure!(boot(kernel, &work, &mut Built::default())?.is_good(), "not all is well on {DEFAULT}");
    Ok(())
}

/// Boots, and prints the table.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let names: Vec<&str> = match (args.all, args.kernels.as_slice()) {
        (true, _) => KERNELS.iter().map(|kernel| kernel.name).collect(),
        (false, []) => vec![DEFAULT],
        (false, names) => names.iter().map(String::as_str).collect(),
    };
    let work = Work::of(args);
    let mut programs = Built::default();
    let mut kernels: Vec<_> = names.into_iter().filter_map(Kernel::named).collect();
    if args.containerd || args.systemd {
        kernels.retain(|kernel| kernel.machine.debian_architecture() == "arm64");
        ensure!(!kernels.is_empty(), "--containerd and --systemd are for arm64 kernels");
    }
    let outcomes: Vec<_> = kernels
        .into_iter()
        .map(|kernel| {
            let outcome = boot(kernel, &work, &mut programs);
            if let Err(error) = &outcome {
                println!("{}: {error:#}", kernel.name);
            }
            (kernel.name, outcome)
        })
        .collect();
    if args.pipeline {
        println!(
            "\nAbove, a second of CPU time is 10⁹ instructions: CPU-s per million lines are thousands of instructions a line."
        );
    }
    if work.set.benchmark().is_none() {
        table::print(&outcomes)?;
    }
    let bad: Vec<_> = outcomes.iter().filter(|(_, outcome)| !outcome.as_ref().is_ok_and(Outcome::is_good)).collect();
    if !bad.is_empty() {
        bail!("not all is well on {}", bad.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "));
    }
    Ok(())
}

/// The programs for each architecture that was asked for.
#[derive(Default)]
pub struct Built(BTreeMap<(&'static str, Set), Vec<Program>>);

impl Built {
    fn of(&mut self, architecture: &'static str, set: Set) -> anyhow::Result<&[Program]> {
        Ok(match self.0.entry((architecture, set)) {
            Entry::Occupied(built) => built.into_mut(),
            Entry::Vacant(place) => place.insert(programs::build(architecture, set)?),
        })
    }
}

/// The result of one machine.
#[derive(Default)]
pub struct Outcome {
    /// The kernel's release, once it is known.
    pub release: String,
    pub page_bytes: usize,
    /// What its test programs said.
    pub tests: test::Report,
    /// How the scenarios went.
    pub collected: Vec<Collected>,
    /// Scenarios that this kernel cannot be put into, and why.
    pub impossible: Vec<(Scenario, String)>,
    /// What the machine counted as failed; none if it never came to its end.
    pub failed: Option<u32>,
    /// Reports that could not be read.
    pub garbled: u32,
}

impl Outcome {
    /// Whether everything was done, and done well.
    pub fn is_good(&self) -> bool {
        self.failed == Some(0) && self.garbled == 0 && !self.tests.has_failed()
    }

    /// Each scenario is a test.
    fn into_report(self, kernel: &str) -> test::Report {
        let is_good = self.is_good();
        let (good, bad): (Vec<_>, Vec<_>) = self.collected.iter().partition(|collected| collected.faults.is_empty());
        let mut failed: Vec<_> = bad
            .iter()
            .map(|collected| format!("{kernel}, {}: {}", collected.scenario, collected.faults.join("; ")))
            .collect();
        if !is_good && failed.is_empty() && !self.tests.has_failed() {
            failed.push(format!("{kernel}: the machine did not end as expected"));
        }
        let mut report = test::Report::of_checks(good.len(), failed);
        report.add(self.tests);
        report
    }
}

/// A machine that has all that it needs, and can be switched on.
struct Ready {
    name: &'static str,
    boot: Boot,
    folder: PathBuf,
    verbose: bool,
}

/// Boots one kernel and reads what its machine says.
pub fn boot(kernel: &Kernel, work: &Work, built: &mut Built) -> anyhow::Result<Outcome> {
    prepare(kernel, work, built)?.run()
}

/// Fetches and builds.
fn prepare(kernel: &Kernel, work: &Work, built: &mut Built) -> anyhow::Result<Ready> {
    let files = kernel.files()?;
    let mut programs = built.of(kernel.machine.architecture(), work.set)?.to_vec();
    if let Some(collector) = &work.collector {
        for program in programs.iter_mut().filter(|program| program.name == COLLECTOR) {
            program.path.clone_from(collector);
        }
    }
    let name = match work.set {
        Set::Tests | Set::Probe => kernel.name.to_owned(),
        Set::Cost => format!("{}-cost", kernel.name),
        Set::Pipeline => format!("{}-pipeline", kernel.name),
        Set::Containers => format!("{}-containerd", kernel.name),
        Set::Service => format!("{}-systemd", kernel.name),
    };
    let folder = process::target_dir().join("vm/machines").join(name);
    fs::create_dir_all(&folder)?;
    let initramfs = folder.join("initramfs");
    pack(&initramfs, &programs, &files.modules, work)?;
    let disk = match work.set {
        Set::Containers => containers::make_disk(&folder, kernel.machine, &programs)?,
        Set::Service => service::make_disk(&folder, kernel.machine, &programs)?,
        _ => make_disk(&folder)?,
    };
    let boot = Boot {
        machine: kernel.machine,
        pace: if work.set.benchmark().is_some() { Pace::Instructions } else { Pace::Real },
        image: files.image,
        initramfs,
        disk,
        memory_mib: MEMORY_MIB,
        patience: PATIENCE,
    };
    apt::ensure(&[kernel.machine.package()])?;
    Ok(Ready { name: kernel.name, boot, folder, verbose: work.verbose })
}

impl Ready {
    /// Until it is off.
    fn run(&self) -> anyhow::Result<Outcome> {
        let log = self.folder.join("console.log");
        println!("\nvm: booting {}; its console: {}", self.name, log.display());
        let mut console = Console::new(File::create(&log)?, self.verbose);
        let start = Instant::now();
        let ended = self.boot.run(|line| console.take(line));
        let outcome = console.finish();
        println!("vm: {} was off after {} s", self.name, start.elapsed().as_secs());
        ended?;
        if outcome.failed.is_none() {
            bail!("the machine of {} died; see {}", self.name, log.display());
        }
        Ok(outcome)
    }
}

fn pack(to: &Path, programs: &[Program], modules: &Path, work: &Work) -> anyhow::Result<()> {
    let mut archive = Initramfs::create(to)?;
    let (containerd, systemd) = (work.set == Set::Containers, work.set == Set::Service);
    // The others are on the disk, in images or packages.
    for program in programs.iter().filter(|program| !(containerd || systemd) || program.name == FIRST_PROCESS) {
        archive.add_file(&program.name, &program.path)?;
    }
    let mut plan = Plan { scenarios: work.scenarios.clone(), containerd, systemd, ..Plan::default() };
    let further = if containerd { &containers::MODULES[..] } else { &[] };
    for module in Modules::of(modules)?.in_order(&[&WANTED[..], further].concat())? {
        archive.add(&format!("{}/{}", guest::MODULES, module.name), &module.contents)?;
        plan.modules.push(module.name);
    }
    plan.tests = work
        .tests
        .iter()
        .map(|(name, arguments)| Invocation { program: format!("{TESTS}/{name}"), arguments: arguments.clone() })
        .collect();
    plan.programs = work.set.benchmark().into_iter().collect();
    archive.add(guest::PLAN, &serde_json::to_vec(&plan)?)?;
    archive.finish().with_context(|| format!("cannot write {}", to.display()))
}

/// A file for a disk; mke2fs is there.
fn disk_file(folder: &Path, bytes: u64) -> anyhow::Result<PathBuf> {
    apt::ensure(&[apt::Package { name: "e2fsprogs", program: "mke2fs" }])?;
    let disk = folder.join("disk.img");
    let file = File::create(&disk).with_context(|| format!("cannot write {}", disk.display()))?;
    file.set_len(bytes)?;
    Ok(disk)
}

/// An empty ext4.
fn make_disk(folder: &Path) -> anyhow::Result<PathBuf> {
    let disk = disk_file(folder, DISK_BYTES)?;
    process::output_of(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(&disk))?;
    Ok(disk)
}

/// Sorts what a machine writes to its console.
struct Console {
    log: File,
    verbose: bool,
    tests: test::Reader,
    outcome: Outcome,
}

impl Console {
    fn new(log: File, verbose: bool) -> Self {
        Self { log, verbose, tests: test::Reader::new(), outcome: Outcome::default() }
    }

    fn take(&mut self, line: &str) {
        // A log that cannot be written is no reason to stop the machine.
        let _ = writeln!(self.log, "{line}");
        if self.verbose {
            println!("  {line}");
        }
        match Report::in_line(line) {
            Some(Ok(report)) => self.note(report),
            Some(Err(error)) => {
                println!("vm: cannot read {line:?}: {error}");
                self.outcome.garbled += 1;
            }
            None => {
                let show = self.tests.take(line);
                if show && !self.verbose {
                    println!("  {line}");
                }
            }
        }
    }

    fn note(&mut self, report: Report) {
        match report {
            Report::Booted { release, page_bytes } => {
                println!("vm: {release} is up");
                self.outcome.release = release;
                self.outcome.page_bytes = page_bytes;
            }
            Report::Collected(collected) => {
                table::print_scenario(&collected);
                self.outcome.collected.push(collected);
            }
            Report::Impossible { scenario, reason } => {
                println!("vm: {}: not on this kernel: {reason}", scenario.name());
                self.outcome.impossible.push((scenario, reason));
            }
            Report::Ended { failed } => self.outcome.failed = Some(failed),
        }
    }

    fn finish(self) -> Outcome {
        Outcome { tests: self.tests.finish(), ..self.outcome }
    }
}
