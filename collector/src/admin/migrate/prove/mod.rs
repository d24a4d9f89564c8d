//! `pilcrow migrate --prove`: whether the new configuration makes of this node's lines what the old rules make of them.
//!
//! In: an old setup, its conversion or a configuration that stands for it, and the last lines of this node's containers. Out: how many
//! streams and lines are the same, and every difference, the worst first; the same of the streams that Loki has. The old rules are run
//! by Pilcrow's own relabelling and stages, which are those of Promtail (`cargo xtask conformance`), as they stand in the old file; the
//! new configuration is the text that `migrate` prints. Sends nothing.

mod compare;
mod glob;
mod in_loki;
mod old;
mod record;
mod written;

use std::{fs, io::Write, path::PathBuf};

use anyhow::{Context, bail};

use self::{
    compare::{Comparison, Outcome},
    in_loki::{OWN, Streams, Verdict, Whose},
    old::{ASSUMED, Files, Old},
};
use super::{
    Source,
    convert::{self, Options},
    docker,
    output::{self, Form},
};
use crate::{
    admin::{
        check,
        rules::{Channel, Given, Rules, Trace},
        try_rules::{self, LastLines, Logged, Pods},
    },
    compiled::Compiled,
    config::{Config, StageConfig, StageValue},
    model::{Stream, now_ns},
    output::loki::{SeriesQuery, StreamLabels},
    pipeline::relabel::{Relabel, Target, built_in},
    source::kubernetes::Interest,
};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The kubelet's folder of pod logs, where it is not that of the configuration.
    pub pods: Option<PathBuf>,
    /// Last lines of each container.
    pub lines: Option<usize>,
    /// The Loki whose streams are compared too; asked with the credentials of the new configuration.
    pub loki: Option<String>,
}

/// Both sides, ready to run.
pub struct Proof {
    /// Each job; a container is of one of them.
    old: Vec<Old>,
    new: Compiled,
    notes: Vec<String>,
}

/// Asks Loki for streams.
pub type Ask<'a> = &'a dyn Fn(&SeriesQuery) -> anyhow::Result<Vec<StreamLabels>>;

/// What both sides have in common here, whatever they say.
pub struct Assumed {
    /// This node's name.
    pub node: String,
}

impl Assumed {
    /// Of a configuration, else of the environment, else of this machine.
    fn here(config: Option<&Config>) -> Self {
        let configured = config.map(|config| config.kubernetes.node_name.clone());
        let set = || Config::process_environment("NODE_NAME");
        let machine = || fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).ok();
        let is_name = |name: &String| !name.is_empty();
        let node = configured.filter(is_name).or_else(|| set().filter(is_name)).or_else(machine);
        Self { node: node.unwrap_or_default() }
    }

    /// A configuration on this node, without `sampling`.
    fn applied(&self, mut config: Config) -> anyhow::Result<Compiled> {
        config.kubernetes.node_name.clone_from(&self.node);
        remove_sampling(&mut config.pipeline_stages);
        Compiled::new(config).map_err(|problems| match problems.first() {
            Some(problem) => anyhow::anyhow!("{problem}"),
            None => anyhow::anyhow!("the configuration does not compile"),
        })
    }
}

/// Takes the stages out that decide by chance, which is another one on each side.
fn remove_sampling(stages: &mut Vec<StageConfig>) {
    let mut list: Vec<StageValue> = std::mem::take(stages).into_iter().map(|stage| stage.0).collect();
    without_sampling(&mut list);
    stages.extend(list.into_iter().map(StageConfig));
}

fn without_sampling(stages: &mut Vec<StageValue>) {
    stages.retain_mut(|stage| {
        let StageValue::Group(entries) = stage else { return true };
        let is_of_use = |(name, settings): &mut (String, StageValue)| {
            let StageValue::Group(fields) = settings else { return name != "sampling" };
            let nested = fields.iter_mut().find(|(name, _)| name == "stages");
            if let Some((_, StageValue::List(nested))) = nested {
                without_sampling(nested);
                // A match of nothing is none.
                return !nested.is_empty();
            }
            name != "sampling"
        };
        entries.iter_mut().all(is_of_use)
    });
}

fn has_sampling(stages: &[StageConfig]) -> bool {
    let mut without = stages.to_vec();
    remove_sampling(&mut without);
    without != stages
}

