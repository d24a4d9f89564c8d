//! An expected entry beside one that came.

use std::collections::BTreeMap;

use super::outcome::{Got, What};
use crate::{
    admin::{
        rules::{Named, differing},
        terminal::time,
    },
    config::Expectation,
};

/// What is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Of what: `line`, `label level`.
    pub of: String,
    pub expected: String,
    pub got: String,
}

const NOTHING: &str = "nothing";

/// All differences; none: it is as expected.
pub fn differences(expected: &Expectation, got: &Got) -> Vec<Difference> {
    match (&expected.dropped, &got.what) {
        (Some(wanted), What::Dropped { reason, place, line }) => {
            let mut all = Vec::new();
            if wanted != reason {
                all.push(Difference {
                    of: "dropped".into(),
                    expected: quoted(wanted),
                    got: format!("{reason:?} by {place}"),
                });
            }
            all.extend(text(expected, line));
            all
        }
        (None, What::Entry { sent, labels, metadata }) => {
            let mut all = Vec::new();
            all.extend(text(expected, &sent.line));
            pairs("label", expected.labels.as_ref(), labels, &sent.labels, &mut all);
            pairs("metadata", expected.metadata.as_ref(), metadata, &sent.metadata, &mut all);
            if let Some(wanted) = expected.time.filter(|wanted| wanted.0 != sent.time_ns) {
                all.push(Difference { of: "time".into(), expected: time(wanted.0), got: time(sent.time_ns) });
            }
            all
        }
        _ => vec![Difference { of: String::new(), expected: wanted(expected), got: found(got) }],
    }
}

/// An expectation that nothing came for.
pub fn missing(expected: &Expectation) -> Vec<Difference> {
    vec![Difference { of: String::new(), expected: wanted(expected), got: NOTHING.into() }]
}

/// Something that came and was not expected.
pub fn unexpected(got: &Got) -> Vec<Difference> {
    vec![Difference { of: String::new(), expected: NOTHING.into(), got: found(got) }]
}

fn text(expected: &Expectation, got: &str) -> Option<Difference> {
    let wanted = expected.line.as_ref().filter(|wanted| *wanted != got)?;
    Some(Difference { of: "line".into(), expected: quoted(wanted), got: quoted(got) })
}

/// Those that were named, and those that changed though they were not named.
fn pairs(
    kind: &str,
    wanted: Option<&BTreeMap<String, Option<String>>>,
    before: &Named,
    after: &Named,
    all: &mut Vec<Difference>,
) {
    let Some(wanted) = wanted else { return };
    let is = |name: &str| after.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    let shown = |value: Option<&str>| value.map_or_else(|| NOTHING.to_owned(), quoted);
    for (name, value) in wanted {
        // One without a value is none, to Loki too.
        let value = value.as_deref().filter(|value| !value.is_empty());
        if value != is(name) {
            all.push(Difference { of: format!("{kind} {name}"), expected: shown(value), got: shown(is(name)) });
        }
    }
    for (name, value) in differing(before, after).into_iter().filter(|(name, _)| !wanted.contains_key(name)) {
        let was = before.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str());
        let expected = if was.is_some() { format!("{}, as before", shown(was)) } else { NOTHING.into() };
        all.push(Difference { of: format!("{kind} {name}"), expected, got: shown(value.as_deref()) });
    }
}

fn wanted(expected: &Expectation) -> String {
    let Expectation { line, dropped, .. } = expected;
    let line = line.as_deref().map(quoted);
    match dropped {
        Some(reason) => format!("{} dropped, {reason:?}", line.unwrap_or_else(|| "a line".into())),
        None => format!("the entry {}", line.unwrap_or_else(|| "(of any text)".into())),
    }
}

fn found(got: &Got) -> String {
    match &got.what {
        What::Dropped { reason, place, line } => format!("{line:?} dropped by {place}, {reason:?}"),
        What::Entry { sent, .. } => format!("the entry {:?}", sent.line),
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admin::rules::Sent, config::TestTime};

    fn named(pairs: &[(&str, &str)]) -> Named {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// `{app="web", old="x"}` before the stages, `{app="web", level="info"}` after them.
    fn entry() -> Got {
        let sent = Sent {
            time_ns: 1_767_323_045_000_000_000,
            line: "text".into(),
            labels: named(&[("app", "web"), ("level", "info")]),
            metadata: named(&[("trace", "abc")]),
            ..Sent::default()
        };
        Got {
            line: 1,
            what: What::Entry { sent, labels: named(&[("app", "web"), ("old", "x")]), metadata: Vec::new() },
        }
    }

    fn map(pairs: &[(&str, Option<&str>)]) -> Option<BTreeMap<String, Option<String>>> {
        Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect())
    }

    fn of(expected: &Expectation, got: &Got) -> Vec<String> {
        differences(expected, got).into_iter().map(|d| format!("{}: {} / {}", d.of, d.expected, d.got)).collect()
    }

    #[test]
    fn what_an_expectation_leaves_out_is_not_compared() {
        assert!(of(&Expectation::default(), &entry()).is_empty());
        let expected =
            Expectation { line: Some("text".into()), metadata: map(&[("trace", Some("abc"))]), ..Default::default() };
        assert!(of(&expected, &entry()).is_empty());
    }

    #[test]
    fn all_labels_that_changed_must_be_named_and_those_that_did_not_may_be() {
        let good = map(&[("app", Some("web")), ("level", Some("info")), ("old", None)]);
        assert!(of(&Expectation { labels: good, ..Default::default() }, &entry()).is_empty());
        let expected = Expectation { labels: map(&[("level", Some("warn"))]), ..Default::default() };
        assert_eq!(
            of(&expected, &entry()),
            ["label level: \"warn\" / \"info\"", "label old: \"x\", as before / nothing"]
        );
        let expected = Expectation { labels: map(&[]), metadata: map(&[]), ..Default::default() };
        assert_eq!(
            of(&expected, &entry()),
            [
                "label level: nothing / \"info\"",
                "label old: \"x\", as before / nothing",
                "metadata trace: nothing / \"abc\"",
            ]
        );
    }

    #[test]
    fn times_texts_and_reasons_are_shown_beside_each_other() {
        let time = Some(TestTime(1_767_323_045_000_000_001));
        let expected = Expectation { line: Some("other".into()), time, ..Default::default() };
        assert_eq!(
            of(&expected, &entry()),
            ["line: \"other\" / \"text\"", "time: 2026-01-02T03:04:05.000000001Z / 2026-01-02T03:04:05Z"]
        );
        let what = What::Dropped { reason: "noise", place: "pipeline_stages[0].drop".into(), line: "a".into() };
        let dropped = Got { line: 1, what };
        let expected = Expectation { dropped: Some("debug".into()), ..Default::default() };
        assert_eq!(of(&expected, &dropped), ["dropped: \"debug\" / \"noise\" by pipeline_stages[0].drop"]);
        assert_eq!(of(&expected, &entry()), [": a line dropped, \"debug\" / the entry \"text\""]);
    }
}
