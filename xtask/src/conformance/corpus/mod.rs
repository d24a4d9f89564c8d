//! Old configurations and their conversions: what both send of the same container's log.
//!
//! In: collector/tests/migrate. Each of Promtail's and the Agent's goes to both programs with a container and lines that fit it
//! ([`lines`]): Promtail's library runs the jobs as they stand in the old file, on records of the container runtime; Pilcrow converts
//! it, and runs the result on the lines. Beside one of Alloy's or of another chart's, `NAME.promtail.yaml` is an equal configuration
//! of Promtail's. Out: how many were compared. Knows nothing of how either does it.

mod containers;
mod lines;

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::ensure;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::containers::Container;
use super::{Answer, Input, Request, Tally, program::Program};
use crate::process;

/// Configurations that are not compared, with the reason.
const LEFT_OUT: [(&str, &str); 5] = [
    ("chart-scrape-configs", "a template of Helm makes its job"),
    ("chart-scrape-configs-with-defaults", "a template of Helm makes its job"),
    ("docker-by-hand", "Docker's containers are no pods"),
    ("docker-compose", "Docker's containers are no pods"),
    ("docker-flog", "Docker's containers are no pods"),
];

/// What a request says of an old configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Migration {
    file: String,
    /// The one job that is converted, where there are several.
    job: Option<String>,
    /// Those that were.
    jobs: Vec<Job>,
    /// What Promtail's chart renders, where its values are the old file.
    chart: String,
    #[serde(flatten)]
    container: Container,
    /// Of its report.
    #[serde(skip)]
    not_possible: Vec<NotPossible>,
}

/// What the report of a conversion says is not possible.
#[derive(Clone, Debug, Deserialize)]
pub struct NotPossible {
    what: String,
    pub text: String,
    /// The line of the old file at which it stands.
    line: String,
}

impl NotPossible {
    /// Whether the line of the old file has this name.
    pub fn names(&self, label: &str) -> bool {
        self.line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == label)
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Job {
    /// Among those that collect logs of pods.
    number: usize,
    name: String,
}

/// What Pilcrow says of a conversion.
#[derive(Debug, Default, Deserialize)]
pub struct Converted {
    jobs: Vec<Job>,
    /// All jobs that collect logs of pods.
    all: Vec<String>,
    /// Its rules are those that Promtail's chart has by default.
    is_of_chart: bool,
    not_possible: Vec<NotPossible>,
}

impl Converted {
    /// Of the jobs that collect logs of pods, and of which `meant` was asked for, those that are neither converted nor reported.
    fn lost(&self, meant: Option<&str>) -> Vec<&str> {
        let is_reported = |name: &str| self.not_possible.iter().any(|told| told.what == format!("job {name}"));
        let is_converted = |name: &str| self.jobs.iter().any(|job| job.name == name);
        let wanted = self.all.iter().map(String::as_str).filter(|name| meant.is_none_or(|meant| meant == *name));
        wanted.filter(|name| !is_converted(name) && !is_reported(name)).collect()
    }
}

impl Migration {
    /// The name of the old file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What the report says is not possible.
    pub fn not_possible(&self) -> &[NotPossible] {
        &self.not_possible
    }
}

/// How much was compared.
#[derive(Default)]
pub struct Corpus {
    configurations: u64,
    conversions: u64,
    /// Entries that went in.
    pub entries: u64,
    sent: u64,
    pub differences: usize,
    left_out: Vec<String>,
}

impl fmt::Display for Corpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { configurations, conversions, entries, sent, differences, left_out } = self;
        write!(
            f,
            "conversions: {configurations} old configurations, {conversions} conversions of their jobs, {entries} entries, of which \
             Promtail sends {sent}: {differences} differences; without an equal of Promtail's: {}",
            left_out.join(", ")
        )
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jobs: Vec<&str> = self.jobs.iter().map(|job| job.name.as_str()).collect();
        write!(f, "{} (job {}), container {}", self.file, jobs.join(", "), self.container)
    }
}

