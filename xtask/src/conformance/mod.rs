//! `cargo xtask conformance`: Pilcrow's pipeline stages against Promtail's own library.
//!
//! In: hand-written pipelines, and generated ones over generated lines; and the old configurations of collector/tests/migrate, which
//! Promtail's library runs as they stand and Pilcrow as they are converted. Both programs (e2e/stages in Go, the example `stages`
//! of the collector) get the same requests; their answers must be equal in labels, text, time, metadata, extracted values,
//! drops and metrics, but for the named exceptions, each of which must be needed. Knows nothing of either's insides.

mod cases;
mod compare;
mod corpus;
mod exceptions;
mod generate;
mod program;
mod real;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use self::{
    compare::{Difference, differences},
    generate::Generator,
    program::Program,
};
use crate::process;

/// Compare the pipeline stages with those of Promtail's own library.
#[derive(clap::Args)]
pub struct Args {
    /// Entries that go through generated pipelines
    #[arg(long, default_value_t = Args::default().entries)]
    entries: u64,
    /// Where the generated pipelines and lines begin
    #[arg(long, default_value_t = Args::default().seed)]
    seed: u64,
}

/// A pipeline with entries for it.
#[derive(Clone, Debug, Serialize)]
pub struct Request {
    /// A list of stages; with `migration` an old configuration.
    stages: String,
    entries: Vec<Input>,
    #[serde(skip_serializing_if = "Option::is_none")]
    migration: Option<corpus::Migration>,
}

#[derive(Clone, Debug, Serialize)]
struct Input {
    labels: BTreeMap<String, String>,
    line: String,
    time: i64,
    metadata: Vec<(String, String)>,
}

/// What a program made of a request.
#[derive(Debug, Deserialize)]
pub struct Answer {
    #[serde(default)]
    error: String,
    entries: Option<Vec<Output>>,
    metrics: Option<Vec<Series>>,
    /// Of Pilcrow: the names that its extracted values can have.
    #[serde(default)]
    names: Vec<String>,
    /// Of a migration: whether the rules keep the container.
    #[serde(default)]
    selected: bool,
    /// Of Promtail, of a migration: the names of all jobs that collect logs of pods.
    #[serde(default)]
    jobs: Vec<String>,
    /// Of Pilcrow, of a migration: what was converted.
    #[serde(default)]
    converted: corpus::Converted,
}

#[derive(Debug, Deserialize)]
struct Output {
    id: i64,
    labels: BTreeMap<String, String>,
    line: String,
    time: i64,
    metadata: Vec<(String, String)>,
    extracted: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Value {
    kind: String,
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: String,
}

impl Request {
    /// Lines of `{app="web", pod="web-1"}`, a tenth of a second apart.
    fn new<'a>(stages: &str, lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let labels = [("app", "web"), ("pod", "web-1")];
        let labels: BTreeMap<String, String> = labels.map(|(name, value)| (name.into(), value.into())).into();
        let entries = (0..).zip(lines).map(|(number, line)| Input {
            labels: labels.clone(),
            line: BASE64_STANDARD.encode(line),
            time: FIRST_NS + number * 100_000_000,
            metadata: Vec::new(),
        });
        Self { stages: stages.into(), entries: entries.collect(), migration: None }
    }

    /// The same with the lines as Pilcrow's stages get them: what is no UTF-8 was replaced when it was read.
    fn as_read(&self) -> Self {
        let mut read = self.clone();
        for entry in &mut read.entries {
            entry.line = BASE64_STANDARD.encode(compare::text(&entry.line));
        }
        read
    }
}

/// The time of the first entry of each request.
const FIRST_NS: i64 = 1_700_000_000_000_000_000;

/// Pipelines whose first difference is printed; the others are counted.
const SHOWN_MAX: usize = 20;

/// How often Promtail is asked again for an answer that equals Pilcrow's: behind `multiline` it gives out the blocks of several
/// streams in any order, by a goroutine for each.
const ORDERS_MAX: usize = 50;

impl Default for Args {
    fn default() -> Self {
        Self { entries: 20_000, seed: 1 }
    }
}

