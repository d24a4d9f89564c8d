//! The floor as a process that never outlives the benchmark.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::Context;
use rig::program::spawn;

/// A running floor program ([`crate::floor`]); dropping it kills it.
pub struct Floor {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Floor {
    /// Starts to ship `files` to `address`.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(program: &Path, address: &str, files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.arg(address).args(files).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(&mut command)?;
        let output = child.stdout.take().context("the floor has no output")?;
        Ok(Self { child, output: BufReader::new(output) })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Until all is sent; the number of records.
    ///
    /// # Errors
    /// Where it failed.
    pub fn wait(&mut self) -> anyhow::Result<u64> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        line.trim().parse().context("the floor failed")
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
