//! How many labels lines may have, by their names alone.

use std::collections::BTreeSet;

use crate::{
    compiled::Compiled,
    pipeline::{
        analysis,
        relabel::{LABELS_MAX, SERVICE_NAME},
    },
};

/// Why Loki may refuse lines for their number of labels, by its default limit.
#[must_use]
pub fn too_many_labels(compiled: &Compiled) -> Option<String> {
    let by_rules: BTreeSet<String> = compiled.relabel.names().into_iter().map(str::to_owned).collect();
    let names = analysis::labels_behind(&compiled.config.pipeline_stages, by_rules);
    // Loki does not count this one.
    let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != SERVICE_NAME).collect();
    (names.len() > LABELS_MAX).then(|| {
        format!(
            "lines may have {} labels ({}), more than the {LABELS_MAX} that Loki accepts by default (max_label_names_per_series): it refuses \
             lines with more, and labels that stages add beyond that become structured metadata",
            names.len(),
            names.join(", ")
        )
    })
}
