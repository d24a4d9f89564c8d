//! The streams that Loki really has of this node's pods, held against those that the new configuration makes.
//!
//! In: the streams that both sides made of the last lines, and Loki's answers. Out: how many are the same, and every difference, the
//! worst first. What Loki itself adds to a stream (`service_name`, `__stream_shard__`) is no difference. Knows no HTTP.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use super::{compare, old::FILE_NAME};
use crate::{
    admin::{
        rules::{Named, Sent},
        terminal::Printable,
    },
    output::loki::{SeriesQuery, StreamLabels},
    pipeline::relabel::{SERVICE_NAME, add_service_name},
};

/// So far back Loki is asked, in nanoseconds.
const BACK_NS: i64 = 3_600_000_000_000;

/// The label by which lines of Pilcrow are told from those of another collector while both run.
pub const OWN: (&str, &str) = ("collector", "pilcrow");

/// Values that differ between the streams of a container whatever the rules say.
const STREAM: &str = "stream";

/// Whose lines a stream has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whose {
    pub namespace: String,
    pub pod: String,
    pub container: String,
}

/// The streams that one side makes.
#[derive(Debug, Default)]
pub struct Streams {
    /// With the time of the newest line, in nanoseconds since 1970.
    newest: BTreeMap<(Option<String>, StreamLabels, Whose), i64>,
    /// Labels that stages make or change: of these not every value is among the last lines.
    by_stages: BTreeSet<String>,
}

impl Streams {
    /// Adds an entry; `own`: the labels that its container had before all stages.
    pub fn add(&mut self, whose: &Whose, own: &dyn Fn(&str) -> Option<String>, sent: &Sent) {
        for (name, value) in &sent.labels {
            if own(name).as_ref() != Some(value) && name != STREAM {
                self.by_stages.insert(name.clone());
            }
        }
        let labels = sent.labels.iter().cloned().collect();
        let newest = self.newest.entry((sent.tenant.clone(), labels, whose.clone())).or_insert(sent.time_ns);
        *newest = sent.time_ns.max(*newest);
    }

    /// What to ask Loki for, by the labels in which these streams name their pods: those of the last hour.
    fn selectors(&self) -> Vec<(Option<String>, String)> {
        let namespace = self.name_of("namespace", |whose| &whose.namespace);
        let container = self.name_of("container", |whose| &whose.container);
        let pod = self.name_of("pod", |whose| &whose.pod);
        let selector = |((tenant, _, whose), _): (&(Option<String>, StreamLabels, Whose), &i64)| {
            let by_container = if pod.is_some() { &None } else { &container };
            let parts = [(&namespace, &whose.namespace), (&pod, &whose.pod), (by_container, &whose.container)];
            let parts: Vec<String> =
                parts.iter().filter_map(|(name, value)| Some(format!("{}={value:?}", name.as_ref()?))).collect();
            (!parts.is_empty()).then(|| (tenant.clone(), format!("{{{}}}", parts.join(", "))))
        };
        self.newest.iter().filter_map(selector).collect()
    }

    /// The label that has this in every stream.
    fn name_of(&self, word: &str, of: impl Fn(&Whose) -> &String) -> Option<String> {
        let (_, first, _) = self.newest.keys().next()?;
        let has_it = |name: &&String| self.newest.keys().all(|(_, labels, whose)| labels.get(*name) == Some(of(whose)));
        let mut names: Vec<&String> = first.keys().filter(has_it).collect();
        names.sort_by_key(|name| (*name != word, !name.contains(word)));
        names.first().map(|name| (*name).clone())
    }
}

/// What to ask Loki: one query for each tenant.
pub fn queries(old: &Streams, new: &Streams, now_ns: i64) -> Vec<SeriesQuery> {
    let mut by_tenant: BTreeMap<Option<String>, BTreeSet<String>> = BTreeMap::new();
    for (tenant, selector) in old.selectors().into_iter().chain(new.selectors()) {
        by_tenant.entry(tenant).or_default().insert(selector);
    }
    let query = |(tenant, selectors): (Option<String>, BTreeSet<String>)| SeriesQuery {
        tenant: tenant.map(Into::into),
        selectors: selectors.into_iter().collect(),
        start_ns: now_ns - BACK_NS,
        end_ns: now_ns,
    };
    by_tenant.into_iter().map(query).collect()
}

/// How streams differ; what breaks most comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    OnlyInLoki,
    /// The labels of these names.
    Labels(Vec<String>),
    OnlyNew,
}

