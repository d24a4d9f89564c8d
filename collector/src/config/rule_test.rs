//! `tests`: what the rules shall make of lines, for `pilcrow test`, as it is written. `run` ignores it.
//!
//! In: the tree of a file. Out: each test with its place. A line or an expected entry may be written as its text alone, and the
//! lines of a test as one text of several lines.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    Place,
    tree::{Entry, Node, Value},
};

/// One test.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleTest {
    pub name: String,
    /// The container that the lines are from: the rules make their labels. `None`: they have those of `labels` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<TestContainer>,
    /// Labels of all lines.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The node's clock; `None`: each line is read when it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<TestTime>,
    pub lines: Vec<TestLine>,
    /// What becomes of the lines, in their order.
    pub expect: Vec<Expectation>,
    /// Where it stands in its file.
    #[serde(skip)]
    pub place: Option<Place>,
}

/// `tests[].from`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestContainer {
    pub namespace: String,
    pub pod: String,
    pub container: String,
    pub pod_labels: BTreeMap<String, String>,
    pub pod_annotations: BTreeMap<String, String>,
}

/// `tests[].lines[]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestLine {
    pub line: String,
    /// Beside those of the test, and before them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<TestStream>,
    /// When it was written; `None`: a millisecond after the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<TestTime>,
}

/// `tests[].lines[].stream`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TestStream {
    Stdout,
    Stderr,
}

/// `tests[].expect[]`: what is `None` is not compared.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expectation {
    /// The text of the entry; of a line that is dropped, as it was before all stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// The labels that the stages added or changed, all of them; without a value those that they removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, Option<String>>>,
    /// As `labels`, of structured metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, Option<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<TestTime>,
    /// The line is dropped for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
    /// Where it stands in its file.
    #[serde(skip)]
    pub place: Option<Place>,
}

/// A time in nanoseconds since 1970, written as RFC 3339 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestTime(pub i64);

impl<'de> Deserialize<'de> for TestTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = text.parse::<Timestamp>().ok().and_then(|time| i64::try_from(time.as_nanosecond()).ok());
        time.map(Self).ok_or_else(|| {
            de::Error::custom(format_args!("expected a time such as 2026-11-22T11:09:43.118Z, found {text:?}"))
        })
    }
}

impl Serialize for TestTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = Timestamp::from_nanosecond(i128::from(self.0)).map_err(serde::ser::Error::custom)?;
        serializer.collect_str(&time)
    }
}

/// Reads what is written as a text alone as if `line:` stood before it.
pub(super) fn expand(root: &mut Node) {
    let Some(Value::Sequence(tests)) = value_mut(root, "tests") else { return };
    for test in tests {
        if let Some(lines) = value_mut(test, "lines") {
            split(lines);
        }
        for list in ["lines", "expect"] {
            if let Some(Value::Sequence(items)) = value_mut(test, list) {
                items.iter_mut().for_each(expand_item);
            }
        }
    }
}

/// Notes where the tests stand.
pub(super) fn place(tests: &mut [RuleTest], root: &Node) {
    for (i, test) in tests.iter_mut().enumerate() {
        let item = format!("[{i}]");
        test.place = root.place_of(&["tests", &item]);
        for (j, expectation) in test.expect.iter_mut().enumerate() {
            expectation.place = root.place_of(&["tests", &item, "expect", &format!("[{j}]")]);
        }
    }
}

fn value_mut<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Value> {
    let Value::Mapping(entries) = &mut node.value else { return None };
    entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value.value)
}

/// `lines: |` with a line of the log in each.
fn split(lines: &mut Value) {
    let Value::Scalar(text) = lines else { return };
    // A text cannot be wrong here, so that its number and place are never asked for.
    let item =
        |line: &str| Node { id: usize::MAX, place: Place { line: 0, column: 0 }, value: Value::Scalar(line.into()) };
    *lines = Value::Sequence(text.lines().map(item).collect());
}

fn expand_item(item: &mut Node) {
    if let Value::Scalar(_) = item.value {
        let text = Node { value: std::mem::replace(&mut item.value, Value::Null), ..*item };
        item.value = Value::Mapping(vec![Entry { key: "line".into(), key_place: item.place, value: text }]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Draft, Problem};
    use super::*;

    fn parse(yaml: &str) -> Result<Vec<RuleTest>, Vec<Problem>> {
        let draft = Draft::parse(yaml, &|_| None)?;
        let problems = draft.findings.problems(Vec::new());
        if problems.is_empty() { Ok(draft.config.tests) } else { Err(problems) }
    }

    #[test]
    fn a_line_and_an_entry_may_be_written_as_their_texts_and_several_lines_as_one_text() {
        let short = "tests:\n- name: a\n  lines: |\n    x\n      y\n  expect: ['x']\n";
        let long = "tests:\n- name: a\n  lines: [{line: x}, {line: '  y'}]\n  expect: [{line: x}]\n";
        let (short, long) = (parse(short).unwrap(), parse(long).unwrap());
        assert_eq!(short[0].lines, long[0].lines);
        assert_eq!(short[0].expect[0].line, long[0].expect[0].line);
        assert_eq!(short[0].place, Some(Place { line: 2, column: 3 }));
        assert_eq!(short[0].expect[0].place, Some(Place { line: 6, column: 12 }));
    }

    #[test]
    fn mistakes_in_tests_have_their_places_and_the_nearest_known_key() {
        let yaml = "tests:\n- name: a\n  line: [x]\n  lines: [{line: x, stream: out, time: today}]\n  \
                    expect: [{droped: y}]\n";
        let problems: Vec<String> = parse(yaml).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "line 3: tests[0].line: unknown key; did you mean lines?",
                "line 4: tests[0].lines[0].stream: expected one of stdout, stderr, found \"out\"",
                "line 4: tests[0].lines[0].time: expected a time such as 2026-11-22T11:09:43.118Z, found \"today\"",
                "line 5: tests[0].expect[0].droped: unknown key; did you mean dropped?",
            ]
        );
    }
}
