//! The table of values in the chart's README.md.
//!
//! In: values.yaml, its comments and its defaults. Out: README.md with a row for each value. Knows no value but those whose keys the
//! user names.

use std::{fs, path::PathBuf};

use anyhow::Context;
use serde_json::Value;

use crate::helm;

/// Behind this line stands what is made here, to the end.
const MARK: &str = "<!-- Made of values.yaml by `cargo xtask manifests`. -->\n";

/// Values that are one row, whatever is in them.
const WHOLE: [&str; 9] = [
    "labels",
    "livenessProbe",
    "readinessProbe",
    "resources",
    "nodeSelector",
    "tolerations",
    "updateStrategy",
    "securityContext.capabilities",
    "dashboard.labels",
];

/// A longer default is not for a table.
const DEFAULT_MAX: usize = 60;

/// Where README.md is, and what it should hold.
pub fn rendered() -> anyhow::Result<(PathBuf, String)> {
    let values = fs::read_to_string(helm::chart().join("values.yaml"))?;
    let path = helm::chart().join("README.md");
    let old = fs::read_to_string(&path)?;
    let (before, _) = old.split_once(MARK).with_context(|| format!("{} has no line {MARK}", path.display()))?;
    let text = format!("{before}{MARK}\n{}", table(&values)?);
    Ok((path, text))
}

fn table(values: &str) -> anyhow::Result<String> {
    let defaults: Value = serde_saphyr::from_str(values).context("values.yaml is no YAML")?;
    let mut table = "| value | default | meaning |\n| --- | --- | --- |\n".to_owned();
    for (path, comment) in keys(values) {
        let default = path.iter().try_fold(&defaults, |at, key| at.get(key)).context("a value without a default")?;
        let key = path.join(".");
        let is_group = default.as_object().is_some_and(|group| !group.is_empty()) && !WHOLE.contains(&key.as_str());
        if is_group && comment.is_empty() {
            continue;
        }
        let default = match default {
            _ if is_group => String::new(),
            default => match default.to_string() {
                text if text.len() > DEFAULT_MAX => "see values.yaml".into(),
                text => format!("`{text}`"),
            },
        };
        table.push_str(&format!("| `{key}` | {default} | {} |\n", comment.replace('|', "\\|")));
    }
    Ok(table)
}

/// Each key with its path and the comment above or beside it.
fn keys(values: &str) -> Vec<(Vec<String>, String)> {
    let (mut keys, mut path, mut comment) = (Vec::new(), Vec::<(usize, String)>::new(), Vec::new());
    for line in values.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(words) = text.strip_prefix('#') {
            comment.push(words.trim().to_owned());
            continue;
        }
        let key = text.split_once(':').filter(|_| !text.starts_with('-'));
        let Some((key, rest)) = key else {
            comment.clear();
            continue;
        };
        path.retain(|(outer, _)| *outer < indent);
        let group = path.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>().join(".");
        let within_whole = WHOLE.iter().any(|whole| group == *whole || group.starts_with(&format!("{whole}.")));
        path.push((indent, key.to_owned()));
        if !within_whole {
            comment.extend(rest.split_once(" # ").map(|(_, beside)| beside.to_owned()));
            keys.push((path.iter().map(|(_, key)| key.clone()).collect(), comment.join(" ")));
        }
        comment.clear();
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_a_row_with_its_default_and_the_comment_above_it() {
        let values = "# Of the file.\n\n# A group,\n# with keys.\na:\n  # One.\n  b: \"\"\nlabels:\n  x: z\nlist:\n  # No key.\n  - k: v\n";
        let expected = "| value | default | meaning |\n| --- | --- | --- |\n| `a` |  | A group, with keys. |\n| `a.b` | `\"\"` | One. |\n\
                        | `labels` | `{\"x\":\"z\"}` |  |\n| `list` | `[{\"k\":\"v\"}]` |  |\n";
        assert_eq!(table(values).unwrap(), expected);
    }
}
