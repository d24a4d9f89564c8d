//! What Loki stored against what the containers wrote.
//!
//! In: a Loki, the `cluster` label of this run, and the sources with their line counts. Out: a [`Comparison`]. Every line
//! says its source, number and timestamp and carries a checksum (`rig::mark`), so nothing depends on the collector's word: a missing,
//! damaged, misplaced, mistimed or reordered line is found.

use std::{collections::BTreeSet, fmt, ops};

use rig::mark;

use super::logql::{Client, Labels, Range};

/// One stream of one container. Its place in the list is the number that its lines carry.
pub struct Source {
    pub namespace: String,
    pub pod: String,
    pub container: String,
    pub stream: String,
    /// How many whole lines it wrote.
    pub lines: u64,
}

impl Source {
    /// From the rig's name, `namespace/pod/container stream`.
    pub fn from_name(name: &str, lines: u64) -> Option<Self> {
        let (path, stream) = name.rsplit_once(' ')?;
        let mut parts = path.split('/').map(str::to_owned);
        let source = Self {
            namespace: parts.next()?,
            pod: parts.next()?,
            container: parts.next()?,
            stream: stream.to_owned(),
            lines,
        };
        parts.next().is_none().then_some(source)
    }

    /// Exactly the labels that its stream has to have.
    pub fn labels(&self, cluster: &str) -> Labels {
        let job = format!("{}/{}", self.namespace, self.container);
        [
            ("cluster", cluster),
            ("namespace", &self.namespace),
            ("pod", &self.pod),
            ("container", &self.container),
            ("job", &job),
            ("stream", &self.stream),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
}

const EXAMPLES: usize = 20;

/// A selector for exactly these labels.
pub fn selector(labels: &Labels) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(","))
}

/// Differences between written and stored; all zero and empty when Loki has everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Lines that were compared and are as they should be.
    pub exact: u64,
    /// Written and not in Loki.
    pub missing: u64,
    /// More than once in Loki.
    pub repeated: u64,
    /// Behind a later line of the same source.
    pub out_of_order: u64,
    /// Text that is not what was written.
    pub damaged: u64,
    /// In another source's stream.
    pub misplaced: u64,
    /// With another timestamp than the one written.
    pub mistimed: u64,
    /// LogQL's count_over_time differs from the lines written, or is less where lines may be repeated.
    pub miscounted: Vec<String>,
    /// Streams that must not be there, or are missing.
    pub wrong_streams: Vec<String>,
    /// Some of the lines that the numbers above are about.
    pub examples: Vec<String>,
}

impl Comparison {
    /// Whether everything is as written.
    pub fn is_exact(&self) -> bool {
        *self == Self { exact: self.exact, ..Self::default() }
    }

    /// Lines that Loki has as they were written, wherever they stand.
    pub fn stored(&self) -> u64 {
        self.exact + self.out_of_order
    }

    /// Takes the next line of source number `index`.
    fn take(&mut self, index: u32, seen: &mut Seen, timestamp_ns: i64, text: &str) {
        let count = match seen.judge(index, timestamp_ns, text) {
            Verdict::Exact => {
                self.exact += 1;
                return;
            }
            Verdict::Damaged => &mut self.damaged,
            Verdict::Misplaced => &mut self.misplaced,
            Verdict::Repeated => &mut self.repeated,
            Verdict::Mistimed => &mut self.mistimed,
            Verdict::OutOfOrder => &mut self.out_of_order,
        };
        *count += 1;
        let (begin, end) = (text.get(..200).unwrap_or(text), text.len());
        self.example(format!("source {index} at {timestamp_ns}, {end} bytes: {begin:?}"));
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(text);
        }
    }
}

/// Which lines of a source came.
struct Seen {
    lines: Vec<bool>,
    /// One more than the highest number.
    next: u64,
}

enum Verdict {
    Exact,
    Damaged,
    Misplaced,
    Repeated,
    Mistimed,
    OutOfOrder,
}

impl Seen {
    fn judge(&mut self, index: u32, timestamp_ns: i64, text: &str) -> Verdict {
        let Ok(mark) = mark::read(text.as_bytes()) else {
            return Verdict::Damaged;
        };
        if mark.source != index || self.lines.len() as u64 <= mark.sequence {
            return Verdict::Misplaced;
        }
        let is_behind = mark.sequence < self.next;
        self.next = self.next.max(mark.sequence + 1);
        if std::mem::replace(&mut self.lines[mark.sequence as usize], true) {
            Verdict::Repeated
        } else if mark.timestamp_ns != timestamp_ns {
            Verdict::Mistimed
        } else if is_behind {
            Verdict::OutOfOrder
        } else {
            Verdict::Exact
        }
    }