impl Proof {
    /// Reads and converts an old setup; `new`: what stands for its conversion.
    ///
    /// # Errors
    /// It cannot be understood, or nothing in it collects pod logs.
    pub fn new(
        sources: &[Source],
        options: &Options,
        request: &Request,
        new: Option<Compiled>,
    ) -> anyhow::Result<Self> {
        let (origin, draft) = super::converted(sources, options)?;
        if draft.get(docker::KEY).is_some() {
            bail!(
                "Docker's containers are not compared: `pilcrow try` shows what the new configuration makes of their last lines"
            );
        }
        let assumed = Assumed::here(new.as_ref().map(|new| &new.config));
        let mut config = match new {
            Some(new) => new.config,
            None => {
                let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
                let text = output::text(&draft, Form::Config, &names);
                let parsed = Compiled::parse(&text, &convert::environment(&draft));
                parsed.map_err(|problems| anyhow::anyhow!("{}", texts(&problems)))?.config
            }
        };
        if let Some(pods) = &request.pods {
            config.paths.pods.clone_from(pods);
        }
        if let Some(url) = &request.loki {
            config.loki.url.clone_from(url);
        }
        let mut notes = Vec::new();
        if config.labels.get(OWN.0).is_some_and(|value| value == OWN.1) {
            config.labels.remove(OWN.0);
            notes.push(format!("the label {}={:?} of the new configuration is left out", OWN.0, OWN.1));
        }
        if has_sampling(&config.pipeline_stages) {
            notes.push("sampling is left out on both sides: which lines it takes is chance".into());
        }
        let jobs = draft.jobs.iter().map(|number| Old::new(sources, &origin, &origin.pipelines[*number], &assumed));
        let (old, new) = (jobs.collect::<anyhow::Result<Vec<Old>>>()?, assumed.applied(config)?);
        // With more the labels that stages add are moved on both sides, and the comparison does not show it.
        let of_old = || old.iter().find_map(|old| check::too_many_labels(&old.compiled));
        notes.extend(check::too_many_labels(&new).or_else(of_old));
        notes.extend(old::left_out(&origin, &draft.jobs));
        for note in old.iter().flat_map(|old| &old.notes) {
            if !notes.contains(note) {
                notes.push(note.clone());
            }
        }
        Ok(Self { old, new, notes })
    }

    /// What both sides want to know of pods.
    ///
    /// # Errors
    /// None is known: the rules of both compiled before.
    pub fn interest(&self) -> anyhow::Result<Interest> {
        let mut config = self.new.config.clone();
        for old in self.old.iter().map(|old| &old.compiled.config) {
            if old.relabel_defaults {
                config.relabel_configs.extend(built_in(old.preset));
            }
            config.relabel_configs.extend(old.relabel_configs.iter().cloned());
        }
        let rules =
            Relabel::new(&config).map_err(|_| anyhow::anyhow!("the rules of both sides do not compile together"))?;
        Ok(Interest { rules, selector: self.new.pod_selector.clone(), annotations: Vec::new() })
    }

    /// The configuration of the new side: where pods are asked for, and Loki.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.new.config
    }

    /// Runs both sides and writes what was found; `ask` is used where a Loki was named.
    ///
    /// # Errors
    /// There are no lines, `out` cannot be written to, Loki cannot be asked, or something differs.
    pub fn run(&self, request: &Request, pods: Pods, ask: Ask<'_>, out: &mut impl Write) -> anyhow::Result<()> {
        let all = try_rules::Request { lines: request.lines, ..try_rules::Request::default() };
        let (containers, notes) = try_rules::read_containers(&self.new.config, &all, pods)?;
        let mut found = Found::default();
        self.compare(&containers, &mut found)?;
        found.comparison.write(containers.len(), out)?;
        for note in notes.iter().chain(&self.notes) {
            writeln!(out, "note: {note}")?;
        }
        let mut differing = counted(found.comparison.differing_lines(), "line");
        if let Some(url) = &request.loki {
            let verdict = found.in_loki(ask, now_ns())?;
            verdict.write(url, out)?;
            differing.extend(counted(verdict.differing_streams() as u64, "stream"));
        }
        out.flush().context("cannot write the result")?;
        if !differing.is_empty() {
            bail!("{}", differing.join(", "));
        }
        if found.comparison.is_of_nothing() {
            bail!(
                "nothing was compared: both sides leave out all lines. Rules that go by labels of pods need the Kubernetes API: run \
                 it in Pilcrow's pod"
            );
        }
        Ok(())
    }

    fn compare(&self, containers: &[LastLines], found: &mut Found) -> anyhow::Result<()> {
        let sides: Vec<Side> = self.old.iter().map(|old| old.run(containers)).collect::<anyhow::Result<_>>()?;
        let mut new = Side::new(&self.new)?;
        for read in containers {
            Stream::ALL.iter().for_each(|stream| new.open(&target(read, *stream, &read.origin.from_api), &[]));
        }
        new.read(containers, &|line| line.text.clone());
        for (channel, new_channel) in new.channels.iter().enumerate() {
            let origin = &containers[channel / Stream::ALL.len()].origin;
            let whose = Whose {
                namespace: origin.pod.namespace.clone(),
                pod: origin.pod.pod.clone(),
                container: origin.container.clone(),
            };
            let stream = Stream::ALL[channel % Stream::ALL.len()].name();
            let mut by_old = Vec::new();
            for (old, side) in self.old.iter().zip(&sides) {
                let sent: Vec<_> = side.channels[channel].traces.iter().map(|trace| old.sent(trace)).collect();
                side.channels[channel].add_to(&mut found.old, &whose, &sent);
                by_old.extend(sent);
            }
            let by_new: Vec<_> = new_channel.traces.iter().map(|trace| (trace.number, trace.sent().cloned())).collect();
            new_channel.add_to(&mut found.new, &whose, &by_new);
            let name = format!("{}/{}/{} {stream}", whose.namespace, whose.pod, whose.container);
            found.comparison.channel(&name, by_old, by_new);
        }
        Ok(())
    }
}