#[derive(Debug)]
struct Example {
    streams: usize,
    in_loki: Option<StreamLabels>,
    new: Option<StreamLabels>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    in_loki: usize,
    new: usize,
    identical: usize,
    differences: BTreeMap<Difference, Example>,
    notes: Vec<String>,
}

type OfTenant = BTreeSet<(Option<String>, StreamLabels)>;

impl Verdict {
    /// `found`: Loki's answers, by tenant.
    pub fn new(new: &Streams, found: Vec<(Option<String>, Vec<StreamLabels>)>, now_ns: i64) -> Self {
        let mut verdict = Self::default();
        let all: BTreeMap<(Option<String>, StreamLabels), (i64, &Whose)> = {
            let mut all = BTreeMap::new();
            for ((tenant, labels, whose), newest) in &new.newest {
                let known = all.entry((tenant.clone(), normal(labels.clone()))).or_insert((*newest, whose));
                known.0 = known.0.max(*newest);
            }
            all
        };
        let expected: OfTenant =
            all.iter().filter(|(_, (newest, _))| *newest >= now_ns - BACK_NS).map(|(key, _)| key.clone()).collect();
        let (mut held, mut own) = (OfTenant::new(), 0);
        let has_own_label = all.keys().any(|(_, labels)| labels.contains_key(OWN.0));
        for (tenant, streams) in found {
            for labels in streams {
                if !has_own_label && labels.get(OWN.0).map(String::as_str) == Some(OWN.1) {
                    own += 1;
                } else {
                    held.insert((tenant.clone(), normal(labels)));
                }
            }
        }
        (verdict.in_loki, verdict.new) = (held.len(), expected.len());
        verdict.identical = held.intersection(&expected).count();
        let only_new: OfTenant = expected.difference(&held).cloned().collect();
        // A stream whose last line is older may still be in Loki's answer.
        let unknown = held.into_iter().filter(|key| !all.contains_key(key));
        let (by_values, only_in_loki): (Vec<_>, Vec<_>) =
            unknown.partition(|key| all.keys().any(|known| is_another_value(known, key, &new.by_stages)));
        verdict.differ(only_in_loki, only_new, &all);
        // Without a label for the pod, Loki is asked for containers, which may be those of other nodes.
        if new.name_of("pod", |whose| &whose.pod).is_none()
            && let Some(example) = verdict.differences.remove(&Difference::OnlyInLoki)
        {
            verdict.notes.push(format!(
                "not compared: {} streams of Loki that may be of other nodes, as no label names the pod",
                example.streams
            ));
        }
        verdict.note(all.len() - expected.len(), by_values.len(), own);
        verdict
    }

    /// Pairs what is only on one side with the nearest of the same container on the other.
    fn differ(
        &mut self,
        only_in_loki: Vec<(Option<String>, StreamLabels)>,
        mut only_new: OfTenant,
        all: &BTreeMap<(Option<String>, StreamLabels), (i64, &Whose)>,
    ) {
        for (tenant, labels) in only_in_loki {
            let is_of_the_same = |key: &&(Option<String>, StreamLabels)| {
                let Some((_, whose)) = all.get(*key) else { return false };
                // What the new stream does not name, the other one need not have.
                let agrees =
                    |value: &String| labels.values().any(|own| own == value) || key.1.values().all(|own| own != value);
                let shares_one = key.1.iter().any(|(name, value)| labels.get(name) == Some(value));
                let whose = [&whose.namespace, &whose.pod, &whose.container];
                key.0 == tenant && shares_one && whose.into_iter().all(agrees)
            };
            let nearest =
                only_new.iter().filter(is_of_the_same).min_by_key(|key| names(&key.1, &labels).len()).cloned();
            match nearest {
                Some(key) => {
                    only_new.remove(&key);
                    self.found(Difference::Labels(names(&key.1, &labels)), Some(labels), Some(key.1));
                }
                None => self.found(Difference::OnlyInLoki, Some(labels), None),
            }
        }
        for (_, labels) in only_new {
            self.found(Difference::OnlyNew, None, Some(labels));
        }
    }

    fn found(&mut self, difference: Difference, in_loki: Option<StreamLabels>, new: Option<StreamLabels>) {
        self.differences.entry(difference).or_insert(Example { streams: 0, in_loki, new }).streams += 1;
    }

