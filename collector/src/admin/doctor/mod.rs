//! `pilcrow doctor`: what this machine offers, and the fix for what it does not.
//!
//! In: a validated [`Config`], /proc and /sys, and attempts at the real thing (a probe, a ring, a push, a file in
//! the state folder). Out: a [`Report`] of [`Finding`]s, as a table or as JSON (docs/doctor.md). Changes nothing, needs no
//! root, and may run beside a Pilcrow that collects.

mod backends;
mod ebpf;
mod folders;
mod instances;
mod kernel;
mod kubernetes;
mod loki;
mod loki_answers;
mod privileges;
mod reader;
mod render;
mod system;

use serde::Serialize;

pub use system::System;

use crate::{
    config::{Config, ReaderChoice, SignalChoice},
    output::loki::Reached,
    source::kubernetes::Probe,
    tail::notify::KindReport,
};

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Pilcrow works, but with a fallback, or not for long.
    Warn,
    /// Pilcrow cannot collect, or nothing would arrive.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What it belongs to: `kernel`, `ebpf`, `signal`, `reader`, `choice`, `limits`, `folders`, `collectors`,
    /// `kubernetes` or `loki`.
    pub section: &'static str,
    /// What was looked at, in snake case; stays the same from version to version.
    pub check: &'static str,
    /// How good it is.
    pub status: Status,
    /// What was found, for people.
    pub found: String,
    /// What to do about it, for people; `None` where nothing needs to be done.
    pub fix: Option<String>,
}

impl Finding {
    fn ok(section: &'static str, check: &'static str, found: impl Into<String>) -> Self {
        Self { section, check, status: Status::Ok, found: found.into(), fix: None }
    }

    fn warn(section: &'static str, check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { section, check, status: Status::Warn, found: found.into(), fix: Some(fix.into()) }
    }

    fn fail(section: &'static str, check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { status: Status::Fail, ..Self::warn(section, check, found, fix) }
    }
}

/// What other steps tried on this machine; `None`: it was not tried, and only what it takes is looked at.
#[derive(Debug, Default)]
pub struct Trials {
    /// Every backend and kind of eBPF program, the most wanted first.
    pub signal: Option<Vec<KindReport>>,
    /// A push without lines to Loki: what it answered, or what is wrong and the fix.
    pub push: Option<Result<String, String>>,
    /// What Loki's answer to it tells beside.
    pub loki: Option<Reached>,
    /// What the Kubernetes API answered.
    pub pods: Option<Probe>,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Of the JSON form; goes up when a field changes its meaning or goes away.
    pub schema: u32,
    /// Of Pilcrow.
    pub version: &'static str,
    /// In the order of the sections.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether Pilcrow can collect here.
    #[must_use]
    pub fn can_work(&self) -> bool {
        self.findings.iter().all(|finding| finding.status != Status::Fail)
    }
}

/// Looks at everything. Takes some seconds where Loki does not answer.
#[must_use]
pub fn examine(config: &Config, system: &System, trials: &Trials) -> Report {
    let mut findings = kernel::examine(system);
    findings.extend(ebpf::examine(system));
    findings.extend(backends::examine(config, trials.signal.as_deref()));
    findings.push(reader::io_uring(config));
    findings.extend(choices(config, trials, &findings));
    findings.extend(privileges::limits(system));
    findings.extend(folders::examine(config));
    findings.extend(instances::examine(config, system));
    findings.extend(trials.pods.as_ref().map(|probe| kubernetes::examine(&config.kubernetes, probe)));
    findings.extend(loki::examine(&config.loki, trials.push.as_ref()));
    findings.extend(trials.loki.iter().flat_map(|reached| loki_answers::examine(config, reached)));
    Report { schema: 2, version: env!("CARGO_PKG_VERSION"), findings }
}

/// What `auto` selects, from the findings about each backend.
fn choices(config: &Config, trials: &Trials, findings: &[Finding]) -> Vec<Finding> {
    let is_ok = |check| findings.iter().any(|finding| finding.check == check && finding.status == Status::Ok);
    let first = trials.signal.iter().flatten().find(|report| report.outcome.is_ok());
    let signal = match (config.signal, first) {
        (SignalChoice::Auto, Some(report)) if backends::backend(report) == report.name => {
            format!("auto selects {}", report.name)
        }
        (SignalChoice::Auto, Some(report)) => format!("auto selects {} ({})", backends::backend(report), report.name),
        (SignalChoice::Auto, None) => "auto selects the first of ebpf, inotify and poll that works".into(),
        (SignalChoice::Ebpf, _) => "ebpf, as configured".into(),
        (SignalChoice::Inotify, _) => "inotify, as configured".into(),
        (SignalChoice::Poll, _) => "poll, as configured".into(),
    };
    let reader = match config.reader.backend {
        ReaderChoice::Auto if is_ok("io_uring") => "auto selects io_uring",
        ReaderChoice::Auto => "auto selects pread",
        ReaderChoice::IoUring => "io_uring, as configured",
        ReaderChoice::Pread => "pread, as configured",
    };
    vec![Finding::ok("choice", "signal", signal), Finding::ok("choice", "reader", reader)]
}
