//! `cargo xtask bench instructions`: how many instructions a line takes in each step between reading and sending.
//!
//! In: the program `reader_side` (benches/examples), which does one step over the same records a given number of times.
//! Out: a table, and an error where a step takes more than benches/limits.toml allows. Counted is a run of one round and
//! a run of some more; the difference is theirs, without start and warm-up. The counts are the same on a busy machine,
//! and to a few in a million in every run; what they say of time depends on the processor.

mod counter;
mod trace;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use serde::Serialize;

use crate::{
    docs::{self, row},
    limits,
    machine::Machine,
};
use counter::Counter;

/// Rounds of the longer run. The shorter one has one.
const ROUNDS: u32 = 3;
/// The steps of a CRI line on its way through the collector; the floor's way is a step of its own.
const WAY: [&str; 3] = ["batch-cri", "gather", "snappy"];
const FLOOR: &str = "floor";
/// The steps that have vector arithmetic to do: memchr, simdutf8, simd-json.
const VECTORIZED: [&str; 3] = ["newlines", "parse-cri", "parse-docker"];

/// How instructions are counted.
#[derive(clap::Parser)]
#[command(name = "cargo xtask bench instructions")]
pub struct Args {
    /// Triple of another machine, whose instructions are then counted under QEMU, such as aarch64-unknown-linux-musl
    #[arg(long)]
    target: Option<String>,
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the table into docs/performance.md
    #[arg(long)]
    write_docs: bool,
    /// The program that does the steps
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
}

/// What one step takes.
#[derive(Debug, Serialize)]
struct Step {
    name: String,
    /// Of the log files, in a round.
    lines: u64,
    /// Of the log files, in a round.
    bytes: u64,
    instructions_per_line: f64,
    /// Those that calculate with vectors, where the counter can tell them.
    vector_per_line: Option<f64>,
}

/// All that was counted.
#[derive(Serialize)]
struct Report {
    machine: Machine,
    counter: String,
    steps: Vec<Step>,
    /// Of the whole way from the read buffer to the compressed body, in the floor's.
    ratio: f64,
}

/// Counts, prints, judges.
///
/// # Errors
/// More than a limit allows, and whatever keeps the program from being counted.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let counter = Counter::of(args.target.as_deref())?;
    let mut steps = Vec::new();
    for (name, lines, bytes) in listed(&mut counter.command(&args.program, false))? {
        let count = |rounds: u32| {
            counter.count(counter.command(&args.program, true).args([name.as_str(), rounds.to_string().as_str()]))
        };
        let (more, one) = (count(ROUNDS)?, count(1)?);
        let per_line = |more: u64, one: u64| more.saturating_sub(one) as f64 / f64::from(ROUNDS - 1) / lines as f64;
        let instructions_per_line = per_line(more.instructions, one.instructions);
        let vector_per_line = more.vector.zip(one.vector).map(|(more, one)| per_line(more, one));
        println!("{name}: {instructions_per_line:.1} instructions a line");
        steps.push(Step { name, lines, bytes, instructions_per_line, vector_per_line });
    }
    let ratio = ratio(&steps)?;
    let report = Report { machine: Machine::this_one("instructions"), counter: counter.to_string(), steps, ratio };
    let markdown = report.markdown();
    println!("\n{markdown}");
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if args.write_docs {
        docs::write(
            &args.target.as_ref().map_or("instructions".into(), |t| format!("instructions --target {t}")),
            &markdown,
        )?;
    }
    if counter.has_limits() { report.judge() } else { report.judge_vectors() }
}

/// The program's steps: name, lines and bytes of a round.
fn listed(program: &mut Command) -> anyhow::Result<Vec<(String, u64, u64)>> {
    let output = program.output().with_context(|| format!("cannot start {}", program.get_program().display()))?;
    ensure!(output.status.success(), "{} ended with {}", program.get_program().display(), output.status);
    let text = String::from_utf8(output.stdout)?;
    text.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let (name, lines, bytes) = (words.next(), words.next(), words.next());
            let number = |word: Option<&str>| word.and_then(|word| word.parse().ok());
            let step = name.zip(number(lines)).zip(number(bytes));
            step.map(|((name, lines), bytes)| (name.to_owned(), lines, bytes))
                .with_context(|| format!("no step: {line}"))
        })
        .collect()
}

fn ratio(steps: &[Step]) -> anyhow::Result<f64> {
    let of = |name: &str| {
        let step = steps.iter().find(|step| step.name == name);
        step.map(|step| step.instructions_per_line).with_context(|| format!("there is no step {name}"))
    };
    let way = WAY.iter().map(|name| of(name)).sum::<anyhow::Result<f64>>()?;
    Ok(way / of(FLOOR)?)
}

