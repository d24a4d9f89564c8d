//! The labels that lines may have behind the stages, by their names.

use std::collections::BTreeSet;

use super::{
    effects::{Effects, LabelChange},
    nested,
};
use crate::config::StageConfig;

/// Names of labels before the stages, with those that stages add and without those that they take away. What a `match` adds counts,
/// what it takes away does not.
#[must_use]
pub fn labels_behind(stages: &[StageConfig], mut names: BTreeSet<String>) -> BTreeSet<String> {
    for (name, settings) in stages.iter().filter_map(StageConfig::parts) {
        match name {
            "match" => {
                let inner = labels_behind(&nested(settings), names.clone());
                names.extend(inner);
            }
            "labelallow" | "label_keep" => {
                let list = settings.get("values").unwrap_or(settings).items();
                names.retain(|name| list.iter().any(|kept| kept.text() == Some(name)));
            }
            _ => {
                for change in Effects::of(name, settings).labels {
                    match change {
                        LabelChange::Fixed(label, _) | LabelChange::From { label, .. } => {
                            names.insert(label.to_owned());
                        }
                        LabelChange::Removed(label) => {
                            names.remove(label);
                        }
                        LabelChange::Any => {}
                    }
                }
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_behind_stages_are_those_that_some_stage_adds_and_none_takes_away() {
        let stages = StageConfig::list(
            "- static_labels: {a: x, b: y}\n- labels: {level: }\n- labeldrop: [b]\n- match: {selector: '{a=\"x\"}', stages: [{labels: {c: }}, {labeldrop: [pod]}]}\n- structured_metadata: {level: }\n",
        )
        .unwrap();
        let names = labels_behind(&stages, ["pod".to_owned(), "namespace".to_owned()].into());
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "c", "namespace", "pod"]);
        let stages = StageConfig::list("- static_labels: {a: x}\n- labelallow: [pod, a]\n").unwrap();
        let names = labels_behind(&stages, ["pod".to_owned(), "namespace".to_owned()].into());
        assert_eq!(names.len(), 2);
    }
}
