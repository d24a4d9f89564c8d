//! Where the demo's lines go, and what arrived there: the built-in receiver, or a Loki that is asked with LogQL.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use rig::{
    latency::Histogram,
    ledger::Ledger,
    receiver::{Keep, Options, Receiver},
};

use crate::e2e::{
    compare::{self, Source},
    logql::{Client, Labels, Range},
};

/// What every Loki allows as a page of entries.
const PAGE_ENTRIES: usize = 5000;
const HOUR_NS: i64 = 3_600_000_000_000;

/// Where lines go.
pub enum Destination {
    /// The strict receiver in this process.
    Receiver(Receiver),
    /// A Loki.
    Loki {
        url: String,
        client: Box<Client>,
        /// This run's value of the `cluster` label.
        cluster: String,
        /// When the run began, in nanoseconds since 1970.
        start_ns: i64,
    },
}

/// Which of the lines arrived.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Lines in the logs.
    pub written: u64,
    /// Lines that are there, each counted once.
    pub acknowledged: u64,
    /// Lines that are not.
    pub missing: u64,
    /// Lines that arrived more than once.
    pub repeated: u64,
    /// Arrival minus the log record's timestamp; a Loki does not say.
    pub latency: Option<Histogram>,
    /// Everything else that is wrong, as sentences.
    pub faults: Vec<String>,
}

impl Verdict {
    /// Every line is there, in order, exact.
    pub fn is_good(&self) -> bool {
        self.missing == 0 && self.acknowledged == self.written && self.faults.is_empty()
    }
}

impl Destination {
    /// The receiver, or the Loki at `url`.
    pub fn new(url: Option<&str>, tenant: &str) -> anyhow::Result<Self> {
        let start_ns = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
        Ok(match url {
            None => {
                let options = Options { keep: Keep::Counts, ..Options::default() };
                Self::Receiver(Receiver::start(options).context("cannot start the receiver")?)
            }
            Some(url) => Self::Loki {
                url: url.to_owned(),
                client: Box::new(Client::new(url, tenant, PAGE_ENTRIES)?),
                cluster: format!("demo-{start_ns}"),
                start_ns,
            },
        })
    }

    /// For the collector's configuration.
    pub fn url(&self) -> String {
        match self {
            Self::Receiver(receiver) => receiver.url(),
            Self::Loki { url, .. } => url.clone(),
        }
    }

    /// The `cluster` label for the collector's configuration.
    pub fn cluster(&self) -> &str {
        match self {
            Self::Receiver(_) => "home-k8s",
            Self::Loki { cluster, .. } => cluster,
        }
    }

    /// What it is, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Receiver(receiver) => format!("the built-in receiver at {}", receiver.url()),
            Self::Loki { url, cluster, .. } => format!("Loki at {url}, as {{cluster={cluster:?}}}"),
        }
    }

    /// How many different lines are there.
    pub fn lines(&self) -> anyhow::Result<u64> {
        match self {
            Self::Receiver(receiver) => Ok(receiver.counts().marked_lines),
            Self::Loki { client, cluster, start_ns, .. } => {
                client.count(&format!("{{cluster={cluster:?}}}"), range(*start_ns))
            }
        }
    }

    /// How long to wait before it is asked again.
    pub fn poll_interval(&self) -> Duration {
        match self {
            Self::Receiver(_) => Duration::from_millis(50),
            Self::Loki { .. } => Duration::from_millis(500),
        }
    }

    /// Compares what is there with what was written.
    pub fn judge(&self, ledger: &Ledger) -> anyhow::Result<Verdict> {
        let sources: Vec<_> =
            ledger.written().iter().filter_map(|(name, lines)| Source::from_name(name, *lines)).collect();
        match self {
            Self::Receiver(receiver) => Ok(judge_receiver(receiver, ledger, &sources, self.cluster())),
            Self::Loki { client, cluster, start_ns, .. } => {
                let mut found = compare::compare(client, cluster, range(*start_ns), &sources, &[], true)?;
                // Loki's own labels are no fault of the collector's.
                found.wrong_streams.clear();
                let series = client.series(&format!("{{cluster={cluster:?}}}"), range(*start_ns))?;
                let mut faults = wrong_streams(&sources, cluster, &series.into_iter().map(without_loki_s).collect());
                if !found.is_exact() {
                    faults.push(found.to_string());
                }
                Ok(Verdict {
                    written: ledger.lines(),
                    acknowledged: ledger.lines() - found.missing,
                    missing: found.missing,
                    repeated: found.repeated,
                    latency: None,
                    faults,
                })
            }
        }
    }
}

