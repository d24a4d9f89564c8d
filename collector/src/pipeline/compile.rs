//! From a list of stages as it is written to a pipeline that can run. There is no other validation than this.
//!
//! Nested stages of `match` follow it in one flat list: it jumps over them where its selector does not match.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::Deserialize;

use super::{
    entry::Entry,
    extracted::{LabelSlots, Slot},
    line_counts::LineCounts,
    pattern::Pattern,
    stage::{Failed, Note, Stage},
    stages::{self, metrics::Custom},
};
use crate::config::{StageConfig, StageValue};

/// Something that is wrong with a stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompileError {
    /// Where, from the list on: `[2].json.expressions`, `[0].match.stages.[1].regex.expression`.
    pub key: String,
    /// What, as a sentence for a person.
    pub message: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pipeline_stages{}: {}", self.key.replace(".[", "["), self.message)
    }
}

impl std::error::Error for CompileError {}

/// Stages that can run. One thread's; entries of any number of channels may go through it by turns.
pub struct Pipeline {
    pub(super) stages: Vec<Box<dyn Stage>>,
    /// Names with their slots, sorted by name.
    pub(super) sorted: Vec<(String, Slot)>,
    pub(super) label_slots: LabelSlots,
    /// Reasons for drops, with how many there were.
    pub(super) drops: Vec<(&'static str, u64)>,
    /// For each stage how many entries came to it, and how many it dropped.
    pub(super) ran: Vec<(u64, u64)>,
    /// Entries for what is given out between two others, with their memory.
    pub(super) spare: Vec<Entry>,
    /// What is kept for each channel: this many parts.
    pub(super) channels: usize,
    /// Lines that became one with the one before them.
    pub(super) repeated: u64,
    pub(super) notes: Vec<Note>,
    pub(super) line_counts: Option<LineCounts>,
    metrics: Custom,
    warnings: Vec<CompileError>,
    max_bytes: usize,
    /// The numbers of the stages that the list's items became, ascending, with the items' places; of others the key.
    pub(super) places: Vec<(usize, String)>,
}

/// What the configuration allows a pipeline.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of the longest entry: multi-line blocks end there.
    pub max_bytes: usize,
    /// Series that the `metrics` stages may make.
    pub max_series: usize,
    /// Where another pipeline with the same `metrics` stages counts, and this one shall, too.
    pub metrics: Option<Custom>,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("stages", &self.stages.len()).finish_non_exhaustive()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 256 << 10, max_series: 10_000, metrics: None }
    }
}

impl Pipeline {
    /// Compiles a list of stages.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the list.
    pub fn compile(stages: &[StageConfig]) -> Result<Self, Vec<CompileError>> {
        Self::compile_with(stages, &Limits::default())
    }

    /// Compiles a list of stages, with other limits than the default ones.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the list.
    pub fn compile_with(stages: &[StageConfig], limits: &Limits) -> Result<Self, Vec<CompileError>> {
        let metrics = limits.metrics.clone().unwrap_or_else(|| Custom::new(limits.max_series));
        let mut shared = Shared { metrics, limits: limits.clone(), ..Shared::default() };
        let mut compiled = Vec::new();
        list(stages, "", 0, &mut compiled, &mut shared);
        if !shared.errors.is_empty() {
            return Err(shared.errors);
        }
        Ok(Self {
            ran: vec![(0, 0); compiled.len()],
            stages: compiled,
            sorted: shared.slots.into_iter().collect(),
            label_slots: LabelSlots::default(),
            drops: shared.drops.into_iter().map(|reason| (reason, 0)).collect(),
            spare: Vec::new(),
            channels: shared.channels,
            repeated: 0,
            notes: Vec::new(),
            line_counts: None,
            metrics: shared.metrics,
            warnings: shared.warnings,
            max_bytes: limits.max_bytes,
            places: shared.places,
        })
    }

