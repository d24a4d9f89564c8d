//! What the owner of a pod asks for by annotations, as stages.
//!
//! In: annotations of a pod that the administrator allows. Out: for one container the stages that they stand for, or a sentence that says
//! which of them is wrong. Guarantees that equal wishes are equal, so that their containers can share a pipeline, and that what a pod asks
//! for is bounded in size: its owner is not the one of the node.

use super::{
    compile::Pipeline,
    entry::Entry,
    level::Level,
    pattern::Pattern,
    stage::{Context, Stage, Step},
    stages::multiline::preset::Preset,
};
use crate::config::{AnnotationKey, StageConfig, StageValue};

/// How long an annotation's value may be.
pub const VALUE_BYTES_MAX: usize = 1000;
/// Bytes of memory of a regular expression.
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// Why lines are dropped, as metrics have it.
const DROP: &str = "pod_drop";
const SAMPLE: &str = "pod_sample";
pub(super) const LEVEL: &str = "pod_level";

/// Fields that `parse` looks for.
const FIELDS: [&str; 7] = ["level", "severity", "logger", "trace_id", "traceId", "span_id", "spanId"];

/// What is asked for one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Asked(Vec<(AnnotationKey, Box<str>)>);

/// Makes a pipeline of what is asked for.
pub type Annotated = Box<dyn Fn(&Asked) -> Result<Pipeline, String> + Send>;

/// What is asked for, ready to be compiled.
#[derive(Debug, Default, PartialEq)]
pub struct Wanted {
    /// They come before those of the configuration.
    pub stages: Vec<StageConfig>,
    /// Lines of lower levels are dropped.
    pub least: Option<Level>,
}

impl Asked {
    /// Of the annotations of a pod, without `pilcrow.dev/`, those for one container: `NAME.CONTAINER` counts more than `NAME`.
    #[must_use]
    pub fn of(annotations: &[(Box<str>, Box<str>)], container: &str) -> Self {
        if annotations.is_empty() {
            return Self::default();
        }
        let value = |name: &str| annotations.iter().find(|(known, _)| **known == *name).map(|(_, value)| value.clone());
        let of_key = |key: AnnotationKey| {
            let own = value(&format!("{}.{container}", key.name()));
            own.or_else(|| value(key.name())).map(|value| (key, value))
        };
        Self(AnnotationKey::ALL.into_iter().filter_map(of_key).collect())
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The stages: lines are joined first, then parsed, dropped and sampled.
    ///
    /// # Errors
    /// The first annotation that is wrong, and how.
    pub fn wanted(&self) -> Result<Wanted, String> {
        let mut wanted = Wanted::default();
        for key in [
            AnnotationKey::Multiline,
            AnnotationKey::Parse,
            AnnotationKey::Drop,
            AnnotationKey::Sample,
            AnnotationKey::Level,
        ] {
            let Some((_, value)) = self.0.iter().find(|(known, _)| *known == key) else { continue };
            wanted.add(key, value).map_err(|why| format!("pilcrow.dev/{}: {why}", key.name()))?;
        }
        Ok(wanted)
    }
}

impl Wanted {
    fn add(&mut self, key: AnnotationKey, value: &str) -> Result<(), String> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(format!("is longer than {VALUE_BYTES_MAX} bytes"));
        }
        match key {
            AnnotationKey::Multiline => {
                let is_preset = Preset::named(value).is_some();
                if !is_preset && !value.starts_with('^') {
                    let presets = Preset::names().join(", ");
                    return Err(format!(
                        "expected one of {presets}, or an expression that begins with ^, found {value:?}"
                    ));
                }
                if !is_preset {
                    Pattern::within(value, PATTERN_BYTES_MAX)?;
                }
                self.stage("multiline", &[(if is_preset { "preset" } else { "firstline" }, value)]);
            }
            AnnotationKey::Drop => {
                Pattern::within(value, PATTERN_BYTES_MAX)?;
                self.stage("drop", &[("expression", value), ("drop_counter_reason", DROP)]);
            }
            AnnotationKey::Sample => {
                if !value.parse::<f64>().is_ok_and(|rate| (0.0..=1.0).contains(&rate)) {
                    return Err(format!("expected a number from 0 to 1, found {value:?}"));
                }
                self.stage("sampling", &[("rate", value), ("drop_counter_reason", SAMPLE)]);
            }
            AnnotationKey::Parse => {
                let (stage, map) = match value {
                    "json" => ("json", "expressions"),
                    "logfmt" => ("logfmt", "mapping"),
                    _ => return Err(format!("expected json or logfmt, found {value:?}")),
                };
                let fields = || group(FIELDS.map(|field| (field, StageValue::Nothing)));
                self.stages.push(StageConfig(group([(stage, group([(map, fields())]))])));
                self.stages.push(StageConfig(group([("structured_metadata", fields())])));
            }
            AnnotationKey::Level => {
                let level = Level::named(value).filter(|level| (*level as u8) < Level::Unknown as u8);
                let expected =
                    || format!("expected trace, debug, info, warn, error, critical or fatal, found {value:?}");
                self.least = Some(level.ok_or_else(expected)?);
            }
        }
        Ok(())
    }

    fn stage(&mut self, name: &str, settings: &[(&str, &str)]) {
        let settings = settings.iter().map(|(key, value)| (*key, StageValue::Text((*value).to_owned())));
        self.stages.push(StageConfig(group([(name, group(settings))])));
    }
}

