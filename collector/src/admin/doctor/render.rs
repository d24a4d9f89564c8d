//! A report as a table for people, or as JSON.

use std::io;

use serde::Serialize;

use super::{Finding, Report, Status};
use crate::admin::terminal::OneLine;

impl Report {
    /// Writes it: `json`, or a table, in `colours` for a terminal.
    ///
    /// # Errors
    /// `out` cannot be written to.
    pub fn write(&self, json: bool, colours: bool, out: &mut impl io::Write) -> anyhow::Result<()> {
        if json { self.write_json(out) } else { self.write_table(colours, out) }
    }

    fn write_json(&self, out: &mut impl io::Write) -> anyhow::Result<()> {
        #[derive(Serialize)]
        struct Json<'a> {
            can_work: bool,
            #[serde(flatten)]
            report: &'a Report,
        }
        let text = serde_json::to_string_pretty(&Json { can_work: self.can_work(), report: self })?;
        writeln!(out, "{text}")?;
        Ok(())
    }

    fn write_table(&self, colours: bool, out: &mut impl io::Write) -> anyhow::Result<()> {
        let width = self.findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        let mut section = "";
        for finding in &self.findings {
            if finding.section != section {
                section = finding.section;
                writeln!(out, "{section}")?;
            }
            write_finding(finding, width, colours, out)?;
        }
        let count = |status| self.findings.iter().filter(|finding| finding.status == status).count();
        let (ok, warn, fail) = (count(Status::Ok), count(Status::Warn), count(Status::Fail));
        let verdict = if self.can_work() { "can work" } else { "cannot work" };
        writeln!(out, "Pilcrow {} {verdict} here: {ok} ok, {warn} warn, {fail} fail", self.version)?;
        Ok(())
    }
}

fn write_finding(finding: &Finding, width: usize, colours: bool, out: &mut impl io::Write) -> io::Result<()> {
    let (word, colour) = match finding.status {
        Status::Ok => ("ok", "32"),
        Status::Warn => ("warn", "33"),
        Status::Fail => ("fail", "31"),
    };
    let word = if colours { format!("\x1b[{colour}m{word:4}\x1b[0m") } else { format!("{word:4}") };
    writeln!(out, "  {word}  {:width$}  {}", finding.check, OneLine(&finding.found))?;
    if let Some(fix) = &finding.fix {
        writeln!(out, "        {:width$}  -> {}", "", OneLine(fix))?;
    }
    Ok(())
}
