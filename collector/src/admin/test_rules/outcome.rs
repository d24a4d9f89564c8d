//! What the rules make of a test's lines.

use std::collections::BTreeMap;

use crate::{
    admin::rules::{Channel, End, Given, Named, Rules, Sent, Trace, named},
    compiled::Compiled,
    config::{RuleTest, TestContainer, TestLine, TestStream},
    model::{PodName, Stream},
    pipeline::{
        Pairs,
        relabel::{Target, annotation_names, label_names},
    },
};

/// When the first line was written where the test does not say it: 2026-01-01T00:00:00Z.
const FIRST_NS: i64 = 1_767_225_600_000_000_000;

/// Between lines without a time.
const STEP_NS: i64 = 1_000_000;

/// The reason for lines that the rules for labels leave out.
pub const RELABEL: &str = "relabel_configs";

/// One thing that became of the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// The line that it began with, from 1.
    pub line: u64,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Entry {
        sent: Sent,
        /// Labels and metadata before the stages.
        labels: Named,
        metadata: Named,
    },
    Dropped {
        reason: &'static str,
        place: String,
        /// Before the stages.
        line: String,
    },
}

/// Runs a test's lines; in the order of the lines that began each.
///
/// # Errors
/// None is known.
pub fn of(compiled: &Compiled, test: &RuleTest) -> anyhow::Result<Vec<Got>> {
    let mut run = Run { rules: Rules::new(compiled, false)?, channels: Vec::new(), got: Vec::new(), texts: Vec::new() };
    let mut time_ns = FIRST_NS - STEP_NS;
    for (number, line) in (1..).zip(&test.lines) {
        time_ns = line.time.map_or(time_ns.saturating_add(STEP_NS), |time| time.0);
        let now_ns = test.now.map_or(time_ns, |now| now.0);
        let given = Given { number, time_ns, now_ns, text: line.line.as_bytes() };
        run.line(test, line, given);
    }
    let now_ns = test.now.map_or(time_ns, |now| now.0);
    for (_, mut channel) in std::mem::take(&mut run.channels) {
        let traces = run.rules.finish(&mut channel, now_ns);
        run.note(&channel, traces);
    }
    run.got.sort_by_key(|got| got.line);
    Ok(run.got)
}

struct Run<'c> {
    rules: Rules<'c>,
    /// Lines with other labels, or of the other stream, are another channel's.
    channels: Vec<((Pairs, TestStream), Channel)>,
    got: Vec<Got>,
    texts: Vec<String>,
}

impl Run<'_> {
    fn line(&mut self, test: &RuleTest, line: &TestLine, given: Given<'_>) {
        self.texts.push(line.line.clone());
        let stream = line.stream.unwrap_or(TestStream::Stdout);
        let Some(channel) = self.channel(test, line, stream) else {
            let what = What::Dropped { reason: RELABEL, place: RELABEL.into(), line: line.line.clone() };
            return self.got.push(Got { line: given.number, what });
        };
        let key = (channel.labels.clone(), stream);
        let place = self.channels.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            self.channels.push((key, channel));
            self.channels.len() - 1
        });
        let (key, mut channel) = self.channels.swap_remove(place);
        let traces = self.rules.line(&mut channel, given);
        self.note(&channel, traces);
        self.channels.push((key, channel));
    }

    /// `None`: the rules for labels leave it out.
    fn channel(&self, test: &RuleTest, line: &TestLine, stream: TestStream) -> Option<Channel> {
        let more = || test.labels.iter().chain(&line.labels).map(|(name, value)| (name.as_str(), value.as_str()));
        let stream = match stream {
            TestStream::Stdout => Stream::Stdout,
            TestStream::Stderr => Stream::Stderr,
        };
        if let Some(from) = &test.from {
            return self.of_container(from, stream.name(), more());
        }
        let mut labels = Pairs::default();
        if line.stream.is_some() {
            labels.set("stream", stream.name());
        }
        more().for_each(|(name, value)| labels.set(name, value));
        Some(self.rules.channel_with(stream, labels))
    }

    fn of_container<'l>(
        &self,
        from: &TestContainer,
        stream: &str,
        more: impl Iterator<Item = (&'l str, &'l str)>,
    ) -> Option<Channel> {
        let TestContainer { namespace, pod, container, .. } = from;
        let pod = PodName { namespace: namespace.clone(), pod: pod.clone(), uid: "test".into() };
        let folder = format!("/var/log/pods/{}/{container}", pod.folder_name());
        let from_api = from_api(from);
        let target = Target { pod: &pod, container, folder: &folder, stream, from_api: &from_api };
        self.rules.channel(&target, more)
    }

    fn note(&mut self, channel: &Channel, traces: Vec<Trace>) {
        for Trace { number, before, held_by, end, .. } in traces {
            let what = match end {
                End::Held { .. } => continue,
                End::Dropped { reason, stage } => {
                    // Of what was changed before, the text that the author of the test wrote.
                    let written = || usize::try_from(number - 1).ok().and_then(|index| self.texts.get(index)).cloned();
                    let line = if held_by.is_some() { before } else { written().unwrap_or(before) };
                    What::Dropped { reason, place: self.rules.place(stage), line }
                }
                End::Sent(sent) => {
                    What::Entry { sent, labels: named(channel.labels.iter()), metadata: named(channel.metadata.iter()) }
                }
            };
            self.got.push(Got { line: number, what });
        }
    }
}

/// What the Kubernetes API would say of the pod.
fn from_api(from: &TestContainer) -> Vec<(Box<str>, Box<str>)> {
    let labels = from.pod_labels.iter().map(|(name, value)| (label_names(name), value));
    let annotations = from.pod_annotations.iter().map(|(name, value)| (annotation_names(name), value));
    let mut all = BTreeMap::new();
    for ([by_value, by_presence], value) in labels.chain(annotations) {
        all.insert(by_value, value.clone());
        all.insert(by_presence, "true".to_owned());
    }
    all.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}
