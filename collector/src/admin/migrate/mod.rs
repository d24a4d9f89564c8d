//! `pilcrow migrate`: from another collector's configuration to Pilcrow's.
//!
//! In: files of Promtail, the Grafana Agent, Alloy, or their charts. Out: a configuration of Pilcrow, and a report of what was
//! taken over, what was changed and what is not possible, each with its place. A reader turns a file into an [`origin::Origin`],
//! [`convert`] makes a configuration of it that compiles, [`output`] and [`report`] write.

pub mod agent;
pub mod alloy;
mod chart;
pub mod convert;
mod docker;
mod k8s_monitoring;
pub mod origin;
pub mod output;
mod pod_files;
pub mod promtail;
pub mod prove;
pub mod recognise;
pub mod report;
pub mod words;
mod write;
pub mod yaml;

use std::{
    fs,
    io::{self, Read, Write},
    path::PathBuf,
};

use anyhow::{Context, bail};

use self::{
    convert::{Draft, Options},
    origin::{Fault, Kind, Origin, Place, Text, Tree},
    output::Form,
    recognise::Piece,
    report::Next,
};
use crate::admin::terminal::Paint;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub files: Vec<PathBuf>,
    pub form: Form,
    /// Where the new configuration is written; else to standard output.
    pub output: Option<PathBuf>,
    /// What is not possible makes it fail.
    pub strict: bool,
    /// The report as JSON.
    pub json: bool,
    pub job: Option<String>,
}

/// What the file `-` is called in messages.
pub const STANDARD_INPUT: &str = "standard input";

/// A text with its name, as it was read.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub text: String,
}

/// Converts and writes: the configuration to `out`, the report to `report`.
///
/// # Errors
/// A file cannot be read, nothing in it can be converted, or, with `strict`, something is not possible.
pub fn run(request: &Request, paint: Paint, out: &mut impl Write, report: &mut impl Write) -> anyhow::Result<()> {
    if let Some(output) = request.output.as_ref().filter(|output| request.files.contains(output)) {
        bail!("--output {} is a file that is read: name another one", output.display());
    }
    let sources = sources(&request.files)?;
    let next = Next { files: &request.files, output: request.output.as_deref(), job: request.job.as_deref() };
    let (_, draft) = converted(&sources, &Options { job: request.job.clone() })?;
    let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let text = output::text(&draft, request.form, &names);
    match &request.output {
        Some(file) => fs::write(file, &text).with_context(|| format!("cannot write {}", file.display()))?,
        None => out.write_all(text.as_bytes())?,
    }
    out.flush()?;
    if request.json {
        report::write_json(&draft, request.form, &next, report)?;
    } else {
        report::write(&draft, request.form, &next, paint, report)?;
    }
    match report::count(&draft, Kind::NotPossible) {
        0 => Ok(()),
        n if request.strict => bail!("{n} {} not possible (--strict)", if n == 1 { "part is" } else { "parts are" }),
        _ => Ok(()),
    }
}

/// Reads files.
///
/// # Errors
/// One of them cannot be read.
pub fn sources(files: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let read = |file: &PathBuf| {
        let mut bytes = Vec::new();
        let read = match file.as_os_str() == "-" {
            true => io::stdin().lock().read_to_end(&mut bytes),
            false => fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes)),
        };
        read.with_context(|| format!("cannot read {}", file.display()))?;
        let name = if file.as_os_str() == "-" { STANDARD_INPUT.to_owned() } else { file.display().to_string() };
        source(&name, bytes)
    };
    files.iter().map(read).collect()
}

/// The text that a file of this name holds.
///
/// # Errors
/// It is no text in UTF-8.
pub fn source(name: &str, bytes: Vec<u8>) -> anyhow::Result<Source> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        bail!("{name}:1:1: is UTF-16; make UTF-8 of it: iconv -f UTF-16 -t UTF-8 {name}");
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let (valid, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let bad = rest.first().copied().unwrap_or_default();
        anyhow::anyhow!("{}: byte {bad:#04x} (at offset {}) is not UTF-8", place_behind(name, valid), valid.len())
    })?;
    if let Some(at) = text.find('\0') {
        let place = place_behind(name, &text.as_bytes()[..at]);
        bail!("{place}: byte 0x00 (at offset {at}): this is no text, or UTF-16");
    }
    Ok(Source { name: name.to_owned(), text })
}

/// The place of what follows this part of a file, which is UTF-8.
fn place_behind(name: &str, before: &[u8]) -> Place {
    let before = String::from_utf8_lossy(before);
    let line = before.rsplit('\n').next().unwrap_or_default();
    Place::start_of(name).at(1 + before.matches('\n').count(), 1 + line.chars().count())
}

/// Reads what the texts mean, and converts it.
///
/// # Errors
/// One of them cannot be understood, or nothing in them collects pod logs; each fault with its place.
pub fn converted(sources: &[Source], options: &Options) -> anyhow::Result<(Origin, Draft)> {
    let origin = origin(sources).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })?;
    let draft = convert::convert(&origin, options).map_err(|why| {
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        anyhow::anyhow!("{}: {why}", names.join(", "))
    })?;
    Ok((origin, draft))
}

/// What the texts mean together. All of them that are Alloy's are one configuration, as the files of its folder are.
///
/// # Errors
/// One of them cannot be understood.
pub fn origin(sources: &[Source]) -> Result<Origin, Vec<Fault>> {
    let mut origin = Origin::default();
    let mut of_alloy: Vec<(Place, String)> = Vec::new();
    let mut arguments: Vec<(Tree, String)> = Vec::new();
    for source in sources {
        let text = Text { place: Place::start_of(&source.name), text: &source.text };
        for piece in recognise::pieces(&text)? {
            let mut part = Origin::default();
            match piece {
                Piece::Promtail(root) => promtail::read(&root, &mut part),
                Piece::Agent(root) => agent::read(&root, &mut part),
                Piece::PromtailChart(values, place, text) => {
                    promtail::chart::read(&values, &Text { place, text: &text }, &mut part)?;
                }
                Piece::AlloyChart(values) => chart::of_alloy(&values, "", &mut part),
                Piece::Alloy(place, text) => of_alloy.push((place, text)),
                Piece::Arguments(list, above) => arguments.push((list, above)),
                Piece::Beside(finding) => part.findings.push(finding),
                Piece::K8sMonitoring(values, place, text) => {
                    k8s_monitoring::read(&values, &Text { place, text: &text }, &mut part)?;
                }
            }
            origin.append(part);
        }
    }
    if !of_alloy.is_empty() {
        let texts: Vec<Text<'_>> = of_alloy.iter().map(|(place, text)| Text { place: place.clone(), text }).collect();
        origin.append(alloy::read(&texts)?);
    }
    for (list, above) in arguments {
        promtail::of_pods(&list, &above, &mut origin);
    }
    docker::leave_out_beside_pods(&mut origin);
    // A file may hold the jobs, and another one the clients.
    let all: Vec<usize> = (0..origin.clients.len()).collect();
    for pipeline in origin.pipelines.iter_mut().filter(|pipeline| pipeline.clients.is_empty()) {
        pipeline.clients.clone_from(&all);
    }
    Ok(origin)
}
