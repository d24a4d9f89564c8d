//! `pilcrow migrate --prove`: whether the new configuration makes of this node's lines what the old rules make of them.
//!
//! In: an old setup, its conversion, and the last lines of this node's containers. Out: how many streams and lines are the same, and
//! every difference, the worst first. The old rules are run by Pilcrow's own relabelling and stages, which are those of Promtail
//! (`cargo xtask conformance`), in Promtail's order: rules, stages with the label `filename`, then the labels of the client. Sends
//! nothing.

mod compare;
mod old;

use std::{io::Write, path::PathBuf};

use anyhow::{Context, bail};

use self::{
    compare::{Comparison, Outcome},
    old::Old,
};
use super::{
    Source,
    convert::{self, Options},
};
use crate::{
    admin::{
        rules::{Channel, Given, Rules, Trace},
        try_rules::{self, LastLines, Pods},
    },
    compiled::Compiled,
    model::Stream,
    pipeline::relabel::{Relabel, Target},
    source::kubernetes::Interest,
};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The kubelet's folder of pod logs, where it is not that of the configuration.
    pub pods: Option<PathBuf>,
    /// Last lines of each container.
    pub lines: Option<usize>,
}

/// Both sides, ready to run.
pub struct Proof {
    old: Old,
    new: Compiled,
}

impl Proof {
    /// Reads and converts an old setup.
    ///
    /// # Errors
    /// It cannot be understood, or nothing in it collects pod logs.
    pub fn new(sources: &[Source], options: &Options, request: &Request) -> anyhow::Result<Self> {
        let (origin, draft) = super::converted(sources, options)?;
        let mut new = convert::compiled(&draft).map_err(|problems| match problems.first() {
            Some(problem) => anyhow::anyhow!("{problem}"),
            None => anyhow::anyhow!("the conversion does not compile"),
        })?;
        if let Some(pods) = &request.pods {
            new.config.paths.pods.clone_from(pods);
        }
        Ok(Self { old: Old::new(&origin, options)?, new })
    }

    /// What both sides want to know of pods.
    ///
    /// # Errors
    /// None is known: the rules of both compiled before.
    pub fn interest(&self) -> anyhow::Result<Interest> {
        let mut config = self.new.config.clone();
        config.relabel_configs.extend(self.old.compiled.config.relabel_configs.iter().cloned());
        let rules =
            Relabel::new(&config).map_err(|_| anyhow::anyhow!("the rules of both sides do not compile together"))?;
        Ok(Interest { rules, selector: self.new.pod_selector.clone(), annotations: Vec::new() })
    }

    /// Where pods are asked for.
    #[must_use]
    pub fn kubernetes(&self) -> &crate::config::Kubernetes {
        &self.new.config.kubernetes
    }

    /// Runs both sides and writes what was found.
    ///
    /// # Errors
    /// There are no lines, `out` cannot be written to, or something differs.
    pub fn run(&self, request: &Request, pods: Pods, out: &mut impl Write) -> anyhow::Result<()> {
        let all = try_rules::Request { lines: request.lines, ..try_rules::Request::default() };
        let (containers, notes) = try_rules::read_containers(&self.new.config, &all, pods)?;
        let mut comparison = Comparison::default();
        self.compare(&containers, &mut comparison)?;
        comparison.write(containers.len(), out)?;
        for note in notes.iter().chain(&self.old.notes) {
            writeln!(out, "note: {note}")?;
        }
        out.flush().context("cannot write the result")?;
        match comparison.differing_lines() {
            0 => Ok(()),
            1 => bail!("1 line differs"),
            n => bail!("{n} lines differ"),
        }
    }

    fn compare(&self, containers: &[LastLines], comparison: &mut Comparison) -> anyhow::Result<()> {
        let (mut old, mut new) = (Side::new(&self.old.compiled)?, Side::new(&self.new)?);
        let mut lines = Vec::new();
        for read in containers {
            let first = old.channels.len();
            for stream in Stream::ALL {
                let folder = read.origin.folder.display().to_string();
                let target = Target {
                    pod: &read.origin.pod,
                    container: &read.origin.container,
                    folder: &folder,
                    stream: stream.name(),
                    from_api: &read.origin.from_api,
                };
                let file = read.file.display().to_string();
                old.open(&target, &self.old.given(&file, stream.name()));
                new.open(&target, &[]);
            }
            lines.extend(read.lines.iter().map(|line| (first + line.stream as usize, line)));
        }
        lines.sort_by_key(|(_, line)| line.time_ns);
        for (number, (channel, line)) in (1..).zip(lines) {
            let given = Given { number, time_ns: line.time_ns, now_ns: line.time_ns, text: &line.text };
            old.line(channel, given);
            new.line(channel, given);
        }
        old.finish();
        new.finish();
        for (channel, (old, new)) in old.channels.iter().zip(&new.channels).enumerate() {
            let read = &containers[channel / Stream::ALL.len()];
            let pod = &read.origin.pod;
            let stream = Stream::ALL[channel % Stream::ALL.len()].name();
            let name = format!("{}/{}/{} {stream}", pod.namespace, pod.pod, read.origin.container);
            let as_sent = old.traces.iter().map(|trace| self.old.sent(trace));
            comparison.channel(
                &name,
                as_sent.collect(),
                new.traces.iter().map(|trace| (trace.number, outcome(trace))).collect(),
            );
        }
        Ok(())
    }
}

fn outcome(trace: &Trace) -> Outcome {
    trace.sent().cloned()
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

    fn line(&mut self, channel: usize, given: Given<'_>) {
        let open = &mut self.channels[channel];
        open.last_ns = given.now_ns;
        match &mut open.channel {
            Some(channel) => open.traces.extend(self.rules.line(channel, given)),
            None => {}
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
