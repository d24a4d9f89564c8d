//! One container whose lines are odd in every way that a container runtime really writes.
//!
//! Out: a log folder with CRI records, and the entries that Loki must have for them: by hand, not by any parser.

use std::{fs, path::Path};

use rig::kubelet::clock::write_rfc3339_nano;

use super::{
    compare::{self, Source},
    logql::{Client, Labels, Range},
};

const POD: &str = "e2e_odd-0_3f1c9d2a-6c07-4c83-9f4e-0d7d3c5b8e11";
const CONTAINER: &str = "odd";

/// What one record is and becomes. `None`: it adds to a line that a later record ends.
struct Record {
    /// stdout or stderr.
    stream: &'static str,
    /// `F`, `P`, or with further tags.
    tags: &'static str,
    /// The record's text.
    content: &'static [u8],
    /// How many records earlier its line began, and the whole text.
    entry: Option<(usize, &'static str)>,
}

const fn whole(stream: &'static str, content: &'static str) -> Record {
    Record { stream, tags: "F", content: content.as_bytes(), entry: Some((0, content)) }
}

const RECORDS: &[Record] = &[
    whole("stdout", "plain"),
    whole("stdout", ""),
    whole("stdout", "   leading and trailing blanks   "),
    whole("stdout", "\ta tab, \"quotes\", a back\\slash, {\"json\": [1, 2]}"),
    whole("stderr", "2026-01-02T03:04:05.678Z stdout F a text that looks like a record"),
    whole("stdout", "grüße, 日本語, 😀, e\u{301}"),
    whole("stdout", "a NUL \0 and an escape \u{1b}[31mred\u{1b}[0m"),
    // stderr lines between the pieces of a stdout line
    Record { stream: "stdout", tags: "P", content: b"first piece, ", entry: None },
    whole("stderr", "in between"),
    Record { stream: "stdout", tags: "P", content: b"second piece, ", entry: None },
    Record { stream: "stdout", tags: "F", content: b"last", entry: Some((3, "first piece, second piece, last")) },
    // further tags after the first, as the CRI format allows
    Record { stream: "stdout", tags: "F:later:tags", content: b"tagged", entry: Some((0, "tagged")) },
    Record {
        stream: "stdout",
        tags: "F",
        content: b"one byte \xff that is no UTF-8",
        entry: Some((0, "one byte \u{fffd} that is no UTF-8")),
    },
    // two lines of one nanosecond, told apart by their text (see `timestamp_ns`)
    whole("stdout", "twin A"),
    whole("stdout", "twin B"),
];

/// Every record is 1,000,001,001 ns after the one before, but for the second twin.
fn timestamp_ns(start_ns: i64, index: usize) -> i64 {
    let step = if index + 1 == RECORDS.len() { index - 1 } else { index };
    start_ns + step as i64 * 1_000_001_001
}

/// Writes the container's log below `pods`.
pub fn write(pods: &Path, start_ns: i64) -> anyhow::Result<()> {
    let folder = pods.join(POD).join(CONTAINER);
    fs::create_dir_all(&folder)?;
    let mut log = Vec::new();
    for (index, record) in RECORDS.iter().enumerate() {
        // Some in another zone than the others, as after a change of the node's zone.
        let offset_s = if index % 3 == 2 { 19_800 } else { 0 };
        write_rfc3339_nano(&mut log, timestamp_ns(start_ns, index), offset_s);
        log.extend_from_slice(format!(" {} {} ", record.stream, record.tags).as_bytes());
        log.extend_from_slice(record.content);
        log.push(b'\n');
    }
    fs::write(folder.join("0.log"), log)?;
    Ok(())
}

/// The labels of its streams.
pub fn labels(cluster: &str) -> Vec<Labels> {
    ["stdout", "stderr"].map(|stream| source(stream).labels(cluster)).into()
}

fn source(stream: &str) -> Source {
    let lines = RECORDS.iter().filter(|record| record.stream == stream && record.entry.is_some()).count() as u64;
    let (namespace, pod) =
        POD.split_once('_').and_then(|(ns, rest)| Some((ns, rest.split_once('_')?.0))).unwrap_or_default();
    Source { namespace: namespace.into(), pod: pod.into(), container: CONTAINER.into(), stream: stream.into(), lines }
}

/// How many entries its lines make.
pub fn lines() -> u64 {
    source("stdout").lines + source("stderr").lines
}

/// What Loki has that differs from what it must have, as sentences.
pub fn differences(client: &Client, cluster: &str, start_ns: i64, range: Range) -> anyhow::Result<Vec<String>> {
    let mut differences = Vec::new();
    for stream in ["stdout", "stderr"] {
        let mut found = Vec::new();
        client.each_entry(&compare::selector(&source(stream).labels(cluster)), range, |entry| {
            found.push((entry.timestamp_ns, entry.text.to_owned()));
        })?;
        let expected = expected(stream, start_ns);
        for (what, one, other) in [("missing", &expected, &found), ("unexpected", &found, &expected)] {
            let odd = one.iter().filter(|entry| !other.contains(entry));
            differences.extend(odd.map(|(at, text)| format!("odd lines, {stream}: {what} {at} {text:?}")));
        }
        if differences.is_empty() && found != expected {
            differences.push(format!("odd lines, {stream}: in another order: {found:?}"));
        }
    }
    Ok(differences)
}

fn expected(stream: &str, start_ns: i64) -> Vec<(i64, String)> {
    let records = RECORDS.iter().enumerate().filter(|(_, record)| record.stream == stream);
    records
        .filter_map(|(index, record)| {
            record.entry.map(|(back, text)| (timestamp_ns(start_ns, index - back), text.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_line_has_the_time_of_its_first_piece() {
        let entries = expected("stdout", 0);
        assert!(entries.contains(&(7 * 1_000_001_001, "first piece, second piece, last".to_owned())));
    }
}
