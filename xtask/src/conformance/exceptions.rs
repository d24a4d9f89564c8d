//! Where Pilcrow differs from Promtail on purpose; docs/pipeline.md lists the same differences.
//!
//! An exception that nothing needs any more is an error.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    Input, Request,
    compare::{Difference, Field, text},
    corpus::{Migration, NotPossible},
};

/// A deliberate difference.
pub struct Exception {
    pub name: &'static str,
    whose: Whose,
    applies: fn(&Request, &Difference) -> bool,
}

/// What may differ.
#[derive(Clone, Copy, PartialEq)]
enum Whose {
    /// A list of stages; a conversion makes up for it.
    Stages,
    /// The conversion of an old configuration, whose report says it.
    Conversions,
    Both,
}

impl Exception {
    /// Whether it explains this difference.
    pub fn explains(&self, request: &Request, difference: &Difference) -> bool {
        let other = if request.migration.is_some() { Whose::Stages } else { Whose::Conversions };
        self.whose != other && (self.applies)(request, difference)
    }
}

static EXCEPTIONS: [Exception; 19] = [
    Exception {
        name: "timestamp: action_on_failure is skip by default",
        whose: Whose::Stages,
        applies: |request, difference| {
            difference.field == Field::Time
                && request.stages.contains("timestamp")
                && !request.stages.contains("action_on_failure")
        },
    },
    Exception {
        name: "multiline: a block keeps its first line's structured metadata",
        whose: Whose::Both,
        applies: |request, difference| {
            // Promtail's block has what stages behind `multiline` add.
            let mut theirs = difference.promtail.trim_matches(['[', ']']).split("), (");
            difference.field == Field::Metadata
                && request.stages.contains("multiline")
                && theirs.all(|pair| difference.pilcrow.contains(pair.trim_matches(['(', ')'])))
        },
    },
    Exception {
        name: "sampling: decided by a hash instead of at random",
        whose: Whose::Both,
        applies: |request, difference| {
            request.stages.contains("sampling: {rate: 0.")
                && matches!(difference.field, Field::Entries | Field::Metrics)
        },
    },
    Exception {
        name: "json: members of extracted objects keep their order",
        whose: Whose::Both,
        applies: |_, difference| {
            let json =
                |text: &str| -> Option<serde_json::Value> { serde_json::from_str(&text[text.find('{')?..]).ok() };
            let (theirs, ours) = (json(&difference.promtail), json(&difference.pilcrow));
            matches!(difference.field, Field::Extracted | Field::Line | Field::Labels)
                && theirs.is_some()
                && theirs == ours
        },
    },
    Exception {
        name: "logfmt: all names of one key are filled, and not one of them at random",
        whose: Whose::Both,
        applies: |request, _| request.stages.lines().any(maps_a_key_twice),
    },
    Exception {
        name: "template: trunc cuts between characters",
        whose: Whose::Stages,
        applies: |request, difference| {
            // What Promtail cut within a character is shown as replacement characters.
            let whole = |text: &str| text.replace(char::REPLACEMENT_CHARACTER, "").replace(r"\ufffd", "");
            // As a label, extracted or metadata it is refused, being no UTF-8; then stages behind may keep other entries.
            let line = difference.entry.and_then(|id| request.entries.get(usize::try_from(id).ok()?));
            let is_cut = |line: &Input| {
                let line = text(&line.line);
                line.len() > 4 && !line.is_char_boundary(4)
            };
            let is_refused = request.stages.contains("trunc 4")
                && match line {
                    Some(line) => is_cut(line),
                    None => request.entries.iter().any(is_cut),
                };
            request.stages.contains("trunc")
                && difference.promtail != difference.pilcrow
                && (is_refused || whole(&difference.promtail) == whole(&difference.pilcrow))
        },
    },
    Exception {
        name: "structured_metadata: a name that is set twice has its last value only",
        whose: Whose::Both,
        applies: |_, difference| {
            difference.field == Field::Metadata
                && difference.promtail.len() > difference.pilcrow.len()
                && difference.promtail.contains(difference.pilcrow.trim_matches(['[', ']']))
        },
    },
    Exception {
        name: "metrics: tenants share a series, where Promtail makes equal ones that its registry refuses",
        whose: Whose::Stages,
        applies: |_, difference| {
            difference.field == Field::Error
                && difference.pilcrow.is_empty()
                && difference.promtail.contains("was collected before with the same name and label values")
        },
    },
    Exception {
        name: "bytes that are no UTF-8 are U+FFFD from reading on: other bytes, lengths and hashes, and labels that Promtail leaves out",
        whose: Whose::Both,
        applies: |request, difference| {
            let line = difference.entry.and_then(|id| request.entries.get(usize::try_from(id).ok()?));
            let is_of_line = line.is_some_and(|line| !is_text(&line.line));
            let is_of_any = difference.entry.is_none() || request.stages.contains("multiline");
            difference.field != Field::Error
                && (is_of_line || is_of_any && !request.entries.iter().all(|line| is_text(&line.line)))
        },
    },
    Exception {
        name: "YAML: unquoted y, n, on and off are texts",
        whose: Whose::Stages,
        applies: |_, difference| {
            difference.field == Field::Error
                && difference.pilcrow.is_empty()
                && difference.promtail.contains("type 'bool'")
        },
    },
    Exception {
        name: "unknown fields are errors",
        whose: Whose::Stages,
        applies: |_, difference| difference.field == Field::Error && difference.pilcrow.contains("unknown key"),
    },
    Exception {
        name: "parts of templates and JMESPath that are refused by name",
        whose: Whose::Stages,
        applies: |_, difference| difference.field == Field::Error && difference.pilcrow.contains("not supported"),
    },
    Exception {
        name: "Alloy's stages and fields, sizes in KiB and backticks in selectors are accepted",
        whose: Whose::Stages,
        applies: |request, difference| {
            let alloys = ["pattern:", "truncate:", "label_keep", "KiB", "`"];
            difference.field == Field::Error
                && difference.pilcrow.is_empty()
                && alloys.iter().any(|text| request.stages.contains(text))
        },
    },
    Exception {
        name: "conversions: what Promtail refuses to start with is left out",
        whose: Whose::Conversions,
        applies: |request, difference| {
            difference.field == Field::Error && difference.pilcrow.is_empty() && is_of(request, &REFUSED)
        },
    },
    Exception {
        name: "conversions: pods are read that Promtail does not read, where the report says that all are",
        whose: Whose::Conversions,
        applies: |request, difference| {
            let says_so = |told: &NotPossible| ALL_PODS.iter().any(|text| told.text.contains(text));
            difference.field == Field::Entries
                && difference.promtail == "[]"
                && not_possible(request).iter().any(says_so)
        },
    },
    Exception {
        name: "conversions: labels of a line of the old file that the report calls not possible",
        whose: Whose::Conversions,
        applies: |request, difference| {
            let labels = |text: &str| serde_json::from_str::<BTreeMap<String, String>>(text).unwrap_or_default();
            let (theirs, ours) = (labels(&difference.promtail), labels(&difference.pilcrow));
            let differs = |name: &&String| theirs.get(*name) != ours.get(*name);
            let is_told = |name: &String| not_possible(request).iter().any(|told| told.names(name));
            difference.field == Field::Labels && theirs.keys().chain(ours.keys()).filter(differs).all(is_told)
        },
    },
    Exception {
        name: "conversions: a timestamp of the runtime's own time keeps it where the stage cannot read one",
        whose: Whose::Conversions,
        applies: |request, difference| {
            let own = difference.entry.and_then(|id| request.entries.get(usize::try_from(id).ok()?));
            difference.field == Field::Time
                && is_of(request, &OWN_TIME)
                && own.is_some_and(|own| own.time.to_string() == difference.pilcrow)
        },
    },
    Exception {
        name: "conversions: namespace, pod and container tell files apart instead of filename",
        whose: Whose::Conversions,
        applies: |request, difference| {
            let labels = |text: &str| serde_json::from_str::<BTreeMap<String, String>>(text).unwrap_or_default();
            let (theirs, mut ours) = (labels(&difference.promtail), labels(&difference.pilcrow));
            ours.retain(|name, _| {
                theirs.contains_key(name) || !["namespace", "pod", "container"].contains(&name.as_str())
            });
            difference.field == Field::Labels && request.stages.contains("static_configs") && theirs == ours
        },
    },
    Exception {
        name: "conversions: without a stage for the runtime's records lines come without their head, and with their time",
        whose: Whose::Conversions,
        applies: |request, difference| {
            let reads_records = ["cri:", "docker:", "stdout|stderr"].iter().any(|text| request.stages.contains(text));
            let is_head = || difference.promtail.ends_with(&difference.pilcrow) && difference.promtail.contains(" F ");
            !reads_records && (difference.field == Field::Time || difference.field == Field::Line && is_head())
        },
    },
];

