//! Words in messages: what may be meant by one that is not known, how a shell takes one, and what readers of several languages say alike.

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

/// What becomes of a selection by a pod's phase.
pub const ANY_PHASE: &str = "logs are read whatever state their pod is in, so that its last lines are not lost";

/// Why containers that Docker runs by itself are not converted beside pods, and what to do instead.
pub const DOCKER: &str = "one Pilcrow collects either from pods or, without Kubernetes, from Docker's containers (paths.docker): for a machine \
                          of its own write this part into a file, and convert that by itself (docs/install.md#docker-without-kubernetes)";

/// Why a file that is no log of a pod is not converted. `keep`: what to keep for it.
#[must_use]
pub fn no_log_of_a_pod(shown: &str, keep: &str) -> String {
    if shown.starts_with("/var/lib/docker/containers/") {
        return format!(
            "{shown}: which of Docker's containers it names cannot be said by rules: write /var/lib/docker/containers/*/*log, and a rule \
             with the action keep for those that are meant (docs/labels.md)"
        );
    }
    format!("{shown} is no log of a pod, and Pilcrow collects nothing else: {keep}")
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
