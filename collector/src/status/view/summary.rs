//! What `/api/v1/status` answers (docs/status.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{rows::UnitState, totals::Totals};

/// The whole node at one moment. Times are milliseconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    pub version: String,
    pub node: Option<String>,
    pub kernel: Option<String>,
    pub started: i64,
    pub now: i64,
    pub notifier: BackendRow,
    pub reader: BackendRow,
    pub ready: bool,
    /// Why it is not ready or not healthy, a sentence each.
    pub problems: Vec<String>,
    pub notes: Vec<String>,
    pub loki: LokiRow,
    /// Units by state; `None`: the reader did not answer in time.
    pub units: Option<BTreeMap<UnitState, u64>>,
    pub totals: Totals,
    pub history: HistoryRow,
    /// Whether whoever asked may use `/api/v1/tail`.
    pub tail: bool,
    pub levels: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendRow {
    pub backend: String,
    /// Empty for the first choice.
    pub fallback_reason: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LokiRow {
    pub url: String,
    pub last_acknowledged: Option<i64>,
    pub last_answer: Option<String>,
    pub last_answer_at: Option<i64>,
    #[serde(default)]
    pub advice: Option<String>,
    pub outage_since: Option<i64>,
    pub waiting_bytes: u64,
    pub parked_streams: u64,
}

/// The last minutes, oldest first; every list is equally long.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HistoryRow {
    pub step_ms: u64,
    /// When the last sample was taken.
    pub end: i64,
    /// Per second, as all that are counts.
    pub lines_read: Vec<f32>,
    pub lines_acknowledged: Vec<f32>,
    pub bytes_read: Vec<f32>,
    pub lag_bytes: Vec<u64>,
    /// Of one core.
    pub cpu_percent: Vec<f32>,
    pub memory_bytes: Vec<u64>,
}
