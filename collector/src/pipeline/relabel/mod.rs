//! The rules: which labels a container's streams have, and which of them are left out.
//!
//! In: what is known of a container, as labels whose names begin with `__` ([`Target`]), and rules as Prometheus and
//! Promtail have them. Out: each stream's label set and structured metadata, ready for a batch, or that it is dropped.
//! Guarantees that the same container has the same labels for as long as what is known of it is the same. Called once for
//! a stream and not for a line. Knows no file and no Kubernetes API, and of Loki only its limits.

mod explain;
mod meta;
mod pattern;
mod rule;
mod rules;
mod service_name;
pub(super) mod template;

pub use explain::Explained;
pub use meta::{Target, annotation_names, controller_names, is_from_api, label_names, why_unknown};
pub use rule::{Labels, Rule, RuleError};
pub use rules::{
    LABELS_MAX, NAME_BYTES_MAX, Outcome, Relabel, Relabelled, StreamLabels, VALUE_BYTES_MAX, built_in, built_in_yaml,
};
pub use service_name::{SERVICE_NAME, add as add_service_name};
