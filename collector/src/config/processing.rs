//! `budgets` and `dedupe`: what is done with lines behind the stages.

use serde::{Deserialize, Serialize};

use super::units::{ByteSize, HumanDuration, Rate};

/// An item of `budgets`: how much each of some containers may send.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// The containers, by their labels, in LogQL: `{namespace="dev"}`.
    pub selector: String,
    /// Bytes of text a second; must be set.
    pub rate: Option<Rate>,
    /// Bytes of text at once.
    pub burst: ByteSize,
    pub action: BudgetAction,
    /// Lines of these levels are sent whatever the budget says.
    pub keep_levels: Vec<String>,
}

/// `budgets[].action`: what becomes of lines past the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetAction {
    /// They wait on the disk.
    #[default]
    Wait,
    /// A part of them is sent.
    Sample,
    /// They are dropped.
    Drop,
}

/// `dedupe`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dedupe {
    /// Equal lines in a row within this time are one entry; 0: each is one.
    pub window: HumanDuration,
}

/// `kubernetes.annotations`: what the owners of pods may ask for by annotations.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Annotations {
    /// The annotations that count, without `pilcrow.dev/`; the others have no effect.
    pub allow: Vec<AnnotationKey>,
}

/// An annotation of pods, `pilcrow.dev/NAME` or, for one container, `pilcrow.dev/NAME.CONTAINER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnnotationKey {
    /// Lines are joined.
    Multiline,
    /// Lines of lower levels are dropped.
    Level,
    /// Lines that match are dropped.
    Drop,
    /// A part of the lines is kept.
    Sample,
    /// Fields of lines become structured metadata.
    Parse,
}

impl AnnotationKey {
    pub const ALL: [Self; 5] = [Self::Multiline, Self::Level, Self::Drop, Self::Sample, Self::Parse];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Multiline => "multiline",
            Self::Level => "level",
            Self::Drop => "drop",
            Self::Sample => "sample",
            Self::Parse => "parse",
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            selector: String::new(),
            rate: None,
            burst: ByteSize::mib(1),
            action: BudgetAction::default(),
            keep_levels: Vec::new(),
        }
    }
}

impl Default for Dedupe {
    fn default() -> Self {
        Self { window: HumanDuration::from_secs(0) }
    }
}
