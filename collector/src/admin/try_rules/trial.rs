//! One run: lines go in with their origin, what became of them goes out, and is summed up.

use std::{collections::HashSet, io::Write};

use super::{
    Origin, Request,
    input::Logged,
    show::{Shown, Text},
    show_json::Json,
    summary::Summary,
};
use crate::{
    admin::{
        rules::{Channel, Given, Named, Rules, Samples, Trace},
        terminal::Paint,
    },
    compiled::Compiled,
    model::{Line, Stream},
    pipeline::{Note, relabel::Target},
    tail::STREAMS_MAX,
};

/// A container's stdout and stderr, as places in the list of channels.
pub type Open = [usize; 2];

/// What is known of a channel beside what the rules know.
pub struct Known {
    pub container: String,
    pub stream: Stream,
    /// The rules for labels leave it out.
    pub is_left_out: bool,
    /// Lines that are left out so.
    pub left_out: u64,
    /// Label sets of what would be sent, one more than may be at most.
    pub streams: HashSet<Named>,
    /// Bytes that would be sent, and when the first and the last line were written.
    pub sent_bytes: u64,
    pub first_ns: Option<i64>,
    pub last_ns: i64,
}

pub struct Trial<'t, W> {
    rules: Rules<'t>,
    request: &'t Request,
    channels: Vec<Channel>,
    known: Vec<Known>,
    samples: Samples,
    number: u64,
    shown: Shown<'t, W>,
}

impl<'t, W: Write> Trial<'t, W> {
    pub fn new(compiled: &'t Compiled, request: &'t Request, colours: bool, out: &'t mut W) -> anyhow::Result<Self> {
        let shown =
            if request.json { Shown::Json(Json::new(out)) } else { Shown::Text(Text::new(out, Paint { colours })) };
        Ok(Self {
            rules: Rules::new(compiled, request.explain)?,
            request,
            channels: Vec::new(),
            known: Vec::new(),
            samples: Samples::default(),
            number: 0,
            shown,
        })
    }

    /// A container begins.
    pub fn open(&mut self, origin: &Origin) -> Open {
        Stream::ALL.map(|stream| {
            let target = Target {
                pod: &origin.pod,
                container: &origin.container,
                folder: &origin.folder.display().to_string(),
                stream: stream.name(),
                from_api: &origin.from_api,
            };
            let more = self.request.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let channel = self.rules.channel(&target, more);
            self.known.push(Known {
                container: format!("{}/{}/{}", origin.pod.namespace, origin.pod.pod, origin.container),
                stream,
                is_left_out: channel.is_none(),
                left_out: 0,
                streams: HashSet::new(),
                sent_bytes: 0,
                first_ns: None,
                last_ns: 0,
            });
            let none = || self.rules.channel_with(stream, Default::default());
            self.channels.push(channel.unwrap_or_else(none));
            self.channels.len() - 1
        })
    }

    /// A line, which is shown at once.
    pub fn line(&mut self, open: &mut Open, line: &Line<'_>) -> anyhow::Result<()> {
        let channel = open[line.stream as usize];
        let traces = self.take(channel, line.timestamp_ns, line.text);
        self.show(channel, &traces)
    }

    /// A container ends: what it holds back is shown.
    pub fn close(&mut self, open: Open) -> anyhow::Result<()> {
        for channel in open {
            let traces = self.finish(channel);
            self.show(channel, &traces)?;
        }
        Ok(())
    }

    /// Lines of several containers at once: they pass in the order of their times and are shown by container.
    pub fn collected(&mut self, logs: Vec<(Origin, Vec<Logged>)>) -> anyhow::Result<()> {
        let mut all = Vec::new();
        let first = self.channels.len();
        for (origin, lines) in logs {
            let open = self.open(&origin);
            all.extend(lines.into_iter().map(|line| (open[line.stream as usize], line)));
        }
        all.sort_by_key(|(_, line)| line.time_ns);
        let mut traces: Vec<Vec<Trace>> = Vec::new();
        traces.resize_with(self.channels.len() - first, Vec::new);
        for (channel, line) in all {
            let taken = self.take(channel, line.time_ns, &line.text);
            traces[channel - first].extend(taken);
        }
        for (channel, mut traces) in (first..).zip(traces) {
            traces.extend(self.finish(channel));
            self.show(channel, &traces)?;
        }
        Ok(())
    }

    /// All has been shown.
    pub fn end(mut self, notes: &[String]) -> anyhow::Result<()> {
        let took = self.rules.take_notes();
        let took =
            took.into_iter().map(|Note { preset, labels }| format!("multiline: auto took {preset} for {labels}"));
        let notes: Vec<String> = notes.iter().cloned().chain(took).collect();
        let cost_ns = self.rules.measure(&mut self.channels, &self.samples);
        let mut summary = Summary::new(&self.rules, &self.known, cost_ns, &notes);
        if !self.request.is_of_containers() {
            // Text has no times of its own, and a file may hold any part of a day.
            summary.bytes_a_day = None;
        }
        match &mut self.shown {
            Shown::Text(text) => text.summary(&summary),
            Shown::Json(json) => json.summary(&summary),
        }
    }

    fn take(&mut self, channel: usize, time_ns: i64, text: &[u8]) -> Vec<Trace> {
        self.number += 1;
        let known = &mut self.known[channel];
        known.first_ns.get_or_insert(time_ns);
        known.last_ns = time_ns;
        if known.is_left_out {
            known.left_out += 1;
            return Vec::new();
        }
        let given = Given { number: self.number, time_ns, now_ns: time_ns, text };
        self.samples.add(channel, &given);
        self.rules.line(&mut self.channels[channel], given)
    }

    fn finish(&mut self, channel: usize) -> Vec<Trace> {
        let now_ns = self.known[channel].last_ns;
        self.rules.finish(&mut self.channels[channel], now_ns)
    }

    fn show(&mut self, channel: usize, traces: &[Trace]) -> anyhow::Result<()> {
        let known = &mut self.known[channel];
        for sent in traces.iter().filter_map(Trace::sent) {
            known.sent_bytes += sent.line.len() as u64;
            if known.streams.len() <= STREAMS_MAX && !known.streams.contains(&sent.labels) {
                known.streams.insert(sent.labels.clone());
            }
        }
        let (rules, own) = (&self.rules, &self.channels[channel]);
        match &mut self.shown {
            Shown::Text(text) => text.traces(rules, channel, known, own, traces),
            Shown::Json(json) => json.traces(rules, channel, known, own, traces),
        }
    }
}