/// Whether Promtail's library can be built here.
///
/// # Errors
/// Why not.
pub fn can_run() -> Result<(), &'static str> {
    if process::find("go").is_none() {
        return Err("no Go to build Promtail's stages with: install Go 1.21 or newer");
    }
    Ok(())
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let (mut promtail, mut pilcrow) = (Program::promtail()?, Program::pilcrow()?);
    let mut tally = Tally::default();
    for request in cases::all() {
        tally.compare(&request, &mut promtail, &mut pilcrow)?;
    }
    let cases = tally.requests;
    let mut generator = Generator::new(args.seed);
    let by_hand = tally.entries;
    while tally.entries - by_hand < args.entries {
        tally.compare(&generator.request(), &mut promtail, &mut pilcrow)?;
    }
    let of_stages = tally.requests;
    let corpus = corpus::compare(&mut tally, &mut promtail, &mut pilcrow)?;
    for (name, count) in exceptions::all().map(|exception| exception.name).zip(&tally.exceptions) {
        println!("exception {name}: {count}");
    }
    println!(
        "conformance: {cases} hand-written and {} generated pipelines (seed {}), {} entries: {} differences; {} were equal in another order of Promtail's",
        of_stages - cases,
        args.seed,
        tally.entries - corpus.entries,
        tally.differences - corpus.differences,
        tally.other_orders
    );
    println!("{corpus}");
    ensure!(tally.differences == 0, "Pilcrow differs from Promtail");
    let unneeded: Vec<&str> = exceptions::all()
        .zip(&tally.exceptions)
        .filter(|(_, count)| **count == 0)
        .map(|(exception, _)| exception.name)
        .collect();
    if !unneeded.is_empty() {
        bail!("exceptions that nothing needs any more: {}", unneeded.join(", "));
    }
    Ok(())
}

#[derive(Default)]
struct Tally {
    requests: u64,
    entries: u64,
    differences: usize,
    /// Pipelines whose first difference was printed.
    shown: usize,
    /// Old configurations, each with a field that was printed.
    shown_of_files: BTreeSet<String>,
    /// Pipelines for which Promtail had to be asked again.
    other_orders: u64,
    exceptions: Vec<u64>,
}

impl Tally {
    fn compare(&mut self, request: &Request, promtail: &mut Program, pilcrow: &mut Program) -> anyhow::Result<()> {
        promtail.ask(request)?;
        pilcrow.ask(&request.as_read())?;
        let (theirs, ours) = (promtail.answer()?, pilcrow.answer()?);
        self.take(request, &theirs, &ours, promtail)
    }

    /// Compares two answers.
    fn take(
        &mut self,
        request: &Request,
        theirs: &Answer,
        ours: &Answer,
        promtail: &mut Program,
    ) -> anyhow::Result<()> {
        self.exceptions.resize(exceptions::all().count(), 0);
        self.requests += 1;
        self.entries += request.entries.len() as u64;
        let mut excused = vec![0; self.exceptions.len()];
        let mut left = not_excused(request, theirs, ours, &mut excused);
        let needs_order = request.stages.contains("multiline");
        for _ in 0..if left.is_empty() || !needs_order { 0 } else { ORDERS_MAX } {
            excused.fill(0);
            promtail.ask(request)?;
            if not_excused(request, &promtail.answer()?, ours, &mut excused).is_empty() {
                left.clear();
                self.other_orders += 1;
                break;
            }
        }
        for (all, these) in self.exceptions.iter_mut().zip(excused) {
            *all += these;
        }
        let mut reported = false;
        for difference in left {
            self.differences += 1;
            // Of an old configuration one of a kind is enough.
            let is_new = match &request.migration {
                Some(migration) => self.shown_of_files.insert(format!("{} {:?}", migration.file(), difference.field)),
                None => !reported && self.shown < SHOWN_MAX,
            };
            if is_new {
                reported = true;
                self.shown += 1;
                match &request.migration {
                    Some(migration) => println!("--- difference in {migration}\n{difference}"),
                    None => println!("--- difference\n{}\n{difference}", request.stages),
                }
                if let Some(input) = difference.entry.and_then(|id| request.entries.get(usize::try_from(id).ok()?)) {
                    println!("line: {}", compare::text(&input.line));
                }
            }
        }
        Ok(())
    }
}

/// The differences that no exception explains; adds to the count of each exception those that it does.
fn not_excused(request: &Request, theirs: &Answer, ours: &Answer, excused: &mut [u64]) -> Vec<Difference> {
    let mut differences = differences(theirs, ours, !request.stages.contains("match:"));
    differences.retain(|difference| {
        let exception = exceptions::all().position(|exception| exception.explains(request, difference));
        exception.inspect(|&index| excused[index] += 1).is_none()
    });
    differences
}