/// Old configurations that Promtail does not start with: unknown keys and stages, wrong types, YAML that its library refuses.
const REFUSED: [&str; 5] =
    ["misspelt-keys", "promtail-refuses", "stage-unknown", "texts-that-look-like-others", "wrong-types"];

/// What the report says where no rule can tell which files are read.
const ALL_PODS: [&str; 2] = ["the logs of all pods are read", "Pilcrow reads those of all pods"];

/// Old configurations with a stage `timestamp` whose source is what `cri` or `docker` extracts, too.
const OWN_TIME: [&str; 3] = ["alloy-java-multiline", "stage-timestamp-docker", "stage-timestamp-within-match"];

/// What the report of the conversion says is not possible.
fn not_possible(request: &Request) -> &[NotPossible] {
    request.migration.as_ref().map_or(&[], Migration::not_possible)
}

fn is_of(request: &Request, names: &[&str]) -> bool {
    let file = request.migration.as_ref().map_or("", |migration| migration.file());
    file.split_once(".old.").is_some_and(|(name, _)| names.contains(&name))
}

/// Whether the line is UTF-8.
fn is_text(base64: &str) -> bool {
    BASE64_STANDARD.decode(base64).is_ok_and(|line| std::str::from_utf8(&line).is_ok())
}

/// Whether this is a `logfmt` stage with two names for one key.
fn maps_a_key_twice(stage: &str) -> bool {
    let Some((_, mapping)) = stage.split_once("logfmt: {mapping: {") else { return false };
    let pairs = mapping.split('}').next().unwrap_or_default().split(", ");
    let mut keys: Vec<&str> = pairs
        .filter_map(|pair| pair.split_once(':'))
        .map(|(name, key)| if key.trim().is_empty() { name.trim() } else { key.trim() })
        .collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    keys.len() < all
}

pub fn all() -> impl Iterator<Item = &'static Exception> {
    EXCEPTIONS.iter()
}
