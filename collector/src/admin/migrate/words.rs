//! Words in messages: what may be meant by one that is not known, and how a shell takes one.

use crate::config::closest;

/// The known word that is nearest to one that is not known; nothing where none is near.
#[must_use]
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let (distance, nearest) = closest(word, known)?;
    (distance <= 1 + nearest.len() / 4 && distance < word.len()).then_some(nearest)
}

/// A word as a shell takes it for one.
#[must_use]
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    let is_word = !word.is_empty() && word.chars().all(is_plain);
    if is_word { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_word_is_named_and_none_that_is_far() {
        let known = ["pipeline_stages", "kubernetes_sd_configs", "kubernetes", "job_name", "url"];
        for (word, expected) in [
            ("pipeline_stage", Some("pipeline_stages")),
            ("kubernetes_sd_config", Some("kubernetes_sd_configs")),
            ("pipelineStages", Some("pipeline_stages")),
            ("jobname", Some("job_name")),
            ("urls", Some("url")),
            ("nonsense", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
