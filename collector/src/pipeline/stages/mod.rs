//! The stages, one file each: its settings, how they are compiled, what it does.

pub mod cri;
pub mod decolorize;
pub mod docker;
pub mod drop;
pub mod json;
pub mod labelallow;
pub mod labeldrop;
pub mod labels;
pub mod limit;
pub mod logfmt;
pub mod matching;
pub mod metrics;
pub mod multiline;
pub mod output;
pub mod pack;
pub mod pattern;
pub mod refused;
pub mod regex;
pub mod replace;
pub mod sampling;
pub mod static_labels;
pub mod structured_metadata;
pub mod structured_metadata_drop;
pub mod template;
pub mod tenant;
pub mod timestamp;
pub mod truncate;

use super::stage::Compile;
use crate::config::nearest;

/// Every stage: the names under which it is written, Promtail's first, then Alloy's.
const STAGES: [(&[&str], Compile); 26] = [
    (&["cri"], cri::compile),
    (&["decolorize"], decolorize::compile),
    (&["docker"], docker::compile),
    (&["drop"], drop::compile),
    (&["json"], json::compile),
    (&["labelallow", "label_keep"], labelallow::compile),
    (&["labeldrop", "label_drop"], labeldrop::compile),
    (&["labels"], labels::compile),
    (&["limit"], limit::compile),
    (&["logfmt"], logfmt::compile),
    (&["match"], matching::compile),
    (&["metrics"], metrics::compile),
    (&["multiline"], multiline::compile),
    (&["output"], output::compile),
    (&["pack"], pack::compile),
    (&["pattern"], pattern::compile),
    (&["regex"], regex::compile),
    (&["replace"], replace::compile),
    (&["sampling"], sampling::compile),
    (&["static_labels"], static_labels::compile),
    (&["structured_metadata", "non_indexed_labels"], structured_metadata::compile),
    (&["structured_metadata_drop"], structured_metadata_drop::compile),
    (&["template"], template::compile),
    (&["tenant"], tenant::compile),
    (&["timestamp"], timestamp::compile),
    (&["truncate"], truncate::compile),
];

/// The names of all stages.
pub fn names() -> impl Iterator<Item = &'static str> {
    STAGES.iter().flat_map(|(names, _)| *names).copied()
}

/// How the stage of this name is compiled.
///
/// # Errors
/// There is none, and why.
pub fn find(name: &str) -> Result<Compile, String> {
    let named =
        |candidate: &str| STAGES.iter().find(|(names, _)| names.contains(&candidate)).map(|(_, compile)| *compile);
    if let Some(compile) = named(name) {
        return Ok(compile);
    }
    if let Some(why) = refused::why(name) {
        return Err(why.into());
    }
    match nearest(name, names()) {
        Some(nearest) => Err(format!("unknown stage; did you mean {nearest}?")),
        None => Err(format!("unknown stage; known are: {}", names().collect::<Vec<_>>().join(", "))),
    }
}

/// Whether this can be the name of a label.
fn is_label_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