fn group<'n>(entries: impl IntoIterator<Item = (&'n str, StageValue)>) -> StageValue {
    StageValue::Group(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Drops lines of lower levels; those without a level go on. Behind the one that finds levels.
pub(super) struct LeastLevel {
    pub least: Level,
    /// The number of [`LEVEL`].
    pub reason: usize,
}

impl Stage for LeastLevel {
    fn run(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Step {
        if (entry.level as u8) < self.least as u8 { Step::Drop(self.reason) } else { Step::Next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(annotations: &[(&str, &str)], container: &str) -> Asked {
        let boxed: Vec<(Box<str>, Box<str>)> =
            annotations.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Asked::of(&boxed, container)
    }

    #[test]
    fn what_names_a_container_counts_more_and_for_no_other_one() {
        let annotations = [("drop", "x"), ("drop.web", "y"), ("sample.db", "0.5")];
        assert_eq!(asked(&annotations, "web"), asked(&[("drop", "y")], "other"));
        assert_eq!(asked(&annotations, "cache"), asked(&[("drop", "x")], "other"));
        assert!(asked(&annotations[1..], "cache").is_empty());
    }

    #[test]
    fn what_is_asked_for_becomes_stages_in_a_fixed_order() {
        let all =
            [("drop", "^debug"), ("level", "warn"), ("multiline", "java"), ("parse", "logfmt"), ("sample", "0.5")];
        let wanted = asked(&all, "web").wanted().unwrap();
        let names: Vec<_> = wanted.stages.iter().map(|stage| stage.parts().unwrap().0).collect();
        assert_eq!(names, ["multiline", "logfmt", "structured_metadata", "drop", "sampling"]);
        assert_eq!(wanted.least, Some(Level::Warn));
    }

    #[test]
    fn a_mistake_names_the_annotation() {
        let long = "x".repeat(2000);
        for (name, value, expected) in [
            ("multiline", "jva", "pilcrow.dev/multiline: expected one of java, python,"),
            ("multiline", "^(", "pilcrow.dev/multiline: is not a regular expression"),
            ("drop", "(", "pilcrow.dev/drop: is not a regular expression"),
            ("drop", r"((\\w{50}){50}){50}", "pilcrow.dev/drop: the regular expression is too large"),
            ("drop", &long, "pilcrow.dev/drop: is longer than 1000 bytes"),
            ("sample", "2", "pilcrow.dev/sample: expected a number from 0 to 1"),
            ("parse", "xml", "pilcrow.dev/parse: expected json or logfmt"),
            ("level", "unknown", "pilcrow.dev/level: expected trace, debug"),
        ] {
            let why = asked(&[(name, value)], "web").wanted().unwrap_err();
            assert!(why.starts_with(expected), "{why}");
        }
    }
}
