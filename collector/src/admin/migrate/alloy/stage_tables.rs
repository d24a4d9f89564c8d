//! The arguments of Alloy's stages (grafana/alloy, docs/sources/reference/components/loki/loki.process.md).

use super::arguments::Table;
use crate::admin::migrate::promtail::keys::{
    Meaning as M,
    Way::{self, Read},
};

/// How a stage is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A group with the same names as in Alloy.
    Fields,
    /// As `Fields`; where there is only `values`, Promtail writes its map or list alone.
    Values,
    /// With stages in it.
    Match,
    /// With blocks `rule`.
    Truncate,
    /// With blocks `metric.…`.
    Metrics,
}

const YES: Way = Read(M::Taken);

/// Alloy's name, the name in the converted configuration, the form, the arguments.
pub const STAGES: &[(&str, &str, Shape, Table)] = &[
    (
        "cri",
        "cri",
        Shape::Fields,
        &[("max_partial_lines", YES), ("max_partial_line_size", YES), ("max_partial_line_size_truncate", YES)],
    ),
    ("docker", "docker", Shape::Fields, &[]),
    ("decolorize", "decolorize", Shape::Fields, &[]),
    (
        "drop",
        "drop",
        Shape::Fields,
        &[
            ("source", YES),
            ("separator", YES),
            ("expression", YES),
            ("value", YES),
            ("older_than", YES),
            ("longer_than", YES),
            ("drop_counter_reason", YES),
        ],
    ),
    (
        "eventlogmessage",
        "eventlogmessage",
        Shape::Fields,
        &[("source", YES), ("drop_invalid_labels", YES), ("overwrite_existing", YES)],
    ),
    (
        "windowsevent",
        "windowsevent",
        Shape::Fields,
        &[("source", YES), ("drop_invalid_labels", YES), ("overwrite_existing", YES)],
    ),
    ("geoip", "geoip", Shape::Fields, &[("db", YES), ("source", YES), ("db_type", YES), ("custom_lookups", YES)]),
    ("json", "json", Shape::Fields, &[("expressions", YES), ("regex", YES), ("source", YES), ("drop_malformed", YES)]),
    ("label_drop", "labeldrop", Shape::Values, &[("values", YES)]),
    ("label_keep", "labelallow", Shape::Values, &[("values", YES)]),
    ("labels", "labels", Shape::Values, &[("values", YES), ("source_type", YES)]),
    (
        "limit",
        "limit",
        Shape::Fields,
        &[("rate", YES), ("burst", YES), ("drop", YES), ("by_label_name", YES), ("max_distinct_labels", YES)],
    ),
    ("logfmt", "logfmt", Shape::Fields, &[("mapping", YES), ("regex", YES), ("source", YES)]),
    (
        "luhn",
        "luhn",
        Shape::Fields,
        &[("replacement", YES), ("min_length", YES), ("delimiters", YES), ("skip_regex", YES), ("source", YES)],
    ),
    ("match", "match", Shape::Match, MATCH),
    ("metrics", "metrics", Shape::Metrics, &[]),
    (
        "multiline",
        "multiline",
        Shape::Fields,
        &[("firstline", YES), ("max_lines", YES), ("max_wait_time", YES), ("trim_newlines", YES)],
    ),
    ("output", "output", Shape::Fields, &[("source", YES)]),
    ("pack", "pack", Shape::Fields, &[("labels", YES), ("ingest_timestamp", YES)]),
    ("pattern", "pattern", Shape::Fields, &[("pattern", YES), ("source", YES), ("labels_from_groups", YES)]),
    ("regex", "regex", Shape::Fields, &[("expression", YES), ("source", YES), ("labels_from_groups", YES)]),
    ("replace", "replace", Shape::Fields, &[("expression", YES), ("source", YES), ("replace", YES)]),
    ("sampling", "sampling", Shape::Fields, &[("rate", YES), ("drop_counter_reason", YES)]),
    ("split_json", "split_json", Shape::Fields, &[("source", YES)]),
    ("static_labels", "static_labels", Shape::Values, &[("values", YES)]),
    ("structured_metadata", "structured_metadata", Shape::Values, &[("values", YES), ("regex", YES)]),
    ("structured_metadata_drop", "structured_metadata_drop", Shape::Values, &[("values", YES)]),
    ("template", "template", Shape::Fields, &[("source", YES), ("template", YES)]),
    ("tenant", "tenant", Shape::Fields, &[("label", YES), ("source", YES), ("value", YES)]),
    (
        "timestamp",
        "timestamp",
        Shape::Fields,
        &[
            ("source", YES),
            ("format", YES),
            ("fallback_formats", YES),
            ("location", YES),
            ("action_on_failure", YES),
            ("action_on_duplicate_timestamp", YES),
        ],
    ),
    ("truncate", "truncate", Shape::Truncate, &[("rule", YES)]),
];

const MATCH: Table =
    &[("selector", YES), ("action", YES), ("pipeline_name", YES), ("drop_counter_reason", YES), ("stage.", YES)];

/// A `rule` of `stage.truncate`.
pub const TRUNCATE_RULE: Table = &[("limit", YES), ("suffix", YES), ("source_type", YES), ("sources", YES)];

/// A metric of `stage.metrics`.
pub const METRIC: Table = &[
    ("name", YES),
    ("description", YES),
    ("source", YES),
    ("prefix", YES),
    ("max_idle_duration", YES),
    ("action", YES),
    ("value", YES),
    ("match_all", YES),
    ("count_entry_bytes", YES),
    ("buckets", YES),
];
