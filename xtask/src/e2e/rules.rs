//! The example rules for Loki's ruler, deploy/loki/rules.yaml.
//!
//! In: the file, and the LogQL of the dashboard. Out: an error unless Loki's own code loads the rules as its ruler does and parses
//! every expression ([`are_parsed`], needs Go), and a real Loki answers each of them ([`are_answered`]).

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::{
    dashboard,
    logql::{Client, Range},
};
use crate::process;

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    expr: String,
}

fn file() -> PathBuf {
    process::workspace_root().join("deploy/loki/rules.yaml")
}

/// By the Go module that the real Loki is built from.
pub fn are_parsed() -> anyhow::Result<()> {
    let module = process::workspace_root().join("e2e/loki");
    let program = process::target_dir().join("loki/rules");
    // As Loki itself is built, so that most of it comes from Go's cache.
    process::run(
        Command::new("go")
            .args(["build", "-trimpath", "-o"])
            .arg(&program)
            .arg("./rules")
            .env("CGO_ENABLED", "0")
            .current_dir(&module),
    )?;
    let mut parser = Command::new(program).arg(file()).stdin(Stdio::piped()).spawn()?;
    let mut input = parser.stdin.take().context("no standard input")?;
    for expression in dashboard::expressions()? {
        writeln!(input, "{expression}")?;
    }
    drop(input);
    ensure!(parser.wait()?.success(), "Loki would not take this");
    Ok(())
}

/// By a running Loki; that it finds nothing is no error.
pub fn are_answered(client: &Client, range: Range) -> anyhow::Result<()> {
    let rules: Rules = serde_saphyr::from_str(&std::fs::read_to_string(file())?)?;
    let rules: Vec<_> = rules.groups.into_iter().flat_map(|group| group.rules).collect();
    for Rule { expr } in &rules {
        client.results(expr, range).with_context(|| format!("Loki does not take {expr}"))?;
    }
    ensure!(!rules.is_empty(), "{} has no rules", file().display());
    println!("Loki answers the expressions of all {} example rules", rules.len());
    Ok(())
}
