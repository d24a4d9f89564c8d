//! What a scenario takes from the machine between two moments.

use std::{io, time::Instant};

use super::{
    report::Figures,
    syscalls::SystemCalls,
    usage::{Cpu, Memory, Threads},
};

/// A collector that is watched.
pub struct Watch {
    pid: u32,
    started: Instant,
    cpu: Cpu,
    threads: Threads,
    system_calls: Option<SystemCalls>,
    /// From the process's start on: its ended threads count too, which only [`Cpu`] knows.
    whole: bool,
}

impl Watch {
    /// From now on.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn from_now(pid: u32) -> io::Result<Self> {
        let system_calls = SystemCalls::of(pid);
        let (cpu, threads) = (Cpu::of(pid)?, Threads::of(pid)?);
        Ok(Self { pid, started: Instant::now(), cpu, threads, system_calls, whole: false })
    }

    /// From the start of a process, which was at `started`, a moment ago.
    pub fn from_start(pid: u32, started: Instant) -> Self {
        let (cpu, threads) = Default::default();
        Self { pid, started, cpu, threads, system_calls: SystemCalls::of(pid), whole: true }
    }

    /// What was used, and memory as it is now, for `lines` lines of `bytes` bytes.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn end(&self, scenario: &str, lines: u64, bytes: u64) -> io::Result<Figures> {
        let seconds = self.started.elapsed().as_secs_f64();
        let cpu = Cpu::of(self.pid)?.since(&self.cpu);
        let (run, wakeups) = Threads::of(self.pid)?.since(&self.threads);
        let cpu_s = if self.whole { cpu.total_s() } else { run.as_secs_f64() };
        Ok(Figures {
            scenario: scenario.to_owned(),
            seconds,
            lines,
            bytes,
            cpu,
            cpu_s,
            memory: Memory::of(self.pid)?,
            wakeups,
            system_calls: self.system_calls.as_ref().and_then(SystemCalls::count),
            allocations: None,
            latency: None,
        })
    }
}