fn range(start_ns: i64) -> Range {
    Range { start_ns: start_ns - HOUR_NS, end_ns: start_ns + HOUR_NS }
}

fn judge_receiver(receiver: &Receiver, ledger: &Ledger, sources: &[Source], cluster: &str) -> Verdict {
    let report = receiver.report(ledger);
    let mut faults: Vec<_> =
        receiver.violations().iter().map(|reason| format!("protocol violation: {reason}")).collect();
    if !report.is_complete() {
        faults.push(report.to_string());
    }
    let found = receiver.streams().into_values().map(|stream| stream.labels.into_iter().collect::<Labels>()).collect();
    faults.extend(wrong_streams(sources, cluster, &found));
    Verdict {
        written: report.written,
        acknowledged: report.acknowledged,
        missing: report.missing,
        repeated: report.faults.repeated,
        latency: Some(report.latency),
        faults,
    }
}

/// The labels without those that Loki adds by default: from `discover_service_name` and from sharding.
fn without_loki_s(mut labels: Labels) -> Labels {
    labels.retain(|name, _| name != "service_name" && name != "__stream_shard__");
    labels
}

/// Streams that ought not to be there, and those that ought to and are not.
fn wrong_streams(sources: &[Source], cluster: &str, found: &BTreeSet<Labels>) -> Vec<String> {
    let expected: BTreeSet<_> =
        sources.iter().filter(|source| source.lines > 0).map(|source| source.labels(cluster)).collect();
    let name = |what: &str, labels: &Labels| format!("{what} stream {}", compare::selector(labels));
    let unexpected = found.difference(&expected).map(|labels| name("unexpected", labels));
    unexpected.chain(expected.difference(found).map(|labels| name("missing", labels))).collect()
}

/// What is not there yet, for a message.
pub fn still_missing(destination: &Destination, ledger: &Ledger, waited: Duration) -> String {
    let there = destination.lines().unwrap_or(0);
    format!(
        "after {} s {} of {} lines are still not acknowledged",
        waited.as_secs(),
        ledger.lines().saturating_sub(there),
        ledger.lines()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let ledger = Ledger::default();
        let source = ledger.add_source("default/web/nginx stdout".into());
        ledger.add_lines(source, 3, 300);
        ledger.add_source("default/web/nginx stderr".into());
        ledger
    }

    #[test]
    fn lines_that_did_not_arrive_make_a_bad_verdict() {
        let destination = Destination::new(None, "").unwrap();
        let verdict = destination.judge(&ledger()).unwrap();
        assert!(!verdict.is_good());
        assert_eq!((verdict.written, verdict.acknowledged, verdict.missing), (3, 0, 3));
        assert!(still_missing(&destination, &ledger(), Duration::from_secs(7)).starts_with("after 7 s 3 of 3 lines"));
        assert!(destination.judge(&Ledger::default()).unwrap().is_good());
    }

    #[test]
    fn streams_with_other_labels_are_named() {
        let source = Source::from_name("default/web/nginx stdout", 3).unwrap();
        let right = source.labels("home-k8s");
        let mut wrong = right.clone();
        wrong.insert("node".into(), "pi".into());
        let sources = [source];
        assert!(wrong_streams(&sources, "home-k8s", &BTreeSet::from([right])).is_empty());
        let faults = wrong_streams(&sources, "home-k8s", &BTreeSet::from([wrong]));
        assert_eq!(faults.len(), 2);
        assert!(faults[0].starts_with("unexpected stream {") && faults[0].contains("node=\"pi\""));
        assert!(faults[1].starts_with("missing stream {"));
        let mut from_loki = sources[0].labels("home-k8s");
        from_loki.insert("service_name".into(), "nginx".into());
        assert_eq!(without_loki_s(from_loki), sources[0].labels("home-k8s"));
    }
}
