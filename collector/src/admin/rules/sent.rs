//! What Loki would get of an entry.

use crate::{
    model::is_tenant_name,
    pipeline::{self, Entry, Pairs},
};

/// Names with values, sorted by name.
pub type Named = Vec<(String, String)>;

/// An entry as it would be sent: as `tail` puts it into a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// In nanoseconds since 1970.
    pub time_ns: i64,
    pub line: String,
    pub labels: Named,
    pub metadata: Named,
    pub tenant: Option<String>,
    /// What a `tenant` stage chose and Loki would not take: the entry goes to the tenant of `loki.tenant`.
    pub invalid_tenant: Option<String>,
    /// It is longer than `lines.max_bytes` and cut there.
    pub is_cut: bool,
    /// Loki would not take the labels: those that stages made are structured metadata.
    pub has_moved_labels: bool,
}

impl Sent {
    /// `own`: the labels of the entry's container.
    pub(super) fn new(entry: &Entry, own: &Pairs, max_bytes: usize) -> Self {
        let mut line = String::from_utf8_lossy(&entry.line).into_owned();
        let is_cut = line.len() > max_bytes;
        line.truncate(line.floor_char_boundary(max_bytes));
        let has_moved_labels = !pipeline::is_taken(&entry.labels, own.len());
        let mut metadata = entry.metadata.clone();
        if has_moved_labels {
            for (name, value) in pipeline::sent(&entry.labels) {
                if own.get(name) != Some(value) && !entry.metadata.contains(name) {
                    metadata.set(name, value);
                }
            }
        }
        let (tenant, invalid_tenant) = match entry.tenant().map(str::to_owned) {
            Some(name) if !is_tenant_name(&name) => (None, Some(name)),
            tenant => (tenant, None),
        };
        let labels = if has_moved_labels { own } else { &entry.labels };
        Self {
            time_ns: entry.timestamp_ns,
            line,
            labels: named(pipeline::sent(labels)),
            metadata: named(metadata.iter()),
            tenant,
            invalid_tenant,
            is_cut,
            has_moved_labels: has_moved_labels && entry.labels != *own,
        }
    }
}

/// Copies pairs.
pub fn named<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>) -> Named {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
