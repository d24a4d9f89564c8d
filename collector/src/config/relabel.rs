//! `relabel_configs`: rules as Prometheus and Promtail have them (prometheus model/relabel/relabel.go), as they are written.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use super::{decode::decode, tree};

/// One rule. A field that is left out has Prometheus' default.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelabelConfig {
    /// The labels whose values are joined to what the rule looks at; one that is not there counts as empty.
    pub source_labels: Vec<String>,
    /// Put between the joined values.
    pub separator: String,
    /// What the joined values, or the names of labels, must match as a whole.
    pub regex: String,
    /// For `hashmod`: the number of values that the hash is reduced to.
    pub modulus: u64,
    /// The label that is written, or compared with.
    pub target_label: String,
    /// What is written, with `$1` for what the first group of `regex` matched.
    pub replacement: String,
    pub action: RelabelAction,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelabelAction {
    /// Writes `replacement` to `target_label` where `regex` matches.
    #[default]
    Replace,
    /// Goes on only where `regex` matches.
    Keep,
    /// Goes on only where `regex` does not match.
    Drop,
    /// Goes on only where `target_label` has the joined values.
    KeepEqual,
    /// Goes on only where `target_label` does not have the joined values.
    DropEqual,
    /// Writes the joined values' hash modulo `modulus` to `target_label`.
    HashMod,
    /// Writes the joined values in lower case to `target_label`.
    Lowercase,
    /// Writes the joined values in upper case to `target_label`.
    Uppercase,
    /// Copies each label whose name matches `regex` to the name that `replacement` gives.
    LabelMap,
    /// Removes each label whose name matches `regex`.
    LabelDrop,
    /// Removes each label whose name does not match `regex`.
    LabelKeep,
}

impl RelabelAction {
    const NAMES: [(&str, Self); 11] = [
        ("replace", Self::Replace),
        ("keep", Self::Keep),
        ("drop", Self::Drop),
        ("keepequal", Self::KeepEqual),
        ("dropequal", Self::DropEqual),
        ("hashmod", Self::HashMod),
        ("lowercase", Self::Lowercase),
        ("uppercase", Self::Uppercase),
        ("labelmap", Self::LabelMap),
        ("labeldrop", Self::LabelDrop),
        ("labelkeep", Self::LabelKeep),
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }
}

impl RelabelConfig {
    /// Reads a list of rules: those that are built in. Rules that cannot be decoded are left out.
    #[must_use]
    pub fn list(yaml: &str) -> Vec<Self> {
        match tree::parse(yaml, &|_| None) {
            Ok(root) => decode(&root, &|_, _| String::new()).0,
            Err(_) => Vec::new(),
        }
    }
}

impl Default for RelabelConfig {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: ";".into(),
            regex: "(.*)".into(),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".into(),
            action: RelabelAction::default(),
        }
    }
}

impl Serialize for RelabelConfig {
    /// Only what is not the default, as people write rules. Dollars stay as they are: see [`super::to_yaml`].
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let default = Self::default();
        let mut map = serializer.serialize_map(None)?;
        if self.source_labels != default.source_labels {
            map.serialize_entry("source_labels", &self.source_labels)?;
        }
        for (name, value, default) in [
            ("separator", &self.separator, &default.separator),
            ("regex", &self.regex, &default.regex),
            ("target_label", &self.target_label, &default.target_label),
            ("replacement", &self.replacement, &default.replacement),
        ] {
            if value != default {
                map.serialize_entry(name, value)?;
            }
        }
        if self.modulus != default.modulus {
            map.serialize_entry("modulus", &self.modulus)?;
        }
        map.serialize_entry("action", self.action.name())?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for RelabelAction {
    /// In any case of letters, as Prometheus reads it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let lower = text.to_lowercase();
        let found = Self::NAMES.iter().find(|(name, _)| *name == lower);
        found.map(|(_, action)| *action).ok_or_else(|| {
            let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
            de::Error::custom(format_args!("expected one of {}, found {text:?}", names.join(", ")))
        })
    }
}
