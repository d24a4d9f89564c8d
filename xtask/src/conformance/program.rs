//! A program that answers requests line by line.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::Context;

use super::{Answer, Request};
use crate::process;

/// See the module.
pub struct Program {
    name: &'static str,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Program {
    /// Promtail's library in e2e/stages, built now if it was not before.
    pub fn promtail() -> anyhow::Result<Self> {
        super::can_run().map_err(anyhow::Error::msg)?;
        let program = process::target_dir().join("stages").join("promtail-stages");
        println!("building Promtail's stages; this takes 5 minutes on two cores the first time");
        process::run(
            Command::new("go")
                .args(["build", "-trimpath", "-o"])
                .arg(&program)
                .arg(".")
                .env("CGO_ENABLED", "0")
                .current_dir(process::workspace_root().join("e2e/stages")),
        )?;
        Self::start("Promtail", &program)
    }

    /// The collector's example `stages`.
    pub fn pilcrow() -> anyhow::Result<Self> {
        process::run(process::cargo().args(["build", "--package", "collector", "--example", "stages"]))?;
        Self::start("Pilcrow", &process::target_dir().join("debug/examples/stages"))
    }

    fn start(name: &'static str, program: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let requests = child.stdin.take().context("no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { name, child, requests, answers })
    }

    /// Sends a request.
    pub fn ask(&mut self, request: &Request) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.requests.write_all(&line).with_context(|| format!("{} ended at {}", self.name, request.stages))
    }

    /// Waits for the answer to the oldest request that has none.
    pub fn answer(&mut self) -> anyhow::Result<Answer> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("{} gave no answer: {line:?}", self.name))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It waits for requests and has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
