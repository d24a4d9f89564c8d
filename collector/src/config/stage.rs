//! `pipeline_stages`: a list of stages as Promtail has them, as they are written.
//!
//! In: the tree of a file. Out: each stage's name with its settings, still untyped: what a stage's settings are is known to
//! that stage alone (`pipeline/stages/NAME.rs`), which decodes them here, with this module's errors. Keys that are set to
//! nothing are kept, since `labels: {level: }` means something. Knows no stage.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use super::{
    Place, Problem,
    decode::decode,
    nearest,
    tree::{self, Entry, Node, Value},
};

/// One item of the list: a group with the stage's name as its one key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageConfig(pub StageValue);

/// A value of the file whose meaning is not known yet. Numbers and booleans are the text that was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum StageValue {
    /// Nothing, `null` or `~`.
    #[default]
    Nothing,
    /// A text, a number or a boolean.
    Text(String),
    /// Items.
    List(Vec<StageValue>),
    /// Keys with their values, in the order in which they are written.
    Group(Vec<(String, StageValue)>),
}

impl StageConfig {
    /// Reads a list of stages that stands alone, as the value of `pipeline_stages` does. Variables are not expanded.
    ///
    /// # Errors
    /// Everything that is wrong with it as YAML, or that it is no list.
    pub fn list(yaml: &str) -> Result<Vec<Self>, Vec<Problem>> {
        let root = tree::parse(yaml, &|_| None)?;
        let (stages, problems) = decode(&root, &|_, _| String::new());
        if problems.is_empty() { Ok(stages) } else { Err(problems) }
    }

    /// The stage's name and its settings; `None` where there is not exactly one key.
    #[must_use]
    pub fn parts(&self) -> Option<(&str, &StageValue)> {
        match &self.0 {
            StageValue::Group(entries) => match &entries[..] {
                [(name, settings)] => Some((name, settings)),
                _ => None,
            },
            // `- cri:` is one key, `- cri` a name alone, which Promtail refuses.
            _ => None,
        }
    }
}

impl StageValue {
    /// Decodes the settings as a stage has them.
    ///
    /// # Errors
    /// All that is wrong: the path of the key within the settings, and what is wrong there.
    pub fn decode<T>(&self) -> Result<T, Vec<(String, String)>>
    where
        T: for<'de> Deserialize<'de> + Default,
    {
        let root = self.node(&mut 0);
        let (decoded, problems) = decode(&root, &unknown_key);
        if problems.is_empty() {
            return Ok(decoded);
        }
        Err(problems.into_iter().map(|problem| (problem.key, problem.message)).collect())
    }

    /// The value of a key of a group.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The keys of a group with their values; of anything else none.
    #[must_use]
    pub fn entries(&self) -> &[(String, Self)] {
        if let Self::Group(entries) = self { entries } else { &[] }
    }

    /// The items of a list; of anything else none.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }

    /// A text that is not empty.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text.as_str()).filter(|text| !text.is_empty()) } else { None }
    }

    fn node(&self, next_id: &mut usize) -> Node {
        let id = *next_id;
        *next_id += 1;
        let place = Place { line: 0, column: 0 };
        let value = match self {
            Self::Nothing => Value::Null,
            Self::Text(text) => Value::Scalar(text.clone()),
            Self::List(items) => Value::Sequence(items.iter().map(|item| item.node(next_id)).collect()),
            Self::Group(entries) => Value::Mapping(
                entries
                    .iter()
                    .map(|(key, value)| Entry { key: key.clone(), key_place: place, value: value.node(next_id) })
                    .collect(),
            ),
        };
        Node { id, place, value }
    }
}

/// Which of the known keys may be meant by an unknown one.
fn unknown_key(key: &str, known: &'static [&'static str]) -> String {
    match nearest(key, known.iter().copied()) {
        Some(nearest) => format!("unknown key; did you mean {nearest}?"),
        None => format!("unknown key; known here: {}", known.join(", ")),
    }
}

impl<'de> Deserialize<'de> for StageConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StageValue::deserialize(deserializer).map(Self)
    }
}

impl Serialize for StageConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StageValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> de::Visitor<'de> for Any {
            type Value = StageValue;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a stage's settings")
            }

            fn visit_unit<E>(self) -> Result<StageValue, E> {
                Ok(StageValue::Nothing)
            }

            fn visit_str<E>(self, text: &str) -> Result<StageValue, E> {
                Ok(StageValue::Text(text.to_owned()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<StageValue, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(StageValue::List(list))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<StageValue, A::Error> {
                let mut group = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    group.push(entry);
                }
                Ok(StageValue::Group(group))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Serialize for StageValue {
    /// Dollars stay as they are: see [`super::to_yaml`].
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_unit(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => items.serialize(serializer),
            Self::Group(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        expressions: BTreeMap<String, Option<String>>,
        source: Option<String>,
        drop_malformed: bool,
    }

    #[test]
    fn keys_that_are_set_to_nothing_are_kept_and_numbers_are_text() {
        let stages = StageConfig::list("- labels:\n    level:\n    code: 5\n- cri:\n").unwrap();
        let labels = [("level".into(), StageValue::Nothing), ("code".into(), StageValue::Text("5".into()))];
        assert_eq!(stages[0].parts(), Some(("labels", &StageValue::Group(labels.to_vec()))));
        assert_eq!(stages[1].parts(), Some(("cri", &StageValue::Nothing)));
    }

    #[test]
    fn an_unknown_key_names_the_nearest_and_every_error_its_place() {
        let stages = StageConfig::list("- json:\n    expresions: {a: }\n    drop_malformed: maybe\n").unwrap();
        let problems = stages[0].parts().unwrap().1.decode::<Settings>().unwrap_err();
        assert_eq!(problems[0].0, "expresions");
        assert_eq!(problems[0].1, "unknown key; did you mean expressions?");
        assert_eq!(problems[1].0, "drop_malformed");
    }

    #[test]
    fn an_item_with_two_keys_is_no_stage() {
        let stages = StageConfig::list("- json: {}\n  labels: {}\n- json\n").unwrap();
        assert!(stages.iter().all(|stage| stage.parts().is_none()));
    }
}
