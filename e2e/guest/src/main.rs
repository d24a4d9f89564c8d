//! The first process of a virtual machine that `cargo xtask vm` boots: makes a system of a bare kernel, runs test programs
//! and the collector, and reports.
//!
//! In: /plan.json and programs in the initramfs, on the first disk an empty ext4 or a root file system with containerd or systemd.
//! Out: [`guest::Report`]s on the console; the machine is switched off at the end, whatever happened.

mod collect;
mod cri;
mod doctor;
mod force;
mod node;
mod service;
mod system;

use std::{
    fs,
    process::{Command, ExitCode},
    thread,
};

use anyhow::{Context, ensure};
use guest::{Collected, Invocation, PLAN, Plan, Report, SERVICE_PROOF, Scenario};

fn main() -> ExitCode {
    let is_first_process = std::process::id() == 1;
    let is_service = std::env::args().nth(1).is_some_and(|argument| argument == SERVICE_PROOF);
    let outcome = match (is_first_process, is_service) {
        (true, _) => run(),
        (false, true) => run_service(),
        (false, false) => Err(anyhow::anyhow!("this is for `cargo xtask vm`")),
    };
    if let Err(error) = outcome {
        println!("guest: {error:#}");
    }
    if is_first_process || is_service {
        system::switch_off();
    }
    ExitCode::FAILURE
}

/// What systemd, which was started by [`run`], has started.
fn run_service() -> anyhow::Result<()> {
    let good = service::prove().map(judge).unwrap_or_else(|error| {
        println!("systemd: {error:#}");
        false
    });
    report(&Report::Ended { failed: u32::from(!good) });
    Ok(())
}

fn run() -> anyhow::Result<()> {
    let plan = fs::read(PLAN).with_context(|| format!("cannot read {PLAN}"))?;
    let plan: Plan = serde_json::from_slice(&plan)?;
    system::set_up(&plan.modules)?;
    if plan.containerd || plan.systemd {
        system::enter_disk()?;
    }
    report(&Report::Booted { release: system::release(), page_bytes: rustix::param::page_size() });
    if plan.systemd {
        return Err(system::become_systemd());
    }
    let mut failed = 0;
    for test in &plan.tests {
        if let Err(error) = run_tests(test) {
            println!("{error:#}");
            failed += 1;
        }
    }
    for program in &plan.programs {
        if let Err(error) = run_program(Command::new(&program.program).args(&program.arguments)) {
            println!("{error:#}");
            failed += 1;
        }
    }
    for scenario in plan.scenarios {
        // A thread of its own, as what a scenario takes away is taken from the thread and the processes that it starts.
        let done = thread::spawn(move || run_scenario(scenario)).join();
        let good = done.unwrap_or_else(|_| Err(anyhow::anyhow!("the thread panicked"))).unwrap_or_else(|error| {
            println!("{}: {error:#}", scenario.name());
            false
        });
        failed += u32::from(!good);
    }
    if plan.containerd {
        let good = node::collect().map(judge).unwrap_or_else(|error| {
            println!("containerd: {error:#}");
            false
        });
        failed += u32::from(!good);
    }
    report(&Report::Ended { failed });
    Ok(())
}

fn report(report: &Report) {
    let json = serde_json::to_string(report).unwrap_or_else(|error| error.to_string());
    println!("{}{json}", Report::MARK);
}

/// As cargo announces it, so that one reader does for both.
fn run_tests(test: &Invocation) -> anyhow::Result<()> {
    println!("     Running {} ({})", test.program.trim_start_matches('/'), system::release());
    let mut command = Command::new(&test.program);
    run_program(command.args(&test.arguments).args(["--test-threads=1", "--show-output"]))
}

fn run_program(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().display().to_string();
    command.env("TMPDIR", system::DISK).env("PILCROW_EMULATED", "1");
    let status = command.status().with_context(|| format!("cannot start {program}"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}

/// Whether all went well.
fn run_scenario(scenario: Scenario) -> anyhow::Result<bool> {
    let undo = match force::force(scenario)? {
        Ok(undo) => undo,
        Err(reason) => {
            report(&Report::Impossible { scenario, reason });
            return Ok(true);
        }
    };
    let collected = collect::collect(scenario);
    undo.undo()?;
    collected.map(judge)
}

/// Reports it, and says whether all is well.
fn judge(collected: Collected) -> bool {
    let good = collected.faults.is_empty();
    report(&Report::Collected(collected));
    good
}
