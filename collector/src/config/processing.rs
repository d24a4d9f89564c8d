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