    fn note(&mut self, older: usize, by_values: usize, own: usize) {
        if older > 0 {
            self.notes.push(format!("not compared with Loki: {older} streams without a line in the last hour"));
        }
        if by_values > 0 {
            self.notes.push(format!(
                "{by_values} streams in Loki differ only in values of labels that lines make, and of which the last lines have others: \
                 --lines reads more"
            ));
        }
        if own > 0 {
            self.notes.push(format!("not compared with Loki: {own} streams with {}={:?}", OWN.0, OWN.1));
        }
    }

    #[must_use]
    pub fn differing_streams(&self) -> usize {
        self.differences.values().map(|example| example.streams).sum()
    }

    /// Writes the counts, and every kind of difference with an example.
    ///
    /// # Errors
    /// `out` cannot be written to.
    pub fn write(&self, url: &str, out: &mut impl Write) -> anyhow::Result<()> {
        let Self { in_loki, new, identical, .. } = self;
        writeln!(out, "\nasked {url} for the streams of these containers in the last hour")?;
        writeln!(out, "streams: {in_loki} in Loki, {new} by the new configuration, {identical} identical")?;
        for (difference, Example { streams, in_loki, new }) in &self.differences {
            let noun = if *streams == 1 { "stream" } else { "streams" };
            let sentence = match difference {
                Difference::OnlyInLoki => "only in Loki".to_owned(),
                Difference::Labels(names) => format!("other labels: {}", names.join(", ")),
                Difference::OnlyNew => "only by the new configuration".to_owned(),
            };
            writeln!(out, "\n{streams} {noun}: {sentence}\n  such as")?;
            for (side, labels) in [("Loki", in_loki), ("new", new)] {
                if let Some(labels) = labels {
                    let labels: Named = labels.clone().into_iter().collect();
                    writeln!(out, "    {:<5} {}", format!("{side}:"), Printable(&compare::pairs(&labels)))?;
                }
            }
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        Ok(())
    }
}

/// A stream's labels without what Loki adds by itself, and without the name of a file.
fn normal(mut labels: StreamLabels) -> StreamLabels {
    labels.retain(|name, value| name != FILE_NAME && !name.starts_with("__") && !value.is_empty());
    if let Some(service) = labels.remove(SERVICE_NAME) {
        let mut by_loki = labels.clone();
        add_service_name(&mut by_loki, None);
        if by_loki.get(SERVICE_NAME) != Some(&service) {
            labels.insert(SERVICE_NAME.into(), service);
        }
    }
    labels
}

/// Whether two streams differ only in values that lines decide on.
fn is_another_value(
    known: &(Option<String>, StreamLabels),
    other: &(Option<String>, StreamLabels),
    by_lines: &BTreeSet<String>,
) -> bool {
    let rest = |labels: &StreamLabels| -> StreamLabels {
        let mut rest = labels.clone();
        rest.retain(|name, _| !by_lines.contains(name));
        if let Some(stream) = rest.get_mut(STREAM) {
            stream.clear();
        }
        rest
    };
    known.0 == other.0 && rest(&known.1) == rest(&other.1)
}

/// The names of the labels in which two streams differ.
fn names(one: &StreamLabels, other: &StreamLabels) -> Vec<String> {
    let all: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    all.into_iter().filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000_000;
    const MINUTE: i64 = 60_000_000_000;

    fn labels(text: &str) -> StreamLabels {
        let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        text.split_whitespace().filter_map(pair).collect()
    }

    /// Streams with the container's labels in front of `|`, and those of its lines behind it.
    fn streams(all: &[(&str, &str, i64)]) -> Streams {
        let mut streams = Streams::default();
        for (pod, text, ago) in all {
            let whose = Whose { namespace: "shop".into(), pod: (*pod).into(), container: "app".into() };
            let (own, more) = text.split_once('|').unwrap_or((text, ""));
            let own = labels(own);
            let sent = own.clone().into_iter().chain(labels(more)).collect::<StreamLabels>();
            let sent = Sent { time_ns: NOW - ago, labels: sent.into_iter().collect(), ..Sent::default() };
            streams.add(&whose, &|name| own.get(name).cloned(), &sent);
        }
        streams
    }

    fn verdict(new: &Streams, in_loki: &[&str]) -> (String, usize) {
        let found = in_loki.iter().map(|text| labels(text)).collect();
        let verdict = Verdict::new(new, vec![(None, found)], NOW);
        let mut out = Vec::new();
        verdict.write("http://loki", &mut out).unwrap();
        (String::from_utf8(out).unwrap(), verdict.differing_streams())
    }

    #[test]
    fn loki_is_asked_by_the_labels_that_name_the_pods_or_else_the_containers() {
        let old = streams(&[("web-0", "ns=shop pod_name=web-0 container=app", 0)]);
        let new = streams(&[
            ("web-0", "namespace=shop pod=web-0 container=app", 0),
            ("web-1", "namespace=shop pod=web-1 container=app", 0),
        ]);
        let expected = [
            "{namespace=\"shop\", pod=\"web-0\"}",
            "{namespace=\"shop\", pod=\"web-1\"}",
            "{ns=\"shop\", pod_name=\"web-0\"}",
        ];
        let asked = queries(&old, &new, NOW);
        assert_eq!((asked.len(), &asked[0].selectors[..]), (1, &expected.map(str::to_owned)[..]));
        assert_eq!((asked[0].start_ns, asked[0].end_ns), (NOW - 60 * MINUTE, NOW));
        let without = streams(&[("web-0", "namespace=shop container=app", 0)]);
        assert_eq!(queries(&without, &without, NOW)[0].selectors, ["{namespace=\"shop\", container=\"app\"}"]);
        assert_eq!(queries(&streams(&[("web-0", "a=b", 0)]), &Streams::default(), NOW), []);
    }

    #[test]
    fn what_loki_adds_by_itself_and_the_name_of_a_file_are_no_differences() {
        let new = streams(&[("web-0", "namespace=shop pod=web-0 container=app app=web", 0)]);
        let one = "namespace=shop pod=web-0 container=app app=web service_name=web filename=/var/log/0.log __stream_shard__=1";
        let (text, differing) = verdict(&new, &[one]);
        assert_eq!(differing, 0, "{text}");
        assert!(text.contains("streams: 1 in Loki, 1 by the new configuration, 1 identical"), "{text}");
        let (text, differing) = verdict(&new, &["namespace=shop pod=web-0 container=app app=web service_name=shop"]);
        assert_eq!(differing, 1);
        assert!(text.contains("1 stream: other labels: service_name"), "{text}");
    }

    #[test]
    fn what_is_only_in_loki_comes_first_then_other_labels_then_what_is_only_new() {
        let new = streams(&[
            ("web-0", "namespace=shop pod=web-0 container=app job=shop/app", 0),
            ("web-1", "namespace=shop pod=web-1 container=app job=shop/app", 0),
        ]);
        let in_loki =
            ["namespace=shop pod=web-0 container=app job=shop/web", "namespace=shop pod=web-0 container=app job=cron"];
        let (text, differing) = verdict(&new, &in_loki);
        assert_eq!(differing, 3, "{text}");
        let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}\n{text}"));
        assert!(at("1 stream: only in Loki") < at("1 stream: other labels: job"));
        assert!(at("1 stream: other labels: job") < at("1 stream: only by the new configuration"));
        assert!(
            text.contains("    Loki: {container=\"app\"") && text.contains("    new:  {container=\"app\""),
            "{text}"
        );
    }