    /// Ranges of numbers that did not come.
    fn missing(&self) -> Vec<ops::Range<usize>> {
        let mut ranges: Vec<ops::Range<usize>> = Vec::new();
        for (number, _) in self.lines.iter().enumerate().filter(|(_, seen)| !**seen) {
            match ranges.last_mut() {
                Some(range) if range.end == number => range.end += 1,
                _ => ranges.push(number..number + 1),
            }
        }
        ranges
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("exact", self.exact),
            ("missing", self.missing),
            ("repeated", self.repeated),
            ("out of order", self.out_of_order),
            ("damaged", self.damaged),
            ("in a wrong stream", self.misplaced),
            ("with a wrong timestamp", self.mistimed),
        ];
        for (name, count) in rows {
            writeln!(f, "  {name:<24} {count:>12}")?;
        }
        self.miscounted
            .iter()
            .chain(&self.wrong_streams)
            .chain(&self.examples)
            .try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// Compares every line of every source. `others` are label sets that are there beside those of the sources.
///
/// Entries come without repetitions, as Loki leaves out identical ones when it answers. It counts some of them though:
/// those that came after the first ones had been compressed. So the count may be higher where `may_repeat`.
pub fn compare(
    client: &Client,
    cluster: &str,
    range: Range,
    sources: &[Source],
    others: &[Labels],
    may_repeat: bool,
) -> anyhow::Result<Comparison> {
    let mut comparison = Comparison::default();
    let labels: Vec<_> = sources.iter().map(|source| source.labels(cluster)).collect();

    let written = sources.iter().zip(&labels).filter(|(source, _)| source.lines > 0).map(|(_, labels)| labels);
    let expected: BTreeSet<_> = written.chain(others).cloned().collect();
    let found: BTreeSet<_> = client.series(&format!("{{cluster={cluster:?}}}"), range)?.into_iter().collect();
    for (what, one, other) in [("missing", &expected, &found), ("unexpected", &found, &expected)] {
        comparison
            .wrong_streams
            .extend(one.difference(other).map(|labels| format!("{what} stream {}", selector(labels))));
    }

    for (index, (source, labels)) in sources.iter().zip(&labels).enumerate() {
        let selector = selector(labels);
        let counted = client.count(&selector, range)?;
        if counted < source.lines || counted > source.lines && !may_repeat {
            comparison.miscounted.push(format!("{selector}: {} written, {counted} counted by LogQL", source.lines));
        }
        let mut seen = Seen { lines: vec![false; source.lines as usize], next: 0 };
        if counted > 0 {
            client.each_entry(&selector, range, |entry| {
                comparison.take(index as u32, &mut seen, entry.timestamp_ns, entry.text);
            })?;
        }
        for numbers in seen.missing() {
            comparison.missing += (numbers.end - numbers.start) as u64;
            comparison.example(format!("missing: numbers {numbers:?} of source {index}, {selector}"));
        }
    }
    Ok(comparison)
}

#[cfg(test)]
mod tests {
    use rig::{
        mark::{Mark, Shape},
        random::Random,
    };

    use super::*;

    fn line(source: u32, sequence: u64) -> (i64, String) {
        let timestamp_ns = 1_700_000_000_000_000_000 + sequence as i64;
        let mut text = Vec::new();
        mark::write(&mut text, Mark { source, sequence, timestamp_ns }, Shape::Text, 150, &mut Random::new(1));
        (timestamp_ns, String::from_utf8(text).unwrap())
    }

    fn compared(lines: &[(i64, String)]) -> Comparison {
        let mut comparison = Comparison::default();
        let mut seen = Seen { lines: vec![false; 3], next: 0 };
        lines.iter().for_each(|(timestamp_ns, text)| comparison.take(0, &mut seen, *timestamp_ns, text));
        comparison
    }

    #[test]
    fn lines_as_they_were_written_are_exact() {
        let comparison = compared(&[line(0, 0), line(0, 1), line(0, 2)]);
        assert_eq!(comparison, Comparison { exact: 3, ..Comparison::default() });
        assert!(comparison.is_exact());
    }

    #[test]
    fn each_kind_of_difference_is_found() {
        let late = |(timestamp_ns, text): (i64, String)| (timestamp_ns + 1, text);
        let cut = |(timestamp_ns, text): (i64, String)| (timestamp_ns, text[..140].to_owned());
        assert_eq!(compared(&[line(0, 1), line(0, 0)]).out_of_order, 1);
        assert_eq!(compared(&[line(0, 1), line(0, 1)]).repeated, 1);
        assert_eq!(compared(&[line(1, 0)]).misplaced, 1);
        assert_eq!(compared(&[line(0, 3)]).misplaced, 1);
        assert_eq!(compared(&[late(line(0, 0))]).mistimed, 1);
        assert_eq!(compared(&[cut(line(0, 0))]).damaged, 1);
    }

    #[test]
    fn missing_lines_are_told_as_ranges() {
        let seen = Seen { lines: vec![true, false, false, true, false], next: 0 };
        assert_eq!(seen.missing(), [1..3, 4..5]);
    }

    #[test]
    fn a_source_s_name_gives_the_labels_of_its_stream() {
        let source = Source::from_name("default/web-1/nginx stderr", 1).unwrap();
        assert_eq!(
            selector(&source.labels("home")),
            r#"{cluster="home",container="nginx",job="default/nginx",namespace="default",pod="web-1",stream="stderr"}"#
        );
    }
}
