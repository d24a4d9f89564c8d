//! Where the lines go: `loki.url`, completed to a push URL.

use anyhow::{Context, Result, anyhow, bail};
use hyper::Uri;

/// Loki's push API.
const PUSH_PATH: &str = "/loki/api/v1/push";
/// The push API of Loki before 1.0, which gateways still map.
const LEGACY_PUSH_PATH: &str = "/api/prom/push";

/// A push URL, without the user name and password that may have stood in it.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// Scheme, host, port, path and query.
    pub(super) uri: Uri,
    /// `user:password@` of the URL, percent-decoded. As in Promtail and curl, it serves as basic authentication.
    pub(super) user: Option<UserInfo>,
}

/// User name and password of a URL.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct UserInfo {
    pub(super) username: String,
    pub(super) password: String,
}

impl std::fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UserInfo(…)")
    }
}

impl Endpoint {
    /// Takes a base URL (`http://loki:3100`, `https://host/prefix`) or the push URL itself.
    ///
    /// # Errors
    /// What is wrong and how it should look; the text names no password.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let url = url.trim();
        if url.is_empty() {
            bail!("loki.url is empty; set it, or LOKI_URL, for example to http://loki:3100");
        }
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| anyhow!("loki.url has no scheme; write http:// or https:// before the host"))?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            bail!("loki.url has the scheme {scheme:?}; only http and https can be used");
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path_and_query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(UserInfo::parse(user)?), host),
            None => (None, authority),
        };
        if host.is_empty() || host.starts_with(':') {
            bail!("loki.url has no host; it should look like http://loki:3100");
        }
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let mut target = push_path(path);
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        let uri = Uri::builder()
            .scheme(scheme.as_str())
            .authority(host)
            .path_and_query(target)
            .build()
            .with_context(|| format!("loki.url is not a valid URL (host {host:?}, path {path:?})"))?;
        if uri.host().is_none_or(str::is_empty) {
            bail!("loki.url has no host; it should look like http://loki:3100");
        }
        Ok(Self { uri, user })
    }

    /// The address of another part of the same API, such as `/loki/api/v1/NAME`, where the push address is Loki's own.
    pub(super) fn beside_push(&self, name: &str) -> Option<Uri> {
        let base = self.uri.path().strip_suffix("push").filter(|base| base.ends_with("/loki/api/v1/"))?;
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = Some(format!("{base}{name}").parse().ok()?);
        Uri::from_parts(parts).ok()
    }
}

impl UserInfo {
    fn parse(text: &str) -> Result<Self> {
        let (username, password) = text.split_once(':').unwrap_or((text, ""));
        let decoded = |part| percent_decoded(part).context("the user name or password in loki.url is not valid UTF-8");
        Ok(Self { username: decoded(username)?, password: decoded(password)? })
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

/// RFC 3986 section 2.1; a `%` without two hexadecimal digits stands for itself.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).ok()
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
            ("http://gw/a/loki/api/v1/push?x=1", "http://gw/a/loki/api/v1/push?x=1"),
            ("http://gw?x=1", "http://gw/loki/api/v1/push?x=1"),
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
        assert_eq!(beside("https://host/a?x=1").unwrap().to_string(), expected);
        assert_eq!(beside("https://host/api/prom/push"), None);
    }

    #[test]
    fn user_and_password_of_the_url_are_taken_out_of_it() {
        let endpoint = Endpoint::parse("https://12%2034:p%40ss:w%zz@logs.example/").unwrap();
        assert_eq!(endpoint.uri, "https://logs.example/loki/api/v1/push");
        assert_eq!(endpoint.user, Some(UserInfo { username: "12 34".into(), password: "p@ss:w%zz".into() }));
        assert!(!format!("{endpoint:?}").contains("p@ss"));
    }

    #[test]
    fn a_bad_url_is_refused_with_what_to_write_instead() {
        for (given, hint) in [
            ("", "LOKI_URL"),
            ("loki:3100", "write http://"),
            ("ftp://loki", "only http and https"),
            ("http://", "no host"),
            ("http://:3100", "no host"),
            ("http://lo ki", "is not a valid URL"),
            ("http://user:secret@lo ki", "is not a valid URL"),
        ] {
            let error = format!("{:#}", Endpoint::parse(given).unwrap_err());
            assert!(error.contains(hint), "{given}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