fn folder() -> PathBuf {
    process::workspace_root().join("collector/tests")
}

/// An old configuration.
struct Old {
    name: String,
    file: String,
    text: String,
    /// What Promtail reads: itself, or its equal.
    promtail: String,
    job: Option<String>,
}

impl Old {
    /// `None` where Promtail has no equal of it.
    fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((name, _)) = file.split_once(".old.") else { return Ok(None) };
        let text = fs::read_to_string(path)?;
        let equal = path.with_file_name(format!("{name}.promtail.yaml"));
        let promtail = if equal.exists() { fs::read_to_string(equal)? } else { text.clone() };
        let job =
            text.lines().next().and_then(|first| first.split_once("--job ")).map(|(_, job)| job.trim().to_owned());
        Ok(Some(Self { name: name.to_owned(), file, text, promtail, job }))
    }
}

/// Compares all.
pub fn compare(tally: &mut Tally, promtail: &mut Program, pilcrow: &mut Program) -> anyhow::Result<Corpus> {
    let chart = fs::read_to_string(folder().join("prove/promtail-chart.yaml"))?;
    let mut files: Vec<PathBuf> = fs::read_dir(folder().join("migrate"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut corpus = Corpus::default();
    let mut failed = Vec::new();
    let before = (tally.entries, tally.differences);
    for file in &files {
        let Some(old) = Old::read(file)? else { continue };
        let mut sides = Sides { tally, promtail, pilcrow, chart: &chart };
        match sides.compare(&old, &mut corpus) {
            Ok(true) => corpus.configurations += 1,
            Ok(false) => corpus.left_out.push(old.name),
            Err(error) => failed.push(format!("{}: {error:#}", old.file)),
        }
    }
    ensure!(failed.is_empty(), "these cannot be compared:\n{}", failed.join("\n"));
    (corpus.entries, corpus.differences) = (tally.entries - before.0, tally.differences - before.1);
    ensure!(corpus.configurations > 40, "only {} old configurations were compared", corpus.configurations);
    Ok(corpus)
}

struct Sides<'s> {
    tally: &'s mut Tally,
    promtail: &'s mut Program,
    pilcrow: &'s mut Program,
    chart: &'s str,
}

impl Sides<'_> {
    /// Whether it was compared.
    fn compare(&mut self, old: &Old, corpus: &mut Corpus) -> anyhow::Result<bool> {
        let is_alloy = old.promtail == old.text && (old.file.ends_with(".alloy") || old.text.contains("stage."));
        if is_alloy || LEFT_OUT.iter().any(|(name, _)| *name == old.name) {
            return Ok(false);
        }
        let mut containers = containers::all(&old.promtail);
        let first = containers.swap_remove(0);
        let answer = self.ask(old, old.job.clone(), first, &[])?;
        // Nothing in it collects logs of pods, or it is a configuration without rules and stages.
        if answer.converted.jobs.is_empty()
            || !(old.promtail.contains("scrape_configs") || answer.converted.is_of_chart)
        {
            return Ok(false);
        }
        let lines = lines::of(&old.promtail);
        let several = if answer.converted.all.len() > 1 { answer.converted.all } else { Vec::new() };
        let jobs = std::iter::once(old.job.clone()).chain(several.into_iter().map(Some));
        for job in jobs {
            corpus.conversions += 1;
            let mut selected = 0;
            for container in containers::all(&old.promtail) {
                let (is_selected, sent) = self.compare_one(old, job.clone(), container, &lines)?;
                selected += u64::from(is_selected);
                corpus.sent += sent;
            }
            ensure!(selected > 0, "job {job:?} selects none of the containers");
        }
        Ok(true)
    }

    fn compare_one(
        &mut self,
        old: &Old,
        job: Option<String>,
        container: Container,
        lines: &[String],
    ) -> anyhow::Result<(bool, u64)> {
        let ours = self.ask(old, job.clone(), container.clone(), lines)?;
        let mut request = self.request(old, job, container, lines)?;
        request.stages.clone_from(&old.promtail);
        let lost = ours.converted.lost(request.migration.as_ref().and_then(|migration| migration.job.as_deref()));
        ensure!(lost.is_empty(), "neither converted nor in the report: job {}", lost.join(", job "));
        if let Some(migration) = &mut request.migration {
            migration.jobs.clone_from(&ours.converted.jobs);
            migration.not_possible.clone_from(&ours.converted.not_possible);
            if ours.converted.is_of_chart {
                migration.chart = self.chart.to_owned();
            }
        }
        self.promtail.ask(&request)?;
        let theirs = self.promtail.answer()?;
        ensure!(!theirs.error.starts_with("harness"), "{}", theirs.error);
        let (read, all) = (&theirs.jobs, &ours.converted.all);
        ensure!(
            !theirs.error.is_empty() || !ours.error.is_empty() || read.len() == all.len(),
            "Promtail's jobs of pods are {read:?}, and the conversion's {all:?}"
        );
        self.tally.take(&request, &theirs, &ours, self.promtail)?;
        Ok((theirs.selected || !theirs.error.is_empty(), theirs.entries.map_or(0, |entries| entries.len() as u64)))
    }

    /// Asks Pilcrow.
    fn ask(
        &mut self,
        old: &Old,
        job: Option<String>,
        container: Container,
        lines: &[String],
    ) -> anyhow::Result<Answer> {
        let request = self.request(old, job, container, lines)?;
        self.pilcrow.ask(&request)?;
        self.pilcrow.answer()
    }

    fn request(
        &self,
        old: &Old,
        job: Option<String>,
        container: Container,
        lines: &[String],
    ) -> anyhow::Result<Request> {
        // An hour ago: what becomes of a time is seen, and no stage takes it for an old one.
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let first = i64::try_from(now / 600 * 600 - 3600)? * 1_000_000_000;
        let entries = (0..).zip(lines).map(|(number, line)| Input {
            labels: BTreeMap::new(),
            line: BASE64_STANDARD.encode(line),
            time: first + number * 100_000_000,
            metadata: Vec::new(),
        });
        let (file, jobs, not_possible) = (old.file.clone(), Vec::new(), Vec::new());
        let migration = Migration { file, job, jobs, chart: String::new(), container, not_possible };
        Ok(Request { stages: old.text.clone(), entries: entries.collect(), migration: Some(migration) })
    }
}