/// A container's stdout or stderr, with what is known of its pod.
fn target<'r>(read: &'r LastLines, stream: Stream, from_api: &'r [(Box<str>, Box<str>)]) -> Target<'r> {
    let folder = read.origin.folder.to_str().unwrap_or_default();
    Target { pod: &read.origin.pod, container: &read.origin.container, folder, stream: stream.name(), from_api }
}

impl Old {
    /// Runs it over all lines.
    fn run(&self, containers: &[LastLines]) -> anyhow::Result<Side<'_>> {
        let mut side = Side::new(&self.compiled)?;
        for read in containers {
            let assumed = ASSUMED.map(|(name, value)| (name.into(), value.into()));
            let files = self.files_of(read);
            let known = read.origin.from_api.iter().cloned().chain(assumed).chain(files.as_ref().map(Files::label));
            let known: Vec<(Box<str>, Box<str>)> = known.collect();
            let given = self.given(read, files);
            let given: Vec<(&str, &str)> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
            for stream in Stream::ALL {
                match self.finds(read) {
                    true => side.open(&target(read, stream, &known), &given),
                    false => side.channels.push(Open { channel: None, traces: Vec::new(), last_ns: 0 }),
                }
            }
        }
        side.read(containers, &|line| self.format.record(line));
        Ok(side)
    }
}

fn texts(problems: &[crate::config::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// `3 lines differ`; nothing where none does.
fn counted(count: u64, noun: &str) -> Vec<String> {
    match count {
        0 => Vec::new(),
        1 => vec![format!("1 {noun} differs")],
        n => vec![format!("{n} {noun}s differ")],
    }
}

/// What both sides made of the lines.
#[derive(Default)]
struct Found {
    comparison: Comparison,
    old: Streams,
    new: Streams,
}

impl Found {
    fn in_loki(&self, ask: Ask<'_>, now_ns: i64) -> anyhow::Result<Verdict> {
        let queries = in_loki::queries(&self.old, &self.new, now_ns);
        if queries.is_empty() {
            bail!("Loki cannot be asked: no label names a namespace, a pod or a container");
        }
        let answers = queries.iter().map(|query| Ok((query.tenant.as_deref().map(str::to_owned), ask(query)?)));
        Ok(Verdict::new(&self.new, answers.collect::<anyhow::Result<_>>()?, now_ns))
    }
}

/// One of the two configurations, with the channels of all containers.
struct Side<'c> {
    rules: Rules<'c>,
    channels: Vec<Open>,
}

struct Open {
    /// `None`: the rules leave it out.
    channel: Option<Channel>,
    traces: Vec<Trace>,
    last_ns: i64,
}

impl<'c> Side<'c> {
    fn new(compiled: &'c Compiled) -> anyhow::Result<Self> {
        Ok(Self { rules: Rules::new(compiled, false)?, channels: Vec::new() })
    }

    fn open(&mut self, target: &Target<'_>, more: &[(&str, &str)]) {
        let channel = self.rules.channel(target, more.iter().copied());
        self.channels.push(Open { channel, traces: Vec::new(), last_ns: 0 });
    }

    /// Takes all lines in the order of their times; `text`: what its stages get of a line.
    fn read(&mut self, containers: &[LastLines], text: &dyn Fn(&Logged) -> Vec<u8>) {
        let lines = containers.iter().enumerate().flat_map(|(number, read)| {
            let first = number * Stream::ALL.len();
            read.lines.iter().map(move |line| (first + line.stream as usize, line))
        });
        let mut lines: Vec<(usize, &Logged)> = lines.collect();
        lines.sort_by_key(|(_, line)| line.time_ns);
        for (number, (channel, line)) in (1..).zip(lines) {
            let given = Given { number, time_ns: line.time_ns, now_ns: line.time_ns, text: &text(line) };
            self.line(channel, given);
        }
        self.finish();
    }

    fn line(&mut self, channel: usize, given: Given<'_>) {
        let open = &mut self.channels[channel];
        open.last_ns = given.now_ns;
        if let Some(channel) = &mut open.channel {
            open.traces.extend(self.rules.line(channel, given));
        }
    }

    fn finish(&mut self) {
        for open in &mut self.channels {
            if let Some(channel) = &mut open.channel {
                let traces = self.rules.finish(channel, open.last_ns);
                open.traces.extend(traces);
            }
            open.traces.retain(|trace| !matches!(trace.end, crate::admin::rules::End::Held { .. }));
        }
    }
}

impl Open {
    fn add_to(&self, streams: &mut Streams, whose: &Whose, entries: &[(u64, Outcome)]) {
        let own = |name: &str| self.channel.as_ref()?.labels.get(name).map(str::to_owned);
        entries.iter().filter_map(|(_, sent)| sent.as_ref()).for_each(|sent| streams.add(whose, &own, sent));
    }
}