    /// Bytes of the longest entry.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// How many lines each reason for drops has had so far.
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.drops.iter().copied()
    }

    /// Each stage's place, how many entries came to it so far, and how many it dropped.
    pub fn ran(&self) -> impl Iterator<Item = (String, u64, u64)> {
        self.ran.iter().enumerate().map(|(stage, (came, dropped))| (self.place(stage), *came, *dropped))
    }

    /// The metrics that its `metrics` stages make; a handle that may go to another thread.
    #[must_use]
    pub fn metrics(&self) -> &Custom {
        &self.metrics
    }

    /// What is accepted but may not do what its writer expects.
    #[must_use]
    pub fn warnings(&self) -> &[CompileError] {
        &self.warnings
    }

    /// Where the stage of this number is written: `pipeline_stages[0].match.stages[1].json`, `levels`.
    #[must_use]
    pub fn place(&self, stage: usize) -> String {
        let after = self.places.partition_point(|(first, _)| *first <= stage);
        let key = self.places[..after].last().map_or("", |(_, key)| key);
        if key.starts_with('[') { format!("pipeline_stages{}", key.replace(".[", "[")) } else { key.to_owned() }
    }

    /// How many stages there are, those in a `match` included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stages.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Every name that a stage mentions, with the number of its slot: what is extracted under it can be looked at.
    pub fn names(&self) -> impl Iterator<Item = (&str, Slot)> {
        self.sorted.iter().map(|(name, slot)| (name.as_str(), *slot))
    }
}

/// What all stages of a pipeline have in common while it is compiled.
#[derive(Default)]
struct Shared {
    slots: BTreeMap<String, Slot>,
    drops: Vec<&'static str>,
    channels: usize,
    metrics: Custom,
    limits: Limits,
    errors: Vec<CompileError>,
    warnings: Vec<CompileError>,
    places: Vec<(usize, String)>,
}

/// Compiles a list, nested ones included, to the end of `compiled`; `base` is the number of the first one.
fn list(configs: &[StageConfig], prefix: &str, base: usize, compiled: &mut Vec<Box<dyn Stage>>, shared: &mut Shared) {
    for (i, config) in configs.iter().enumerate() {
        let key = format!("{prefix}[{i}]");
        let Some((name, settings)) = config.parts() else {
            let keys: Vec<_> = config.0.entries().iter().map(|(key, _)| key.as_str()).collect();
            let message = match keys[..] {
                [] => "expected a stage's name as the only key".to_owned(),
                [first, ..] => format!(
                    "expected a stage's name as the only key, found {}; the fields of a stage are indented further than its \
                     name: `- {first}:`, and below it, four spaces further in than the dash, its fields",
                    keys.join(", ")
                ),
            };
            shared.errors.push(CompileError { key, message });
            continue;
        };
        let key = format!("{key}.{name}");
        match stages::find(name) {
            Ok(compile) => {
                let first = base + compiled.len();
                shared.places.push((first, key.clone()));
                let mut compiler = Compiler { settings, key, first, shared };
                if let Ok(stages) = compile(&mut compiler) {
                    compiled.extend(stages);
                }
            }
            Err(message) => shared.errors.push(CompileError { key, message }),
        }
    }
}

/// A reason that lives as long as the program: metrics have it, and there are as many as the configuration names.
fn interned(reason: &str) -> &'static str {
    static REASONS: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let mut reasons = REASONS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = reasons.iter().find(|known| **known == reason) {
        return known;
    }
    let reason: &'static str = reason.to_owned().leak();
    reasons.push(reason);
    reason
}

/// What a stage is compiled with.
pub struct Compiler<'a> {
    settings: &'a StageValue,
    key: String,
    /// The number that the stage will have.
    first: usize,
    shared: &'a mut Shared,
}

impl<'a> Compiler<'a> {
    /// The settings, decoded.
    ///
    /// # Errors
    /// They are wrong; what is wrong has been reported.
    pub fn settings<T>(&mut self) -> Result<T, Failed>
    where
        T: for<'de> Deserialize<'de> + Default,
    {
        self.settings.decode().map_err(|problems| {
            for (key, message) in problems {
                self.error(&key, message);
            }
            Failed
        })
    }

