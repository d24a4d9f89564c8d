//! benches/limits.toml: what a change may not make worse.

use anyhow::Context;

const LIMITS: &str = include_str!("../limits.toml");

/// The most that the figure called `key` may be.
pub fn of(key: &str) -> anyhow::Result<f64> {
    number(LIMITS, key).with_context(|| format!("benches/limits.toml has no number {key}"))
}

/// The number of a line `key = number`.
fn number(text: &str, key: &str) -> Option<f64> {
    let lines = text.lines().filter_map(|line| line.split('#').next()?.split_once('='));
    let mut values = lines.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim());
    values.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_there() {
        assert!(of("backlog_ratio").unwrap() >= 1.0);
        assert!(of("absent").unwrap_err().to_string().contains("absent"));
    }

    #[test]
    fn comments_and_other_keys_are_skipped() {
        let text = "# backlog_ratio = 9\nother = 1\nbacklog_ratio = 2.5 # why\n";
        assert_eq!(number(text, "backlog_ratio"), Some(2.5));
        assert_eq!(number(text, "absent"), None);
    }
}