impl Report {
    fn markdown(&self) -> String {
        let mut out = String::new();
        let heads = ["instructions a line", "a byte of the log", "of a line's, vector arithmetic"];
        let columns = if self.steps.iter().any(|step| step.vector_per_line.is_some()) { 3 } else { 2 };
        row(&mut out, "step", heads.map(str::to_owned).into_iter().take(columns));
        row(&mut out, "---", ["---:"; 3].map(str::to_owned).into_iter().take(columns));
        for step in &self.steps {
            let per_byte = step.instructions_per_line * step.lines as f64 / step.bytes as f64;
            let cells = [format!("{:.0}", step.instructions_per_line), format!("{per_byte:.2}")];
            let vector = step.vector_per_line.map(|number| format!("{number:.0}"));
            row(&mut out, &step.name, cells.into_iter().chain(vector));
        }
        let Self { counter, ratio, machine, .. } = self;
        out.push_str(&format!(
            "\nThe way of a line ({}) takes {ratio:.3} times the floor's instructions.\n\nCounted by {counter}; {machine}\n",
            WAY.join(", ")
        ));
        out
    }

    /// Every step has its limit, and so has the ratio.
    fn judge(&self) -> anyhow::Result<()> {
        let steps = self.steps.iter().map(|step| (step.name.as_str(), step.instructions_per_line));
        let mut exceeded = Vec::new();
        for (name, counted) in steps.chain([("ratio", self.ratio)]) {
            let key = format!("instructions_{}", name.replace('-', "_"));
            let limit = limits::of(&key)?;
            if counted > limit {
                exceeded.push(format!("{key} is {counted:.3}, the limit {limit}"));
            }
        }
        ensure!(exceeded.is_empty(), "over benches/limits.toml: {}", exceeded.join("; "));
        println!("all within benches/limits.toml");
        Ok(())
    }

    /// That the steps which have a vector path take it, where that was counted.
    fn judge_vectors(&self) -> anyhow::Result<()> {
        for name in VECTORIZED {
            let Some(step) = self.steps.iter().find(|step| step.name == name) else { continue };
            let Some(counted) = step.vector_per_line else { continue };
            let key = format!("vector_{}", name.replace('-', "_"));
            let least = limits::of(&key)?;
            ensure!(
                counted >= least,
                "{key} is {counted:.1} a line, {least} at least by benches/limits.toml: a scalar path is taken"
            );
            println!("{name}: {counted:.1} instructions a line are vector arithmetic");
        }
        Ok(())
    }
}

/// The programs' path, absolute: an emulator does not search.
fn absolute(program: &Path) -> PathBuf {
    program.canonicalize().unwrap_or_else(|_| program.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, instructions_per_line: f64) -> Step {
        Step { name: name.into(), lines: 1000, bytes: 200_000, instructions_per_line, vector_per_line: None }
    }

    fn report(steps: Vec<Step>) -> Report {
        Report { machine: Machine::this_one("instructions"), counter: "hand".into(), steps, ratio: 1.0 }
    }

    #[test]
    fn the_ratio_is_of_the_whole_way_to_the_floor() {
        let mut steps: Vec<_> = WAY.iter().map(|name| step(name, 100.0)).collect();
        assert!(ratio(&steps).unwrap_err().to_string().contains("no step floor"));
        steps.push(step(FLOOR, 200.0));
        assert_eq!(ratio(&steps).unwrap(), 1.5);
    }

    #[test]
    fn a_program_that_lists_something_else_is_refused() {
        assert!(listed(Command::new("echo").arg("parse 1")).is_err());
        assert_eq!(listed(Command::new("echo").arg("parse 1 200")).unwrap(), [("parse".into(), 1, 200)]);
        assert!(listed(&mut Command::new("false")).is_err());
    }

    #[test]
    fn a_step_over_its_limit_is_named() {
        let report = report(vec![step(FLOOR, 1e9)]);
        let error = report.judge().unwrap_err().to_string();
        assert!(error.contains("instructions_floor is 1000000000.000"), "{error}");
        assert!(report.markdown().contains("| floor | 1000000000 | 5000000.00 |"), "{}", report.markdown());
    }

    #[test]
    fn a_step_that_left_its_vector_path_is_named() {
        let with = |vector| Step { vector_per_line: Some(vector), ..step("newlines", 100.0) };
        let taken = report(vec![with(60.0)]);
        taken.judge_vectors().unwrap();
        assert!(taken.markdown().contains("| newlines | 100 | 0.50 | 60 |"), "{}", taken.markdown());
        let error = report(vec![with(0.0)]).judge_vectors().unwrap_err().to_string();
        assert!(error.contains("vector_newlines is 0.0 a line"), "{error}");
    }
}
