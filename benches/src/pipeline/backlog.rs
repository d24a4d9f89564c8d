//! As after an outage: many bytes wait in files.

use std::time::Instant;

use anyhow::ensure;
use rig::kubelet::{BacklogOptions, Format, Node, generate_backlog};

use super::{
    Args, Place, floor::Floor, log_files, program::Program, program::Running, report::Figures, say, sink::Sink,
    watch::Watch,
};

const SEED: u64 = 1;

/// Log files that wait.
pub struct Backlog {
    scenario: String,
    node: Node,
    bytes: u64,
}

impl Backlog {
    /// `bytes` of lines in `files` files.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(scenario: &str, place: &Place, (bytes, files): (u64, usize), format: Format) -> anyhow::Result<Self> {
        let mut node = Node::new(place.path(), SEED)?;
        let bytes = generate_backlog(&mut node, &BacklogOptions { format, ..BacklogOptions::new(bytes, files) })?;
        println!("{scenario}: {} lines, {} MB in {files} files", node.ledger().lines(), bytes / 1_000_000);
        Ok(Self { scenario: scenario.to_owned(), node, bytes })
    }

    /// The floor on these files.
    ///
    /// # Errors
    /// Where it fails, or not all records arrive.
    pub fn run_floor(&self, args: &Args) -> anyhow::Result<Figures> {
        let sink = Sink::start()?;
        let started = Instant::now();
        let mut floor = Floor::start(&args.floor, &sink.address(), &log_files(&self.node.pods())?)?;
        let watch = Watch::from_start(floor.pid(), started);
        let records = floor.wait()?;
        let figures = watch.end("floor", self.node.ledger().lines(), self.bytes)?;
        sink.verify_protocol()?;
        let arrived = sink.counts().entries;
        ensure!(arrived == records, "the floor sent {records} records, and {arrived} arrived");
        say(&figures);
        Ok(figures)
    }

    /// A collector on these files.
    ///
    /// # Errors
    /// Where it fails, or not all lines arrive.
    pub fn run(&self, program: &Program, place: &Place) -> anyhow::Result<Figures> {
        self.run_and_then(program, place, |_| Ok(())).map(|(figures, ())| figures)
    }

    /// As [`Self::run`]; `then` looks at it when all lines have arrived.
    ///
    /// # Errors
    /// Those of both.
    pub fn run_and_then<T>(
        &self,
        program: &Program,
        place: &Place,
        then: impl FnOnce(&Running) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Figures, T)> {
        let (mut running, started) = program.start(place, &self.node.pods())?;
        let watch = Watch::from_start(running.pid(), started);
        running.wait_for_all(self.node.ledger())?;
        let figures = watch.end(&self.scenario, self.node.ledger().lines(), self.bytes)?;
        say(&figures);
        let seen = then(&running)?;
        running.finish(self.node.ledger())?;
        Ok((figures, seen))
    }
}
