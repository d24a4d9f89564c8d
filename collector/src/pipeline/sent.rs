//! Which labels of an entry are sent, and whether Loki takes them.

use super::{
    entry::{Pairs, TENANT_LABEL},
    relabel::{LABELS_MAX, NAME_BYTES_MAX, VALUE_BYTES_MAX},
};

/// The labels that are sent: the tenant is none, and an empty one is none to Loki.
pub fn sent(labels: &Pairs) -> impl Iterator<Item = (&str, &str)> {
    labels.iter().filter(|(name, value)| *name != TENANT_LABEL && !value.is_empty())
}

/// Whether Loki takes a stream with these labels, by its default limits. `own`: how many labels the container has, which the
/// user has been warned of.
#[must_use]
pub fn is_taken(labels: &Pairs, own: usize) -> bool {
    let fits = |(name, value): (&str, &str)| name.len() <= NAME_BYTES_MAX && value.len() <= VALUE_BYTES_MAX;
    let count = sent(labels).count();
    count > 0 && count <= LABELS_MAX.max(own) && sent(labels).all(fits)
}