/// All groups of an old configuration, also of those that are texts in it.
fn groups(text: &str) -> Vec<serde_json::Map<String, Value>> {
    fn walk(value: Value, all: &mut Vec<serde_json::Map<String, Value>>) {
        match value {
            Value::String(text) if text.contains('\n') => all.extend(groups(&text)),
            Value::Array(items) => items.into_iter().for_each(|item| walk(item, all)),
            Value::Object(fields) => {
                fields.values().for_each(|field| walk(field.clone(), all));
                all.push(fields);
            }
            _ => {}
        }
    }
    let mut all = Vec::new();
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_default();
    documents.into_iter().for_each(|document| walk(document, &mut all));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_is_neither_converted_nor_reported_is_lost() {
        let job = |name: &str| Job { number: 0, name: name.into() };
        let not_possible = |what: &str| NotPossible { what: what.into(), text: String::new(), line: String::new() };
        let mut converted = Converted {
            jobs: vec![job("web"), job("batch")],
            all: ["web", "batch", "db"].map(str::to_owned).into(),
            is_of_chart: false,
            not_possible: vec![not_possible("job db")],
        };
        assert!(converted.lost(None).is_empty());
        converted.jobs.pop();
        assert_eq!(converted.lost(None), ["batch"]);
        assert!(converted.lost(Some("web")).is_empty());
        converted.not_possible.clear();
        assert_eq!(converted.lost(None), ["batch", "db"]);
    }
}
