//! Which ways of detecting new lines work here, as [`crate::tail::notify::survey`] has tried them.

use super::{Finding, Status};
use crate::{
    config::{Config, SignalChoice},
    tail::notify::KindReport,
};

pub(super) fn examine(config: &Config, reports: Option<&[KindReport]>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = reports.unwrap_or_default().iter().map(tried).collect();
    if let Some(wanted) = wanted(config.signal)
        && reports.is_some()
        && !findings.iter().any(|finding| finding.check == wanted && finding.status == Status::Ok)
    {
        let found = format!("signal is {wanted}, and that cannot be used here");
        findings.push(Finding::fail("signal", "configured", found, "fix the above, or set signal to auto"));
    }
    findings
}

/// The one backend that the configuration allows.
fn wanted(choice: SignalChoice) -> Option<&'static str> {
    match choice {
        SignalChoice::Auto => None,
        SignalChoice::Ebpf => Some("ebpf"),
        SignalChoice::Inotify => Some("inotify"),
        SignalChoice::Poll => Some("poll"),
    }
}

/// The backend's name in the configuration; eBPF has a report for each kind of program.
pub(super) fn backend(report: &KindReport) -> &'static str {
    match report.name.as_str() {
        "inotify" => "inotify",
        "poll" => "poll",
        _ => "ebpf",
    }
}

fn tried(report: &KindReport) -> Finding {
    let check = backend(report);
    match &report.outcome {
        Ok(seen) => Finding::ok("signal", check, format!("{}: {seen}", report.name)),
        Err(refusal) => Finding::warn("signal", check, format!("{}: {}", report.name, refusal.reason), &refusal.fix),
    }
}
