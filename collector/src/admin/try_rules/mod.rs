//! `pilcrow try`: what the rules of a configuration make of real lines, and what they cost, without sending anything.
//!
//! In: a compiled configuration, and the last lines of this node's containers, files, or standard input. Out: each line before
//! and after, and a summary, as text or as JSON (docs/pipeline.md). Changes nothing; may run beside a Pilcrow that collects.
//!
//! The lines of several containers pass in the order of their times, as they did when they were written, and are shown by
//! container.

mod containers;
mod input;
mod show;
mod show_json;
mod summary;
mod trial;

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;

pub use self::input::Logged;
use self::trial::Trial;
use crate::{
    compiled::Compiled,
    config::Config,
    decode::{Clock, Limits},
    model::PodName,
    source::kubernetes::PodMetadata,
    tail::{chain, survey},
};

/// Lines of each container where nobody says how many.
const LINES: usize = 100;

/// The file that is standard input.
const STDIN: &str = "-";

/// What lines count as from where nothing says it.
const UNKNOWN: &str = "try";

/// What to show.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Of which containers; for files and standard input, which container the lines shall count as from.
    pub namespace: Option<String>,
    pub pod: Option<String>,
    pub container: Option<String>,
    /// Labels on top of those that the rules make.
    pub labels: Vec<(String, String)>,
    /// How many of the last lines; `None`: the default.
    pub lines: Option<usize>,
    pub stdin: bool,
    pub files: Vec<PathBuf>,
    /// With what each stage did.
    pub explain: bool,
    pub json: bool,
}

impl Request {
    /// Whether the logs of this node's containers are wanted.
    #[must_use]
    pub fn is_of_containers(&self) -> bool {
        !self.stdin && self.files.is_empty()
    }
}

/// What the Kubernetes API says of this node's pods: none where it is not asked, or why it does not answer.
pub type Pods = Result<Option<Vec<PodMetadata>>, String>;

/// The container that lines are from.
#[derive(Clone, Debug)]
pub struct Origin {
    pub pod: PodName,
    pub container: String,
    /// Its folder; for other files theirs.
    pub folder: PathBuf,
    /// What the Kubernetes API says of its pod.
    pub from_api: Box<[(Box<str>, Box<str>)]>,
}

/// Shows what the rules make of the lines.
///
/// # Errors
/// There are no such lines, they cannot be read, or `out` cannot be written to.
pub fn run(
    compiled: &Compiled,
    request: &Request,
    pods: Pods,
    colours: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut trial = Trial::new(compiled, request, colours, out)?;
    let limits = Limits::from(&compiled.config.lines);
    if request.is_of_containers() {
        let (containers, notes) = read_containers(&compiled.config, request, pods)?;
        trial.collected(containers.into_iter().map(|read| (read.origin, read.lines)).collect())?;
        return trial.end(&notes);
    }
    let stdin = request.stdin.then(|| PathBuf::from(STDIN));
    for file in stdin.iter().chain(&request.files) {
        let origin = origin_of(request, file);
        if file.as_os_str() == STDIN {
            read_all(&mut trial, request.lines, &origin, io::stdin().lock(), limits, None)
                .context("cannot read standard input")?;
            continue;
        }
        let mut open = open(file)?;
        let is_gzip = file.extension().is_some_and(|extension| extension == "gz");
        let named = || format!("cannot read {}", file.display());
        match request.lines {
            Some(lines) if !is_gzip && open.metadata().is_ok_and(|metadata| metadata.is_file()) => {
                let lines = input::last_lines(&mut open, limits, lines).with_context(named)?;
                trial.collected(vec![(origin, lines)])?;
            }
            _ => {
                let clock = chain::clock_before(&open, 0);
                let reader: Box<dyn Read> =
                    if is_gzip { Box::new(flate2::read::MultiGzDecoder::new(open)) } else { Box::new(open) };
                read_all(&mut trial, request.lines, &origin, reader, limits, Some(clock)).with_context(named)?;
            }
        }
    }
    trial.end(&[])
}

/// A container with its last lines.
pub struct LastLines {
    pub origin: Origin,
    /// The log that is written to.
    pub file: PathBuf,
    pub lines: Vec<Logged>,
}

/// The last lines of this node's containers that a request means, and what else should be known.
///
/// # Errors
/// There are none, or they cannot be read.
pub fn read_containers(
    config: &Config,
    request: &Request,
    pods: Pods,
) -> anyhow::Result<(Vec<LastLines>, Vec<String>)> {
    let found = containers::find(config, request, pods)?;
    let lines = request.lines.unwrap_or(LINES);
    let read = found.containers.into_iter().map(|found| LastLines::read(found, config, lines));
    Ok((read.collect::<anyhow::Result<_>>()?, found.notes))
}

/// The last lines of each of this node's containers, as far as they can be read.
///
/// # Errors
/// There are none.
pub fn node_lines(config: &Config, lines: usize) -> anyhow::Result<Vec<LastLines>> {
    let found = containers::find(config, &Request::default(), Ok(None))?.containers.into_iter();
    Ok(found.filter_map(|found| LastLines::read(found, config, lines).ok()).collect())
}

impl LastLines {
    fn read(found: containers::Found, config: &Config, lines: usize) -> anyhow::Result<Self> {
        let lines = last_lines(&found.file, Limits::from(&config.lines), lines)?;
        Ok(Self { origin: found.origin, file: found.file, lines })
    }
}

/// All lines as they come, or the last of them.
fn read_all<W: Write>(
    trial: &mut Trial<'_, W>,
    last: Option<usize>,
    origin: &Origin,
    reader: impl Read,
    limits: Limits,
    clock: Option<Clock>,
) -> anyhow::Result<()> {
    match last {
        None => {
            let mut channels = trial.open(origin);
            input::read(reader, limits, clock, |line| trial.line(&mut channels, line))?;
            trial.close(channels)
        }
        Some(last) => {
            let mut lines = input::Last::new(last);
            input::read(reader, limits, clock, |line| {
                lines.add(line);
                Ok(())
            })?;
            trial.collected(vec![(origin.clone(), lines.take())])
        }
    }
}

fn last_lines(file: &Path, limits: Limits, lines: usize) -> anyhow::Result<Vec<Logged>> {
    let mut open = open(file)?;
    input::last_lines(&mut open, limits, lines).with_context(|| format!("cannot read {}", file.display()))
}

fn open(file: &Path) -> anyhow::Result<File> {
    File::open(file).with_context(|| {
        let forbidden = std::fs::symlink_metadata(file).is_ok();
        let fix = if forbidden { format!(": {}", survey::PERMISSIONS) } else { String::new() };
        format!("cannot open {}{fix}", file.display())
    })
}

/// The container that a file's lines are from, by its path where that is one of the kubelet's.
fn origin_of(request: &Request, file: &Path) -> Origin {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let folder = absolute.parent();
    let pod = folder.and_then(Path::parent).and_then(name).and_then(|name| PodName::parse(&name));
    let container = folder.and_then(name).filter(|_| pod.is_some());
    let known = pod.unwrap_or(PodName { namespace: "default".into(), pod: UNKNOWN.into(), uid: UNKNOWN.into() });
    Origin {
        pod: PodName {
            namespace: request.namespace.clone().unwrap_or(known.namespace),
            pod: request.pod.clone().unwrap_or(known.pod),
            uid: known.uid,
        },
        container: request.container.clone().or(container).unwrap_or_else(|| UNKNOWN.into()),
        folder: folder.map(Path::to_owned).unwrap_or_default(),
        from_api: Box::default(),
    }
}
