//! How many values the labels have that stages make, in the last lines of this node's containers.
//!
//! In: a compiled configuration, and the logs below `paths.pods` where they can be read. Out: a warning for each label with many
//! values; nothing where there are no logs, as on another machine than the one that the configuration is for. Sends nothing.

use std::collections::{BTreeMap, HashSet};

use crate::{
    admin::{
        rules::{Channel, Given, Rules, Trace, differing, named},
        try_rules::{self, Logged, Origin},
    },
    compiled::Compiled,
    model::Stream,
    pipeline::relabel::Target,
};

/// Lines of each container.
const LINES: usize = 100;
/// A label with more values than this is reported.
const VALUES: usize = 50;
/// Values of a label that are told apart.
const VALUES_MAX: usize = 10_000;

pub(super) fn warnings(compiled: &Compiled) -> Vec<String> {
    if compiled.config.pipeline_stages.is_empty() {
        return Vec::new();
    }
    let (Ok(logs), Ok(rules)) = (try_rules::node_lines(&compiled.config, LINES), Rules::new(compiled, false)) else {
        return Vec::new();
    };
    let (containers, mut estimate) = (logs.len(), Estimate { rules, lines: 0, values: BTreeMap::new() });
    logs.into_iter().for_each(|log| estimate.container(&log.origin, log.lines));
    let lines = estimate.lines;
    let many = estimate.values.into_iter().filter(|(_, values)| values.len() > VALUES);
    let warning = |(label, values): (String, HashSet<String>)| {
        format!(
            "pipeline_stages: the label {label} has {} values in the last {lines} lines of this node's {containers} containers; each is a \
             stream of its own",
            values.len()
        )
    };
    many.map(warning).collect()
}

struct Estimate<'c> {
    rules: Rules<'c>,
    lines: usize,
    /// By label.
    values: BTreeMap<String, HashSet<String>>,
}

impl Estimate<'_> {
    fn container(&mut self, origin: &Origin, lines: Vec<Logged>) {
        let folder = origin.folder.display().to_string();
        let mut channels = Stream::ALL.map(|stream| {
            let Origin { pod, container, from_api, .. } = origin;
            let target = Target { pod, container, folder: &folder, stream: stream.name(), from_api };
            self.rules.channel(&target, [])
        });
        let mut now_ns = 0;
        for line in lines {
            let Some(channel) = &mut channels[line.stream as usize] else { continue };
            self.lines += 1;
            now_ns = line.time_ns;
            let given = Given { number: self.lines as u64, time_ns: now_ns, now_ns, text: &line.text };
            let traces = self.rules.line(channel, given);
            self.note(channel, &traces);
        }
        for channel in channels.iter_mut().flatten() {
            let traces = self.rules.finish(channel, now_ns);
            self.note(channel, &traces);
        }
    }

    fn note(&mut self, channel: &Channel, traces: &[Trace]) {
        let own = named(channel.labels.iter());
        for sent in traces.iter().filter_map(Trace::sent) {
            for (label, value) in differing(&own, &sent.labels) {
                let values = self.values.entry(label).or_default();
                if values.len() < VALUES_MAX {
                    values.extend(value);
                }
            }
        }
    }
}