    /// The settings as they are written.
    #[must_use]
    pub fn untyped(&self) -> &'a StageValue {
        self.settings
    }

    /// Reports what is wrong with the settings at this key; an empty one stands for the stage itself.
    pub fn error(&mut self, key: &str, message: impl Into<String>) -> Failed {
        let error = self.problem(key, message.into());
        self.shared.errors.push(error);
        Failed
    }

    /// Reports what may not do what its writer expects.
    pub fn warn(&mut self, key: &str, message: impl Into<String>) {
        let warning = self.problem(key, message.into());
        self.shared.warnings.push(warning);
    }

    fn problem(&self, key: &str, message: String) -> CompileError {
        let key = if key.is_empty() { self.key.clone() } else { format!("{}.{key}", self.key) };
        CompileError { key, message }
    }

    /// The slot of a name.
    pub fn slot(&mut self, name: &str) -> Slot {
        let next = self.shared.slots.len();
        *self.shared.slots.entry(name.to_owned()).or_insert(next)
    }

    /// The slot of `source`, for the many stages that read the line where it is left out.
    ///
    /// # Errors
    /// It is an empty text.
    pub fn source(&mut self, source: Option<&str>) -> Result<Option<Slot>, Failed> {
        match source {
            None => Ok(None),
            Some("") => Err(self.error("source", "must not be empty; leave it out to read the line")),
            Some(name) => Ok(Some(self.slot(name))),
        }
    }

    /// The slot of a key that must be set.
    ///
    /// # Errors
    /// It is not.
    pub fn required(&mut self, key: &str, name: &str) -> Result<Slot, Failed> {
        if name.is_empty() {
            return Err(self.error("", format!("{key} is missing")));
        }
        Ok(self.slot(name))
    }

    /// The number of a reason for drops.
    pub fn reason(&mut self, given: Option<&str>, default: &'static str) -> usize {
        let reason = given.filter(|given| !given.is_empty()).unwrap_or(default);
        let known = self.shared.drops.iter().position(|known| *known == reason);
        known.unwrap_or_else(|| {
            self.shared.drops.push(if reason == default { default } else { interned(reason) });
            self.shared.drops.len() - 1
        })
    }

    /// A regular expression as Go reads it.
    ///
    /// # Errors
    /// It is none.
    pub fn pattern(&mut self, key: &str, text: &str) -> Result<Pattern, Failed> {
        Pattern::new(text).map_err(|error| self.error(key, error))
    }

    /// A duration as Go writes them.
    ///
    /// # Errors
    /// It is none, or negative.
    pub fn duration(&mut self, key: &str, text: &str) -> Result<Duration, Failed> {
        match super::go::duration::parse(text) {
            Some(nanoseconds) if nanoseconds >= 0 => Ok(Duration::from_nanos(nanoseconds.unsigned_abs())),
            _ => Err(self.error(key, format!("expected a duration such as 500ms, 3s or 1h30m, found {text:?}"))),
        }
    }

    /// The number of what the stage keeps for each channel. Asked for at most once by a stage.
    pub fn channel(&mut self) -> usize {
        self.shared.channels += 1;
        self.shared.channels - 1
    }

    /// Where the `metrics` stages count.
    #[must_use]
    pub fn metrics(&self) -> &Custom {
        &self.shared.metrics
    }

    /// What the pipeline may use.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// The number that the next stage will have if this one becomes `stages` stages.
    #[must_use]
    pub fn number_after(&self, stages: usize) -> usize {
        self.first + stages
    }

    /// Compiles the stages that follow this one, nested in it at `key`.
    pub fn nested(&mut self, key: &str, configs: &[StageConfig]) -> Vec<Box<dyn Stage>> {
        let (mut compiled, prefix) = (Vec::new(), format!("{}.{key}.", self.key));
        list(configs, &prefix, self.first + 1, &mut compiled, self.shared);
        compiled
    }
}
