//! What `pilcrow doctor` says of the machine that the collector runs on, compared with what the collector then did.
//!
//! In: its report as JSON, and the backends of the collector's metrics. Out: where the two do not agree.

use std::process::Command;

use anyhow::{Context, ensure};
use guest::COLLECTOR;
use rig::{metrics::Backend, program::Setup};
use serde_json::Value;

/// What `pilcrow doctor` says of the same machine and configuration.
pub struct Doctor(Vec<Finding>);

struct Finding {
    section: String,
    check: String,
    found: String,
}

impl Doctor {
    /// Runs it here.
    pub fn ask(setup: &Setup) -> anyhow::Result<Self> {
        let output = Command::new(COLLECTOR).args(["doctor", "--json", "--config"]).arg(setup.config()).output()?;
        ensure!(
            !output.stdout.is_empty(),
            "doctor ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Self::read(&output.stdout)
    }

    /// What `doctor --json` wrote.
    pub fn read(report: &[u8]) -> anyhow::Result<Self> {
        let report: Value = serde_json::from_slice(report).context("cannot read what doctor says")?;
        let findings = report["findings"].as_array().context("doctor has no findings")?;
        let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        let finding = |finding: &Value| Finding {
            section: text(finding, "section"),
            check: text(finding, "check"),
            found: text(finding, "found"),
        };
        Ok(Self(findings.iter().map(finding).collect()))
    }

    fn found(&self, section: &str, check: &str) -> impl Iterator<Item = &str> {
        let of = move |finding: &&Finding| finding.section == section && finding.check == check;
        self.0.iter().filter(of).map(|finding| finding.found.as_str())
    }

    /// What it says that auto selects: `ebpf (fexit vfs_write)`.
    fn choice(&self, check: &str) -> &str {
        self.found("choice", check).next().unwrap_or_default().trim_start_matches("auto selects ")
    }

    /// Where the collector took another way than doctor says, or gives another reason.
    pub fn disagreements(&self, signal: &Backend, reader: &Backend) -> Vec<String> {
        let mut faults = Vec::new();
        let choice = self.choice("signal");
        // Doctor names the first of a plan's hooks, the collector all of them.
        if !signal.name.starts_with(choice.trim_end_matches(')')) {
            faults.push(format!("doctor says that signal is {choice}, the collector took {}", signal.name));
        }
        if self.choice("reader") != reader.name {
            faults.push(format!(
                "doctor says that reader is {}, the collector took {}",
                self.choice("reader"),
                reader.name
            ));
        }
        if !signal.fallback_reason.is_empty() {
            // `fexit vfs_write: REASON`
            let reasons = self.found("signal", "ebpf").filter_map(|found| found.split_once(": "));
            for (_, reason) in reasons.filter(|(_, reason)| !signal.fallback_reason.contains(reason)) {
                faults.push(format!("doctor says {reason:?}, the collector says {:?}", signal.fallback_reason));
            }
        }
        let uring = self.found("reader", "io_uring").next().unwrap_or_default();
        if let Some(reason) = uring.strip_prefix("cannot be used: ")
            && reason != reader.fallback_reason
        {
            faults.push(format!("doctor says {reason:?}, the collector says {:?}", reader.fallback_reason));
        }
        faults
    }

    /// `sees write, writev; misses splice`, of the backend that was taken.
    pub fn ways(&self, signal: &Backend) -> String {
        let programs = signal.name.strip_prefix("ebpf (").map_or(signal.name.as_str(), |name| name);
        let of_backend = |found: &&str| found.split_once(": ").is_some_and(|(name, _)| programs.starts_with(name));
        let all = ["ebpf", "inotify", "poll"].into_iter().flat_map(|check| self.found("signal", check));
        let found = all.into_iter().find(of_backend).unwrap_or_default();
        found.split_once(": ").map_or(String::new(), |(_, ways)| ways.to_owned())
    }
}
