//! The rows of `/api/v1`: what the reader tells of a unit, and what the server makes of it (docs/status.md).
//!
//! The reader fills [`Seen`] and [`Detail`] when it is asked; rates and refusals are added by the server. The commands
//! `status`, `top` and `tail` read the same types back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::UnitId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitState {
    /// Its lines are read and sent.
    Collecting,
    /// Something has to come first, such as the pod's metadata.
    Waiting,
    /// Loki refuses one of its streams, or it waits for its rate: its lines stay on the disk.
    Parked,
    /// A rule leaves it out.
    Excluded,
    /// Its log folder is gone; what was read of it is not acknowledged yet.
    Gone,
}

impl UnitState {
    pub const ALL: [Self; 5] = [Self::Collecting, Self::Waiting, Self::Parked, Self::Excluded, Self::Gone];
}

/// What the reader knows of all units together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct States {
    /// How many there are in each state; none is left out.
    pub units: BTreeMap<UnitState, u64>,
    /// Bytes on the disk that Loki has not acknowledged.
    pub lag_bytes: u64,
}

/// What the reader knows of a unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub id: UnitId,
    pub namespace: String,
    pub pod: String,
    pub container: String,
    pub state: UnitState,
    /// Why it is not collecting; empty where it is.
    pub reason: String,
    /// Lines by level since the start, without levels that no line had.
    pub levels: Vec<(&'static str, u64)>,
    /// Log records read since the start.
    pub lines: u64,
    /// Bytes read since the start.
    pub bytes: u64,
    /// Bytes on the disk that Loki has not acknowledged.
    pub lag_bytes: u64,
}

/// A unit in the list of all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitRow {
    /// `u12`.
    pub id: String,
    pub namespace: String,
    pub pod: String,
    pub container: String,
    pub state: UnitState,
    pub reason: String,
    pub lines: u64,
    pub bytes: u64,
    /// `None` until there are two looks to compare.
    pub lines_per_s: Option<f64>,
    pub bytes_per_s: Option<f64>,
    pub lag_bytes: u64,
    /// Lines by level since the start, without levels that no line had; `None`: `levels` is off.
    pub levels: Option<BTreeMap<String, u64>>,
}

impl UnitRow {
    /// Lines that report an error; `None`: levels are not counted.
    #[must_use]
    pub fn errors(&self) -> Option<u64> {
        let levels = self.levels.as_ref()?;
        Some(["error", "critical", "fatal"].iter().filter_map(|level| levels.get(*level)).sum())
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnitList {
    /// Milliseconds since 1970.
    pub now: i64,
    pub units: Vec<UnitRow>,
}

/// One unit, with how its labels came about and how far its files are read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnitPage {
    #[serde(flatten)]
    pub row: UnitRow,
    #[serde(flatten)]
    pub detail: Detail,
    pub last_refusal: Option<Refusal>,
}

/// What the reader tells of one unit besides its row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    pub streams: Vec<StreamRow>,
    pub files: Vec<FileRow>,
    /// Counts of all units that have these stages together; `None`: there are no stages.
    pub stages: Option<Vec<StageRow>>,
}

/// Standard output or standard error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamRow {
    pub stream: String,
    /// Empty where the rules drop it.
    pub labels: BTreeMap<String, String>,
    pub metadata: BTreeMap<String, String>,
    pub rules: Vec<RuleRow>,
}

/// A rule for labels, and what it did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleRow {
    pub rule: String,
    /// The labels after it, without those that begin with `__`; `None`: it dropped the stream.
    pub labels: Option<BTreeMap<String, String>>,
    /// What it did, as a sentence.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileRow {
    pub name: String,
    /// `None`: not known, as of a compressed file.
    pub bytes: Option<u64>,
    /// Up to here Loki has acknowledged every line.
    pub position: u64,
    /// `reading`, `waiting` or `done`.
    pub state: String,
}

/// A stage of `pipeline_stages`, and how many entries came to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageRow {
    pub stage: String,
    pub place: String,
    #[serde(rename = "in")]
    pub came: u64,
    pub dropped: u64,
}

/// What Loki said when it refused lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Milliseconds since 1970.
    pub at: i64,
    pub text: String,
}

/// How a unit is named in addresses: `u12`.
#[must_use]
pub fn unit_name(id: UnitId) -> String {
    format!("u{}", id.0)
}

#[must_use]
pub fn unit_of(name: &str) -> Option<UnitId> {
    name.strip_prefix('u')?.parse().ok().map(UnitId)
}
