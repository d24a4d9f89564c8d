//! What the demo shows while it runs: a block that is redrawn on a terminal, else one line a second.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use rig::metrics::Backend;

use crate::figures::{bytes, thousands};

const BAR_CELLS: usize = 30;

/// One moment of the demo.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// Time that has passed, and all of it.
    pub elapsed: Duration,
    /// How long lines are written.
    pub total: Duration,
    /// Lines in the logs.
    pub written: u64,
    /// Of them in the last second.
    pub written_per_second: u64,
    /// Lines that the collector has read.
    pub lines_in: u64,
    /// Lines that the collector has an acknowledgement for.
    pub acknowledged: u64,
    /// Of one processor.
    pub cpu_percent: f64,
    /// Resident.
    pub memory_bytes: u64,
}

impl Moment {
    /// Lines that are written and not acknowledged, and how long ago the first of them was written at this pace.
    fn on_the_way(&self) -> (u64, f64) {
        let lines = self.written.saturating_sub(self.acknowledged);
        (lines, lines as f64 / self.written_per_second.max(1) as f64)
    }
}

/// The live view.
#[derive(Debug)]
pub struct View {
    redraw: bool,
    lines_drawn: usize,
}

impl View {
    /// For standard output, whatever it is.
    pub fn new() -> Self {
        Self { redraw: io::stdout().is_terminal(), lines_drawn: 0 }
    }

    /// How often it wants to show something.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(if self.redraw { 250 } else { 1000 })
    }

    /// Shows a moment.
    pub fn show(&mut self, moment: &Moment) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if !self.redraw {
            writeln!(out, "{}", one_line(moment))?;
            return out.flush();
        }
        if self.lines_drawn > 0 {
            write!(out, "\x1b[{}A", self.lines_drawn)?;
        }
        let block = block(moment);
        self.lines_drawn = block.len();
        for line in block {
            writeln!(out, "\x1b[2K{line}")?;
        }
        out.flush()
    }

    /// What is shown next begins below.
    pub fn leave(&mut self) {
        self.lines_drawn = 0;
    }
}

/// Which backend was taken, and why if it was not the first choice.
pub fn describe(what: &str, backend: Option<&Backend>) -> String {
    match backend {
        None => format!("{what}: unknown (the collector did not say)"),
        Some(backend) if backend.fallback_reason.is_empty() => format!("{what}: {}", backend.name),
        Some(backend) => format!("{what}: {}, a fallback: {}", backend.name, backend.fallback_reason),
    }
}

fn one_line(moment: &Moment) -> String {
    let (on_the_way, seconds) = moment.on_the_way();
    format!(
        "{:>3}/{} s  written {}  in {}  acknowledged {}  on the way {} ({seconds:.1} s)  CPU {:.1} %  memory {}",
        moment.elapsed.as_secs(),
        moment.total.as_secs(),
        thousands(moment.written),
        thousands(moment.lines_in),
        thousands(moment.acknowledged),
        thousands(on_the_way),
        moment.cpu_percent,
        bytes(moment.memory_bytes),
    )
}

fn block(moment: &Moment) -> Vec<String> {
    let part = moment.elapsed.as_secs_f64() / moment.total.as_secs_f64().max(1.0);
    let filled = ((part * BAR_CELLS as f64) as usize).min(BAR_CELLS);
    let bar = format!("{}{}", "#".repeat(filled), ".".repeat(BAR_CELLS - filled));
    let row = |name: &str, value: String| format!("  {name:<20} {value:>14}");
    let (on_the_way, seconds) = moment.on_the_way();
    vec![
        format!("  [{bar}] {}/{} s", moment.elapsed.as_secs(), moment.total.as_secs()),
        format!("{}   {}/s", row("lines written", thousands(moment.written)), thousands(moment.written_per_second)),
        row("lines in", thousands(moment.lines_in)),
        row("lines acknowledged", thousands(moment.acknowledged)),
        format!("{}   {seconds:.1} s", row("on the way", thousands(on_the_way))),
        row("CPU", format!("{:.1} %", moment.cpu_percent)),
        row("memory", bytes(moment.memory_bytes)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fallback_is_shown_with_its_reason() {
        let backend = |reason: &str| Backend { name: "pread".into(), fallback_reason: reason.into() };
        assert_eq!(describe("reader", Some(&backend(""))), "reader: pread");
        assert!(
            describe("reader", Some(&backend("io_uring_disabled is 2")))
                .ends_with("a fallback: io_uring_disabled is 2")
        );
        assert!(describe("reader", None).contains("unknown"));
    }

    #[test]
    fn what_is_on_the_way_is_lines_and_their_age() {
        let moment = Moment { written: 60_000, acknowledged: 54_000, written_per_second: 5000, ..Moment::default() };
        assert_eq!(moment.on_the_way(), (6000, 1.2));
        assert!(block(&moment).iter().any(|line| line.ends_with("6,000   1.2 s")));
        assert_eq!(Moment { acknowledged: 60_001, ..moment }.on_the_way(), (0, 0.0));
    }

    #[test]
    fn the_bar_never_leaves_its_frame() {
        for seconds in [0, 10, 20, 45] {
            let moment =
                Moment { elapsed: Duration::from_secs(seconds), total: Duration::from_secs(20), ..Moment::default() };
            assert_eq!(block(&moment)[0].find(']'), Some(BAR_CELLS + 3));
        }
    }
}
