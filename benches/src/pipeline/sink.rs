//! Where the lines go: the rig's strict receiver, which keeps one bit a line.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use rig::{
    ledger::Ledger,
    program::Collector,
    receiver::{Counts, Keep, Options, Receiver},
    tally::Report,
};

/// How often the collector is looked at while lines come in.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A collector from which nothing comes for so long will send no more.
const STALL: Duration = Duration::from_secs(30);

/// A null sink that checks what it throws away.
pub struct Sink(Receiver);

impl Sink {
    /// Listens on a free port.
    ///
    /// # Errors
    /// Where it cannot.
    pub fn start() -> anyhow::Result<Self> {
        Ok(Self(Receiver::start(Options { keep: Keep::Counts, ..Options::default() })?))
    }

    /// As a configuration names it.
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// HOST:PORT
    pub fn address(&self) -> String {
        self.0.address().to_string()
    }

    /// What came in so far.
    pub fn counts(&self) -> Counts {
        self.0.counts()
    }

    /// Until as many lines arrived as were written. Not all have to: [`Self::verify`] tells what is missing.
    ///
    /// # Errors
    /// Where the collector ends, or no more lines come.
    pub fn wait_for_all(&self, ledger: &Ledger, collector: &mut Collector) -> anyhow::Result<()> {
        let lines = ledger.lines();
        let mut last = (0, Instant::now());
        while !self.0.wait_until(LOOK_EVERY, |counts| counts.marked_lines >= lines) {
            collector.check_running()?;
            let arrived = self.counts().marked_lines;
            if arrived != last.0 {
                last = (arrived, Instant::now());
            } else if last.1.elapsed() > STALL {
                bail!("no line came for {} s: {}", STALL.as_secs(), self.0.report(ledger));
            }
        }
        Ok(())
    }

    /// Compares what arrived with what was written; returns the comparison if nothing is wrong.
    ///
    /// # Errors
    /// A missing, repeated, damaged or disordered line, and every breach of the protocol.
    pub fn verify(&self, ledger: &Ledger) -> anyhow::Result<Report> {
        self.verify_protocol()?;
        let report = self.0.report(ledger);
        ensure!(report.is_complete() && report.faults.repeated == 0, "not every line arrived once: {report}");
        Ok(report)
    }

    /// # Errors
    /// Every breach of the protocol.
    pub fn verify_protocol(&self) -> anyhow::Result<()> {
        let violations = self.0.violations();
        ensure!(violations.is_empty(), "against Loki's protocol: {}", violations.join("; "));
        Ok(())
    }
}
