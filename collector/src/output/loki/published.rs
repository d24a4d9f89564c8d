//! What Loki tells of its limits, for `pilcrow doctor`.
//!
//! In: the answers of `/config` (YAML, of the whole server) and of `/loki/api/v1/drilldown-limits` (JSON, of the tenant; only what that
//! Loki's operator allows). Out: the limits that matter to lines. Either may be missing: a gateway answers neither.

use std::collections::BTreeMap;

use super::answer::bytes_in;

/// `limits_config` of Loki (pkg/validation/limits.go), as far as it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishedLimits(BTreeMap<String, String>);

impl PublishedLimits {
    /// Those of the answer of `/config`.
    #[cfg(test)]
    pub fn of_config(yaml: &str) -> Self {
        let mut limits = Self::default();
        limits.add_config(yaml);
        limits
    }

    /// Adds those of the answer of `/config`.
    pub(super) fn add_config(&mut self, yaml: &str) {
        // Written by Loki itself: sections at the margin, their fields two spaces further in, what is nested deeper.
        let section = yaml.lines().skip_while(|line| *line != "limits_config:").skip(1);
        let fields = section.take_while(|line| line.starts_with(' ')).filter_map(|line| {
            let (name, value) = line.strip_prefix("  ").filter(|field| !field.starts_with(' '))?.split_once(": ")?;
            Some((name.to_owned(), value.trim().trim_matches(['"', '\'']).to_owned()))
        });
        self.0.extend(fields);
    }

    /// Adds those of the answer of `drilldown-limits`, which say more of this tenant.
    pub(super) fn add_drilldown(&mut self, json: &str) {
        let Ok(serde_json::Value::Object(mut answer)) = serde_json::from_str(json) else { return };
        let Some(serde_json::Value::Object(limits)) = answer.remove("limits") else { return };
        self.0.extend(limits.into_iter().filter_map(|(name, value)| match value {
            serde_json::Value::String(text) => Some((name, text)),
            serde_json::Value::Number(number) => Some((name, number.to_string())),
            serde_json::Value::Bool(is) => Some((name, is.to_string())),
            _ => None,
        }));
    }

    /// Whether nothing was told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A limit as Loki writes it, such as `3MB` or `1w`.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A limit in bytes; `None`: it was not told, or there is none.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<u64> {
        bytes_in(self.text(name)?).filter(|bytes| *bytes > 0)
    }

    /// A switch.
    #[must_use]
    pub fn is(&self, name: &str) -> Option<bool> {
        self.text(name)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_server_and_what_is_told_of_the_tenant() {
        let mut limits = PublishedLimits::default();
        limits.add_drilldown("<html>");
        limits.add_config("404 page not found");
        assert!(limits.is_empty());
        limits.add_config(
            "server:\n  max_line_size: 1KB\nlimits_config:\n  max_line_size: 256KB\n  otlp_config:\n    max_line_size: 2KB\n  \
             reject_old_samples_max_age: 1w\n  per_stream_rate_limit: 3MB\n  max_line_size_truncate: false\n  volume: \
             \"x\"\ntable_manager:\n  per_stream_rate_limit: 9MB\n",
        );
        assert_eq!(
            (limits.bytes("max_line_size"), limits.bytes("per_stream_rate_limit")),
            (Some(256 << 10), Some(3 << 20))
        );
        assert_eq!((limits.text("reject_old_samples_max_age"), limits.text("volume")), (Some("1w"), Some("x")));
        assert_eq!((limits.is("max_line_size_truncate"), limits.is("none")), (Some(false), None));
        limits.add_drilldown(
            r#"{"limits": {"per_stream_rate_limit": 1048576, "a": null, "max_line_size_truncate": true}}"#,
        );
        assert_eq!(limits.bytes("per_stream_rate_limit"), Some(1 << 20));
        assert_eq!((limits.is("max_line_size_truncate"), limits.bytes("max_line_size")), (Some(true), Some(256 << 10)));
    }
}