    #[test]
    fn values_that_the_last_lines_do_not_have_and_streams_without_a_recent_line_are_notes() {
        let new = streams(&[
            ("web-0", "namespace=shop pod=web-0 container=app stream=stdout | level=info", 0),
            ("web-1", "namespace=shop pod=web-1 container=app stream=stdout", 61 * MINUTE),
        ]);
        let in_loki = [
            "namespace=shop pod=web-0 container=app stream=stdout level=info",
            "namespace=shop pod=web-0 container=app stream=stdout level=error",
            "namespace=shop pod=web-0 container=app stream=stderr",
        ];
        let (text, differing) = verdict(&new, &in_loki);
        assert_eq!(differing, 0, "{text}");
        assert!(text.contains("2 streams in Loki differ only in values"), "{text}");
        assert!(text.contains("1 streams without a line in the last hour"), "{text}");
    }

    #[test]
    fn the_streams_of_a_pilcrow_that_runs_beside_are_left_out() {
        let new = streams(&[("web-0", "namespace=shop pod=web-0 container=app", 0)]);
        let one = "namespace=shop pod=web-0 container=app";
        let (text, differing) = verdict(&new, &[one, &format!("{one} collector=pilcrow")]);
        assert_eq!(differing, 0, "{text}");
        assert!(text.contains("1 streams with collector=\"pilcrow\""), "{text}");
    }
}
