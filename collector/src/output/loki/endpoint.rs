//! Where the lines go: `loki.url`, completed to a push URL.

use anyhow::{Context, Result};
use hyper::Uri;

/// Loki's push API.
const PUSH_PATH: &str = "/loki/api/v1/push";
/// The push API of Loki before 1.0, which gateways still map.
const LEGACY_PUSH_PATH: &str = "/api/prom/push";

/// The push URL: scheme, host, port and path.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) uri: Uri,
}

impl Endpoint {
    /// Takes a base URL (`http://loki:3100`, `https://host/prefix`) or the push URL itself, which the configuration has been
    /// compiled with: no user, query or fragment is in it.
    ///
    /// # Errors
    /// Where it is no URL.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let uri: Uri = url.trim().parse().context("loki.url is not a valid URL")?;
        let mut parts = uri.into_parts();
        let path = parts.path_and_query.as_ref().map_or("", |path| path.path());
        parts.path_and_query = Some(push_path(path).parse()?);
        Ok(Self { uri: Uri::from_parts(parts).context("loki.url lacks http:// or https:// and a host")? })
    }

    /// The address of another part of the same API, such as `/loki/api/v1/NAME`, where the push address is Loki's own.
    pub(super) fn beside_push(&self, name: &str) -> Option<Uri> {
        let base = self.uri.path().strip_suffix("push").filter(|base| base.ends_with("/loki/api/v1/"))?;
        self.at(&format!("{base}{name}"))
    }

    /// The address of what Loki serves beside its API, such as `/NAME`, where the push address is Loki's own.
    pub(super) fn beside_api(&self, name: &str) -> Option<Uri> {
        let base = self.uri.path().strip_suffix(PUSH_PATH)?;
        self.at(&format!("{base}/{name}"))
    }

    fn at(&self, path: &str) -> Option<Uri> {
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = Some(path.parse().ok()?);
        Uri::from_parts(parts).ok()
    }
}

fn push_path(path: &str) -> String {
    let path = path.trim_end_matches('/');
    if path.ends_with(PUSH_PATH) || path.ends_with(LEGACY_PUSH_PATH) {
        path.to_owned()
    } else {
        format!("{path}{PUSH_PATH}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_gets_the_push_path_and_a_push_url_is_taken_as_it_is() {
        for (given, expected) in [
            ("http://loki:3100", "http://loki:3100/loki/api/v1/push"),
            (" http://loki:3100/ ", "http://loki:3100/loki/api/v1/push"),
            ("HTTPS://host/prefix", "https://host/prefix/loki/api/v1/push"),
            ("https://host/prefix/", "https://host/prefix/loki/api/v1/push"),
            ("http://loki:3100/loki/api/v1/push", "http://loki:3100/loki/api/v1/push"),
            ("http://loki:3100/loki/api/v1/push/", "http://loki:3100/loki/api/v1/push"),
            ("http://gw/api/prom/push", "http://gw/api/prom/push"),
            ("http://[::1]:3100", "http://[::1]:3100/loki/api/v1/push"),
        ] {
            assert_eq!(Endpoint::parse(given).unwrap().uri.to_string(), expected, "{given}");
        }
    }

    #[test]
    fn what_stands_beside_the_push_address_is_known_only_where_that_is_lokis_own() {
        let beside = |url| Endpoint::parse(url).unwrap().beside_push("drilldown-limits");
        let expected = "https://host/a/loki/api/v1/drilldown-limits";
        assert_eq!(beside("https://host/a").unwrap().to_string(), expected);
        assert_eq!(beside("https://host/api/prom/push"), None);
        let beside = |url| Endpoint::parse(url).unwrap().beside_api("config").map(|uri| uri.to_string());
        assert_eq!(beside("https://host/a").as_deref(), Some("https://host/a/config"));
        assert_eq!(beside("http://loki:3100").as_deref(), Some("http://loki:3100/config"));
        assert_eq!(beside("https://host/api/prom/push"), None);
    }
}
